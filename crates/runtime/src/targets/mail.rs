//! A mail as a target: who gets it and what it says are templates over the event.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use stepbus_connect::{Mail, Payload, Report};
use stepbus_expr::Template;

use super::{Outside, Parcel};
use crate::declared::MailSpec;
use crate::delivery::{TRANSFORM_FAILED, failure};
use crate::engine::Engine;
use crate::event::EventBody;
use crate::expression;

#[derive(Debug)]
pub(crate) struct MailTarget {
    connection: String,
    from: String,
    reply_to: Option<String>,
    to: Template,
    cc: Option<Template>,
    subject: Template,
    /// The payload when there is none.
    body: Option<Template>,
}

impl MailTarget {
    /// What is wrong with a template, when something is.
    pub(super) fn new(spec: &MailSpec) -> Result<MailTarget, String> {
        let compile = |name: &str, value: &Value| {
            Template::compile(value).map_err(|errors| {
                let said: Vec<String> = errors.iter().map(|(_, error)| error.to_string()).collect();
                format!("`{name}`: {}", said.join("; "))
            })
        };
        Ok(MailTarget {
            connection: spec.connection.clone(),
            from: spec.from.clone(),
            reply_to: spec.reply_to.clone(),
            to: compile("to", &spec.to)?,
            cc: spec.cc.as_ref().map(|cc| compile("cc", cc)).transpose()?,
            subject: compile("subject", &spec.subject)?,
            body: spec.body.as_ref().map(|body| compile("body", body)).transpose()?,
        })
    }

    fn mail(&self, engine: &Engine, parcel: &Parcel) -> Result<Mail, String> {
        let event = &*parcel.event;
        let to = addresses("to", &self.to, event)?;
        if to.is_empty() {
            return Err("`to` names nobody".to_owned());
        }
        let cc = self.cc.as_ref().map(|cc| addresses("cc", cc, event)).transpose()?;
        let body = match &self.body {
            Some(body) => text(&value("body", body, event)?),
            None => match &parcel.payload {
                Payload::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Payload::Json(bytes) => text(&serde_json::from_slice(bytes).unwrap_or_default()),
            },
        };
        Ok(Mail {
            from: self.from.clone(),
            to,
            cc: cc.unwrap_or_default(),
            reply_to: self.reply_to.clone(),
            subject: text(&value("subject", &self.subject, event)?),
            body,
            id: parcel.idempotency_key.clone(),
            share: engine.share(parcel.run),
        })
    }
}

impl Outside for MailTarget {
    fn workers(&self, engine: &Engine) -> usize {
        let set = engine.connect.connection_concurrency(&self.connection);
        set.unwrap_or(engine.limits.connection_concurrency)
    }

    fn send<'a>(&'a self, engine: &'a Engine, parcel: Parcel) -> BoxFuture<'a, Report> {
        match self.mail(engine, &parcel) {
            Ok(mail) => engine.connect.mail(&self.connection, mail).boxed(),
            Err(message) => {
                let error =
                    failure(TRANSFORM_FAILED, format!("the mail cannot be made: {message}"));
                std::future::ready(Report::Permanent { error: error.into(), remote_id: None })
                    .boxed()
            }
        }
    }
}

fn value(name: &str, template: &Template, event: &EventBody) -> Result<Value, String> {
    expression::over_event(template, event).map_err(|error| format!("`{name}`: {error}"))
}

/// A text as it is, anything else as JSON that people can read.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

/// One text or a list of them.
fn addresses(name: &str, template: &Template, event: &EventBody) -> Result<Vec<String>, String> {
    let strange = || format!("`{name}` is neither a text nor a list of texts");
    match value(name, template, event)? {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(strange))
            .collect(),
        _ => Err(strange()),
    }
}
