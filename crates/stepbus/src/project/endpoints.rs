//! Endpoints of the public listener.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stepbus_connect::Secret;
use stepbus_document::join;
use stepbus_runtime::{EndpointSpec, Overlap};
use stepbus_store::Priority;

use super::problem::suggest;
use super::{Reader, format};

impl Reader<'_> {
    pub(super) fn endpoints(&mut self) -> Vec<EndpointSpec> {
        let mut endpoints = Vec::new();
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for (name, value, at) in self.members("endpoints") {
            let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
            let max_body_bytes = self.max_body(value, &at);
            let Ok(route) = format::route(text("/route").unwrap_or_default()) else { continue };
            self.taken(&route, name, &at, &mut taken);
            let params = self.params(value, &route, &at);
            if !self.is_sound(&at) {
                continue;
            }
            let detail = value.pointer("/event/detail").cloned();
            endpoints.push(EndpointSpec {
                name: name.to_owned(),
                method: route.method.to_owned(),
                path: route.path.to_owned(),
                api_key: Secret::from(text("/auth/api_key").unwrap_or_default()),
                overlap: match text("/overlap") {
                    Some("refuse") => Overlap::Refuse,
                    _ => Overlap::Allow,
                },
                force: value.get("force").cloned(),
                priority: text("/priority").and_then(Priority::from_name).unwrap_or_default(),
                params,
                max_body_bytes,
                bus: text("/event/bus").unwrap_or_default().to_owned(),
                detail_type: text("/event/detail-type").unwrap_or_default().to_owned(),
                source: text("/event/source").or(self.name()).unwrap_or_default().to_owned(),
                detail: detail.unwrap_or(Value::Object(Map::new())),
            });
        }
        endpoints
    }

    fn name(&self) -> Option<&str> {
        self.value.get("name")?.as_str()
    }

    /// Two routes that differ in their parameters' names only are one route.
    fn taken(
        &mut self,
        route: &format::Route<'_>,
        name: &str,
        at: &str,
        taken: &mut BTreeMap<String, String>,
    ) {
        let parts =
            route.path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        let shape = format!("{} {}", route.method, parts.collect::<Vec<_>>().join("/"));
        if let Some(other) = taken.insert(shape, name.to_owned()) {
            self.wrong(
                &join(at, "route"),
                format!("the endpoint `{other}` has this route already"),
            );
        }
    }

    fn params(
        &mut self,
        value: &Value,
        route: &format::Route<'_>,
        at: &str,
    ) -> BTreeMap<String, Vec<String>> {
        let mut params = BTreeMap::new();
        let at = join(at, "params");
        for (name, values) in value.get("params").and_then(Value::as_object).into_iter().flatten() {
            if !route.params.contains(&name.as_str()) {
                let inside = join(&at, name);
                let position = self.document.position(&inside);
                let message = format!("the route has no parameter `{{{name}}}`");
                let hint = suggest(name, route.params.iter().copied());
                self.problems.error(self.source, position, &inside, message).hint(hint);
            }
            let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
            params.insert(name.clone(), values.map(str::to_owned).collect());
        }
        params
    }

    fn max_body(&mut self, value: &Value, at: &str) -> Option<usize> {
        let bytes = match value.get("max_body")? {
            Value::String(text) => format::size(text).ok()?,
            number => usize::try_from(number.as_u64()?).ok()?,
        };
        let limit = self.limits.request_bytes;
        if bytes > limit {
            self.wrong(&join(at, "max_body"), format!("no body may have more than {limit} bytes"));
        }
        Some(bytes)
    }
}
