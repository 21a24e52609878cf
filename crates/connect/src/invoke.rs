//! The call of a workflow's HTTP task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use stepbus_model::Share;

use crate::call::{IDEMPOTENCY_KEY, header_value, writes};
use crate::client::Answer;
use crate::connect::Shared;
use crate::connection::{Connection, Outgoing};
use crate::failure::{Made, code_of};
use crate::gate::admit;
use crate::outcome::retry_after;
use crate::report::Failure;
use crate::task::{CallError, HttpResponse, HttpTask};
use crate::template::encode_into;
use crate::trouble::{Trouble, TroubleKind};

/// Retrying is the workflow's own business; but a token that was refused is renewed, and a
/// Retry-After holds back every later call of the connection.
pub(crate) async fn invoke(
    shared: &Shared,
    connection: &Connection,
    request: &Outgoing,
    timeout: Duration,
    share: Share,
) -> Result<HttpResponse, CallError> {
    let Shared { client, clock, limits } = shared;
    let mut may_log_in = true;
    loop {
        let admission = match admit(None, &connection.gate, share, || clock.now()).await {
            Ok(admission) => admission,
            Err(blocked) => {
                tokio::time::sleep(blocked.until.since(clock.now())).await;
                continue;
            }
        };
        let started = Instant::now();
        let sent = connection.send(client, &**clock, limits, request, timeout).await;
        let took = started.elapsed();
        connection.gate.count_call(took);
        let made = || Made { connection, request, took, masker: connection.masker([]), limits };
        let answer = match sent.result {
            Ok(answer) => answer,
            Err(trouble) => {
                let failure = made().of_trouble(&trouble);
                connection.gate.note_failure(clock.now(), &failure);
                return Err(error_of(&trouble, failure));
            }
        };
        let status = answer.status.as_u16();
        if answer.status.is_success() {
            connection.gate.answered(admission.connection);
            return readable(answer, request);
        }
        let now = clock.now();
        let failure = Arc::new(made().of_answer(&answer, code_of(answer.status), None));
        connection.gate.note_failure(now, &failure);
        match retry_after(&answer, now).filter(|_| matches!(status, 429 | 503)) {
            Some(after) => {
                connection.gate.throttled(admission.connection, now, Some(after), &failure);
            }
            None => connection.gate.answered(admission.connection),
        }
        let login = matches!(status, 401 | 407) && may_log_in;
        if login && connection.log_in_again(sent.token) {
            may_log_in = false;
            continue;
        }
        let body = String::from_utf8_lossy(&answer.body);
        return Err(CallError {
            body: Some(connection.masker([]).mask(&body).into()),
            error: format!("States.Http.StatusCode.{status}"),
            cause: failure.message.clone(),
            status: Some(status),
            failure,
        });
    }
}

/// What a task asks for, as it goes out.
pub(crate) fn outgoing(task: HttpTask) -> Result<Outgoing, CallError> {
    prepare(task).map_err(|trouble| unanswered(&trouble))
}

fn prepare(task: HttpTask) -> Result<Outgoing, Trouble> {
    let method = Method::from_bytes(task.method.to_ascii_uppercase().as_bytes())
        .ok()
        .filter(|_| !task.method.is_empty())
        .ok_or_else(|| Trouble::request(format!("`{}` is no HTTP method", task.method)))?;
    let mut url = task.url;
    for (name, value) in &task.query {
        url.push(if url.contains('?') { '&' } else { '?' });
        encode_into(&mut url, name);
        url.push('=');
        encode_into(&mut url, value);
    }
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::USER_AGENT, crate::USER_AGENT);
    if task.body.is_some() {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
    }
    for (name, value) in &task.headers {
        let field = HeaderName::try_from(name.as_str())
            .map_err(|_| Trouble::request(format!("`{name}` cannot be the name of a header")))?;
        headers.insert(field, header_value(name, value)?);
    }
    if let Some(key) = task.idempotency_key.filter(|_| writes(&method))
        && !headers.contains_key(IDEMPOTENCY_KEY)
    {
        headers.insert(IDEMPOTENCY_KEY, header_value("Idempotency-Key", &key)?);
    }
    Ok(Outgoing { method, url, headers, body: task.body.unwrap_or_default() })
}

/// AWS refuses answers that are no text.
fn readable(answer: Answer, request: &Outgoing) -> Result<HttpResponse, CallError> {
    let kind = answer.header(&header::CONTENT_TYPE).unwrap_or_default();
    let begins = |prefix: &&str| {
        kind.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    let binary = ["application/octet-stream", "image/", "video/", "audio/"];
    let binary = binary.iter().any(begins);
    if binary || std::str::from_utf8(&answer.body).is_err() {
        let url = request.url.split('?').next().unwrap_or_default();
        let from = format!("{} {url}", request.method);
        let kind = kind.to_ascii_lowercase();
        let trouble = if says_text(&kind) {
            // A stream that broke off in the middle of a character: asked again it may be whole.
            let what = format!("{from} answered with broken text: `{kind}` that is no UTF-8");
            Trouble::new(TroubleKind::Connection, what)
        } else {
            let what = format!("{from} answered with content of type `{kind}`, which is no text");
            Trouble::request(what)
        };
        return Err(unanswered(&trouble));
    }
    Ok(HttpResponse {
        status: answer.status.as_u16(),
        reason: answer.status.canonical_reason().unwrap_or_default(),
        headers: answer.headers,
        body: answer.body,
    })
}

fn says_text(kind: &str) -> bool {
    ["json", "text/", "xml", "utf-8"].iter().any(|sign| kind.contains(sign))
}

/// Of trouble that no record of an exchange belongs to.
fn unanswered(trouble: &Trouble) -> CallError {
    error_of(trouble, Failure::new(trouble.code(), trouble.message.clone()))
}

fn error_of(trouble: &Trouble, failure: Failure) -> CallError {
    let error = match trouble.kind {
        TroubleKind::Connection | TroubleKind::Timeout => "States.Http.Socket",
        TroubleKind::TooLarge => "States.DataLimitExceeded",
        TroubleKind::Request => "States.Runtime",
        TroubleKind::Token => "Events.ConnectionResource.InvalidConnectionState",
    };
    CallError {
        error: error.to_owned(),
        cause: failure.message.clone(),
        status: None,
        failure: Arc::new(failure),
        body: None,
    }
}
