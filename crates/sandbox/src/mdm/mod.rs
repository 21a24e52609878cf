//! The master-data system: Talend MDM's REST data API over the catalogue.

pub(crate) mod execute;
pub(crate) mod query;
pub(crate) mod scalar;
pub(crate) mod schema;
pub(crate) mod shape;
pub(crate) mod table;
pub(crate) mod write;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use http::header::{ACCEPT, CACHE_CONTROL, EXPIRES, HeaderValue, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderName, Method, StatusCode};
use serde_json::{Map, Value, json};

use self::query::{Column, Comparison, Condition, Expr, FieldRef, QueryError};
use self::scalar::Scalar;
use self::schema::ENTITIES;
use self::shape::{Query, Shape, Shapes};
use self::table::Database;
use self::write::{Answer, Format, Style};
use crate::faults::{Fault, Misbehaviour};
use crate::http::{Reply, Request, Service, basic_credentials, percent_decoded};

/// Where the services live below the listener's root.
pub(crate) const BASE: &str = "/talendmdm/services/rest";

#[derive(Debug)]
pub(crate) struct Mdm {
    pub(crate) container: String,
    pub(crate) misbehaviour: Misbehaviour,
    wrapper: Arc<str>,
    /// What follows `Basic `; changed when the password is rotated.
    credentials: RwLock<String>,
    user: String,
    database: RwLock<Arc<Database>>,
    rotation: AtomicUsize,
    shapes: Shapes,
    /// Queries by entity, then everything else.
    counts: [AtomicU64; ENTITIES.len() + 1],
}

