//! What the runtime needs of a distributed map while it runs.

use std::sync::Arc;

use serde_json::Value;
use stepbus_expr::Env;

use crate::chance::{Point, seed};
use crate::definition::model::{Kind, State};
use crate::expression::{Frame, LazyContext, Variable};
use crate::fault::Fault;
use crate::interpreter::bytes;
use crate::interpreter::of_map_run;
use crate::io::{Failure, ItemBatcher, MapScope};
use crate::start::MapItem;

/// How many children have ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapCounts {
    /// Items of the whole map run, as far as they are known.
    pub total: u64,
    /// Items whose children failed, timed out or were aborted.
    pub failed: u64,
}

/// Whether more items failed than a map run tolerates. Without a count or a percentage none may;
/// with both, either one ends it.
#[must_use]
pub fn exceeds_tolerance(
    counts: MapCounts,
    tolerated_count: Option<u64>,
    tolerated_percentage: Option<f64>,
) -> bool {
    if counts.failed == 0 {
        return false;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of items")]
    let share = |failed: u64| failed as f64 * 100.0 / counts.total.max(1) as f64;
    match (tolerated_count, tolerated_percentage) {
        (None, None) => true,
        (Some(count), None) => counts.failed > count,
        (None, Some(percentage)) => share(counts.failed) > percentage,
        (Some(count), Some(percentage)) => {
            counts.failed > count || share(counts.failed) > percentage
        }
    }
}

/// The failure of a map run in which too many items failed.
#[must_use]
pub fn tolerance_exceeded() -> Failure {
    Failure::new(
        "States.ExceedToleratedFailureThreshold",
        "The specified tolerated failure threshold was exceeded",
    )
}

/// `arn:aws:states:R:A:mapRun:MACHINE/LABEL:UUID`
pub(crate) fn map_run_arn(state_machine_arn: &str, label: &str, uuid: &str) -> String {
    let (head, machine) = state_machine_arn
        .split_once(":stateMachine:")
        .unwrap_or(("arn:aws:states:local:000000000000", state_machine_arn));
    format!("{head}:mapRun:{machine}/{label}:{uuid}")
}

/// The input of the child for one item.
pub(crate) fn distributed_item_input(
    state: &State,
    scope: &MapScope,
    item: &MapItem,
) -> Result<Arc<Value>, Failure> {
    let Kind::Map(map) = &state.kind else { return Ok(Arc::clone(&item.value)) };
    let Some(selector) = &map.item_selector else { return Ok(Arc::clone(&item.value)) };
    let variables: Vec<Variable> = scope
        .variables
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (Arc::from(name.as_str()), Arc::new(value.clone())))
        .collect();
    // The scope holds as much of the context object as the selector reads.
    let build = |_whole: bool| {
        let mut context = (*scope.context).clone();
        if let Some(object) = context.as_object_mut() {
            object.insert("Map".to_owned(), of_map_run(item));
        }
        context
    };
    let lazy = LazyContext::new(&build);
    let env = Env { now: scope.at, seed: seed(scope.seed, 0, 0, Point::Item(item.index)) };
    let frame = Frame::new(env, &scope.input, &variables, &lazy, usize::MAX);
    selector.eval("ItemSelector", &frame).map_err(|fault: Fault| fault.failure)
}

/// The input of the child for a batch of items.
#[must_use]
pub fn batch_input(items: Vec<Value>, batcher: &ItemBatcher) -> Value {
    let mut input = serde_json::Map::new();
    if let Some(shared) = &batcher.batch_input {
        input.insert("BatchInput".to_owned(), shared.clone());
    }
    input.insert("Items".to_owned(), Value::Array(items));
    Value::Object(input)
}

/// The inputs of the children for batches of `inputs`. A batch has at least one, however large.
#[must_use]
pub fn batched(inputs: Vec<Value>, batcher: &ItemBatcher) -> Vec<Value> {
    let most = match usize::try_from(batcher.max_items_per_batch) {
        Ok(most @ 1..) => most,
        _ => usize::MAX,
    };
    let room = match batcher.max_input_bytes_per_batch {
        0 => u64::MAX,
        bytes => bytes,
    };
    let empty = bytes(&batch_input(Vec::new(), batcher));
    let (mut batches, mut open, mut size) = (Vec::new(), Vec::new(), empty);
    for input in inputs {
        // Each but the first stands behind a comma.
        let more = bytes(&input) + u64::from(!open.is_empty());
        if !open.is_empty() && (open.len() == most || size + more > room) {
            batches.push(batch_input(std::mem::take(&mut open), batcher));
            size = empty;
        }
        size += bytes(&input) + u64::from(!open.is_empty());
        open.push(input);
    }
    if !open.is_empty() {
        batches.push(batch_input(open, batcher));
    }
    batches
}
