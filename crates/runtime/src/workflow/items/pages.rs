//! `arn:stepbus:items:::http:pages`: items from an HTTP endpoint, page after page, through a
//! connection.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use stepbus_asl::{Failure, ItemReader};
use stepbus_connect::{CallError, HttpResponse};
use stepbus_expr::{Env, Jsonata, Scope, jsonata::expression_in};
use stepbus_items::ItemFault;

use super::super::tasks::http_task;
use super::{Item, Reads, Room, SourcePage, reader_failed};
use crate::engine::Engine;

/// The members of a request that a next page may replace.
const REQUEST: [&str; 5] = ["ApiEndpoint", "Method", "Headers", "QueryParameters", "RequestBody"];

/// Where reading goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    /// The page's request.
    request: Map<String, Value>,
    /// Pages and items before it.
    page: u64,
    items: u64,
    /// Items of it that are read already, and what all of them hashed to.
    #[serde(default)]
    skip: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

/// A page that was read.
struct Page {
    mark: Mark,
    items: Vec<Box<RawValue>>,
    hash: String,
    next: Option<Mark>,
}

pub(super) struct HttpPages {
    engine: Arc<Engine>,
    first: Map<String, Value>,
    connection: Option<Value>,
    items: Jsonata,
    next: Option<Jsonata>,
    changes_matter: bool,
    page: Option<Page>,
}

pub(super) fn open(engine: &Arc<Engine>, reader: &ItemReader) -> Result<HttpPages, Failure> {
    opened(engine, reader).map_err(|fault| reader_failed(&fault))
}

fn opened(engine: &Arc<Engine>, reader: &ItemReader) -> Result<HttpPages, ItemFault> {
    let Value::Object(arguments) = &reader.arguments else {
        return Err(ItemFault("the arguments must be an object".to_owned()));
    };
    let first = arguments.iter().filter(|(name, _)| REQUEST.contains(&name.as_str()));
    let paging = arguments.get("Paging").cloned().unwrap_or_else(|| json!({}));
    let items = compiled(&paging, "Items")?;
    let items = match items {
        Some(items) => items,
        None => Jsonata::compile("$response.body").map_err(|error| ItemFault(error.to_string()))?,
    };
    Ok(HttpPages {
        engine: engine.clone(),
        first: first.map(|(name, value)| (name.clone(), value.clone())).collect(),
        connection: arguments.get("Authentication").cloned(),
        items,
        next: compiled(&paging, "Next")?,
        changes_matter: arguments.get("OnSourceChange").is_none_or(|set| set != "CONTINUE"),
        page: None,
    })
}

/// An expression without `{% %}`, which would be evaluated when the state begins.
fn compiled(paging: &Value, name: &str) -> Result<Option<Jsonata>, ItemFault> {
    let Some(text) = paging.get(name) else { return Ok(None) };
    let text = text
        .as_str()
        .ok_or_else(|| ItemFault(format!("Paging.{name} must be a JSONata expression as text")))?;
    let inner = expression_in(text).ok().flatten().unwrap_or(text);
    Jsonata::compile(inner).map(Some).map_err(|error| ItemFault(format!("Paging.{name}: {error}")))
}

impl Reads for HttpPages {
    async fn read(&mut self, token: Option<&str>, room: Room) -> Result<SourcePage, ItemFault> {
        let mark = match token {
            None => Mark { request: self.first.clone(), page: 0, items: 0, skip: 0, hash: None },
            Some(token) => serde_json::from_str(token)
                .map_err(|error| ItemFault(format!("the token {token} cannot be read: {error}")))?,
        };
        let here = self.page.as_ref().is_some_and(|page| page.mark.page == mark.page);
        if !here || token.is_none() {
            self.page = Some(self.fetch(mark.clone()).await?);
        }
        let Some(page) = &self.page else { return Ok(SourcePage::default()) };
        if self.changes_matter && mark.hash.as_ref().is_some_and(|hash| *hash != page.hash) {
            return Err(ItemFault(format!(
                "page {} is not what it was when reading it began; order it by a key that does not \
                 change, or set OnSourceChange to CONTINUE",
                mark.page + 1
            )));
        }
        let (mut read, mut bytes) = (SourcePage::default(), 0);
        for value in page.items.iter().skip(mark.skip) {
            bytes += value.get().len();
            let full = read.items.len() >= room.items.max(1) || bytes > room.bytes;
            if full && !read.items.is_empty() {
                break;
            }
            read.items.push(Item { key: None, value: value.clone() });
        }
        let skip = mark.skip + read.items.len();
        let next = if skip < page.items.len() {
            Some(Mark { skip, hash: Some(page.hash.clone()), ..mark })
        } else {
            page.next.clone()
        };
        read.next = next.map(|mark| serde_json::to_string(&mark).unwrap_or_default());
        Ok(read)
    }
}

