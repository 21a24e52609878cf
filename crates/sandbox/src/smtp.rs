//! A mail server as the stakeholders' one: it takes mails, counts them, and misbehaves as mail
//! servers do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::faults::{Fault, Misbehaviour, Mix};
use crate::targets::Counts;

/// Greylisting, a busy server, one that is slow, breaks off, or loses its answer.
pub(crate) const SMTP_MIX: Mix = &[
    (Fault::Throttled, 1.0),
    (Fault::Unavailable, 1.0),
    (Fault::Slow, 1.0),
    (Fault::Reset, 1.0),
    (Fault::AppliedReset, 1.0),
];

const KINDS: [&str; 2] = ["mail", "refused"];
/// Longest line of a session, and longest mail; a sender that goes beyond is cut off.
const LONGEST_LINE: usize = 4_096;
const LONGEST_MAIL: usize = 4 * 1024 * 1024;

/// A mail that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mail {
    from: String,
    to: Vec<String>,
    subject: String,
    id: String,
    times: u64,
}

#[derive(Debug)]
pub(crate) struct Smtp {
    pub(crate) misbehaviour: Misbehaviour,
    pub(crate) counts: Counts<2>,
    /// By Message-ID, by which receivers know a repetition.
    mails: Mutex<HashMap<String, Mail>>,
}

impl Smtp {
    pub(crate) fn new(misbehaviour: Misbehaviour) -> Smtp {
        Smtp { misbehaviour, counts: Counts::new(KINDS), mails: Mutex::default() }
    }

    pub(crate) fn forget(&self) {
        self.mails.lock().expect("no holder panics").clear();
        self.counts.forget();
    }

    /// The books: each mail once, and how often it came.
    pub(crate) fn report(&self, particulars: usize) -> Value {
        let mails = self.mails.lock().expect("no holder panics");
        let taken: u64 = mails.values().map(|mail| mail.times).sum();
        let mut shown: Vec<Value> = mails
            .values()
            .map(|mail| {
                json!({
                    "from": mail.from,
                    "to": mail.to,
                    "subject": mail.subject,
                    "id": mail.id,
                    "times": mail.times,
                })
            })
            .collect();
        shown.sort_by_key(|mail| mail["id"].to_string());
        shown.truncate(particulars);
        json!({ "distinct": mails.len(), "taken": taken, "mails": shown })
    }

    fn take(&self, mail: Mail) {
        self.counts.add(0);
        let mut mails = self.mails.lock().expect("no holder panics");
        let times = mails.get(&mail.id).map_or(0, |known| known.times) + 1;
        mails.insert(mail.id.clone(), Mail { times, ..mail });
    }
}

pub(crate) async fn serve(listener: TcpListener, smtp: Arc<Smtp>) {
    loop {
        // A client that gave up while it waited here is no reason to accept no others.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let smtp = smtp.clone();
        tokio::spawn(async move {
            // A broken session is the client's to try again.
            let _ = session(&smtp, stream).await;
        });
    }
}

async fn session(smtp: &Smtp, stream: TcpStream) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    if let Some(polite) = smtp.misbehaviour.down() {
        if polite {
            write.write_all(b"421 4.3.2 down for maintenance\r\n").await?;
        }
        return Ok(());
    }
    write.write_all(b"220 mail.sandbox ESMTP\r\n").await?;
    let mut mail = Mail::default();
    while let Some(line) = line(&mut lines, LONGEST_LINE).await? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-mail.sandbox\r\n250-8BITMIME\r\n250 SMTPUTF8",
            "HELO" | "RSET" | "NOOP" => "250 ok",
            "MAIL" => {
                mail = Mail { from: address(&line), ..Mail::default() };
                "250 ok"
            }
            "RCPT" if address(&line).ends_with(".invalid") => {
                smtp.counts.add(1);
                "550 5.1.1 no such mailbox"
            }
            "RCPT" => {
                mail.to.push(address(&line));
                "250 ok"
            }
            "DATA" if mail.to.is_empty() => "503 5.5.1 nobody to send it to",
            "DATA" => {
                let fault =
                    smtp.misbehaviour.draw().inspect(|fault| smtp.misbehaviour.count(*fault));
                match fault {
                    Some(Fault::Throttled) => "452 4.2.2 too much mail at once",
                    Some(Fault::Unavailable) => "451 4.7.1 greylisted, come again",
                    Some(Fault::Reset) => return Ok(()),
                    fault => {
                        write.write_all(b"354 go ahead\r\n").await?;
                        let Some(taken) = data(&mut lines, mail).await? else { return Ok(()) };
                        smtp.take(taken);
                        mail = Mail::default();
                        match fault {
                            Some(Fault::AppliedReset) => return Ok(()),
                            Some(Fault::Slow) => tokio::time::sleep(smtp.misbehaviour.slow()).await,
                            _ => {}
                        }
                        "250 2.0.0 taken"
                    }
                }
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 5.5.2 not known here",
        };
        write.write_all(answer.as_bytes()).await?;
        write.write_all(b"\r\n").await?;
    }
    Ok(())
}

/// A line without its end; none at the end of the session.
async fn line(
    lines: &mut (impl AsyncBufReadExt + Unpin),
    longest: usize,
) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let part = lines.fill_buf().await?;
        if part.is_empty() {
            return Ok(None);
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(part.len(), |end| end + 1);
        line.extend_from_slice(&part[..used]);
        lines.consume(used);
        if line.len() > longest {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        if end.is_some() {
            return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
    }
}

/// The mail up to the dot that ends it.
async fn data(
    lines: &mut (impl AsyncBufReadExt + Unpin),
    mut mail: Mail,
) -> std::io::Result<Option<Mail>> {
    let (mut bytes, mut in_head) = (0, true);
    loop {
        let Some(line) = line(lines, LONGEST_LINE).await? else { return Ok(None) };
        bytes += line.len();
        if bytes > LONGEST_MAIL {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        if line == "." {
            return Ok(Some(mail));
        }
        in_head &= !line.is_empty();
        if in_head && let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "subject" => value.trim().clone_into(&mut mail.subject),
                "message-id" => value.trim().clone_into(&mut mail.id),
                _ => {}
            }
        }
    }
}

/// What stands between angle brackets.
fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or("", |(address, _)| address).to_owned()
}
