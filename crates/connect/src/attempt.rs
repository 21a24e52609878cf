//! One attempt of a delivery: its calls, each admitted, made, judged and counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header;
use stepbus_expr::Env;
use stepbus_model::Timestamp;

use crate::call::{Call, Source};
use crate::client::Answer;
use crate::connect::{DeliveryRequest, Shared};
use crate::connection::{Connection, Outgoing, Sent};
use crate::destination::{CompiledAction, Destination};
use crate::failure::{Made, code_of};
use crate::gate::{Admission, admit};
use crate::outcome::{Class, Seen};
use crate::report::{Failure, ItemFailure, Receipt, Report, code};
use crate::trouble::{Trouble, TroubleKind};
use crate::upsert;

pub(crate) struct Attempt<'a> {
    shared: &'a Shared,
    destination: &'a Destination,
    connection: &'a Connection,
    pub(crate) request: &'a DeliveryRequest,
    calls: u32,
    /// The last call's request and how long it took, for a failure found in its answer later.
    last: Option<(Outgoing, Duration)>,
}

/// Why a call was no success.
pub(crate) struct Refused {
    pub(crate) kind: Refusal,
    pub(crate) error: Arc<Failure>,
    pub(crate) answer: Option<Box<Answer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Retryable(Option<Duration>),
    Throttled(Timestamp),
    Permanent,
}

