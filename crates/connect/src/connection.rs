//! A registered connection: its gate, its credentials, and calls made with both.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use stepbus_model::{Clock, Limits};

use crate::client::{Answer, HttpClient};
use crate::gate::Gate;
use crate::mail;
use crate::secret::Masker;
use crate::spec::{Auth, ConnectionSpec, ParamValue, Params, SpecError};
use crate::template::encode_into;
use crate::token::{TokenCache, basic};
use crate::trouble::Trouble;

pub(crate) struct Connection {
    pub(crate) spec: ConnectionSpec,
    pub(crate) gate: Arc<Gate>,
    pub(crate) credentials: Arc<Credentials>,
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Vec<(String, String)>,
}

pub(crate) enum Credentials {
    None,
    Header(HeaderName, HeaderValue),
    Query(String, String),
    OAuth(Box<TokenCache>),
}

/// A request without the connection's share in it.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What came of a request, and the number of the token it went out with.
pub(crate) struct Sent {
    pub(crate) result: Result<Answer, Trouble>,
    pub(crate) token: Option<u64>,
}

impl Connection {
    /// Takes over gate and credentials of the connection it replaces where they are unchanged.
    pub(crate) fn new(
        spec: ConnectionSpec,
        before: Option<&Connection>,
        concurrency: usize,
        limits: Limits,
    ) -> Result<Self, Vec<SpecError>> {
        let mut errors = Vec::new();
        let headers = headers(&spec.headers, &mut errors);
        let query =
            spec.query.0.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        let query = query.collect();
        if spec.concurrency == Some(0) {
            errors.push(SpecError::new("/concurrency", "concurrency must be above 0"));
        }
        mail::check(&spec, &mut errors);
        let kept = before.filter(|before| before.spec.auth == spec.auth);
        let credentials = match kept {
            Some(before) => Some(Arc::clone(&before.credentials)),
            None => Credentials::new(&spec.auth, &mut errors).map(Arc::new),
        };
        let (Some(credentials), true) = (credentials, errors.is_empty()) else {
            return Err(errors);
        };
        let concurrency = spec.concurrency.unwrap_or(concurrency);
        let gate = match before {
            Some(before) => {
                before.gate.configure(concurrency, spec.rate);
                Arc::clone(&before.gate)
            }
            None => Arc::new(Gate::new(concurrency, spec.rate, limits)),
        };
        Ok(Connection { spec, gate, credentials, headers, query })
    }

    /// Makes the call, following redirects of GET and HEAD.
    pub(crate) async fn send(
        &self,
        client: &HttpClient,
        clock: &dyn Clock,
        limits: &Limits,
        request: &Outgoing,
        timeout: Duration,
    ) -> Sent {
        let mut token = None;
        if let Credentials::OAuth(cache) = &*self.credentials {
            match cache.get(client, clock, limits).await {
                Ok(found) => token = Some(found),
                Err(trouble) => return Sent { result: Err(trouble), token: None },
            }
        }
        let number = token.as_ref().map(|token| token.number);
        let token = token.map(|token| token.header);
        let result = self.exchange(client, limits, request, token, timeout).await;
        Sent { result, token: number }
    }

