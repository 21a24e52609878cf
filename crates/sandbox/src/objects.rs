//! Object storage over S3's protocol, as much of it as a client needs: signed requests, ranges,
//! If-Match, listings in pages, uploads in parts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE};
use http::{Method, StatusCode};
use tokio::net::TcpListener;

use crate::http::{Reply, Request, Service, percent_decoded, serve};
use crate::random::mix;

/// Keys of one page of a listing, unless fewer are asked for.
const PAGE: usize = 1_000;
const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
const MODIFIED_ISO: &str = "2026-01-01T00:00:00.000Z";

/// A running service, its buckets in memory.
#[derive(Debug, Clone)]
pub struct ObjectService {
    pub url: String,
    pub access_key: String,
    pub secret_key: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<(String, String), Object>,
    uploads: BTreeMap<String, Upload>,
    requests: Vec<String>,
    writes: u64,
    failing: Failing,
    page: usize,
}

/// Of the answers to come to requests that have `what` in them, `skip` are as they should be, and
/// `times` are 503 then.
#[derive(Debug, Default)]
struct Failing {
    what: String,
    skip: usize,
    times: usize,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    etag: String,
}

#[derive(Debug)]
struct Upload {
    object: (String, String),
    parts: BTreeMap<u32, Object>,
}

struct Server {
    access_key: String,
    state: Arc<Mutex<State>>,
}