impl Mdm {
    pub(crate) fn new(
        container: String,
        wrapper: &str,
        user: String,
        password: &str,
        database: Database,
        misbehaviour: Misbehaviour,
    ) -> Mdm {
        Mdm {
            container,
            misbehaviour,
            wrapper: wrapper.into(),
            credentials: RwLock::new(basic_credentials(&user, password)),
            user,
            database: RwLock::new(Arc::new(database)),
            rotation: AtomicUsize::new(0),
            shapes: Shapes::default(),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn database(&self) -> Arc<Database> {
        Arc::clone(&self.database.read().expect("no holder panics"))
    }

    pub(crate) fn replace(&self, database: Database) {
        *self.database.write().expect("no holder panics") = Arc::new(database);
    }

    pub(crate) fn set_password(&self, password: &str) {
        *self.credentials.write().expect("no holder panics") =
            basic_credentials(&self.user, password);
    }

    pub(crate) fn report(&self) -> Value {
        let mut report = Map::new();
        let names = ENTITIES.iter().map(|entity| entity.name).chain(["other"]);
        for (name, count) in names.zip(&self.counts) {
            report.insert(name.to_owned(), count.load(Ordering::Relaxed).into());
        }
        Value::Object(report)
    }

    pub(crate) fn forget_counts(&self) {
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
    }

    fn count(&self, kind: usize) {
        self.counts[kind].fetch_add(1, Ordering::Relaxed);
    }

    fn is_authorized(&self, request: &Request) -> bool {
        let given = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        given == Some(self.credentials.read().expect("no holder panics").as_str())
    }

    fn route(&self, request: &Request) -> Reply {
        let Some(path) = request.uri.path().strip_prefix(BASE) else {
            return Reply::empty(StatusCode::NOT_FOUND);
        };
        let mut parts =
            path.trim_start_matches('/').split('/').map(|part| percent_decoded(part, false));
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let route = (next(), next(), next(), next());
        match (&request.method, route) {
            (&Method::PUT, (Some(data), Some(container), Some(query), None))
                if data == "data" && query == "query" =>
            {
                self.in_container(&container, || self.query(request))
            }
            (&Method::GET, (Some(data), Some(container), Some(entity), id)) if data == "data" => {
                self.in_container(&container, || self.records(request, &entity, id.as_deref()))
            }
            (&Method::GET, (Some(system), Some(stats), Some(data), Some(container)))
                if system == "system" && stats == "stats" && data == "data" =>
            {
                self.in_container(&container, || self.statistics())
            }
            _ => {
                self.count(ENTITIES.len());
                Reply::empty(StatusCode::NOT_FOUND)
            }
        }
    }

    fn in_container(&self, container: &str, answer: impl FnOnce() -> Reply) -> Reply {
        if container == self.container {
            return answer();
        }
        self.count(ENTITIES.len());
        Reply::text(StatusCode::BAD_REQUEST, format!("invalid storage name '{container}'"))
    }

    fn style(&self, request: &Request) -> Style {
        let accept = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let format = match accept {
            Some(accept) if accept.contains("xml") && !accept.contains("json") => Format::Xml,
            _ => Format::Json,
        };
        let lower_case = request.parameter("ignoreCase").is_none_or(|value| value != "false");
        Style { format, lower_case, wrapper: Arc::clone(&self.wrapper) }
    }

    fn query(&self, request: &Request) -> Reply {
        match self.shapes.parse(&request.body) {
            Ok(query) => {
                self.count(query.from[0]);
                self.answered(request, query)
            }
            Err(QueryError { status, text }) => {
                self.count(ENTITIES.len());
                Reply::text(status, text)
            }
        }
    }

    fn answered(&self, request: &Request, query: Query) -> Reply {
        let style = self.style(request);
        let kind = match style.format {
            Format::Json => "application/json;charset=UTF-8",
            Format::Xml => "application/xml;charset=UTF-8",
        };
        let rotation = self.rotation.fetch_add(1, Ordering::Relaxed);
        let answer = Answer::new(self.database(), query, style, rotation);
        let mut reply = Reply::of(StatusCode::OK, kind, "");
        reply.content = answer.into_content();
        reply
    }

    /// `GET data/{container}/{type}[/{id}]`: all primary keys, or one record in an array.
    fn records(&self, request: &Request, entity: &str, id: Option<&str>) -> Reply {
        self.count(ENTITIES.len());
        let Some(number) = schema::entity(entity) else {
            let text = format!("Malformed query (type '{entity}' does not exist).");
            return Reply::text(StatusCode::BAD_REQUEST, text);
        };
        let key = ENTITIES[number].key;
        let all = Shape { from: vec![number], limit: usize::MAX, ..Shape::default() };
        let Some(id) = id else {
            let columns = key.iter().map(|field| Column {
                name: ENTITIES[number].fields[*field].name.to_owned(),
                expr: Expr::Field(FieldRef { slot: 0, field: *field }),
            });
            let shape = Arc::new(Shape { columns: Some(columns.collect()), ..all });
            return self.answered(request, Query { shape, condition: None });
        };
        let Some(condition) = by_id(number, id) else {
            return Reply::empty(StatusCode::NOT_FOUND);
        };
        let query = Query { shape: Arc::new(all), condition: Some(condition) };
        let database = self.database();
        if (execute::Execution { query: &query, database: &database }).rows(0).is_empty() {
            return Reply::empty(StatusCode::NOT_FOUND);
        }
        self.answered(request, query)
    }

    fn statistics(&self) -> Reply {
        self.count(ENTITIES.len());
        let database = self.database();
        let counts: Map<String, Value> = ENTITIES
            .iter()
            .zip(&database.tables)
            .map(|(entity, table)| (entity.name.to_owned(), table.rows.len().into()))
            .collect();
        Reply::json(StatusCode::OK, &json!({ &self.container: counts }))
    }
}

/// A composite id is separated by dots, one part for each key field.
fn by_id(entity: usize, id: &str) -> Option<Condition> {
    let key = ENTITIES[entity].key;
    let mut parts = id.splitn(key.len(), '.');
    let mut conditions = key.iter().map(|field| {
        let expr = Expr::Field(FieldRef { slot: 0, field: *field });
        let value = Scalar::read(ENTITIES[entity].fields[*field].kind, parts.next()?)?;
        Some(Condition::Compare(Comparison::Eq, expr, value))
    });
    let first = conditions.next()??;
    conditions.try_fold(first, |all, next| Some(Condition::And(Box::new(all), Box::new(next?))))
}

fn unauthorized() -> Reply {
    Reply::text(StatusCode::UNAUTHORIZED, "Unauthorized\n")
        .with(WWW_AUTHENTICATE, "Basic realm=\"Talend MDM Services Realm\"")
}

impl Service for Mdm {
    fn answer(&self, request: &Request) -> Reply {
        const HEADERS: [(HeaderName, HeaderValue); 3] = [
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (PRAGMA, HeaderValue::from_static("No-cache")),
            (EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT")),
        ];
        let mut reply = if self.is_authorized(request) {
            self.route(request)
        } else {
            self.count(ENTITIES.len());
            unauthorized()
        };
        reply.headers.extend(HEADERS);
        reply
    }

    fn misbehaviour(&self) -> Option<&Misbehaviour> {
        Some(&self.misbehaviour)
    }

    fn own_fault(&self, _: &Request, fault: Fault) -> Option<Reply> {
        (fault == Fault::Unauthorized).then(unauthorized)
    }
}
