//! A system that takes calls over HTTP, notes them and answers as it is told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A call that arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken {
    pub(crate) path: String,
    /// By their names in lower case.
    headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Taken {
    /// Empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn idempotency_key(&self) -> &str {
        self.header("idempotency-key")
    }
}

type Behaviour = Box<dyn FnMut(&Taken) -> Option<(u16, Value)> + Send>;

/// Outlives the server's deaths.
pub(crate) struct Taker {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Taken>>>,
    connections: Arc<AtomicUsize>,
}

impl Taker {
    /// Answers each call by `behaviour`, one at a time; a call for which it has nothing waits until
    /// its caller is gone.
    pub(crate) fn start<A: Into<Option<(u16, Value)>>>(
        mut behaviour: impl FnMut(&Taken) -> A + Send + 'static,
    ) -> Taker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let behaviour: Behaviour = Box::new(move |call: &Taken| behaviour(call).into());
        let behaviour = Arc::new(Mutex::new(behaviour));
        let (noted, connections) = (calls.clone(), Arc::new(AtomicUsize::new(0)));
        let open = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (noted, behaviour, open) = (noted.clone(), behaviour.clone(), open.clone());
                open.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    serve(&stream, &noted, &behaviour);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Taker { url, calls, connections }
    }

    /// Until nobody is connected: what a server that died had sent is noted by then, and cannot
    /// come after the calls of the next one.
    pub(crate) fn abandoned(&self) {
        super::wait_for("the end of all connections", || {
            (self.connections.load(Ordering::Relaxed) == 0).then_some(())
        });
    }

    pub(crate) fn calls(&self) -> Vec<Taken> {
        self.calls.lock().unwrap().clone()
    }
}

/// Until the other side hangs up.
fn serve(
    stream: &TcpStream,
    noted: &Mutex<Vec<Taken>>,
    behaviour: &Mutex<Behaviour>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let call = read(&mut reader)?;
        noted.lock().ok()?.push(call.clone());
        let answer = (behaviour.lock().ok()?)(&call);
        let Some((status, body)) = answer else {
            reader.read_to_end(&mut Vec::new()).ok()?;
            return None;
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    }
}

fn read(reader: &mut impl BufRead) -> Option<Taken> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Ok(0), |length| length.parse()).ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Taken { path, headers, body })
}
