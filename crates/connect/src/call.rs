//! A destination's call, compiled once and filled for each delivery.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::collections::BTreeMap;
use stepbus_expr::{Env, Scope, Template};

use crate::connection::{Outgoing, parse_url};
use crate::payload::{Field, Payload};
use crate::spec::{Body, CallSpec, ParamValue, SpecError};
use crate::template::{TextTemplate, encode_into};
use crate::trouble::Trouble;

/// The header under which a target recognises a repeated write.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    url: TextTemplate,
    query: Vec<(String, TextTemplate)>,
    headers: Vec<(HeaderName, HeaderText)>,
    body: CallBody,
    /// Whether `{id}` is the remote id.
    knows_id: bool,
}

#[derive(Debug)]
enum HeaderText {
    Fixed(HeaderValue),
    Template(TextTemplate),
}

#[derive(Debug)]
enum CallBody {
    Payload,
    Empty,
    Template(Template),
}

/// What a call is filled from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) payload: &'a Payload,
    pub(crate) params: &'a BTreeMap<String, String>,
    /// Beside the call's own; they win over those of the same name.
    pub(crate) headers: &'a [(String, String)],
    pub(crate) query: &'a [(String, String)],
    pub(crate) id: Option<&'a str>,
    pub(crate) env: Env,
}

impl Call {
    /// `at` is the pointer of the call in the destination.
    pub(crate) fn compile(
        spec: &CallSpec,
        at: &str,
        knows_id: bool,
        errors: &mut Vec<SpecError>,
    ) -> Option<Call> {
        let before = errors.len();
        let mut note = |field: &str, problem: String| {
            errors.push(SpecError::new(format!("{at}/{field}"), problem));
        };
        let method = match Method::from_bytes(spec.method.to_ascii_uppercase().as_bytes()) {
            Ok(method) if !spec.method.is_empty() => method,
            _ => {
                note("method", format!("`{}` is no HTTP method", spec.method));
                Method::POST
            }
        };
        let parsed = TextTemplate::parse(&spec.url);
        let url = parsed.and_then(|url| check_url(&spec.url, url)).unwrap_or_else(|problem| {
            note("url", problem);
            TextTemplate::default()
        });
        let mut headers = Vec::new();
        for (name, value) in &spec.headers.0 {
            match compile_header(name, value) {
                Ok(header) => headers.push(header),
                Err(problem) => note(&format!("headers/{}", escape(name)), problem),
            }
        }
        let mut query = Vec::new();
        for (name, value) in &spec.query.0 {
            match compile_text(value) {
                Ok(text) => query.push((name.clone(), text)),
                Err(problem) => note(&format!("query/{}", escape(name)), problem),
            }
        }
        let writes = !matches!(method, Method::GET | Method::HEAD | Method::DELETE);
        let body = match &spec.body {
            Body::Default if writes => CallBody::Payload,
            Body::Default | Body::Empty => CallBody::Empty,
            Body::Template(value) => match Template::compile(value) {
                Ok(template) => CallBody::Template(template),
                Err(problems) => {
                    for (pointer, problem) in problems {
                        note(&format!("body{pointer}"), problem.to_string());
                    }
                    CallBody::Empty
                }
            },
        };
        let call = Call { method, url, query, headers, body, knows_id };
        (errors.len() == before).then_some(call)
    }

    /// The request, with the key when it writes.
    pub(crate) fn fill(&self, source: &Source<'_>, key: Option<&str>) -> Result<Outgoing, Trouble> {
        let mut url = self.url.fill(|text, name| {
            let value = self.value(source, name)?;
            if !text.contains('?') && matches!(value.as_str(), "" | "." | "..") {
                let problem = format!(
                    "the placeholder {{{name}}} of the URL's path would become `{value}`, which \
                     addresses something else"
                );
                return Err(Trouble::request(problem));
            }
            encode_into(text, &value);
            Ok(())
        })?;
        for (name, template) in &self.query {
            if source.query.iter().any(|(other, _)| other == name) {
                continue;
            }
            let value = template.fill(|text, name| {
                text.push_str(&self.value(source, name)?);
                Ok(())
            })?;
            add_query(&mut url, name, &value);
        }
        for (name, value) in source.query {
            add_query(&mut url, name, value);
        }
        let (body, kind) = self.body(source)?;
        let headers = self.headers(source, key, kind)?;
        Ok(Outgoing { method: self.method.clone(), url, headers, body })
    }

