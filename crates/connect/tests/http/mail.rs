//! Mail against a server on loopback that speaks SMTP.

use std::sync::{Arc, Mutex};

use stepbus_connect::{Auth, Connect, ConnectionSpec, Mail, Report, Secret, Smtp, SmtpTls};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::host::{connect, failure};

/// What it answers to a command; `None` closes the connection.
type Behaviour = fn(&str) -> Option<&'static str>;

struct Server {
    port: u16,
    /// All lines that it was sent.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(behaviour: Behaviour) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = heard.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(session(stream, behaviour, log.clone()));
            }
        });
        Server { port, heard }
    }

    fn heard(&self, start: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|line| line.starts_with(start)).cloned().collect()
    }
}

async fn session(stream: TcpStream, behaviour: Behaviour, log: Arc<Mutex<Vec<String>>>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let Some(greeting) = behaviour("GREETING") else { return };
    write.write_all(format!("{greeting}\r\n").as_bytes()).await.unwrap();
    let mut in_data = false;
    while let Ok(Some(line)) = lines.next_line().await {
        log.lock().unwrap().push(line.clone());
        let answer = match (in_data, line.as_str()) {
            (true, ".") => behaviour("END"),
            (true, _) => continue,
            (false, line) => behaviour(line),
        };
        let Some(answer) = answer else { return };
        in_data = answer.starts_with("354");
        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A server without faults.
pub(crate) fn good(command: &str) -> Option<&'static str> {
    Some(match command.split(' ').next().unwrap_or_default() {
        "GREETING" => "220 here",
        "EHLO" => "250-here\r\n250 AUTH PLAIN LOGIN",
        "AUTH" => "235 welcome",
        "DATA" => "354 go ahead",
        "QUIT" => "221 bye",
        _ => "250 ok",
    })
}

fn to(server: &Server, auth: Auth) -> Connect {
    let (connect, _) = connect();
    let smtp =
        Smtp { host: "127.0.0.1".into(), port: Some(server.port), tls: SmtpTls::None, ca: None };
    let spec =
        ConnectionSpec { name: "mail".into(), smtp: Some(smtp), auth, ..ConnectionSpec::default() };
    connect.set_connection(spec).unwrap();
    connect
}

pub(crate) fn mail() -> Mail {
    Mail {
        from: "Sync <sync@example.com>".into(),
        to: vec!["one@example.com, Two <two@example.com>".into()],
        cc: vec!["three@example.com".into()],
        subject: "Größe".into(),
        body: "first line\n.\nlast line".into(),
        id: "delivery-7".into(),
        ..Mail::default()
    }
}

async fn ends(behaviour: Behaviour) -> String {
    let server = Server::start(behaviour).await;
    let report = to(&server, Auth::None).mail("mail", mail()).await;
    match &report {
        Report::Delivered { receipt, .. } => format!("delivered {}", receipt.status),
        Report::Retryable { error, .. } => format!("retryable {} {:?}", error.code, error.status),
        Report::Throttled { .. } => "throttled".to_owned(),
        Report::Permanent { error, .. } => format!("permanent {} {:?}", error.code, error.status),
    }
}

#[tokio::test]
async fn a_mail_is_taken_once_for_all_receivers() {
    let server = Server::start(good).await;
    let password = Secret::new("pa55word".to_owned());
    let auth = Auth::Basic { username: "sync".into(), password };
    let report = to(&server, auth).mail("mail", mail()).await;
    assert!(matches!(report, Report::Delivered { .. }), "{report:?}");
    let receivers = ["one", "two", "three"].map(|name| format!("RCPT TO:<{name}@example.com>"));
    assert_eq!(server.heard("RCPT"), receivers);
    assert_eq!(server.heard("AUTH").len(), 1);
    assert_eq!(server.heard("Message-ID"), ["Message-ID: <delivery-7@example.com>"]);
    assert_eq!(server.heard("Subject"), ["Subject: =?utf-8?b?R3LDtsOfZQ==?="]);
    assert_eq!(server.heard("..").len(), 1, "a dot of the text does not end it");
}

#[tokio::test]
async fn codes_fall_into_classes() {
    let check = async |behaviour: Behaviour, expected: &str| {
        assert_eq!(ends(behaviour).await, expected);
    };
    check(good, "delivered 250").await;
    check(
        |line| if line.starts_with("RCPT") { Some("550 unknown") } else { good(line) },
        "permanent ERROR_FROM_TARGET Some(550)",
    )
    .await;
    check(
        |line| if line.starts_with("RCPT") { Some("451 greylisted") } else { good(line) },
        "retryable ERROR_FROM_TARGET Some(451)",
    )
    .await;
    check(
        |line| if line == "END" { Some("552 too large") } else { good(line) },
        "permanent ERROR_FROM_TARGET Some(552)",
    )
    .await;
    check(
        |line| if line == "GREETING" { Some("421 busy") } else { good(line) },
        "retryable ERROR_FROM_TARGET Some(421)",
    )
    .await;
    check(
        |line| if line.starts_with("MAIL") { Some("530 log in first") } else { good(line) },
        "retryable NO_PERMISSIONS Some(530)",
    )
    .await;
    // Perhaps taken, perhaps not: it comes again under the same id.
    let lost = ends(|line| if line == "END" { None } else { good(line) }).await;
    assert!(lost.starts_with("retryable "), "{lost}");
}

#[tokio::test]
async fn what_is_no_mail_calls_nobody() {
    let server = Server::start(good).await;
    let connect = to(&server, Auth::None);
    let wrong: [fn(&mut Mail); 3] = [
        |mail| mail.to = vec!["nobody".into()],
        |mail| mail.subject = "a\r\nBcc: all@example.com".into(),
        |mail| mail.from = "x@example.com>\r\nDATA".into(),
    ];
    for change in wrong {
        let mut mail = mail();
        change(&mut mail);
        let report = connect.mail("mail", mail).await;
        assert!(matches!(report, Report::Permanent { .. }), "{report:?}");
        assert_eq!(failure(&report).code, "INVALID_PARAMETER");
    }
    assert_eq!(server.heard(""), Vec::<String>::new());
    let report = connect.mail("none", mail()).await;
    assert_eq!(failure(&report).code, "NO_RESOURCE");
}

#[tokio::test]
async fn nothing_listens_and_the_secret_stays_one() {
    let server = Server::start(|line| match line.split(' ').next() {
        Some("AUTH") => Some("535 pa55word is wrong"),
        _ => good(line),
    })
    .await;
    let password = Secret::new("pa55word".to_owned());
    let auth = Auth::Basic { username: "sync".into(), password };
    let report = to(&server, auth).mail("mail", mail()).await;
    assert!(matches!(report, Report::Retryable { .. }), "{report:?}");
    assert!(!format!("{report:?}").contains("pa55word"), "{report:?}");
    let gone = Server { port: 1, heard: Arc::default() };
    let report = to(&gone, Auth::None).mail("mail", mail()).await;
    assert_eq!(failure(&report).code, "CONNECTION_FAILURE");
}

#[test]
fn a_mail_servers_connection_is_checked() {
    let check = |smtp: Smtp, auth: Auth, expected: &[&str]| {
        let spec = ConnectionSpec { smtp: Some(smtp), auth, ..ConnectionSpec::default() };
        let errors = spec.check().err().unwrap_or_default();
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, expected);
    };
    let smtp = |host: &str, tls| Smtp { host: host.into(), port: None, tls, ca: None };
    let basic = || {
        let password = Secret::new("pa55word".to_owned());
        Auth::Basic { username: "sync".into(), password }
    };
    check(smtp("mail.example", SmtpTls::Starttls), basic(), &[]);
    check(smtp("127.0.0.1", SmtpTls::None), basic(), &[]);
    check(smtp("mail.example", SmtpTls::None), basic(), &["/smtp/tls"]);
    check(smtp(" ", SmtpTls::None), Auth::None, &["/smtp/host"]);
    let trusting = |tls| Smtp { ca: Some("no PEM".into()), ..smtp("mail.example", tls) };
    check(trusting(SmtpTls::Starttls), Auth::None, &["/smtp/ca"]);
    check(trusting(SmtpTls::None), Auth::None, &["/smtp/ca"]);
}
