//! What answers in place of the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stepbus_asl::Failure;
use stepbus_asl::trial::{Answer, Call, CallKind, Reply};
use stepbus_document::join;

use super::file::States;
use super::reader::Reader;

/// By state.
pub(super) type Mocks = BTreeMap<String, Mock>;

/// The answers to one state's calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Mock {
    /// By index of the item, of the innermost map.
    items: BTreeMap<u64, Answers>,
    others: Option<Answers>,
    /// What the Map state's ItemReader reads.
    reads: Option<Arc<Value>>,
}

#[derive(Debug, Clone)]
enum Answers {
    /// One after the other, the last again and again.
    Sequence(Vec<Answer>),
    /// By number of the call, from and to.
    Numbered(Vec<(u64, u64, Answer)>, Option<Answer>),
}

impl Answers {
    fn of(&self, number: u64) -> Option<&Answer> {
        match self {
            Answers::Sequence(answers) => {
                let at = usize::try_from(number).unwrap_or(usize::MAX);
                answers.get(at).or(answers.last())
            }
            Answers::Numbered(ranges, other) => ranges
                .iter()
                .find(|(from, to, _)| (*from..=*to).contains(&number))
                .map(|(_, _, answer)| answer)
                .or(other.as_ref()),
        }
    }
}

/// The answer to a call. Publishing to a bus is no call outside: it succeeds without a mock.
pub(super) fn answer(mocks: &Mocks, call: &Call<'_>) -> Option<Answer> {
    let mock = mocks.get(call.state);
    let result = |reply| Answer { reply: Reply::Result(reply), after: Duration::ZERO };
    if call.kind == CallKind::Reader {
        return mock?.reads.clone().map(result);
    }
    let mocked = mock.and_then(|mock| {
        let own = call.item.and_then(|item| mock.items.get(&item));
        own.or(mock.others.as_ref())?.of(call.number).cloned()
    });
    let publishes = call.kind == CallKind::Task && call.resource.ends_with(":events:putEvents");
    match mocked {
        None if publishes && mock.is_none() => Some(result(Arc::new(published(call.arguments)))),
        mocked => mocked,
    }
}

fn published(arguments: &Value) -> Value {
    let count = arguments["Entries"].as_array().map_or(0, Vec::len);
    let entries: Vec<Value> =
        (0..count).map(|n| json!({ "EventId": format!("event-{n}") })).collect();
    json!({ "Entries": entries, "FailedEntryCount": 0 })
}

const ANSWER: [&str; 5] = ["result", "error", "cause", "timeout", "after"];

/// Reads `mocks`, an object of states.
pub(super) fn read(reader: &mut Reader<'_>, value: &Value, at: &str, states: &States) -> Mocks {
    let mut mocks = Mocks::new();
    let Some(members) = value.as_object() else {
        reader.wrong(at, "mocks must be an object: a state's name, and what answers its calls");
        return mocks;
    };
    for (name, value) in members {
        let at = join(at, name);
        if !reader.name("state", name, &at, states.names()) {
            continue;
        }
        if let Some(why_not) = states.no_mock(name) {
            reader.wrong(&at, why_not);
            continue;
        }
        if let Some(mock) = mock(reader, value, &at) {
            mocks.insert(name.clone(), mock);
        }
    }
    mocks
}

