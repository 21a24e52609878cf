//! Open connections. Whoever makes a call drives its connection himself until the answer is
//! there: a task that does so for each connection would be woken, often by another thread, for
//! every call and for every answer. In between nobody does, and the connection lies idle.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use crate::trouble::Trouble;

/// How long an unused connection is kept open.
pub(crate) const IDLE: Duration = Duration::from_secs(55);
/// How often connections are looked at that lie idle: those that the other side closed are let go.
const SWEEP: Duration = Duration::from_secs(5);
/// What saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// What a call may take whose time has no end that a clock could tell.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Bytes of the largest body that is sent in one piece with its head. It is less work than to send
/// a list of pieces, but the connection keeps a buffer as large as the largest that it sent so.
const JOINED: u64 = 16 * 1024;

/// The open connections of one runtime, whose threads serve them.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: HttpsConnector<HttpConnector>,
    idle: Mutex<HashMap<Origin, Vec<Idle>>>,
    /// Idle connections kept for one origin.
    most: usize,
}

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    scheme: Scheme,
    /// As it was written: two spellings have connections of their own.
    authority: Box<str>,
}

type Connection = http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Full<Bytes>>;

#[derive(Debug)]
struct Idle {
    since: Instant,
    open: Box<Open>,
}

#[derive(Debug)]
struct Open {
    /// Whether it joins head and body, and so takes small requests only.
    joins: bool,
    sender: SendRequest<Full<Bytes>>,
    line: Line,
}

/// What is behind the sender.
#[derive(Debug)]
struct Line {
    /// None: it has ended.
    connection: Option<Connection>,
    /// Set for the deadline of this call, or for an earlier one's.
    alarm: Pin<Box<Sleep>>,
}

/// When a call must be over.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    within: Duration,
}

/// The deadline came first.
struct Late;

impl Deadline {
    fn after(began: Instant, within: Duration) -> Self {
        Deadline { at: began.checked_add(within).unwrap_or(began + FOREVER), within }
    }

    fn missed(&self, origin: &Origin) -> Trouble {
        Trouble::timeout(&origin.authority, self.within)
    }
}

impl Pool {
    /// To be called by the runtime whose calls it is for.
    pub(crate) fn new(connector: HttpsConnector<HttpConnector>, most: usize) -> Arc<Pool> {
        let pool = Arc::new(Pool { connector, idle: Mutex::default(), most });
        tokio::spawn(sweep(Arc::downgrade(&pool)));
        pool
    }

    /// Sends the request and has the answer read, both within that time. A request that could not
    /// go out, because the other side had closed the idle connection, goes out by another one.
    pub(crate) async fn call<T, R>(
        &self,
        mut request: Box<Request<Full<Bytes>>>,
        within: Duration,
        read: impl FnOnce(Response<Incoming>) -> R,
    ) -> Result<T, Trouble>
    where
        R: Future<Output = Result<T, Trouble>>,
    {
        let origin = address(&mut request)?;
        let joins = request.body().size_hint().upper().is_some_and(|size| size <= JOINED);
        let began = Instant::now();
        let deadline = Deadline::after(began, within);
        let late = |Late| deadline.missed(&origin);
        loop {
            let (mut open, fresh) = match self.take(&origin, joins, began) {
                Some(open) => (open, false),
                // In a box of its own, or every call would have the room for it.
                None => (Box::pin(self.connect(&origin, joins, deadline)).await?, true),
            };
            let sent = {
                let sent = pin!(open.sender.try_send_request(*request));
                open.line.driven(sent, deadline.at).await.map_err(late)?
            };
            match sent {
                Ok(response) => {
                    let answer = pin!(read(response));
                    let answer = open.line.driven(answer, deadline.at).await.map_err(late)?;
                    if open.is_free() {
                        self.put(origin, open);
                    }
                    return answer;
                }
                Err(mut failed) => match failed.take_message().filter(|_| !fresh) {
                    Some(unsent) => *request = unsent,
                    None => return Err(Trouble::connection(&origin.authority, failed.error())),
                },
            }
        }
    }

