//! What a connection and a destination are made of, as plain data in the project file's shape.
//!
//! Expressions and URL templates are text here; they are compiled when the spec is registered
//! (or only checked, by [`ConnectionSpec::check`] and [`DestinationSpec::check`]), and what is wrong
//! with them is reported as [`SpecError`]s that point at the field.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::mail::Smtp;
use crate::rate::Rate;
use crate::secret::Secret;

/// A system that is called: how to log in, and how much it bears.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionSpec {
    /// Not in the project file, where it is the key.
    pub name: String,
    /// A mail server, and no host of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
    pub auth: Auth,
    /// Calls in flight over this connection; `Limits::connection_concurrency` when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Sent with every call; they win over those of a task or destination, as AWS has it.
    #[serde(skip_serializing_if = "Params::is_empty")]
    pub headers: Params,
    #[serde(skip_serializing_if = "Params::is_empty")]
    pub query: Params,
}

/// Names with values that may be secret: `Secret` values come from the environment or a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(pub Vec<(String, ParamValue)>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamValue {
    Plain(String),
    Secret(Secret),
}

impl ParamValue {
    pub(crate) fn expose(&self) -> &str {
        match self {
            ParamValue::Plain(text) => text,
            ParamValue::Secret(secret) => secret.expose(),
        }
    }
}

/// How a connection proves who it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    #[default]
    None,
    Basic {
        username: String,
        password: Secret,
    },
    ApiKey(ApiKey),
    #[serde(rename = "oauth")]
    OAuth(Box<OAuth>),
}

/// A key in a header, or in the query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    pub value: Secret,
}

/// OAuth 2 client credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    pub token_url: String,
    pub client_id: String,
    pub client_secret: Secret,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Further members of the token request, such as `audience`.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub params: Params,
    #[serde(default)]
    pub style: OAuthStyle,
}

/// How the token endpoint wants to be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OAuthStyle {
    /// POST of a form that carries client id and secret.
    #[default]
    Form,
    /// POST of a form, client id and secret as Basic credentials.
    Basic,
    /// POST of JSON that carries client id and secret.
    Json,
}

/// Where deliveries go: one call, or an upsert of up to three.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationSpec {
    pub name: String,
    /// The connection's name; without one the call carries no credentials.
    pub connection: Option<String>,
    pub action: Action,
    pub rate: Option<Rate>,
    /// Calls in flight to this destination; `Limits::destination_concurrency` when not set.
    pub concurrency: Option<usize>,
    /// Of one call, from the first byte sent to the last received.
    pub timeout: Option<Duration>,
    pub outcome: OutcomeRules,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Call(CallSpec),
    Upsert(Box<Upsert>),
}

/// One call. `{name}` in the URL, in a header or in a query value takes the parameter of that
/// name, else the payload's top-level field; `{id}` is the remote id; `{{` and `}}` are braces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallSpec {
    pub method: String,
    pub url: String,
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub headers: Params,
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub query: Params,
    /// A template over `$payload`, `$params` and `$id`; the payload itself when not set, nothing
    /// when `null` or when the method is GET, HEAD or DELETE.
    #[serde(default, skip_serializing_if = "Body::is_default")]
    pub body: Body,
}

/// What a call carries.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Body {
    /// The payload, but for methods that carry none.
    #[default]
    Default,
    Empty,
    /// JSON whose `{% … %}` strings are evaluated.
    Template(Value),
}

/// Find, then create or update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upsert {
    pub find: CallSpec,
    pub create: CallSpec,
    pub update: CallSpec,
    /// The remote id in the answer to `find`; undefined or null when there is nothing.
    pub id: String,
    /// The remote id in the answer to `create`. Without it `id` is tried, then
    /// `$response.body.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_id: Option<String>,
    /// Says of an answer to `find` or `update` that the thing is not there, where that is not
    /// an answer with success (find) or 404 or 410 (update).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// JSONata over `$response`, each of which may decide what an answer means.
///
/// They are asked in the order login, throttled, success, retryable, permanent; the first that is
/// true decides. When none is, the status does, but a 2xx is permanent where `success` is false.
/// A `success` rule that does not look at `$response.status` is asked about 2xx answers only, so
/// that a rule such as "no `error` in the body" does not take a proxy's 502 page for a success.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutcomeRules {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<String>,
    /// True, or the number of seconds to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permanent: Option<String>,
    /// What of a batch failed although the call did not: places in the array from 0, or objects
    /// with `index`, `class` (`retryable` by default, or `permanent`) and `message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// The credentials are no longer good: log in again and repeat the call at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

/// What is wrong with a spec, and at which of its fields (an RFC 6901 pointer).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    pub pointer: String,
    pub message: String,
}