impl HttpPages {
    async fn fetch(&self, mark: Mark) -> Result<Page, ItemFault> {
        let response = self.call(&mark.request).await?;
        let request = Value::Object(mark.request.clone());
        let about = json!({ "number": mark.page, "items": mark.items });
        let now = self.engine.now();
        let place = |what: &str, error: &dyn std::fmt::Display| {
            ItemFault(format!("{what} of page {}: {error}", mark.page + 1))
        };
        let mut scope = Scope::new(Env { now, seed: mark.page });
        scope.bind("response", &response);
        scope.bind("request", &request);
        scope.bind("page", &about);
        let items = self.items.eval(&scope).map_err(|error| place("Paging.Items", &error))?;
        let items = match items {
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) => Vec::new(),
            // A JSONata sequence of one is that one.
            Some(one) if self.next.is_some() || !response["body"].is_object() => vec![one],
            Some(_) => {
                let error = "it gives no array";
                return Err(place("Paging.Items", &error));
            }
        };
        let next = match &self.next {
            None => None,
            Some(next) => {
                let items = Value::Array(items.clone());
                scope.bind("items", &items);
                let next = next.eval(&scope).map_err(|error| place("Paging.Next", &error))?;
                next_request(&mark.request, next).map_err(|error| place("Paging.Next", &error))?
            }
        };
        if next.as_ref() == Some(&mark.request) {
            return Err(place("Paging.Next", &"it gives the same request again"));
        }
        let texts = items.iter().map(|item| RawValue::from_string(item.to_string()));
        let texts: Vec<Box<RawValue>> =
            texts.collect::<Result<_, _>>().map_err(|error| ItemFault(error.to_string()))?;
        let mut digest = Sha256::new();
        for text in &texts {
            digest.update(text.get().as_bytes());
            digest.update(b"\n");
        }
        let hash = digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let (page, count) = (mark.page + 1, mark.items + texts.len() as u64);
        let next = next.map(|request| Mark { request, page, items: count, skip: 0, hash: None });
        Ok(Page { mark, items: texts, hash, next })
    }

    /// The answer as expressions see it. What may pass is asked for again.
    async fn call(&self, request: &Map<String, Value>) -> Result<Value, ItemFault> {
        let limits = &self.engine.limits;
        let mut wait = Duration::from_millis(limits.delivery_backoff_first_ms);
        let most = Duration::from_millis(limits.delivery_backoff_cap_ms);
        let mut attempt = 1;
        loop {
            let mut arguments = request.clone();
            if let Some(authentication) = &self.connection {
                arguments.insert("Authentication".to_owned(), authentication.clone());
            }
            let mut task = http_task(&Value::Object(arguments))
                .map_err(|failure| ItemFault(failure.cause.unwrap_or_default()))?;
            task.timeout = Some(Duration::from_secs(limits.http_timeout_seconds));
            let error = match self.engine.connect.invoke(task).await {
                Ok(answer) => match seen(&answer) {
                    Ok(response) => return Ok(response),
                    Err(fault) => fault,
                },
                Err(error) if may_pass(&error) => ItemFault(error.cause),
                Err(error) => return Err(ItemFault(format!("{}: {}", error.error, error.cause))),
            };
            if attempt >= limits.item_page_attempts {
                return Err(ItemFault(format!("{error} ({attempt} attempts)")));
            }
            attempt += 1;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(most);
        }
    }
}

fn may_pass(error: &CallError) -> bool {
    match error.status {
        None => error.error.starts_with("States.Http.Socket") || error.error.contains("Timeout"),
        Some(status) => matches!(status, 408 | 425 | 429 | 500..),
    }
}

