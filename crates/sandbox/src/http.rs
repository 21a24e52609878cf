//! A lean HTTP/1.1 server: every stand-in answers a whole request with a reply, synchronously.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::faults::{Fault, Misbehaviour};
use crate::record::Recorder;

const REQUEST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first query parameter of that name, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        form_value(self.uri.query()?, name)
    }
}

/// What a chunk-wise body asks for its next piece; `None` ends it.
pub(crate) trait Chunks: Send + 'static {
    fn next_chunk(&mut self) -> Option<Bytes>;
}

pub(crate) enum Content {
    Whole(Bytes),
    Streamed(Box<dyn Chunks>),
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) fn empty(status: StatusCode) -> Reply {
        Reply { status, headers: Vec::new(), content: Content::Whole(Bytes::new()) }
    }

    pub(crate) fn of(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
        Reply {
            status,
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static(kind))],
            content: Content::Whole(body.into()),
        }
    }

    pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
        Reply::of(status, "application/json", body.to_string())
    }

    pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
        Reply::of(status, "text/plain;charset=UTF-8", body)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Reply {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The whole body, however it is made; for tests and for cutting a reply short.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.content {
            Content::Whole(bytes) => bytes,
            Content::Streamed(mut chunks) => {
                let mut all = Vec::new();
                while let Some(chunk) = chunks.next_chunk() {
                    all.extend_from_slice(&chunk);
                }
                all.into()
            }
        }
    }
}

/// One stand-in.
pub(crate) trait Service: Send + Sync + 'static {
    fn answer(&self, request: &Request) -> Reply;

    /// How it misbehaves; `None` for what always behaves (the control listener).
    fn misbehaviour(&self) -> Option<&Misbehaviour> {
        None
    }

    /// Faults that this request cannot have are left out (a token request has no applied write).
    fn can_have(&self, _request: &Request, _fault: Fault) -> bool {
        true
    }

    /// How long this request is to wait for its answer.
    fn delay(&self, _request: &Request) -> Option<Duration> {
        None
    }

    /// A reply of this stand-in's own making for a fault only it knows.
    fn own_fault(&self, _request: &Request, _fault: Fault) -> Option<Reply> {
        None
    }
}

/// Accepts connections for as long as the process lives.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Arc<dyn Service>,
    recorder: Option<Arc<Recorder>>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (service, recorder) = (Arc::clone(&service), recorder.clone());
                tokio::spawn(connection(stream, service, recorder));
            }
            // Out of file descriptors, most likely: connections that end make room.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connection(stream: TcpStream, service: Arc<dyn Service>, recorder: Option<Arc<Recorder>>) {
    // Small replies wait for an acknowledgement otherwise.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Connection { stream, reset: Arc::clone(&reset) });
    let handler = service_fn(move |request| {
        let service = Arc::clone(&service);
        let reset = Arc::clone(&reset);
        let recorder = recorder.clone();
        async move {
            match handle(&*service, request, recorder.as_deref()).await {
                Some(reply) => respond(reply),
                None => {
                    reset.store(true, Ordering::Relaxed);
                    Err(ConnectionReset)
                }
            }
        }
    });
    // A connection that ends in an error is the peer's affair, or a reset that was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(false)
        .pipeline_flush(true)
        .serve_connection(io, handler)
        .await;
}

#[derive(Debug)]
struct ConnectionReset;

impl fmt::Display for ConnectionReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stand-in resets this connection")
    }
}

impl std::error::Error for ConnectionReset {}

/// `None` resets the connection.
async fn handle(
    service: &dyn Service,
    request: hyper::Request<Incoming>,
    recorder: Option<&Recorder>,
) -> Option<Reply> {
    let (parts, body) = request.into_parts();
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        match Limited::new(body, REQUEST_BYTES).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(_) => return Some(Reply::empty(StatusCode::PAYLOAD_TOO_LARGE)),
        }
    };
    let request = Request { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    let Some(misbehaviour) = service.misbehaviour() else {
        return Some(service.answer(&request));
    };
    if let Some(recorder) = recorder {
        recorder.record(&request);
    }
    if let Some(down) = misbehaviour.down() {
        return down
            .then(|| Reply::text(StatusCode::SERVICE_UNAVAILABLE, "down for maintenance\n"));
    }
    if let Some(delay) = service.delay(&request) {
        tokio::time::sleep(delay).await;
    }
    match misbehaviour.draw().filter(|fault| service.can_have(&request, *fault)) {
        None => Some(service.answer(&request)),
        Some(fault) => {
            misbehaviour.count(fault);
            misbehave(service, misbehaviour, &request, fault).await
        }
    }
}

