//! Subscriptions.

use std::time::Duration;

use serde_json::Value;
use stepbus_document::{Document, Position, join};
use stepbus_pattern::Pattern;
use stepbus_runtime::{
    BatchSpec, Comparison, LogSpec, MailSpec, OnDeadLetter, Order, RetrySpec, SubscriptionSpec,
    TargetSpec,
};

use super::problem::Source;
use super::{Reader, expression, format, layout};

/// Size at which a log file is put aside, and how many of those are kept, when nothing is said.
const LOG_BYTES: u64 = 64 * 1024 * 1024;
const LOG_FILES: u32 = 5;

/// Targets that are writes of Stepbus itself.
const INSIDE: [&str; 3] = ["workflow", "bus", "queue"];

const BATCH_WINDOW: Duration = Duration::from_secs(1);

impl Reader<'_> {
    pub(super) fn subscriptions(&mut self) -> Vec<SubscriptionSpec> {
        let mut subscriptions = Vec::new();
        for (name, value, at) in self.members("subscriptions") {
            let text = |field: &str| value.get(field).and_then(Value::as_str);
            self.needs_key(value, &at);
            let pattern = self.pattern(value, &at);
            let transform = self.transform(value, &at);
            let (input, parameters) = (self.input(value, &at), self.parameters(value, &at));
            self.batches_what_can_be(value, &at);
            self.means_something(value, &at);
            self.mails_to_somebody(value, &at);
            let target = self.target(value);
            let (Some(target), Some(pattern), Ok(transform), Ok(input)) =
                (target, pattern, transform, input)
            else {
                continue;
            };
            let retry = self.retry(value, &at);
            if !self.is_sound(&at) {
                continue;
            }
            let flag = |field: &str| value.get(field).and_then(Value::as_bool);
            subscriptions.push(SubscriptionSpec {
                name: name.to_owned(),
                bus: text("bus").unwrap_or_default().to_owned(),
                pattern,
                key: value.get("key").cloned(),
                transform,
                input,
                parameters,
                version: value.get("version").cloned(),
                target,
                order: if text("order") == Some("fifo") { Order::Fifo } else { Order::Unordered },
                on_dead_letter: match text("on_dead_letter") {
                    Some("block") => OnDeadLetter::Block,
                    _ => OnDeadLetter::Advance,
                },
                skip_unchanged: skips(value),
                compare: comparison(value),
                retry,
                batch: self.batch(value),
                dead_letter: text("dead_letter").map(str::to_owned),
                enabled: flag("enabled").unwrap_or(true),
                start: text("start").and_then(|text| format::start(text).ok()).flatten(),
            });
        }
        subscriptions
    }

    /// What has no meaning without something else.
    fn needs_key(&mut self, value: &Value, at: &str) {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let fifo = text("order") == Some("fifo");
        let keyed = [
            (fifo, "order", "`fifo` keeps the order within a key"),
            (skips(value), "skip_unchanged", "payloads are compared within a key"),
            (value.get("version").is_some(), "version", "versions are compared within a key"),
        ];
        for (used, field, reason) in keyed {
            if used && value.get("key").is_none() {
                self.wrong(&join(at, field), format!("{reason}, and there is none"))
                    .hint("add `key`, for example \"{% $event.detail.id %}\"");
            }
        }
        if text("on_dead_letter") != Some("block") {
            return;
        }
        let at = join(at, "on_dead_letter");
        if !fifo {
            self.wrong(&at, "only a key in order can be blocked").hint("add `order: fifo`");
        }
        if value.get("dead_letter").is_none() {
            self.wrong(&at, "a blocked key waits for its dead letter, and none is kept")
                .hint("add `dead_letter: NAME`");
        }
    }

    /// What a target that is part of the publishing commit cannot do: nothing is compared, tried
    /// again or held up there.
    fn means_something(&mut self, value: &Value, at: &str) {
        let kind = INSIDE.into_iter().find(|kind| {
            let target = value.get("target");
            target.is_some_and(|target| target.get(kind).is_some())
        });
        let Some(kind) = kind else { return };
        let blocks = value.get("on_dead_letter").and_then(Value::as_str) == Some("block");
        let promised = [
            (skips(value), "skip_unchanged", "leaves nothing out there"),
            (value.get("version").is_some(), "version", "keeps nothing older away"),
            (blocks, "on_dead_letter", "holds up no key"),
            (value.get("retry").is_some(), "retry", "is not tried again"),
        ];
        for (used, field, does) in promised {
            let Some((_, inside)) = self.field(value, at, field).filter(|_| used) else { continue };
            let position = self.document.position(&inside);
            let message = format!("a {kind} is reached in the commit that publishes: this {does}");
            self.problems
                .error(self.source, position, &inside, message)
                .hint("leave it out, or give the subscription a target that is called");
        }
    }

    fn target(&self, value: &Value) -> Option<TargetSpec> {
        let target = value.get("target")?;
        let (kind, value) = target.as_object()?.iter().next()?;
        let name = || value.as_str().map(str::to_owned);
        match kind.as_str() {
            "workflow" => name().map(TargetSpec::Workflow),
            "destination" => name().map(TargetSpec::Destination),
            "function" => name().map(TargetSpec::Function),
            "bus" => name().map(TargetSpec::Bus),
            "queue" => name().map(TargetSpec::Queue),
            "log" => Some(TargetSpec::Log(self.log(value))),
            "mail" => mail(value).map(|mail| TargetSpec::Mail(Box::new(mail))),
            _ => None,
        }
    }

    fn log(&self, log: &Value) -> LogSpec {
        let file = log.get("file").and_then(Value::as_str).map(|path| self.full_path(path));
        let size = log.pointer("/rotate/size").and_then(format::bytes);
        let keep = log.pointer("/rotate/keep").and_then(Value::as_u64);
        LogSpec {
            trace: log.get("trace").and_then(Value::as_bool).unwrap_or(file.is_none()),
            file,
            max_bytes: size.unwrap_or(LOG_BYTES),
            keep: keep.and_then(|keep| u32::try_from(keep).ok()).unwrap_or(LOG_FILES),
        }
    }

    fn batch(&self, value: &Value) -> Option<BatchSpec> {
        let batch = value.get("batch")?;
        let size = batch.get("size").and_then(Value::as_u64)?;
        let window = batch.get("window").and_then(Value::as_str);
        let window = window.and_then(|text| format::duration(text).ok()).unwrap_or(BATCH_WINDOW);
        let bytes = batch.get("max_bytes").and_then(format::bytes);
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        Some(BatchSpec {
            size: usize::try_from(size).unwrap_or(usize::MAX).min(self.limits.batch_items),
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            max_bytes: bytes.unwrap_or(self.limits.batch_bytes),
        })
    }

    /// Addresses that stand there as they are must be some, and the connection one for mail.
    fn mails_to_somebody(&mut self, value: &Value, at: &str) {
        let Some(mail) = value.pointer("/target/mail") else { return };
        let at = format!("{at}/target/mail");
        for field in ["to", "cc"] {
            let Some((given, inside)) = self.field(mail, &at, field) else { continue };
            let texts: Vec<&str> = match given {
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
                other => other.as_str().into_iter().collect(),
            };
            for text in texts.into_iter().filter(|text| !text.contains("{%")) {
                if let Err(problem) = format::mailbox(text) {
                    self.wrong(&inside, problem);
                }
            }
        }
        if let Some((name, inside)) = self.field(mail, &at, "connection") {
            let name = name.as_str().unwrap_or_default();
            let connection = self.section("connections").and_then(|all| all.get(name));
            if connection.is_some_and(|connection| connection.get("smtp").is_none()) {
                self.wrong(&inside, format!("`{name}` is no connection to a mail server"))
                    .hint("give it `smtp: { host: … }`");
            }
        }
    }

    /// One call for several events cannot be about one of them.
    fn batches_what_can_be(&mut self, value: &Value, at: &str) {
        let Some((_, inside)) = self.field(value, at, "batch") else { return };
        let position = self.document.position(&inside);
        let wrong = |this: &mut Self, message: &str, hint: &str| {
            this.problems.error(this.source, position, &inside, message).hint(hint);
        };
        let destination = value.pointer("/target/destination").and_then(Value::as_str);
        if value.pointer("/target/function").is_some() {
            return;
        }
        let Some(name) = destination else {
            if value.get("target").is_some() {
                wrong(self, "only a call over HTTP takes several payloads", {
                    "give it a `destination` or a `function` as its target"
                });
            }
            return;
        };
        for field in ["path_parameters", "header_parameters", "query_parameters"] {
            if value.get(field).is_some() {
                let message =
                    format!("`{field}` are one event's, and a batch is one call for many");
                wrong(self, &message, "leave one of the two out");
            }
        }
        let destination = self.section("destinations").and_then(|all| all.get(name));
        let Some(destination) = destination else { return };
        if destination.get("upsert").is_some() {
            wrong(self, "an upsert takes one at a time", "leave one of the two out");
        }
        let url = destination.get("url").and_then(Value::as_str).unwrap_or_default();
        if url.replace("{{", "").contains('{') {
            let message = format!("the URL of `{name}` has a placeholder, which is one event's");
            wrong(self, &message, "take a URL that takes an array");
        }
    }

    pub(super) fn retry(&mut self, value: &Value, at: &str) -> RetrySpec {
        let field = |name: &str| value.get("retry").and_then(|retry| retry.get(name));
        let age = field("max_age").and_then(Value::as_str);
        let age = age.and_then(|text| format::duration(text).ok()).map(|span| span.as_secs());
        let (least, most) =
            (self.limits.delivery_age_least_seconds, self.limits.delivery_age_seconds);
        let attempts = field("max_attempts").and_then(Value::as_u64);
        if let Some(age) = age.filter(|age| !(least..=most).contains(age)) {
            let message = format!("{age} seconds are out of range");
            let hint = format!("from {least} to {most} seconds, {}h", most / 3_600);
            self.wrong(&format!("{at}/retry/max_age"), message).hint(hint);
        }
        RetrySpec {
            max_age_seconds: age.unwrap_or(most),
            max_attempts: attempts
                .and_then(|attempts| u32::try_from(attempts).ok())
                .unwrap_or(self.limits.delivery_attempts),
        }
    }

    /// The pattern as JSON text.
    pub(super) fn pattern(&mut self, value: &Value, at: &str) -> Option<String> {
        let (pattern, at) = self.field(value, at, "pattern")?;
        let (source, document, prefix) = match pattern {
            Value::String(path) => {
                let source = self.file(path, &at)?;
                let document = self.parse(&source)?;
                (source, document, String::new())
            }
            _ => (self.source.clone(), self.document.part(&at)?, at),
        };
        let text = serde_json::to_string_pretty(document.value()).ok()?;
        let Err(error) = Pattern::parse(&text) else { return Some(text) };
        let place = error.line().zip(error.column());
        let pointer = place.and_then(|(line, column)| {
            Some(Document::parse(&text).ok()?.pointer_at(Position { line, column }))
        });
        let pointer = pointer.unwrap_or_default();
        let position = document.position(&pointer);
        let message = format!("not an event pattern: {}", error.reason());
        self.problems.error(&source, position, &format!("{prefix}{pointer}"), message);
        None
    }

    /// The template; `Err` when there is something wrong with it.
    fn transform(&mut self, value: &Value, at: &str) -> Result<Option<Value>, ()> {
        let (path, at) = match self.field(value, at, "transform") {
            Some((Value::String(text), at)) if !text.starts_with("{%") => (text, at),
            inline => return Ok(inline.map(|(template, _)| template.clone())),
        };
        let source = self.file(path, &at).ok_or(())?;
        match source.file.extension().and_then(|extension| extension.to_str()) {
            Some("jsonata") => self.jsonata(&source),
            Some("json" | "yaml" | "yml") => self.template(&source),
            _ => {
                self.wrong(&at, format!("what `{path}` holds does not show from its name"))
                    .hint("name it *.jsonata, *.json or *.yaml");
                Err(())
            }
        }
    }

    fn jsonata(&mut self, source: &Source) -> Result<Option<Value>, ()> {
        let found = expression::check_source(&source.text, layout::EVENT);
        let sound = found.is_empty();
        for problem in found {
            let position = problem.character.map(|character| place(&source.text, character));
            self.problems
                .error(source, position.unwrap_or(Position::START), "", problem.message)
                .hint = problem.hint;
        }
        sound.then(|| Some(Value::from(format!("{{% {} %}}", source.text.trim())))).ok_or(())
    }

    fn template(&mut self, source: &Source) -> Result<Option<Value>, ()> {
        let document = self.parse(source).ok_or(())?;
        let found = expression::check(document.value(), layout::EVENT);
        let sound = found.is_empty();
        for problem in found {
            let position =
                document.position_within(&problem.pointer, problem.character.unwrap_or(0));
            self.problems.error(source, position, &problem.pointer, problem.message).hint =
                problem.hint;
        }
        sound.then(|| Some(document.value().clone())).ok_or(())
    }

    pub(super) fn parse(&mut self, source: &Source) -> Option<Document> {
        match Document::parse(&source.text) {
            Ok(document) => Some(document),
            Err(error) => {
                self.problems.error(source, error.position, "", error.message);
                None
            }
        }
    }
}

fn skips(value: &Value) -> bool {
    matches!(value.get("skip_unchanged"), Some(Value::Bool(true) | Value::Object(_)))
}

fn comparison(value: &Value) -> Comparison {
    let Some(how) = value.get("skip_unchanged") else { return Comparison::default() };
    let ignore = how.get("ignore").and_then(Value::as_array).into_iter().flatten();
    Comparison {
        ignore: ignore.filter_map(Value::as_str).map(str::to_owned).collect(),
        by: how.get("by").cloned(),
    }
}

fn mail(mail: &Value) -> Option<MailSpec> {
    let text = |name: &str| mail.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(MailSpec {
        connection: text("connection")?,
        from: text("from")?,
        reply_to: text("reply_to"),
        to: mail.get("to")?.clone(),
        cc: mail.get("cc").cloned(),
        subject: mail.get("subject")?.clone(),
        body: mail.get("body").cloned(),
    })
}

fn place(text: &str, character: usize) -> Position {
    let before = text.chars().take(character);
    let start = Position::START;
    before.fold(start, |at, c| match c {
        '\n' => Position { line: at.line + 1, column: 1 },
        _ => Position { column: at.column + 1, ..at },
    })
}