/// A body that says it is JSON and is none was cut off on its way.
fn seen(answer: &HttpResponse) -> Result<Value, ItemFault> {
    let headers: Map<String, Value> =
        answer.headers().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let json = headers
        .get("content-type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.contains("json"));
    let body = match serde_json::from_slice(&answer.body) {
        Ok(body) => body,
        Err(error) if json => return Err(ItemFault(format!("the body is no JSON: {error}"))),
        Err(_) => Value::from(String::from_utf8_lossy(&answer.body)),
    };
    Ok(json!({ "status": answer.status, "headers": headers, "body": body }))
}

/// The request of the next page: what `next` gives, put into the one before.
fn next_request(
    before: &Map<String, Value>,
    next: Option<Value>,
) -> Result<Option<Map<String, Value>>, String> {
    let mut request = before.clone();
    let url = match next {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(url)) => Some(url),
        Some(Value::Object(mut members)) => {
            let url = members.remove("ApiEndpoint");
            for (name, value) in members {
                replace(&mut request, name, value)?;
            }
            match url {
                None => None,
                Some(Value::String(url)) => Some(url),
                Some(other) => return Err(format!("ApiEndpoint must be text, but is {other}")),
            }
        }
        Some(other) => {
            return Err(format!("an object, a URL or nothing is expected, it gives {other}"));
        }
    };
    if let Some(url) = url {
        let base = before.get("ApiEndpoint").and_then(Value::as_str).unwrap_or_default();
        request.insert("ApiEndpoint".to_owned(), Value::from(within(base, &url)?));
    }
    Ok(Some(request))
}

fn replace(request: &mut Map<String, Value>, name: String, value: Value) -> Result<(), String> {
    if !REQUEST.contains(&name.as_str()) {
        return Err(format!("`{name}` is not known; there are: {}", REQUEST.join(", ")));
    }
    match (name.as_str(), request.get_mut(&name), value) {
        // Those that are not named stay.
        ("Headers" | "QueryParameters", Some(Value::Object(members)), Value::Object(new)) => {
            members.extend(new);
        }
        (_, _, value) => {
            request.insert(name, value);
        }
    }
    Ok(())
}

/// The URL, when it leads to the same host: the connection's credentials go nowhere else.
fn within(base: &str, url: &str) -> Result<String, String> {
    let origin = |url: &str| {
        let start = url.find("://")? + 3;
        let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |end| start + end);
        Some(url[..end].to_ascii_lowercase())
    };
    let home = origin(base).ok_or_else(|| format!("`{base}` is no URL"))?;
    if url.starts_with('/') && !url.starts_with("//") {
        return Ok(format!("{}{url}", &base[..home.len()]));
    }
    match origin(url) {
        Some(other) if other == home => Ok(url.to_owned()),
        Some(_) => Err(format!("{url} leads to another host than {home}")),
        None => Err(format!("`{url}` is no URL; it must begin with / or http")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Map<String, Value> {
        let request = json!({
            "ApiEndpoint": "https://Host:1/a/b?x=1",
            "Method": "GET",
            "QueryParameters": { "limit": 10, "start": 0 },
        });
        request.as_object().unwrap().clone()
    }

    #[test]
    fn what_comes_next() {
        let check = |next: Value, expected: Option<(&str, Value)>| {
            let given = next_request(&request(), Some(next)).unwrap();
            let expected = expected.map(|(member, value)| {
                let mut whole = request();
                whole.insert(member.to_owned(), value);
                whole
            });
            assert_eq!(given, expected);
        };
        check(Value::Null, None);
        check(json!(false), None);
        check(json!(""), None);
        let query = json!({ "limit": 10, "start": 10 });
        check(json!({ "QueryParameters": { "start": 10 } }), Some(("QueryParameters", query)));
        check(json!({ "RequestBody": { "a": 1 } }), Some(("RequestBody", json!({ "a": 1 }))));
        check(json!("/c?p=2"), Some(("ApiEndpoint", json!("https://Host:1/c?p=2"))));
        check(json!("https://host:1/d"), Some(("ApiEndpoint", json!("https://host:1/d"))));
        assert_eq!(next_request(&request(), None), Ok(None));
    }

    #[test]
    fn what_cannot_come_next() {
        let check = |next: Value, message: &str| {
            assert_eq!(next_request(&request(), Some(next)).unwrap_err(), message);
        };
        check(
            json!("https://elsewhere/d"),
            "https://elsewhere/d leads to another host than https://host:1",
        );
        check(json!("//elsewhere/d"), "`//elsewhere/d` is no URL; it must begin with / or http");
        check(json!("c"), "`c` is no URL; it must begin with / or http");
        check(json!(7), "an object, a URL or nothing is expected, it gives 7");
        let known = "ApiEndpoint, Method, Headers, QueryParameters, RequestBody";
        check(json!({ "Query": {} }), &format!("`Query` is not known; there are: {known}"));
    }
}