impl ObjectService {
    /// Starts it as a task of the runtime that calls.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> std::io::Result<ObjectService> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let service = ObjectService {
            url: format!("http://{}", listener.local_addr()?),
            access_key: format!("AK{:014X}", mix(5)),
            secret_key: format!("{:016x}{:016x}", mix(6), mix(7)),
            state: Arc::default(),
        };
        let (access_key, state) = (service.access_key.clone(), service.state.clone());
        tokio::spawn(serve(listener, Arc::new(Server { access_key, state }), None));
        Ok(service)
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        let mut state = self.state();
        let object = state.object(bytes.into());
        state.objects.insert((bucket.to_owned(), key.to_owned()), object);
    }

    #[must_use]
    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let key = (bucket.to_owned(), key.to_owned());
        self.state().objects.get(&key).map(|object| object.bytes.clone())
    }

    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.state();
        state.objects.keys().filter(|(of, _)| of == bucket).map(|(_, key)| key.clone()).collect()
    }

    /// What was asked for so far: method, path and query, and the range.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Uploads in parts that were begun and neither finished nor given up.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// The next so many answers are 503.
    pub fn fail(&self, times: usize) {
        self.fail_at("", 0, times);
    }

    /// Of the requests that have `what` in method, path, query or range, as
    /// [`ObjectService::requests`] tells them, `skip` are answered, and `times` are answered 503 then.
    pub fn fail_at(&self, what: &str, skip: usize, times: usize) {
        self.state().failing = Failing { what: what.to_owned(), skip, times };
    }

    /// How many answers are still to be 503.
    #[must_use]
    pub fn failures_left(&self) -> usize {
        self.state().failing.times
    }

    /// Keys of one page of a listing at most.
    pub fn set_page(&self, keys: usize) {
        self.state().page = keys;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failing {
    fn concerns(&mut self, request: &str) -> bool {
        if self.times == 0 || !request.contains(&self.what) {
            return false;
        }
        let now = self.skip == 0;
        if now {
            self.times -= 1;
        } else {
            self.skip -= 1;
        }
        now
    }
}

impl State {
    fn object(&mut self, bytes: Bytes) -> Object {
        self.writes += 1;
        Object { bytes, etag: format!("\"{:016x}\"", mix(self.writes)) }
    }
}

impl Service for Server {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let range = request.header(RANGE.as_str()).unwrap_or_default();
        let told = format!("{} {} {range}", request.method, request.uri).trim_end().to_owned();
        let fails = state.failing.concerns(&told);
        state.requests.push(told);
        if fails {
            return error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        }
        let signed = format!("AWS4-HMAC-SHA256 Credential={}/", self.access_key);
        let authorization = request.header(AUTHORIZATION.as_str()).unwrap_or_default();
        if !authorization.starts_with(&signed) || !authorization.contains("Signature=") {
            return error(StatusCode::FORBIDDEN, "AccessDenied");
        }
        let path = request.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let object = (percent_decoded(bucket, false), percent_decoded(key, false));
        match (&request.method, request.parameter("uploadId")) {
            (&Method::GET, _) if key.is_empty() => list(&state, &object.0, request),
            (&Method::GET | &Method::HEAD, _) => read(&state, &object, request),
            (&Method::PUT, Some(upload)) => put_part(&mut state, &upload, request),
            (&Method::PUT, None) => {
                let written = state.object(request.body.clone());
                let etag = written.etag.clone();
                state.objects.insert(object, written);
                Reply::empty(StatusCode::OK).with(ETAG, &etag)
            }
            (&Method::POST, Some(upload)) => complete(&mut state, &upload, request),
            (&Method::POST, None) => begin(&mut state, object),
            (&Method::DELETE, Some(upload)) => {
                state.uploads.remove(&upload);
                Reply::empty(StatusCode::NO_CONTENT)
            }
            _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }
}

fn error(status: StatusCode, code: &str) -> Reply {
    xml(status, format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
}

fn xml(status: StatusCode, body: String) -> Reply {
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    Reply::of(status, "application/xml", format!("{head}{body}"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn read(state: &State, key: &(String, String), request: &Request) -> Reply {
    let Some(object) = state.objects.get(key) else {
        return error(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    if request.header(IF_MATCH.as_str()).is_some_and(|etag| etag != object.etag) {
        return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    let whole = object.bytes.len();
    let range = request.header(RANGE.as_str()).and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?.min(whole.saturating_sub(1))))
    });
    let reply = match range {
        Some((from, _)) if from >= whole => {
            return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
        }
        Some((from, to)) => {
            let bytes = object.bytes.slice(from..=to);
            Reply::of(StatusCode::PARTIAL_CONTENT, "application/octet-stream", bytes)
                .with(CONTENT_RANGE, &format!("bytes {from}-{to}/{whole}"))
        }
        None if request.method == Method::HEAD => {
            Reply::empty(StatusCode::OK).with(http::header::CONTENT_LENGTH, &whole.to_string())
        }
        None => Reply::of(StatusCode::OK, "application/octet-stream", object.bytes.clone()),
    };
    reply.with(ETAG, &object.etag).with(LAST_MODIFIED, MODIFIED)
}

fn list(state: &State, bucket: &str, request: &Request) -> Reply {
    let prefix = request.parameter("prefix").unwrap_or_default();
    // The token is the last key given, as good as any.
    let token = request.parameter("continuation-token");
    let after = token.or(request.parameter("start-after")).unwrap_or_default();
    let most = request.parameter("max-keys").and_then(|most| most.parse().ok()).unwrap_or(PAGE);
    let most = most.min(if state.page > 0 { state.page } else { PAGE });
    let mut found = state
        .objects
        .iter()
        .filter(|((of, key), _)| of == bucket && key.starts_with(&prefix) && *key > after);
    let page: Vec<_> = found.by_ref().take(most).collect();
    let more = found.next().is_some();
    let mut body = String::from("<ListBucketResult>");
    let _ = write!(body, "<Name>{}</Name><KeyCount>{}</KeyCount>", escaped(bucket), page.len());
    let _ = write!(body, "<IsTruncated>{more}</IsTruncated>");
    for ((_, key), object) in &page {
        let _ = write!(
            body,
            "<Contents><Key>{}</Key><LastModified>{MODIFIED_ISO}</LastModified><ETag>{}</ETag>\
             <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            escaped(key),
            escaped(&object.etag),
            object.bytes.len()
        );
    }
    if let Some(((_, last), _)) = page.last().filter(|_| more) {
        let _ = write!(body, "<NextContinuationToken>{}</NextContinuationToken>", escaped(last));
    }
    body.push_str("</ListBucketResult>");
    xml(StatusCode::OK, body)
}

fn begin(state: &mut State, object: (String, String)) -> Reply {
    state.writes += 1;
    let id = format!("upload{}", state.writes);
    let body = format!(
        "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
         </InitiateMultipartUploadResult>",
        escaped(&object.0),
        escaped(&object.1)
    );
    state.uploads.insert(id, Upload { object, parts: BTreeMap::new() });
    xml(StatusCode::OK, body)
}

fn put_part(state: &mut State, upload: &str, request: &Request) -> Reply {
    let number = request.parameter("partNumber").and_then(|number| number.parse().ok());
    let part = state.object(request.body.clone());
    let etag = part.etag.clone();
    match (number, state.uploads.get_mut(upload)) {
        (Some(number), Some(upload)) => {
            upload.parts.insert(number, part);
            Reply::empty(StatusCode::OK).with(ETAG, &etag)
        }
        _ => error(StatusCode::NOT_FOUND, "NoSuchUpload"),
    }
}

/// The parts that the client lists, which must be those that it sent.
fn complete(state: &mut State, upload: &str, request: &Request) -> Reply {
    let Some(finished) = state.uploads.remove(upload) else {
        return error(StatusCode::NOT_FOUND, "NoSuchUpload");
    };
    let listed = String::from_utf8_lossy(&request.body).into_owned();
    let listed = listed.replace("&quot;", "\"");
    let known = finished.parts.values().all(|part| listed.contains(part.etag.trim_matches('"')));
    if !known || listed.matches("<PartNumber>").count() != finished.parts.len() {
        return error(StatusCode::BAD_REQUEST, "InvalidPart");
    }
    let bytes: Vec<u8> =
        finished.parts.values().flat_map(|part| part.bytes.iter().copied()).collect();
    let object = state.object(bytes.into());
    let body = format!(
        "<CompleteMultipartUploadResult><Location>l</Location><Bucket>{}</Bucket><Key>{}</Key>\
         <ETag>{}</ETag></CompleteMultipartUploadResult>",
        escaped(&finished.object.0),
        escaped(&finished.object.1),
        escaped(&object.etag)
    );
    state.objects.insert(finished.object, object);
    xml(StatusCode::OK, body)
}