    async fn exchange(
        &self,
        client: &HttpClient,
        limits: &Limits,
        request: &Outgoing,
        token: Option<HeaderValue>,
        timeout: Duration,
    ) -> Result<Answer, Trouble> {
        let mut uri = parse_url(&self.with_query(&request.url))?;
        let mut headers = request.headers.clone();
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Credentials::Header(name, value) = &*self.credentials {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, token);
        }
        let follows = matches!(request.method, Method::GET | Method::HEAD);
        let mut left = if follows { limits.http_redirects } else { 0 };
        loop {
            let (method, body) = (request.method.clone(), request.body.clone());
            if left == 0 {
                return client.send(method, uri, headers, body, timeout).await;
            }
            let answer = client.send(method, uri.clone(), headers.clone(), body, timeout).await?;
            let Some(target) = redirect(&answer, &uri) else { return Ok(answer) };
            left -= 1;
            if target.authority() != uri.authority() || target.scheme() != uri.scheme() {
                // Credentials are for the host they were given for.
                headers.clone_from(&request.headers);
                headers.remove(header::AUTHORIZATION);
                headers.remove(header::COOKIE);
            }
            uri = target;
        }
    }

    /// The connection's parameters take the place of those of the same name.
    fn with_query<'u>(&self, url: &'u str) -> Cow<'u, str> {
        let key = match &*self.credentials {
            Credentials::Query(name, value) => Some((name, value)),
            _ => None,
        };
        if key.is_none() && self.query.is_empty() {
            return Cow::Borrowed(url);
        }
        let ours = || self.query.iter().map(|(name, value)| (name, value)).chain(key);
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let mut text = path.to_owned();
        let mut separator = '?';
        let theirs = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            !pair.is_empty() && ours().all(|(our, _)| *our != name)
        });
        for pair in theirs {
            text.push(std::mem::replace(&mut separator, '&'));
            text.push_str(pair);
        }
        for (name, value) in ours() {
            text.push(std::mem::replace(&mut separator, '&'));
            encode_into(&mut text, name);
            text.push('=');
            encode_into(&mut text, value);
        }
        Cow::Owned(text)
    }

    /// Whether there is a token to be fetched anew, after dropping the one that was refused.
    pub(crate) fn log_in_again(&self, token: Option<u64>) -> bool {
        match (&*self.credentials, token) {
            (Credentials::OAuth(cache), Some(number)) => {
                cache.refuse(number);
                true
            }
            _ => false,
        }
    }

    /// Hides this connection's secrets, and others given.
    pub(crate) fn masker<'a>(&self, others: impl IntoIterator<Item = &'a str>) -> Masker {
        let mut secrets: Vec<String> = others.into_iter().map(str::to_owned).collect();
        match &self.spec.auth {
            Auth::None => {}
            Auth::Basic { username, password } => {
                secrets.push(password.expose().to_owned());
                secrets.push(basic(username, password));
            }
            Auth::ApiKey(key) => secrets.push(key.value.expose().to_owned()),
            Auth::OAuth(oauth) => secrets.extend(secret_values(&oauth.params)),
        }
        if let Credentials::OAuth(cache) = &*self.credentials {
            cache.secrets(&mut secrets);
        }
        secrets.extend(secret_values(&self.spec.headers));
        secrets.extend(secret_values(&self.spec.query));
        Masker::new(secrets.iter().map(String::as_str))
    }

    /// The headers that this connection adds, for a record of the call.
    pub(crate) fn added_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = match &*self.credentials {
            Credentials::Header(name, _) => Some((name.as_str(), crate::MASK)),
            Credentials::OAuth(_) => Some(("authorization", crate::MASK)),
            Credentials::None | Credentials::Query(..) => None,
        };
        let params = self.spec.headers.0.iter().map(|(name, value)| match value {
            ParamValue::Plain(text) => (name.as_str(), text.as_str()),
            ParamValue::Secret(_) => (name.as_str(), crate::MASK),
        });
        own.into_iter().chain(params)
    }
}

impl Credentials {
    fn new(auth: &Auth, errors: &mut Vec<SpecError>) -> Option<Self> {
        let sensitive = |text: &str| {
            HeaderValue::from_str(text).ok().map(|mut value| {
                value.set_sensitive(true);
                value
            })
        };
        match auth {
            Auth::None => Some(Credentials::None),
            Auth::Basic { username, password } => {
                let value = sensitive(&format!("Basic {}", basic(username, password)))?;
                Some(Credentials::Header(header::AUTHORIZATION, value))
            }
            Auth::ApiKey(key) => match (&key.header, &key.query) {
                (Some(name), None) => {
                    let field = HeaderName::try_from(name.as_str()).ok();
                    if field.is_none() {
                        let problem = format!("`{name}` cannot be the name of a header");
                        errors.push(SpecError::new("/auth/api_key/header", problem));
                    }
                    let value = sensitive(key.value.expose());
                    if value.is_none() {
                        let problem = "the key has a character that no header can carry";
                        errors.push(SpecError::new("/auth/api_key/value", problem));
                    }
                    Some(Credentials::Header(field?, value?))
                }
                (None, Some(name)) => {
                    Some(Credentials::Query(name.clone(), key.value.expose().to_owned()))
                }
                _ => {
                    let problem = "give either `header` or `query`: the name under which the \
                                   key is sent";
                    errors.push(SpecError::new("/auth/api_key", problem));
                    None
                }
            },
            Auth::OAuth(oauth) => match parse_url(&oauth.token_url) {
                Ok(uri) => Some(Credentials::OAuth(Box::new(TokenCache::new(oauth, uri)))),
                Err(trouble) => {
                    errors.push(SpecError::new("/auth/oauth/token_url", trouble.message));
                    None
                }
            },
        }
    }
}