enum Verdict {
    Success(Answer),
    No(Refused),
    /// No, unless there is a token that can be fetched anew.
    Login(Refused),
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        destination: &'a Destination,
        connection: &'a Connection,
        request: &'a DeliveryRequest,
    ) -> Self {
        Attempt { shared, destination, connection, request, calls: 0, last: None }
    }

    pub(crate) async fn run(mut self) -> Report {
        let started = Instant::now();
        let (remote_id, end) = match &self.destination.action {
            CompiledAction::Call(call) => {
                (self.request.remote_id.clone(), self.step(call, Some(""), None).await)
            }
            CompiledAction::Upsert(upsert) => upsert::run(&mut self, upsert).await,
        };
        let end = match end {
            Ok(answer) => self.items(answer),
            Err(refused) => Err(refused),
        };
        match end {
            Ok((status, failed)) => {
                let receipt = Receipt { status, calls: self.calls, took: started.elapsed() };
                Report::Delivered { remote_id, failed, receipt }
            }
            Err(Refused { kind, error, .. }) => match kind {
                Refusal::Retryable(retry_after) => {
                    Report::Retryable { error, retry_after, remote_id }
                }
                Refusal::Throttled(until) => Report::Throttled { until, error, remote_id },
                Refusal::Permanent => Report::Permanent { error, remote_id },
            },
        }
    }

    /// The status of an answer that is a success, and what of a batch was none.
    fn items(&self, answer: Answer) -> Result<(u16, Vec<ItemFailure>), Refused> {
        let status = answer.status.as_u16();
        let Some(count) = self.request.items else { return Ok((status, Vec::new())) };
        let seen = Seen::new(&answer, self.env());
        let found = self.destination.rules.failed_items(&seen, count);
        let items = match found {
            Ok(items) => items,
            Err(problem) => return Err(self.refuse(answer, Refusal::Permanent, &problem)),
        };
        let Some((request, took)) = self.last.as_ref().filter(|_| !items.is_empty()) else {
            return Ok((status, Vec::new()));
        };
        let made = self.made(request, *took);
        let failed = items.into_iter().map(|item| {
            let note = item.message.as_deref().unwrap_or("the target did not take it");
            let note = format!("item {} of {count}: {note}", item.index);
            let error = made.of_answer(&answer, code::ERROR_FROM_TARGET, Some(&note));
            ItemFailure { index: item.index, permanent: item.permanent, error: Arc::new(error) }
        });
        Ok((status, failed.collect()))
    }

    /// Makes one call, and once more after logging in again.
    ///
    /// `suffix` keeps the idempotency keys of an upsert's calls apart; without one no key is sent.
    pub(crate) async fn step(
        &mut self,
        call: &Call,
        suffix: Option<&str>,
        id: Option<&str>,
    ) -> Result<Answer, Refused> {
        let outgoing = self.fill(call, suffix, id)?;
        let mut may_log_in = true;
        loop {
            let clock = &self.shared.clock;
            let gates = (&self.destination.gate, &self.connection.gate);
            let admission =
                match admit(Some(gates.0), gates.1, self.request.share, || clock.now()).await {
                    Ok(admission) => admission,
                    Err(blocked) => {
                        let kind = Refusal::Throttled(blocked.until);
                        return Err(Refused { kind, error: blocked.cause, answer: None });
                    }
                };
            let (sent, took) = self.send(&outgoing).await;
            let token = sent.token;
            let verdict = match sent.result {
                Ok(answer) => self.judge(&outgoing, answer, took, &admission),
                Err(trouble) => Verdict::No(self.trouble(&outgoing, &trouble, took, &admission)),
            };
            drop(admission);
            match verdict {
                Verdict::Success(answer) => {
                    self.last = Some((outgoing, took));
                    return Ok(answer);
                }
                Verdict::Login(_) if may_log_in && self.connection.log_in_again(token) => {
                    may_log_in = false;
                }
                Verdict::No(refused) | Verdict::Login(refused) => return Err(refused),
            }
        }
    }

    /// A failure found in the last answer, which was taken for a success at first.
    pub(crate) fn refuse(&self, answer: Answer, kind: Refusal, note: &str) -> Refused {
        let made = self.last.as_ref().map(|(request, took)| self.made(request, *took));
        let error = match made {
            Some(made) => made.of_answer(&answer, code::ERROR_FROM_TARGET, Some(note)),
            None => Failure::new(code::ERROR_FROM_TARGET, note),
        };
        let error = Arc::new(error);
        self.destination.gate.note_failure(self.shared.clock.now(), &error);
        Refused { kind, error, answer: Some(Box::new(answer)) }
    }

    pub(crate) fn env(&self) -> Env {
        Env::new(self.shared.clock.now(), 0)
    }

    fn fill(
        &self,
        call: &Call,
        suffix: Option<&str>,
        id: Option<&str>,
    ) -> Result<Outgoing, Refused> {
        let request = self.request;
        let key = suffix.map(|suffix| format!("{}{suffix}", request.idempotency_key));
        let source = Source {
            payload: &request.payload,
            params: &request.params,
            headers: &request.headers,
            query: &request.query,
            id,
            env: self.env(),
        };
        call.fill(&source, key.as_deref()).map_err(|trouble| {
            let error = Arc::new(Failure::new(trouble.code(), trouble.message));
            self.destination.gate.note_failure(self.shared.clock.now(), &error);
            Refused { kind: Refusal::Permanent, error, answer: None }
        })
    }

    async fn send(&mut self, outgoing: &Outgoing) -> (Sent, Duration) {
        let Shared { client, clock, limits } = self.shared;
        let started = Instant::now();
        let timeout = self.destination.timeout;
        let sent = self.connection.send(client, &**clock, limits, outgoing, timeout).await;
        let took = started.elapsed();
        self.destination.gate.count_call(took);
        self.connection.gate.count_call(took);
        self.calls += 1;
        (sent, took)
    }

    fn judge(
        &self,
        outgoing: &Outgoing,
        answer: Answer,
        took: Duration,
        admission: &Admission,
    ) -> Verdict {
        let now = self.shared.clock.now();
        let seen = Seen::new(&answer, Env::new(now, 0));
        let (class, broken) = self.destination.rules.classify(&seen, now);
        let gate = &self.destination.gate;
        if class == Class::Success {
            self.answered(admission);
            return Verdict::Success(answer);
        }
        let note = broken.or_else(|| redirected(&answer));
        let code = match class {
            Class::Throttled(_) => code::THROTTLING,
            _ => code_of(answer.status),
        };
        let made = self.made(outgoing, took);
        let error = Arc::new(made.of_answer(&answer, code, note.as_deref()));
        gate.note_failure(now, &error);
        self.connection.gate.note_failure(now, &error);
        let kind = match class {
            Class::Throttled(after) => {
                self.connection.gate.answered(admission.connection);
                let until = admission
                    .destination
                    .map_or(now, |ticket| gate.throttled(ticket, now, after, &error));
                Refusal::Throttled(until)
            }
            Class::Retryable(after) => {
                if answer.status.is_server_error() {
                    self.failed(admission, now, &error);
                } else {
                    self.answered(admission);
                }
                Refusal::Retryable(after)
            }
            Class::Login => {
                self.answered(admission);
                Refusal::Retryable(None)
            }
            Class::Success | Class::Permanent => {
                self.answered(admission);
                Refusal::Permanent
            }
        };
        let refused = Refused { kind, error, answer: Some(Box::new(answer)) };
        match class {
            Class::Login => Verdict::Login(refused),
            _ => Verdict::No(refused),
        }
    }

    fn trouble(
        &self,
        outgoing: &Outgoing,
        trouble: &Trouble,
        took: Duration,
        admission: &Admission,
    ) -> Refused {
        let now = self.shared.clock.now();
        let error = Arc::new(self.made(outgoing, took).of_trouble(trouble));
        self.destination.gate.note_failure(now, &error);
        self.connection.gate.note_failure(now, &error);
        match trouble.kind {
            TroubleKind::Connection | TroubleKind::Timeout | TroubleKind::Token => {
                self.failed(admission, now, &error);
            }
            TroubleKind::TooLarge => self.answered(admission),
            TroubleKind::Request => {}
        }
        let kind = match trouble.is_permanent() {
            true => Refusal::Permanent,
            false => Refusal::Retryable(None),
        };
        Refused { kind, error, answer: None }
    }

    fn answered(&self, admission: &Admission) {
        if let Some(ticket) = admission.destination {
            self.destination.gate.answered(ticket);
        }
        self.connection.gate.answered(admission.connection);
    }

    fn failed(&self, admission: &Admission, now: Timestamp, error: &Arc<Failure>) {
        if let Some(ticket) = admission.destination {
            self.destination.gate.failed(ticket, now, error);
        }
    }

    fn made<'m>(&'m self, request: &'m Outgoing, took: Duration) -> Made<'m> {
        Made {
            connection: self.connection,
            request,
            took,
            masker: self.connection.masker(self.destination.secrets()),
            limits: &self.shared.limits,
        }
    }
}

/// A redirect that is not followed needs words, since its body rarely has any.
fn redirected(answer: &Answer) -> Option<String> {
    let location = answer.header(&header::LOCATION).filter(|_| answer.status.is_redirection())?;
    Some(format!(
        "it redirects to {location}, and redirects are followed only for GET and HEAD; \
         call that URL instead"
    ))
}
