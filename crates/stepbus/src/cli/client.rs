//! Talks to the admin API of a running server.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;

use crate::output;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    json: bool,
}

impl Client {
    pub(super) fn new(url: &str, json: bool) -> Client {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build();
        let url = url.trim_end_matches('/').to_owned();
        Client { agent: config.into(), url, json }
    }

    pub(super) fn get(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> anyhow::Result<Value> {
        let mut request = self.agent.get(format!("{}/admin/{path}", self.url));
        for (name, value) in query {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        self.answer(request.call())
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Value> {
        self.send(self.agent.post(format!("{}/admin/{path}", self.url)), body)
    }

    pub(super) fn put(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Value> {
        self.send(self.agent.put(format!("{}/admin/{path}", self.url)), body)
    }

    fn send(
        &self,
        mut request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &impl Serialize,
    ) -> anyhow::Result<Value> {
        if let Some(user) = user() {
            request = request.header("x-stepbus-user", user);
        }
        self.answer(request.send_json(body))
    }

    /// Copies an answer of any length as it comes.
    pub(super) fn copy(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        to: &mut impl Write,
    ) -> anyhow::Result<()> {
        let patient = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent: ureq::Agent = patient.into();
        let mut request = agent.get(format!("{}/admin/{path}", self.url));
        for (name, value) in query {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        match request.call() {
            Ok(mut response) if response.status().is_success() => {
                let mut body = response.body_mut().as_reader();
                std::io::copy(&mut body, to).context("the answer broke off")?;
                Ok(())
            }
            refused => self.answer(refused).map(|_| ()),
        }
    }

    /// As [`Client::post`], where the answer may take its time.
    pub(super) fn post_patiently(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<Value> {
        let request = self.agent.post(format!("{}/admin/{path}", self.url));
        let request = request.config().timeout_global(None).build();
        self.answer(request.send_json(body))
    }

    fn answer(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Value> {
        let mut response = response.with_context(|| {
            format!(
                "no server answers at {}; start one with `stepbus serve`, or name it with --url",
                self.url
            )
        })?;
        let status = response.status();
        let text = response.body_mut().read_to_string().context("the answer broke off")?;
        let body: Value = serde_json::from_str(&text)
            .with_context(|| format!("the answer is no JSON (status {status}): {text}"))?;
        if !status.is_success() {
            let error = body["error"].as_str().unwrap_or("error");
            bail!("{error}: {}", body["message"].as_str().unwrap_or(&text));
        }
        Ok(body)
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer: as it is with `--json`, else as `render` has it.
    pub(super) fn show(&self, answer: &Value, render: impl FnOnce(&Value) -> String) -> ExitCode {
        if self.json {
            output::json(answer);
        } else {
            output::text(&render(answer));
        }
        ExitCode::SUCCESS
    }
}

/// Who sits here, for the audit; what cannot be said in a header is left out.
fn user() -> Option<String> {
    let name = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok()?;
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && (1..=64).contains(&name.len())).then_some(name)
}

/// A member as the text of a table's cell.
pub(super) fn cell(row: &Value, pointer: &str) -> String {
    match row.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => {
            number.as_i64().map_or_else(|| number.to_string(), output::count)
        }
        Some(other) => other.to_string(),
    }
}

/// A row for each member of a listing, or a line that says there is none.
pub(super) fn listing(
    answer: &Value,
    none: &str,
    head: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) -> String {
    let rows: Vec<Vec<String>> = answer.as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() { format!("{none}\n") } else { output::table(head, &rows) }
}
