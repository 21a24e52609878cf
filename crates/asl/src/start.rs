//! What an execution begins with, and how that is written down.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use stepbus_model::Limits;

use crate::entry::Resumption;
use crate::io::WorkflowType;

/// What an execution begins with: the first entry of its journal. In a format for machines it is
/// written without what follows from the rest of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Read")]
pub struct Start {
    pub input: Arc<Value>,
    pub execution_arn: Arc<str>,
    pub execution_name: Arc<str>,
    pub state_machine_arn: Arc<str>,
    pub state_machine_name: Arc<str>,
    /// ARN of the role in the context object and in history; local ones need none.
    pub role_arn: Option<Arc<str>>,
    /// All that is random inside comes from here.
    pub seed: u64,
    pub workflow_type: WorkflowType,
    /// The item a child of a distributed map was started for.
    pub map_item: Option<MapItem>,
    /// It goes on with what it was by another definition.
    pub resumption: Option<Box<Resumption>>,
    pub bounds: Bounds,
}

/// `Map.Item` of the context object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapItem {
    pub index: u64,
    pub value: Arc<Value>,
    /// The member's name when the map runs over a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where the item comes from: `STATE_DATA`, or the reader's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
}

/// The bounds an execution keeps for its whole life, so that a replay meets the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub payload_bytes: usize,
    pub steps_per_input: u64,
    pub history_events: u64,
    #[serde(default = "unbounded")]
    pub variable_bytes: usize,
    #[serde(default = "unbounded")]
    pub variables_bytes: usize,
    #[serde(default)]
    pub data_limit_ends: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub express_seconds: Option<u64>,
}

/// Executions that began before there was a bound keep on without it.
fn unbounded() -> usize {
    usize::MAX
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Bounds {
            payload_bytes: limits.payload_bytes,
            steps_per_input: limits.steps_per_input,
            history_events: limits.history_events,
            variable_bytes: limits.variable_bytes,
            variables_bytes: limits.variables_bytes,
            data_limit_ends: limits.data_limit_ends,
            express_seconds: limits.express_seconds,
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds::from(&Limits::DEFAULT)
    }
}

/// A start as it is read back.
type Read = Written<Arc<Value>, Arc<str>, Box<Resumption>>;

/// A start as it is written down: values, texts and a resumption.
#[derive(Serialize, Deserialize)]
struct Written<V, T, R> {
    input: V,
    /// None: the name within the state machine's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_arn: Option<T>,
    execution_name: T,
    state_machine_arn: T,
    /// None: what the state machine's ARN ends in.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_machine_name: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<T>,
    seed: u64,
    #[serde(default)]
    workflow_type: WorkflowType,
    #[serde(skip_serializing_if = "Option::is_none")]
    map_item: Option<WrittenItem<V, T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumption: Option<R>,
    #[serde(default, serialize_with = "write_bounds")]
    bounds: Bounds,
}

#[derive(Serialize, Deserialize)]
struct WrittenItem<V, T> {
    index: u64,
    /// None: the execution's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<V>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<T>,
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = serializer.is_human_readable();
        let machine = &*self.state_machine_arn;
        let named = names(&self.execution_arn, machine, &self.execution_name);
        let name = &*self.state_machine_name;
        let written = Written {
            input: &*self.input,
            execution_arn: (whole || !named).then_some(&*self.execution_arn),
            execution_name: &*self.execution_name,
            state_machine_arn: machine,
            state_machine_name: (whole || last(machine) != name).then_some(name),
            role_arn: self.role_arn.as_deref(),
            seed: self.seed,
            workflow_type: self.workflow_type,
            map_item: self.map_item.as_ref().map(|item| WrittenItem {
                index: item.index,
                value: (whole || !Arc::ptr_eq(&item.value, &self.input)).then_some(&*item.value),
                key: item.key.as_deref(),
                source: item.source.as_deref(),
            }),
            resumption: self.resumption.as_deref(),
            bounds: self.bounds,
        };
        written.serialize(serializer)
    }
}

