//! The pooled HTTP client: one request out, one bounded answer in.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use stepbus_model::Limits;
use tokio::runtime::{self, Handle};

use crate::pool::{IDLE, Pool};
use crate::trouble::Trouble;

/// Connections are kept alive per host, requests go out without Nagle's delay, and TLS is set up
/// once per connection.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    connector: HttpsConnector<HttpConnector>,
    pools: Arc<RwLock<Pools>>,
    idle_connections: usize,
    response_bytes: usize,
}

/// Of each runtime its own.
type Pools = Vec<(runtime::Id, Arc<Pool>)>;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl HttpClient {
    pub(crate) fn new(limits: &Limits) -> Self {
        HttpClient::with_roots(limits, system_roots())
    }

    fn with_roots(limits: &Limits, roots: RootCertStore) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(IDLE));
        http.set_connect_timeout(Some(Duration::from_millis(limits.http_connect_timeout_ms)));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots))
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        HttpClient {
            connector: https,
            pools: Arc::default(),
            idle_connections: limits.http_idle_connections,
            response_bytes: limits.response_bytes,
        }
    }

    /// Each runtime has connections of its own: a call would wait for the other's threads.
    fn pool(&self) -> Arc<Pool> {
        let here = Handle::current().id();
        let found = |pools: &Pools| {
            let mut pools = pools.iter();
            pools.find(|(runtime, _)| *runtime == here).map(|(_, pool)| pool.clone())
        };
        if let Some(pool) = found(&self.pools.read()) {
            return pool;
        }
        let mut pools = self.pools.write();
        // Another thread may have been faster.
        found(&pools).unwrap_or_else(|| {
            let pool = Pool::new(self.connector.clone(), self.idle_connections);
            pools.push((here, pool.clone()));
            pool
        })
    }

    /// No `async fn`: what a request consists of would be kept until there is an answer.
    pub(crate) fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, Trouble>> + Send + '_ {
        let authority = uri.authority().cloned();
        let mut request = Box::new(Request::new(Full::new(body)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let pool = self.pool();
        async move {
            let host = authority.as_ref().map_or("the host", |authority| authority.as_str());
            let read = |response| answer(response, self.response_bytes, host);
            pool.call(request, timeout, read).await
        }
    }
}

/// Of the answer only what is needed is kept until its body is there.
fn answer(
    response: Response<Incoming>,
    limit: usize,
    host: &str,
) -> impl Future<Output = Result<Answer, Trouble>> + Send {
    let (parts, body) = response.into_parts();
    let (status, headers) = (parts.status, parts.headers);
    async move {
        let body = read(body, limit, host).await?;
        Ok(Answer { status, headers, body })
    }
}

async fn read(mut body: Incoming, limit: usize, host: &str) -> Result<Bytes, Trouble> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Trouble::too_large(host, limit));
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Trouble::connection(host, &error))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len).max(rest.len());
        if so_far + data.len() > limit {
            return Err(Trouble::too_large(host, limit));
        }
        // Most answers are one frame, which is handed on as it is.
        match &first {
            None => first = Some(data),
            Some(start) => {
                if rest.is_empty() {
                    rest.extend_from_slice(start);
                }
                rest.extend_from_slice(&data);
            }
        }
        // To ask for more would have the connection looked at once more.
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}

/// The system's certificate authorities (SSL_CERT_FILE and SSL_CERT_DIR are heeded), so that a
/// company's own authority is trusted where the machine trusts it.
fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            ignored,
            "this machine has no certificate authorities: calls to https:// will fail; install \
             them (package ca-certificates) or name a file in SSL_CERT_FILE"
        );
    }
    roots
}

pub(crate) fn tls(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use rustls::ServerConfig;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    #[tokio::test]
    async fn speaks_tls_to_hosts_it_trusts_and_to_no_other() {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = signed.cert.der().clone();
        let key = signed.signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = service_fn(|_| async {
                    Ok::<_, http::Error>(Response::new(Full::new(Bytes::from_static(b"hello"))))
                });
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let uri: Uri = format!("https://localhost:{port}/").parse().unwrap();
        let send = |client: HttpClient| {
            let (headers, timeout) = (HeaderMap::new(), Duration::from_secs(10));
            let uri = uri.clone();
            async move { client.send(Method::GET, uri, headers, Bytes::new(), timeout).await }
        };
        let trusting = HttpClient::with_roots(&Limits::DEFAULT, roots);
        assert_eq!(send(trusting).await.unwrap().body, "hello");
        let strict = HttpClient::with_roots(&Limits::DEFAULT, RootCertStore::empty());
        let trouble = send(strict).await.unwrap_err();
        assert!(trouble.message.contains("UnknownIssuer"), "{trouble:?}");
    }
}