    fn headers(
        &self,
        source: &Source<'_>,
        key: Option<&str>,
        kind: Option<&'static str>,
    ) -> Result<HeaderMap, Trouble> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::USER_AGENT, crate::USER_AGENT);
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, text) in &self.headers {
            let value = match text {
                HeaderText::Fixed(value) => value.clone(),
                HeaderText::Template(template) => {
                    let text = template.fill(|text, name| {
                        text.push_str(&self.value(source, name)?);
                        Ok(())
                    })?;
                    header_value(name.as_str(), &text)?
                }
            };
            headers.insert(name.clone(), value);
        }
        for (name, text) in source.headers {
            let field = HeaderName::try_from(name).map_err(|_| {
                Trouble::request(format!("`{name}` cannot be the name of a header"))
            })?;
            headers.insert(field, header_value(name, text)?);
        }
        if let Some(key) = key.filter(|_| writes(&self.method)) {
            headers.insert(IDEMPOTENCY_KEY, header_value("Idempotency-Key", key)?);
        }
        Ok(headers)
    }

    /// The body, and what kind of one; none of a body that is not there.
    fn body(&self, source: &Source<'_>) -> Result<(Bytes, Option<&'static str>), Trouble> {
        let payload = source.payload;
        let template = match &self.body {
            CallBody::Payload => {
                let kind = (!payload.bytes().is_empty()).then(|| payload.content_type());
                return Ok((payload.bytes().clone(), kind));
            }
            CallBody::Empty => return Ok((Bytes::new(), None)),
            CallBody::Template(template) => template,
        };
        let json = payload.json();
        let params = serde_json::to_value(source.params).unwrap_or_default();
        let id = source.id.map(serde_json::Value::from);
        let mut scope = Scope::new(source.env);
        scope.bind_json("payload", &json).map_err(|error| Trouble::request(error.to_string()))?;
        scope.bind("params", &params);
        if let Some(id) = &id {
            scope.bind("id", id);
        }
        match template.eval(&scope) {
            Ok(Some(value)) => Ok((Bytes::from(value.to_string()), Some("application/json"))),
            Ok(None) => Ok((Bytes::new(), None)),
            Err(error) => Err(Trouble::request(format!("the body cannot be made: {error}"))),
        }
    }

    fn value(&self, source: &Source<'_>, name: &str) -> Result<String, Trouble> {
        if self.knows_id
            && name == "id"
            && let Some(id) = source.id
        {
            return Ok(id.to_owned());
        }
        if let Some(value) = source.params.get(name) {
            return Ok(value.clone());
        }
        let problem = match source.payload.field(name) {
            Field::Text(text) => return Ok(text),
            Field::NoText => "the payload's field of that name is no text, number or boolean",
            Field::Absent => "neither a parameter nor a field of the payload has that name",
            Field::NoObject => "the payload is no object",
        };
        Err(Trouble::request(format!("the placeholder {{{name}}} has no value: {problem}")))
    }
}

/// Whether a delivery may bring a header of that name: those that the transport or the delivery
/// itself sets are not for it.
#[must_use]
pub fn is_header_of_a_call(name: &str) -> bool {
    const OWN: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    HeaderName::try_from(name).is_ok_and(|name| !OWN.contains(&name.as_str()))
}

fn add_query(url: &mut String, name: &str, value: &str) {
    url.push(if url.contains('?') { '&' } else { '?' });
    encode_into(url, name);
    url.push('=');
    encode_into(url, value);
}

/// Whether a target may have changed after such a call.
pub(crate) fn writes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

pub(crate) fn header_value(name: &str, text: &str) -> Result<HeaderValue, Trouble> {
    HeaderValue::from_str(text).map_err(|_| {
        Trouble::request(format!("the value of the header {name} has a character it cannot carry"))
    })
}

fn compile_header(name: &str, value: &ParamValue) -> Result<(HeaderName, HeaderText), String> {
    let field = HeaderName::try_from(name)
        .map_err(|_| format!("`{name}` cannot be the name of a header"))?;
    let fixed = |text: &str| {
        HeaderValue::from_str(text)
            .map_err(|_| format!("the value of `{name}` has a character no header can carry"))
    };
    Ok(match value {
        ParamValue::Secret(secret) => {
            let mut value = fixed(secret.expose())?;
            value.set_sensitive(true);
            (field, HeaderText::Fixed(value))
        }
        ParamValue::Plain(text) => {
            let template = TextTemplate::parse(text)?;
            match template.constant() {
                Some(text) => (field, HeaderText::Fixed(fixed(text)?)),
                None => (field, HeaderText::Template(template)),
            }
        }
    })
}

/// A secret is taken as it is: braces in it are no placeholders.
fn compile_text(value: &ParamValue) -> Result<TextTemplate, String> {
    match value {
        ParamValue::Plain(text) => TextTemplate::parse(text),
        ParamValue::Secret(secret) => Ok(TextTemplate::literal(secret.expose())),
    }
}

/// The host is fixed: no payload decides where credentials go.
fn check_url(text: &str, url: TextTemplate) -> Result<TextTemplate, String> {
    let head = url.head();
    let rest = head.split_once("://").map(|(_, rest)| rest);
    let host_ends = rest.is_some_and(|rest| rest.contains(['/', '?']));
    if !host_ends && url.constant().is_none() && !text.is_empty() {
        return Err(format!(
            "`{text}` must begin with http:// or https:// and a host without placeholders"
        ));
    }
    let sample = url.fill(|text, _| {
        text.push('x');
        Ok::<(), Trouble>(())
    });
    match sample.and_then(|sample| parse_url(&sample)) {
        Ok(_) => Ok(url),
        Err(trouble) => Err(trouble.message),
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