    async fn connect(
        &self,
        origin: &Origin,
        joins: bool,
        deadline: Deadline,
    ) -> Result<Box<Open>, Trouble> {
        let shaken = tokio::time::timeout_at(deadline.at, self.handshake(origin, joins)).await;
        let (sender, connection) = shaken.map_err(|_| deadline.missed(origin))??;
        let alarm = Box::pin(sleep_until(deadline.at));
        let line = Line { connection: Some(connection), alarm };
        Ok(Box::new(Open { joins, sender, line }))
    }

    async fn handshake(
        &self,
        origin: &Origin,
        joins: bool,
    ) -> Result<(SendRequest<Full<Bytes>>, Connection), Trouble> {
        let host = &*origin.authority;
        let uri = Uri::builder().scheme(origin.scheme.clone()).authority(host).path_and_query("/");
        let uri = uri.build().map_err(|error| Trouble::request(error.to_string()))?;
        let mut connector = self.connector.clone();
        let broken =
            |error: Box<dyn std::error::Error + Send + Sync>| Trouble::connection(host, &*error);
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(broken)?;
        let stream = connector.call(uri).await.map_err(broken)?;
        let opened = http1::Builder::new().writev(!joins).handshake(stream).await;
        opened.map_err(|error| Trouble::connection(host, &error))
    }

    /// Small requests take any connection. For a large one that finds none of its own, another
    /// one makes room: there are never more than calls at once.
    fn take(&self, origin: &Origin, joins: bool, now: Instant) -> Option<Box<Open>> {
        let mut idle = self.idle.lock();
        let idle = idle.get_mut(origin)?;
        let fit = idle.iter().rposition(|idle| joins || !idle.open.joins);
        let found = idle.remove(fit.or(idle.len().checked_sub(1))?);
        if fit.is_none() {
            tokio::spawn(found.open.close());
            return None;
        }
        (now < found.since + IDLE).then_some(found.open)
    }

    fn put(&self, origin: Origin, open: Box<Open>) {
        let mut idle = self.idle.lock();
        let idle = idle.entry(origin).or_default();
        if idle.len() < self.most {
            idle.push(Idle { since: Instant::now(), open });
        }
    }

    /// Takes out the connections that have lain idle too long. Those that the other side closed
    /// are gone.
    fn outworn(&self, now: Instant) -> Vec<Idle> {
        let mut old = Vec::new();
        self.idle.lock().retain(|_, idle| {
            idle.retain_mut(|idle| idle.open.is_alive());
            let fresh = idle.iter().position(|idle| now < idle.since + IDLE);
            old.extend(idle.drain(..fresh.unwrap_or(idle.len())));
            !idle.is_empty()
        });
        old
    }
}

impl Open {
    /// Whether the next request may go out by it.
    fn is_free(&mut self) -> bool {
        if !self.sender.is_ready() {
            // It may not have seen yet that the answer was its last word.
            self.is_alive();
        }
        self.sender.is_ready()
    }

    fn is_alive(&mut self) -> bool {
        // Whoever made the last call need not hear of it any more.
        let _ = self.line.alarm.as_mut().now_or_never();
        let connection = &mut self.line.connection;
        if connection.as_mut().is_some_and(|it| it.now_or_never().is_some()) {
            *connection = None;
        }
        connection.is_some()
    }

    async fn close(self: Box<Self>) {
        let Open { sender, line, .. } = *self;
        drop(sender);
        if let Some(connection) = line.connection {
            // The other side need not hear it.
            let _ = tokio::time::timeout(GOODBYE, connection).await;
        }
    }
}