impl SpecError {
    pub(crate) fn new(pointer: impl Into<String>, message: impl fmt::Display) -> Self {
        SpecError { pointer: pointer.into(), message: message.to_string() }
    }
}

impl DestinationSpec {
    #[must_use]
    pub fn call(name: &str, connection: Option<&str>, call: CallSpec) -> Self {
        DestinationSpec::of(name, connection, Action::Call(call))
    }

    #[must_use]
    pub fn upsert(name: &str, connection: Option<&str>, upsert: Upsert) -> Self {
        DestinationSpec::of(name, connection, Action::Upsert(Box::new(upsert)))
    }

    fn of(name: &str, connection: Option<&str>, action: Action) -> Self {
        DestinationSpec {
            name: name.to_owned(),
            connection: connection.map(str::to_owned),
            action,
            rate: None,
            concurrency: None,
            timeout: None,
            outcome: OutcomeRules::default(),
        }
    }
}

impl CallSpec {
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        CallSpec { method: method.to_owned(), url: url.to_owned(), ..CallSpec::default() }
    }
}

impl Params {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Body {
    fn is_default(&self) -> bool {
        *self == Body::Default
    }
}

impl From<&str> for ParamValue {
    fn from(text: &str) -> Self {
        ParamValue::Plain(text.to_owned())
    }
}

impl From<Secret> for ParamValue {
    fn from(secret: Secret) -> Self {
        ParamValue::Secret(secret)
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| match value {
            ParamValue::Plain(text) => (name, text.as_str()),
            ParamValue::Secret(_) => (name, crate::secret::MASK),
        }))
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = serde_json::Map::deserialize(deserializer)?;
        let mut params = Vec::with_capacity(members.len());
        for (name, value) in members {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => {
                    let problem = format!("`{name}` must be a text, a number, true or false");
                    return Err(serde::de::Error::custom(problem));
                }
            };
            params.push((name, ParamValue::Plain(text)));
        }
        Ok(Params(params))
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Body::Default => serializer.serialize_str("{% $payload %}"),
            Body::Empty => serializer.serialize_unit(),
            Body::Template(template) => template.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Null => Body::Empty,
            template => Body::Template(template),
        })
    }
}

/// The project file writes a single call's fields beside the destination's own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationFile {
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    headers: Params,
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    query: Params,
    #[serde(default, skip_serializing_if = "Body::is_default")]
    body: Body,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upsert: Option<Upsert>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timeout")]
    timeout: Option<Duration>,
    #[serde(default)]
    outcome: OutcomeRules,
}

impl Serialize for DestinationSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (call, upsert) = match &self.action {
            Action::Call(call) => (call.clone(), None),
            Action::Upsert(upsert) => (CallSpec::default(), Some((**upsert).clone())),
        };
        let one = upsert.is_none();
        DestinationFile {
            name: self.name.clone(),
            connection: self.connection.clone(),
            method: one.then_some(call.method),
            url: one.then_some(call.url),
            headers: call.headers,
            query: call.query,
            body: call.body,
            upsert,
            rate: self.rate,
            concurrency: self.concurrency,
            timeout: self.timeout,
            outcome: self.outcome.clone(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DestinationSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = DestinationFile::deserialize(deserializer)?;
        let action = match (file.method, file.url, file.upsert) {
            (method, Some(url), None) => Action::Call(CallSpec {
                method: method.unwrap_or_else(|| "POST".to_owned()),
                url,
                headers: file.headers,
                query: file.query,
                body: file.body,
            }),
            (None, None, Some(upsert)) => Action::Upsert(Box::new(upsert)),
            (_, None, None) => {
                let problem = "a destination needs `url` (with `method`) or `upsert`";
                return Err(serde::de::Error::custom(problem));
            }
            (_, _, Some(_)) => {
                let problem = "`upsert` has its own calls: `method` and `url` do not go with it";
                return Err(serde::de::Error::custom(problem));
            }
        };
        Ok(DestinationSpec {
            name: file.name,
            connection: file.connection,
            action,
            rate: file.rate,
            concurrency: file.concurrency,
            timeout: file.timeout,
            outcome: file.outcome,
        })
    }
}

mod timeout {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => serializer.serialize_str(&format!("{}ms", span.as_millis())),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let span = text.parse::<jiff::SignedDuration>().ok();
        match span.and_then(|span| Duration::try_from(span).ok()).filter(|span| !span.is_zero()) {
            Some(span) => Ok(Some(span)),
            None => Err(serde::de::Error::custom(format!(
                "`{text}` is no length of time above zero; write for example 5s, 500ms or 1m"
            ))),
        }
    }
}