fn headers(params: &Params, errors: &mut Vec<SpecError>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(params.0.len());
    for (name, value) in &params.0 {
        let at = || format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        match (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value.expose())) {
            (Ok(name), Ok(mut text)) => {
                text.set_sensitive(matches!(value, ParamValue::Secret(_)));
                headers.push((name, text));
            }
            (Err(_), _) => {
                errors
                    .push(SpecError::new(at(), format!("`{name}` cannot be the name of a header")));
            }
            (_, Err(_)) => {
                let problem = format!("the value of `{name}` has a character no header can carry");
                errors.push(SpecError::new(at(), problem));
            }
        }
    }
    headers
}

fn secret_values(params: &Params) -> impl Iterator<Item = String> {
    params.0.iter().filter_map(|(_, value)| match value {
        ParamValue::Secret(secret) => Some(secret.expose().to_owned()),
        ParamValue::Plain(_) => None,
    })
}

/// An absolute http or https URL without credentials in it.
pub(crate) fn parse_url(url: &str) -> Result<Uri, Trouble> {
    // A URL with a password in it must not get into the message.
    let shown = url.split_once('@').map_or(url, |_| "the URL");
    let uri = url
        .parse::<Uri>()
        .map_err(|error| Trouble::request(format!("`{shown}` is no URL: {error}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        let problem = format!("`{shown}` must begin with http:// or https://");
        return Err(Trouble::request(problem));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            let problem = "the URL holds credentials; put them into the connection's `auth`";
            Err(Trouble::request(problem))
        }
        Some(authority) if !authority.host().is_empty() => Ok(uri),
        _ => Err(Trouble::request(format!("`{shown}` has no host"))),
    }
}

/// Where a redirecting answer points, resolved against where it came from.
fn redirect(answer: &Answer, from: &Uri) -> Option<Uri> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !redirects.contains(&answer.status) {
        return None;
    }
    let target = answer.header(&header::LOCATION)?.split('#').next()?;
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let absolute = if target.contains("://") {
        target.to_owned()
    } else if let Some(rest) = target.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.starts_with('?') {
        format!("{scheme}://{authority}{}{target}", from.path())
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{target}")
    };
    parse_url(&absolute).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::spec::ApiKey;

    #[test]
    fn resolves_redirects() {
        let check = |location: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            let answer = Answer { status: StatusCode::FOUND, headers, body: Bytes::new() };
            let from: Uri = "http://h:1/a/b?c=d".parse().unwrap();
            let target = redirect(&answer, &from).map(|uri| uri.to_string());
            assert_eq!(target.as_deref(), expected, "{location}");
        };
        check("https://other/x#part", Some("https://other/x"));
        check("//other/x", Some("http://other/x"));
        check("/x?y", Some("http://h:1/x?y"));
        check("x", Some("http://h:1/a/x"));
        check("?z", Some("http://h:1/a/b?z"));
        check("ftp://other/x", None);
    }

    #[test]
    fn the_connections_query_wins() {
        let check = |url: &str, expected: &str| {
            let value = Secret::from("k&y");
            let key = ApiKey { header: None, query: Some("key".to_owned()), value };
            let spec = ConnectionSpec {
                auth: Auth::ApiKey(key),
                query: Params(vec![("shop".to_owned(), "1".into())]),
                ..ConnectionSpec::default()
            };
            let connection = Connection::new(spec, None, 1, Limits::DEFAULT);
            let connection = connection.unwrap_or_else(|errors| panic!("{errors:?}"));
            assert_eq!(connection.with_query(url), expected);
        };
        check("http://h/p", "http://h/p?shop=1&key=k%26y");
        check("http://h/p?sh%6Fp=2&a=b&key=mine", "http://h/p?a=b&shop=1&key=k%26y");
    }
}