fn mock(reader: &mut Reader<'_>, value: &Value, at: &str) -> Option<Mock> {
    let mut mock = Mock::default();
    let by_item = value
        .as_object()
        .filter(|members| members.contains_key("items") || members.contains_key("reads"));
    let Some(members) = by_item else {
        mock.others = Some(answers(reader, value, at)?);
        return Some(mock);
    };
    for (name, value) in members {
        let at = join(at, name);
        match name.as_str() {
            "items" => {
                for (index, value) in value.as_object().into_iter().flatten() {
                    let at = join(&at, index);
                    match index.parse() {
                        Ok(index) => {
                            if let Some(answers) = answers(reader, value, &at) {
                                mock.items.insert(index, answers);
                            }
                        }
                        Err(_) => {
                            reader.wrong(&at, "items are named by their index, counted from 0");
                        }
                    }
                }
            }
            "else" => mock.others = answers(reader, value, &at),
            "reads" => mock.reads = Some(Arc::new(value.clone())),
            other => {
                let known = ["items", "else", "reads"];
                let hint = crate::project::suggest(other, known);
                reader.wrong(&at, format!("unknown field `{other}`")).hint = Some(hint);
            }
        }
    }
    Some(mock)
}

fn answers(reader: &mut Reader<'_>, value: &Value, at: &str) -> Option<Answers> {
    match value {
        Value::Array(items) if items.is_empty() => {
            reader.wrong(at, "a sequence of answers must have one at least");
            None
        }
        Value::Array(items) => {
            let answers: Vec<Option<Answer>> = items
                .iter()
                .enumerate()
                .map(|(index, item)| one(reader, item, &join(at, index)))
                .collect();
            Some(Answers::Sequence(answers.into_iter().collect::<Option<_>>()?))
        }
        Value::Object(members) if members.contains_key("calls") => {
            let mut ranges = Vec::new();
            let mut other = None;
            for (name, value) in members {
                let at = join(at, name);
                match name.as_str() {
                    "calls" => numbered(reader, value, &at, &mut ranges),
                    "else" => other = one(reader, value, &at),
                    name => {
                        let hint = crate::project::suggest(name, ["calls", "else"]);
                        reader.wrong(&at, format!("unknown field `{name}`")).hint = Some(hint);
                    }
                }
            }
            Some(Answers::Numbered(ranges, other))
        }
        value => Some(Answers::Sequence(vec![one(reader, value, at)?])),
    }
}

fn numbered(
    reader: &mut Reader<'_>,
    value: &Value,
    at: &str,
    ranges: &mut Vec<(u64, u64, Answer)>,
) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = join(at, name);
        let (from, to) = name.split_once('-').unwrap_or((name, name));
        match (from.trim().parse(), to.trim().parse()) {
            (Ok(from), Ok(to)) if from <= to => {
                if let Some(answer) = one(reader, value, &at) {
                    ranges.push((from, to, answer));
                }
            }
            _ => {
                reader
                    .wrong(&at, "calls are named by their number, counted from 0, as `0` or `2-4`");
            }
        }
    }
}

fn one(reader: &mut Reader<'_>, value: &Value, at: &str) -> Option<Answer> {
    let Some(members) = value.as_object() else {
        let hint = "write `{ result: … }`, `{ error: …, cause: … }` or `{ timeout: true }`";
        reader.wrong(at, "an answer must be an object").hint = Some(hint.to_owned());
        return None;
    };
    let mut sound = true;
    for name in members.keys().filter(|name| !ANSWER.contains(&name.as_str())) {
        let hint = crate::project::suggest(name, ANSWER);
        reader.wrong(&join(at, name), format!("unknown field `{name}`")).hint = Some(hint);
        sound = false;
    }
    let after = match members.get("after") {
        None => Duration::ZERO,
        Some(value) => reader.seconds(value, &join(at, "after"))?,
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let (result, error) = (members.get("result"), members.get("error"));
    let reply = match (result, error, members.get("timeout")) {
        (Some(result), None, None) => Reply::Result(Arc::new(result.clone())),
        (None, Some(Value::String(error)), None) => {
            Reply::Error(Failure { error: Some(error.clone()), cause: text("cause") })
        }
        (None, None, Some(Value::Bool(true))) => Reply::Silence,
        _ => {
            if sound {
                let message = "an answer has one of `result`, `error` (a text) and `timeout: true`";
                reader.wrong(at, message);
            }
            return None;
        }
    };
    sound.then_some(Answer { reply, after })
}
