//! Mail over TLS: from the first byte, and after STARTTLS; certificates that are refused.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::crypto::ring;
use stepbus_connect::{Auth, ConnectionSpec, Report, Secret, Smtp, SmtpTls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::host::{connect, failure};
use crate::mail::{good, mail};

const PASSWORD: &str = "pa55word";

/// A mail server with a certificate for `localhost` that nobody signed but itself.
struct Server {
    port: u16,
    /// Lines, with whether they came over TLS.
    heard: Arc<Mutex<Vec<(bool, String)>>>,
    /// Its certificate in PEM.
    authority: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    TlsAtOnce,
    StartTls,
    ClearOnly,
}

impl Server {
    async fn start(speaks: Speaks) -> Server {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let authority = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(signed.cert.der())
        );
        let key = signed.signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = heard.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(stream, acceptor.clone(), speaks, log.clone()));
            }
        });
        Server { port, heard, authority }
    }

    /// Whether lines that begin so came over TLS, one each.
    fn heard(&self, start: &str) -> Vec<bool> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(_, line)| line.starts_with(start)).map(|(tls, _)| *tls).collect()
    }

    async fn send(&self, host: &str, tls: SmtpTls, ca: Option<String>) -> Report {
        let (connect, _) = connect();
        let password = Secret::new(PASSWORD.to_owned());
        let spec = ConnectionSpec {
            name: "mail".into(),
            smtp: Some(Smtp { host: host.into(), port: Some(self.port), tls, ca }),
            auth: Auth::Basic { username: "sync".into(), password },
            ..ConnectionSpec::default()
        };
        connect.set_connection(spec).unwrap();
        connect.mail("mail", mail()).await
    }
}

async fn serve(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    speaks: Speaks,
    log: Arc<Mutex<Vec<(bool, String)>>>,
) -> Option<()> {
    if speaks != Speaks::TlsAtOnce {
        let asked = talk(&mut stream, false, true, speaks == Speaks::StartTls, &log).await?;
        if !asked {
            return None;
        }
    }
    let mut stream = acceptor.accept(stream).await.ok()?;
    talk(&mut stream, true, speaks == Speaks::TlsAtOnce, false, &log).await.map(drop)
}

/// Whether the client asked for TLS; none when it hung up.
async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    tls: bool,
    greets: bool,
    offers_tls: bool,
    log: &Mutex<Vec<(bool, String)>>,
) -> Option<bool> {
    if greets {
        stream.write_all(b"220 here\r\n").await.ok()?;
    }
    let mut in_data = false;
    loop {
        // Byte by byte: what comes after STARTTLS is no line.
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        log.lock().unwrap().push((tls, line.clone()));
        let answer = match (in_data, line.split(' ').next().unwrap_or_default()) {
            (true, ".") => "250 taken",
            (true, _) => continue,
            (false, "EHLO") if offers_tls => "250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN",
            (false, "STARTTLS") => "220 go ahead",
            (false, _) => good(&line)?,
        };
        in_data = answer.starts_with("354");
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        if line == "STARTTLS" {
            return Some(true);
        }
    }
}

#[tokio::test]
async fn nothing_but_the_greeting_goes_out_in_clear() {
    for (speaks, tls) in
        [(Speaks::TlsAtOnce, SmtpTls::Implicit), (Speaks::StartTls, SmtpTls::Starttls)]
    {
        let server = Server::start(speaks).await;
        let report = server.send("localhost", tls, Some(server.authority.clone())).await;
        assert!(matches!(report, Report::Delivered { .. }), "{report:?}");
        for line in ["AUTH", "MAIL FROM", "Subject"] {
            assert_eq!(server.heard(line), [true], "{line}");
        }
        assert_eq!(server.heard("RCPT"), [true; 3]);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused_in_words() {
    for (speaks, tls) in
        [(Speaks::TlsAtOnce, SmtpTls::Implicit), (Speaks::StartTls, SmtpTls::Starttls)]
    {
        let server = Server::start(speaks).await;
        let other = Server::start(speaks).await;
        for (host, ca, expected) in [
            ("localhost", None, "`smtp.ca`"),
            ("localhost", Some(other.authority.clone()), "certificate"),
            ("127.0.0.1", Some(server.authority.clone()), "`smtp.host` must be the name"),
        ] {
            let report = server.send(host, tls, ca).await;
            assert!(matches!(report, Report::Retryable { .. }), "{report:?}");
            let failure = failure(&report);
            assert_eq!(failure.code, "CONNECTION_FAILURE");
            assert!(failure.message.contains("certificate"), "{}", failure.message);
            assert!(failure.message.contains(expected), "{}", failure.message);
            assert!(!format!("{report:?}").contains(PASSWORD));
        }
        for line in ["AUTH", "MAIL FROM", "Subject"] {
            assert!(server.heard(line).is_empty(), "{line}");
        }
    }
}

#[tokio::test]
async fn a_server_without_starttls_is_told_nothing() {
    let server = Server::start(Speaks::ClearOnly).await;
    let ca = Some(server.authority.clone());
    let report = server.send("localhost", SmtpTls::Starttls, ca).await;
    assert!(!matches!(report, Report::Delivered { .. }), "{report:?}");
    assert!(failure(&report).message.contains("STARTTLS"), "{}", failure(&report).message);
    for line in ["AUTH", "MAIL FROM", "Subject"] {
        assert!(server.heard(line).is_empty(), "{line}");
    }
}