async fn misbehave(
    service: &dyn Service,
    misbehaviour: &Misbehaviour,
    request: &Request,
    fault: Fault,
) -> Option<Reply> {
    let too_many = || Reply::text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
    match fault {
        Fault::Throttled => Some(too_many()),
        Fault::ThrottledRetryAfter => {
            Some(too_many().with(RETRY_AFTER, &misbehaviour.retry_after_seconds().to_string()))
        }
        Fault::ThrottledRetryAfterZero => Some(too_many().with(RETRY_AFTER, "0")),
        Fault::ServerError => Some(Reply::of(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/html;charset=utf-8",
            "<!doctype html><html><body><h1>HTTP Status 500</h1></body></html>\n",
        )),
        Fault::Unavailable => {
            Some(Reply::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n"))
        }
        Fault::Slow => {
            tokio::time::sleep(misbehaviour.slow()).await;
            Some(service.answer(request))
        }
        Fault::Stalled => std::future::pending().await,
        Fault::Reset => None,
        Fault::AppliedThrottled => {
            service.answer(request);
            Some(too_many())
        }
        Fault::AppliedReset => {
            service.answer(request);
            None
        }
        Fault::Truncated => Some(truncated(service.answer(request))),
        Fault::TokenRotated | Fault::Unauthorized | Fault::Busy => {
            Some(service.own_fault(request, fault).unwrap_or_else(|| service.answer(request)))
        }
    }
}

/// A stream that broke after its 200 was sent: two thirds of the body, and a proper end.
fn truncated(reply: Reply) -> Reply {
    let (status, headers) = (reply.status, reply.headers.clone());
    let whole = reply.into_bytes();
    let cut = whole.slice(..whole.len() * 2 / 3);
    Reply { status, headers, content: Content::Whole(cut) }
}

fn respond(reply: Reply) -> Result<hyper::Response<ReplyBody>, ConnectionReset> {
    let body = match reply.content {
        Content::Whole(bytes) => ReplyBody::Whole(Some(bytes)),
        Content::Streamed(chunks) => ReplyBody::Streamed(chunks),
    };
    let mut response = hyper::Response::new(body);
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers);
    Ok(response)
}

enum ReplyBody {
    Whole(Option<Bytes>),
    Streamed(Box<dyn Chunks>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = match self.get_mut() {
            ReplyBody::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()),
            ReplyBody::Streamed(chunks) => chunks.next_chunk(),
        };
        Poll::Ready(chunk.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            ReplyBody::Streamed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ReplyBody::Streamed(_) => SizeHint::default(),
        }
    }
}

/// A socket that, told so, ends with RST instead of FIN.
struct Connection {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        // A shutdown would send the FIN that the reset is to replace.
        if this.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// The value of `name` in `application/x-www-form-urlencoded` text.
pub(crate) fn form_value(text: &str, name: &str) -> Option<String> {
    text.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(key, true) == name).then(|| percent_decoded(value, true))
    })
}

/// `%41` becomes `A`; in forms and queries `+` becomes a blank.
pub(crate) fn percent_decoded(text: &str, plus_is_blank: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = || {
            let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        match bytes[at] {
            b'%' => match hex() {
                Some(byte) => {
                    out.push(byte);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            b'+' if plus_is_blank => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What stands behind `Basic ` in an Authorization header.
pub(crate) fn basic_credentials(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |text: &str, name: &str, expected: Option<&str>| {
            assert_eq!(form_value(text, name).as_deref(), expected, "{name} of {text}");
        };
        check("sku=AB%2F1", "sku", Some("AB/1"));
        check("a=1&sku=A+B", "sku", Some("A B"));
        check("a=1&b", "b", Some(""));
        check("a=1", "b", None);
        check("x=%C3%A9%zz%", "x", Some("é%zz%"));
    }
}
