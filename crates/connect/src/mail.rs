//! Mail over SMTP.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::SUBMISSION_PORT;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error, SMTP_PORT, SUBMISSIONS_PORT};
use lettre::{AsyncTransport, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};
use stepbus_model::{Share, Timestamp};

use crate::connect::Shared;
use crate::connection::Connection;
use crate::gate::admit;
use crate::report::{Exchange, Failure, Receipt, Report, code};
use crate::spec::{Auth, ConnectionSpec, SpecError};

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    /// 587 for `starttls`, 465 for `implicit`, 25 for `none`, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: SmtpTls,
    /// Certificates in PEM of authorities that are trusted beside the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// The connection must become one with TLS before anything is said on it.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// Clear text: for a server on the same machine.
    None,
}

impl Smtp {
    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SmtpTls::Starttls => SUBMISSION_PORT,
            SmtpTls::Implicit => SUBMISSIONS_PORT,
            SmtpTls::None => SMTP_PORT,
        })
    }
}

/// A mail to send, as text.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    /// Addresses, with or without a name: `Shop <shop@example.com>`; several with commas.
    pub from: String,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub reply_to: Option<String>,
    pub subject: String,
    pub body: String,
    /// The same for every attempt: receivers know a repetition by it.
    pub id: String,
    pub share: Share,
}

/// What is wrong with an address, or a list of them.
///
/// # Errors
/// When it is no mailbox.
pub fn check_mailboxes(text: &str) -> Result<(), String> {
    mailboxes(text).map(drop)
}

fn mailboxes(text: &str) -> Result<Mailboxes, String> {
    let parsed = Mailboxes::from_str(text);
    parsed.map_err(|error| format!("`{text}` is no mail address: {error}"))
}

/// What a connection with `smtp` cannot have beside it.
pub(crate) fn check(spec: &ConnectionSpec, errors: &mut Vec<SpecError>) {
    let Some(smtp) = &spec.smtp else { return };
    if smtp.host.trim().is_empty() {
        errors.push(SpecError::new("/smtp/host", "the host is empty"));
    }
    if let Some(ca) = &smtp.ca {
        if smtp.tls == SmtpTls::None {
            let message = "there is no TLS by which a certificate could be checked";
            errors.push(SpecError::new("/smtp/ca", message));
        } else if let Err(problem) = authority(ca) {
            errors.push(SpecError::new("/smtp/ca", problem));
        }
    }
    if !matches!(spec.auth, Auth::None | Auth::Basic { .. }) {
        errors.push(SpecError::new("/auth", "a mail server takes `basic`, or no credentials"));
    }
    if matches!(spec.auth, Auth::Basic { .. }) && smtp.tls == SmtpTls::None && !is_here(&smtp.host)
    {
        let message = "credentials would go out in clear: take `starttls` or `implicit`";
        errors.push(SpecError::new("/smtp/tls", message));
    }
    for (field, given) in [("headers", &spec.headers), ("query", &spec.query)] {
        if !given.is_empty() {
            errors.push(SpecError::new(format!("/{field}"), "a mail server takes none"));
        }
    }
}

fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

/// Sends one mail to all its receivers, or to none.
pub(crate) async fn send(shared: &Shared, connection: &Connection, mail: Mail) -> Report {
    let Some(smtp) = &connection.spec.smtp else {
        let message = format!("the connection `{}` is none to a mail server", connection.spec.name);
        return permanent(Failure::new(code::NO_RESOURCE, message));
    };
    let clock = &shared.clock;
    let message = match message(&mail, clock.now()) {
        Ok(message) => message,
        Err(problem) => return permanent(Failure::new(code::INVALID_PARAMETER, problem)),
    };
    let admitted = admit(None, &connection.gate, mail.share, || clock.now()).await;
    let _admission = match admitted {
        Ok(admission) => admission,
        Err(blocked) => {
            let (until, error) = (blocked.until, blocked.cause);
            return Report::Throttled { until, error, remote_id: None };
        }
    };
    let started = Instant::now();
    let timeout = Duration::from_secs(shared.limits.http_timeout_seconds);
    let sent = match transport(smtp, &connection.spec.auth, timeout) {
        Ok(transport) => tokio::time::timeout(timeout, transport.send(message)).await,
        Err(error) => Ok(Err(error)),
    };
    let took = started.elapsed();
    connection.gate.count_call(took);
    let (class, failure) = match sent {
        Ok(Ok(response)) => {
            let status = u16::from(response.code());
            let receipt = Receipt { status, calls: 1, took };
            return Report::Delivered { remote_id: None, failed: Vec::new(), receipt };
        }
        Ok(Err(error)) => judge(&error),
        Err(_) => (Class::Retryable, (code::TIMEOUT, None, format!("no end after {timeout:?}"))),
    };
    let (code, status, said) = failure;
    let url = format!("smtp://{}:{}", smtp.host, smtp.port());
    let masker = connection.masker(std::iter::empty());
    let limit = shared.limits.exchange_bytes;
    let body = &mail.body[..mail.body.floor_char_boundary(limit)];
    let error = Arc::new(Failure {
        code: code.to_owned(),
        message: masker.mask(&format!("{url}: {said}")).into_owned(),
        status,
        exchange: Some(Box::new(Exchange {
            method: "MAIL".to_owned(),
            url,
            request_headers: vec![
                ("from".to_owned(), mail.from.clone()),
                ("to".to_owned(), mail.to.join(", ")),
                ("subject".to_owned(), masker.mask(&mail.subject).into_owned()),
            ],
            request_body: masker.mask(body).into_owned(),
            status,
            response_headers: Vec::new(),
            response_body: masker.mask(&said).into_owned(),
            took,
        })),
    });
    connection.gate.note_failure(clock.now(), &error);
    match class {
        Class::Retryable => Report::Retryable { error, retry_after: None, remote_id: None },
        Class::Permanent => Report::Permanent { error, remote_id: None },
    }
}

