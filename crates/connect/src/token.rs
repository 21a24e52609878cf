//! OAuth tokens: fetched once for all workers, kept until shortly before they expire.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value};
use stepbus_model::{Clock, Limits, Timestamp};

use crate::client::{Answer, HttpClient};
use crate::secret::{Masker, Secret};
use crate::spec::{OAuth, OAuthStyle};
use crate::template::encode_into;
use crate::trouble::{Trouble, TroubleKind};

/// The token of one connection.
pub(crate) struct TokenCache {
    oauth: OAuth,
    uri: Uri,
    held: Mutex<Held>,
    /// Held by the one caller that fetches; the others wait for what it brings.
    fetching: tokio::sync::Mutex<Option<Failed>>,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// The token before, which may still be on its way in a call.
    previous: Option<Secret>,
    fetched: u64,
}

/// A token in use.
#[derive(Clone)]
pub(crate) struct Token {
    /// As it stands in `Authorization`.
    pub(crate) header: HeaderValue,
    /// Says which token a call went out with.
    pub(crate) number: u64,
    text: Secret,
    since: Timestamp,
    expires: Option<Timestamp>,
}

/// Shared with those who waited for the fetch that failed, so that they do not all try in turn.
struct Failed {
    at: Instant,
    trouble: Trouble,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Value>,
}

impl TokenCache {
    pub(crate) fn new(oauth: &OAuth, uri: Uri) -> Self {
        TokenCache {
            oauth: oauth.clone(),
            uri,
            held: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) async fn get(
        &self,
        client: &HttpClient,
        clock: &dyn Clock,
        limits: &Limits,
    ) -> Result<Token, Trouble> {
        let margin = Duration::from_secs(limits.token_margin_seconds);
        if let Some(token) = self.usable(clock.now(), margin) {
            return Ok(token);
        }
        let entered = Instant::now();
        let mut last = match self.fetching.try_lock() {
            Ok(last) => last,
            // Somebody renews it; until then the one at hand is good.
            Err(_) => match self.usable(clock.now(), Duration::ZERO) {
                Some(token) => return Ok(token),
                None => self.fetching.lock().await,
            },
        };
        if let Some(token) = self.usable(clock.now(), margin) {
            return Ok(token);
        }
        if let Some(failed) = last.as_ref().filter(|failed| failed.at > entered) {
            return Err(failed.trouble.clone());
        }
        // Apart, as it is rare and large.
        match Box::pin(self.fetch(client, clock, limits)).await {
            Ok(token) => {
                *last = None;
                Ok(token)
            }
            Err(trouble) => {
                *last = Some(Failed { at: Instant::now(), trouble: trouble.clone() });
                // One that is about to expire is better than none.
                self.usable(clock.now(), Duration::ZERO).ok_or(trouble)
            }
        }
    }

    /// Drops the token that a system no longer takes, unless it was replaced meanwhile.
    pub(crate) fn refuse(&self, number: u64) {
        let mut held = self.held.lock();
        if held.token.as_ref().is_some_and(|token| token.number == number) {
            held.previous = held.token.take().map(|token| token.text);
        }
    }

    pub(crate) fn age(&self, now: Timestamp) -> Option<Duration> {
        self.held.lock().token.as_ref().map(|token| now.since(token.since))
    }

    /// What must not be shown.
    pub(crate) fn secrets(&self, into: &mut Vec<String>) {
        into.push(self.oauth.client_secret.expose().to_owned());
        into.push(basic(&self.oauth.client_id, &self.oauth.client_secret));
        let held = self.held.lock();
        into.extend(held.token.iter().map(|token| token.text.expose().to_owned()));
        into.extend(held.previous.iter().map(|text| text.expose().to_owned()));
    }

    fn usable(&self, now: Timestamp, margin: Duration) -> Option<Token> {
        let held = self.held.lock();
        let token = held.token.as_ref()?;
        if let Some(expires) = token.expires {
            // A token that lives shorter than the margin is used for most of its life.
            let margin = margin.min(expires.since(token.since) / 10);
            if now.plus(margin) >= expires {
                return None;
            }
        }
        Some(token.clone())
    }

    async fn fetch(
        &self,
        client: &HttpClient,
        clock: &dyn Clock,
        limits: &Limits,
    ) -> Result<Token, Trouble> {
        let fail = |problem: &str| {
            let mut secrets = Vec::new();
            self.secrets(&mut secrets);
            let masker = Masker::new(secrets.iter().map(String::as_str));
            let text = format!("no token from {}: {problem}", self.oauth.token_url);
            Trouble::new(TroubleKind::Token, masker.mask(&text))
        };
        let (headers, body) = self.request();
        let timeout = Duration::from_secs(limits.http_timeout_seconds);
        let asked = clock.now();
        let answer = client
            .send(Method::POST, self.uri.clone(), headers, body, timeout)
            .await
            .map_err(|trouble| fail(&trouble.message))?;
        if !answer.status.is_success() {
            return Err(fail(&refusal(&answer)));
        }
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| {
            fail("the answer is no JSON object with a text `access_token`; is this the token URL?")
        })?;
        self.keep(&granted, asked)
            .ok_or_else(|| fail("the answer's access_token cannot stand in a header"))
    }