impl From<Read> for Start {
    fn from(written: Read) -> Start {
        let Written { input, execution_name, state_machine_arn, .. } = written;
        let machine = &*state_machine_arn;
        let item = |item: WrittenItem<Arc<Value>, Arc<str>>| MapItem {
            index: item.index,
            value: item.value.unwrap_or_else(|| input.clone()),
            key: item.key.map(|key| key.to_string()),
            source: item.source,
        };
        Start {
            execution_arn: written
                .execution_arn
                .unwrap_or_else(|| execution_arn(machine, &execution_name).into()),
            state_machine_name: written.state_machine_name.unwrap_or_else(|| last(machine).into()),
            role_arn: written.role_arn,
            seed: written.seed,
            workflow_type: written.workflow_type,
            map_item: written.map_item.map(item),
            resumption: written.resumption,
            bounds: written.bounds,
            input,
            execution_name,
            state_machine_arn,
        }
    }
}

/// By position for machines.
fn write_bounds<S: Serializer>(bounds: &Bounds, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return bounds.serialize(serializer);
    }
    (
        bounds.payload_bytes,
        bounds.steps_per_input,
        bounds.history_events,
        bounds.variable_bytes,
        bounds.variables_bytes,
        bounds.data_limit_ends,
        bounds.express_seconds,
    )
        .serialize(serializer)
}

const MACHINE: &str = ":stateMachine:";
const EXECUTION: &str = ":execution:";

/// ...:stateMachine:NAME and EXECUTION as ...:execution:NAME:EXECUTION.
fn execution_arn(machine: &str, execution: &str) -> String {
    [&machine.replacen(MACHINE, EXECUTION, 1), ":", execution].concat()
}

/// Whether that is the ARN.
fn names(arn: &str, machine: &str, execution: &str) -> bool {
    // From behind: that is where they differ from the ARNs of others.
    let name = last(machine);
    let of_machine = machine.strip_suffix(name).and_then(|rest| rest.strip_suffix(MACHINE));
    let of_execution = arn
        .strip_suffix(execution)
        .and_then(|rest| rest.strip_suffix(':')?.strip_suffix(name)?.strip_suffix(EXECUTION));
    of_machine.is_some() && of_machine == of_execution
}

fn last(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start() -> Start {
        let input = Arc::new(json!({ "sku": "LONG-SKU", "price": 1.10 }));
        Start {
            execution_arn: "arn:aws:states:local:0:execution:sync/Each:e1".into(),
            execution_name: "e1".into(),
            state_machine_arn: "arn:aws:states:local:0:stateMachine:sync/Each".into(),
            state_machine_name: "sync/Each".into(),
            role_arn: None,
            seed: u64::MAX,
            workflow_type: WorkflowType::Express,
            map_item: Some(MapItem {
                index: 7,
                value: input.clone(),
                key: None,
                source: Some("S3://files/items.jsonl".into()),
            }),
            input,
            resumption: None,
            bounds: Bounds::default(),
        }
    }

    /// Written and read again it is the same, for people and for machines; how often the text
    /// stands in it for machines.
    #[track_caller]
    fn check(start: &Start, text: &str, expected: usize) {
        let readable = serde_json::to_vec(start).unwrap();
        assert_eq!(&serde_json::from_slice::<Start>(&readable).unwrap(), start);
        let short = rmp_serde::to_vec_named(start).unwrap();
        assert_eq!(&rmp_serde::from_slice::<Start>(&short).unwrap(), start);
        let found = short.windows(text.len()).filter(|bytes| *bytes == text.as_bytes()).count();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_written_twice_for_machines() {
        check(&start(), "LONG-SKU", 1);
        check(&start(), "sync/Each", 1);
        check(&start(), "e1", 1);
        check(&start(), "payload_bytes", 0);
    }

    #[test]
    fn what_does_not_follow_is_written() {
        let other = Start { execution_arn: "arn:of:another:kind".into(), ..start() };
        check(&other, "another", 1);
        let other = Start {
            state_machine_arn: "arn:aws:states:local:0:stateMachine:sync:3".into(),
            execution_arn: "arn:aws:states:local:0:execution:sync:3:e1".into(),
            ..start()
        };
        check(&other, "execution:sync:3", 1);
        let other = Start { state_machine_name: "named otherwise".into(), ..start() };
        check(&other, "otherwise", 1);
        let mut selected = start();
        selected.input = Arc::new(json!("selected"));
        check(&selected, "LONG-SKU", 1);
        let bounds = Bounds { express_seconds: Some(300), ..Bounds::default() };
        check(&Start { bounds, ..start() }, "selected", 0);
    }
}