impl Line {
    /// What waits for the connection, with the connection itself.
    fn driven<F: Future>(
        &mut self,
        mut waits: Pin<&mut F>,
        deadline: Instant,
    ) -> impl Future<Output = Result<F::Output, Late>> {
        poll_fn(move |cx| {
            if let Poll::Ready(output) = waits.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if let Some(open) = &mut self.connection
                && Pin::new(open).poll(cx).is_ready()
            {
                // Whoever waits for it hears of its end when it is gone.
                self.connection = None;
            }
            match waits.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending if self.is_late(deadline, cx) => Poll::Ready(Err(Late)),
                Poll::Pending => Poll::Pending,
            }
        })
    }

    /// The alarm is set anew only when it would go off after the deadline, or has gone off before:
    /// most calls take a small part of their time, and setting it concerns all threads.
    fn is_late(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        loop {
            if self.alarm.deadline() > deadline {
                self.alarm.as_mut().reset(deadline);
            }
            // Also when a fast answer has used up what its task may do at a stretch.
            if pin!(unconstrained(self.alarm.as_mut())).poll(cx).is_pending() {
                return false;
            }
            if self.alarm.deadline() == deadline {
                return true;
            }
            self.alarm.as_mut().reset(deadline);
        }
    }
}

/// Lets go of what is of no use any more, as long as there is the pool.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        for idle in pool.outworn(Instant::now()) {
            tokio::spawn(idle.open.close());
        }
    }
}

/// Where the request goes; what remains of its URL is the path, as such a request names it.
fn address(request: &mut Request<Full<Bytes>>) -> Result<Origin, Trouble> {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(Trouble::request("the URL has no scheme and host"));
    };
    let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    let origin = Origin { scheme, authority: authority.as_str().into() };
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::from_str(host(&origin));
        let host = host.map_err(|_| Trouble::request(format!("`{authority}` is no host")))?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(origin)
}