fn permanent(failure: Failure) -> Report {
    Report::Permanent { error: Arc::new(failure), remote_id: None }
}

fn message(mail: &Mail, now: Timestamp) -> Result<Message, String> {
    if mail.subject.contains(['\r', '\n']) {
        return Err("the subject has a line break, which no header can carry".to_owned());
    }
    let from = Mailbox::from_str(&mail.from)
        .map_err(|error| format!("`{}` is no mail address: {error}", mail.from))?;
    let domain = from.email.domain().to_owned();
    let mut builder = Message::builder()
        .from(from)
        .subject(&*mail.subject)
        .message_id(Some(format!("<{}@{domain}>", mail.id)))
        .date(std::time::UNIX_EPOCH + Duration::from_millis(now.0.max(0).unsigned_abs()))
        .header(ContentType::TEXT_PLAIN);
    for to in mail.to.iter().map(|text| mailboxes(text)) {
        for mailbox in to? {
            builder = builder.to(mailbox);
        }
    }
    for cc in mail.cc.iter().map(|text| mailboxes(text)) {
        for mailbox in cc? {
            builder = builder.cc(mailbox);
        }
    }
    if let Some(reply_to) = &mail.reply_to {
        for mailbox in mailboxes(reply_to)? {
            builder = builder.reply_to(mailbox);
        }
    }
    builder.body(mail.body.clone()).map_err(|error| format!("the mail cannot be made: {error}"))
}

fn transport(
    smtp: &Smtp,
    auth: &Auth,
    timeout: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    let parameters = || {
        let mut parameters = TlsParameters::builder(smtp.host.clone());
        // Checked when the connection was declared.
        if let Some(authority) = smtp.ca.as_deref().and_then(|ca| authority(ca).ok()) {
            parameters = parameters.add_root_certificate(authority);
        }
        parameters.build()
    };
    let tls = match smtp.tls {
        SmtpTls::None => Tls::None,
        SmtpTls::Starttls => Tls::Required(parameters()?),
        SmtpTls::Implicit => Tls::Wrapper(parameters()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&*smtp.host)
        .port(smtp.port())
        .tls(tls)
        .timeout(Some(timeout));
    if let Auth::Basic { username, password } = auth {
        let password = password.expose().to_owned();
        builder = builder.credentials(Credentials::new(username.clone(), password));
    }
    Ok(builder.build())
}

fn authority(pem: &str) -> Result<Certificate, String> {
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err("it holds no certificate in PEM".to_owned());
    }
    Certificate::from_pem(pem.as_bytes()).map_err(|error| format!("no certificate: {error}"))
}

enum Class {
    Retryable,
    Permanent,
}

/// 4xx may pass and 5xx will not, but for credentials: they are put right without the mail.
fn judge(error: &Error) -> (Class, (&'static str, Option<u16>, String)) {
    let status = error.status().map(u16::from);
    let said = said(error);
    match status {
        Some(530 | 534 | 535 | 538) => (Class::Retryable, (code::NO_PERMISSIONS, status, said)),
        Some(500..) => (Class::Permanent, (code::ERROR_FROM_TARGET, status, said)),
        Some(_) => (Class::Retryable, (code::ERROR_FROM_TARGET, status, said)),
        None if error.is_timeout() => (Class::Retryable, (code::TIMEOUT, None, said)),
        None => (Class::Retryable, (code::CONNECTION_FAILURE, None, explained(said))),
    }
}

/// What to do about a certificate that is refused.
fn explained(said: String) -> String {
    if !said.contains("certificate") {
        return said;
    }
    let hint = if said.contains("NotValidForName") || said.contains("not valid for name") {
        "`smtp.host` must be the name that the server's certificate is for"
    } else if said.contains("UnknownIssuer") {
        "name the authority that signed it in `smtp.ca`, or have this machine trust it"
    } else {
        "nothing was sent to it"
    };
    format!("{said}; {hint}")
}

/// With its causes: the outermost says only that something happened.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut at: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = at {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        at = cause.source();
    }
    text
}
