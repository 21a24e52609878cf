//! A system that takes calls over HTTP, notes them and answers as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A call that arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken {
    pub(crate) path: String,
    pub(crate) idempotency_key: String,
    pub(crate) body: Value,
}

type Behaviour = Box<dyn FnMut(&Taken) -> (u16, Value) + Send>;

/// Outlives the server's deaths.
pub(crate) struct Taker {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Taken>>>,
    connections: Arc<AtomicUsize>,
}

impl Taker {
    /// Answers each call by `behaviour`, one at a time.
    pub(crate) fn start(behaviour: impl FnMut(&Taken) -> (u16, Value) + Send + 'static) -> Taker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let behaviour: Arc<Mutex<Behaviour>> = Arc::new(Mutex::new(Box::new(behaviour)));
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
        let (status, body) = (behaviour.lock().ok()?)(&call);
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
    let (mut length, mut key) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "idempotency-key" => value.trim().clone_into(&mut key),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Taken { path, idempotency_key: key, body })
}