    fn keep(&self, granted: &Granted, asked: Timestamp) -> Option<Token> {
        let kind = match granted.token_type.as_deref() {
            Some(kind) if !kind.eq_ignore_ascii_case("bearer") => kind,
            _ => "Bearer",
        };
        let mut header = HeaderValue::from_str(&format!("{kind} {}", granted.access_token)).ok()?;
        header.set_sensitive(true);
        let mut held = self.held.lock();
        held.fetched += 1;
        let token = Token {
            header,
            number: held.fetched,
            text: Secret::from(granted.access_token.as_str()),
            since: asked,
            expires: granted.expires_in.as_ref().and_then(seconds).map(|span| asked.plus(span)),
        };
        if let Some(before) = held.token.replace(token.clone()) {
            held.previous = Some(before.text);
        }
        Some(token)
    }

    fn request(&self) -> (HeaderMap, Bytes) {
        let oauth = &self.oauth;
        let scope = oauth.scopes.join(" ");
        let mut fields = vec![("grant_type", "client_credentials")];
        if oauth.style != OAuthStyle::Basic {
            fields.push(("client_id", &oauth.client_id));
            fields.push(("client_secret", oauth.client_secret.expose()));
        }
        if !scope.is_empty() {
            fields.push(("scope", &scope));
        }
        fields.extend(oauth.params.0.iter().map(|(name, value)| (name.as_str(), value.expose())));
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, crate::USER_AGENT);
        if oauth.style == OAuthStyle::Basic {
            let text = format!("Basic {}", basic(&oauth.client_id, &oauth.client_secret));
            if let Ok(mut value) = HeaderValue::from_str(&text) {
                value.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, value);
            }
        }
        let (kind, body) = if oauth.style == OAuthStyle::Json {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            ("application/json", Value::Object(Map::from_iter(fields)).to_string())
        } else {
            ("application/x-www-form-urlencoded", form(&fields))
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        (headers, Bytes::from(body))
    }
}

/// The credentials of Basic authentication, encoded.
pub(crate) fn basic(username: &str, password: &Secret) -> String {
    BASE64.encode(format!("{username}:{}", password.expose()))
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        encode_into(&mut text, name);
        text.push('=');
        encode_into(&mut text, value);
    }
    text
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// What RFC 6749 lets a token endpoint say, and nothing else of its answer, which may hold
/// credentials.
fn refusal(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Refused {
        error: Option<String>,
        error_description: Option<String>,
    }
    let said = serde_json::from_slice::<Refused>(&answer.body).ok();
    let said = said.map(|said| [said.error, said.error_description].into_iter().flatten());
    let mut text = format!("it answered {}", answer.status.as_u16());
    for part in said.into_iter().flatten() {
        text.push_str(": ");
        text.extend(part.chars().take(200));
    }
    if answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::BAD_REQUEST {
        text.push_str(" (check client_id, client_secret and style)");
    }
    text
}