/// The port is named unless it is the scheme's own.
fn host(origin: &Origin) -> &str {
    let own = if origin.scheme == Scheme::HTTPS { ":443" } else { ":80" };
    let host = origin.authority.rsplit('@').next().unwrap_or_default();
    host.strip_suffix(own).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use futures_util::future::BoxFuture;
    use http_body_util::BodyExt;
    use hyper_rustls::HttpsConnectorBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::client::tls;
    use crate::trouble::TroubleKind;

    /// Answers by hand; counts connections, and the ends of connections.
    struct Server {
        host: String,
        opened: Arc<AtomicUsize>,
        closed: watch::Receiver<usize>,
        requests: mpsc::UnboundedReceiver<String>,
    }

    impl Server {
        /// Each connection answers with the texts in turn, and closes after the last.
        async fn start(answers: &'static [&'static str]) -> Server {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let host = listener.local_addr().unwrap().to_string();
            let opened = Arc::new(AtomicUsize::new(0));
            let (ends, closed) = watch::channel(0);
            let (heard, requests) = mpsc::unbounded_channel();
            let count = opened.clone();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    let (ends, heard) = (ends.clone(), heard.clone());
                    tokio::spawn(async move {
                        serve(stream, answers, &heard).await;
                        ends.send_modify(|ends| *ends += 1);
                    });
                }
            });
            Server { host, opened, closed, requests }
        }

        fn opened(&self) -> usize {
            self.opened.load(Ordering::Relaxed)
        }
    }

    async fn serve(mut stream: TcpStream, answers: &[&str], heard: &mpsc::UnboundedSender<String>) {
        let mut answers = answers.iter();
        let mut text = String::new();
        while answers.len() > 0 {
            while !is_whole(&text) {
                let mut bytes = [0; 1_024];
                match stream.read(&mut bytes).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => text.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
                }
            }
            heard.send(std::mem::take(&mut text)).unwrap();
            if let Some(answer) = answers.next() {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    fn is_whole(request: &str) -> bool {
        let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() == length.map_or(0, |length| length.parse().unwrap())
    }

    fn pool() -> Arc<Pool> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(rustls::RootCertStore::empty()))
            .https_or_http()
            .enable_http1()
            .build();
        Pool::new(connector, 2)
    }

    async fn get(pool: &Pool, host: &str) -> Result<String, Trouble> {
        send(pool, host, Bytes::new()).await
    }

    async fn send(pool: &Pool, host: &str, body: Bytes) -> Result<String, Trouble> {
        let request = Request::get(format!("http://{host}/a?b=c"));
        let request = request.body(Full::new(body)).unwrap();
        let read = |response: Response<Incoming>| async {
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| Trouble::connection("x", &error))?.to_bytes();
            Ok(String::from_utf8_lossy(&body).into_owned())
        };
        pool.call(Box::new(request), WITHIN, read).await
    }

    fn idle(pool: &Pool) -> usize {
        pool.idle.lock().values().map(Vec::len).sum()
    }

    const WITHIN: Duration = Duration::from_secs(60);
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const LAST: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

    #[tokio::test]
    async fn calls_go_out_by_the_same_connection() {
        let mut server = Server::start(&[OK; 6]).await;
        let pool = pool();
        for _ in 0..5 {
            assert_eq!(get(&pool, &server.host).await.unwrap(), "ok");
            let heard = server.requests.recv().await.unwrap();
            assert!(heard.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{heard}");
            assert!(heard.contains(&format!("host: {}\r\n", server.host)), "{heard}");
        }
        assert_eq!((server.opened(), idle(&pool)), (1, 1));
    }

    #[tokio::test]
    async fn large_requests_go_out_by_connections_of_their_own() {
        let mut server = Server::start(&[OK; 6]).await;
        let pool = pool();
        let (small, large) = ("x".repeat(16 * 1024), "x".repeat(16 * 1024 + 1));
        for (body, opened, closed) in
            [(&small, 1, 0), (&large, 2, 1), (&small, 2, 1), (&large, 2, 1)]
        {
            assert_eq!(send(&pool, &server.host, body.clone().into()).await.unwrap(), "ok");
            assert!(server.requests.recv().await.unwrap().ends_with(body));
            server.closed.wait_for(|count| *count == closed).await.unwrap();
            assert_eq!((server.opened(), idle(&pool)), (opened, 1));
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_silently_costs_no_call() {
        let mut server = Server::start(&[OK]).await;
        let pool = pool();
        for calls in 1..=3 {
            assert_eq!(get(&pool, &server.host).await.unwrap(), "ok");
            server.closed.wait_for(|closed| *closed == calls).await.unwrap();
        }
        assert_eq!(server.opened(), 3);
        // Nobody calls any more: it is let go all the same.
        while idle(&pool) > 0 {
            assert!(pool.outworn(Instant::now()).is_empty());
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_says_that_it_closes_is_not_kept() {
        let server = Server::start(&[LAST, OK]).await;
        let pool = pool();
        for _ in 0..3 {
            assert_eq!(get(&pool, &server.host).await.unwrap(), "ok");
            assert_eq!(idle(&pool), 0);
        }
        assert_eq!(server.opened(), 3);
    }

    #[tokio::test]
    async fn a_request_that_went_out_is_not_sent_again() {
        let mut server = Server::start(&[OK, ""]).await;
        let pool = pool();
        assert_eq!(get(&pool, &server.host).await.unwrap(), "ok");
        let trouble = get(&pool, &server.host).await.unwrap_err();
        assert!(trouble.message.contains("failed"), "{trouble:?}");
        drop(pool);
        assert!(server.requests.recv().await.is_some());
        assert!(server.requests.recv().await.is_some());
        assert!(server.requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_answer() {
        let server = Server::start(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"]).await;
        let pool = pool();
        let trouble = get(&pool, &server.host).await.unwrap_err();
        assert!(!trouble.message.is_empty());
        assert_eq!(idle(&pool), 0);
    }

    #[tokio::test]
    async fn a_call_ends_at_its_own_deadline() {
        let now = Instant::now();
        let (past, future) = (now - Duration::from_secs(1), now + Duration::from_secs(60));
        let check = |alarm: Instant, deadline: Instant, expected: bool| {
            let mut line = Line { connection: None, alarm: Box::pin(sleep_until(alarm)) };
            let mut cx = Context::from_waker(Waker::noop());
            assert_eq!(line.is_late(deadline, &mut cx), expected, "{alarm:?} {deadline:?}");
        };
        check(past, past, true);
        check(past, future, false);
        check(future, past, true);
        check(future, future, false);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up_with_its_connection() {
        let server = Server::start(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", OK]).await;
        let pool = pool();
        let request = Request::get(format!("http://{}/", server.host)).body(Full::default());
        let read = |_| std::future::pending::<Result<(), Trouble>>();
        let call = pool.call(Box::new(request.unwrap()), Duration::from_millis(50), read);
        assert_eq!(call.await.unwrap_err().kind, TroubleKind::Timeout);
        assert_eq!((server.opened(), idle(&pool)), (1, 0));
    }

    #[tokio::test]
    async fn each_call_has_its_own_time_though_the_connection_is_the_same() {
        let server = Server::start(&[OK; 3]).await;
        let pool = pool();
        let short = Duration::from_millis(50);
        let call = async |within: Duration, read: BoxFuture<'static, ()>| {
            let request = Request::get(format!("http://{}/", server.host)).body(Full::default());
            let read = |_| read.map(Ok);
            pool.call(Box::new(request.unwrap()), within, read).await.map_err(|it| it.kind)
        };
        assert_eq!(call(short, Box::pin(ready(()))).await, Ok(()));
        // The alarm that was set for the first call goes off meanwhile.
        let longer = sleep_until(Instant::now() + 2 * short);
        assert_eq!(call(WITHIN, Box::pin(longer)).await, Ok(()));
        let late = call(short, Box::pin(std::future::pending())).await;
        assert_eq!(late, Err(TroubleKind::Timeout));
        assert_eq!((server.opened(), idle(&pool)), (1, 0));
    }

    #[tokio::test]
    async fn who_goes_away_takes_the_connection_along() {
        let mut server = Server::start(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", OK]).await;
        let pool = pool();
        let call = get(&pool, &server.host);
        tokio::select! {
            biased;
            answer = call => unreachable!("{answer:?}"),
            request = server.requests.recv() => assert!(request.is_some()),
        }
        server.closed.wait_for(|closed| *closed == 1).await.unwrap();
        assert_eq!(idle(&pool), 0);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be() {
        let server = Server::start(&[OK; 2]).await;
        let pool = pool();
        let calls = (0..5).map(|_| get(&pool, &server.host));
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap(), "ok");
        }
        assert_eq!((server.opened(), idle(&pool)), (5, 2));
    }

    #[tokio::test]
    async fn what_lies_idle_too_long_is_let_go() {
        let mut server = Server::start(&[OK; 2]).await;
        let pool = pool();
        assert_eq!(get(&pool, &server.host).await.unwrap(), "ok");
        assert!(pool.outworn(Instant::now()).is_empty());
        let [old] = <[Idle; 1]>::try_from(pool.outworn(Instant::now() + IDLE)).unwrap();
        old.open.close().await;
        server.closed.wait_for(|closed| *closed == 1).await.unwrap();
        assert_eq!(idle(&pool), 0);
    }

    #[test]
    fn the_port_is_named_unless_it_is_the_schemes_own() {
        for (url, expected) in [
            ("http://a.example/", "a.example"),
            ("http://a.example:80/", "a.example"),
            ("https://a.example:443", "a.example"),
            ("https://a.example:80/x", "a.example:80"),
            ("http://user@[::1]:8080/x", "[::1]:8080"),
        ] {
            let mut request = Request::get(url).body(Full::default()).unwrap();
            address(&mut request).unwrap();
            assert_eq!(request.headers()[header::HOST], expected, "{url}");
        }
    }
}
