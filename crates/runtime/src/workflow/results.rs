//! Where the results of a map run go: an array in the state's output, or what a ResultWriter
//! writes.

mod files;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join};
use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use stepbus_asl::{Failure, MapRunSpec};
use stepbus_items::Column;
use stepbus_model::{MapRunId, Timestamp};
use stepbus_store::{Batch, ExecutionStatus, MapCounts, MapRunRow, StoreError};
use tokio::task::JoinError;

use super::child::Family;
use super::pages::{self, Trouble};
use crate::engine::Engine;
use crate::threads::give_way;

/// Pages that are made ready while one is told of.
const PAGES_AHEAD: usize = 3;

/// A child as a sink is told of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChildResult {
    /// None: it was not started, because the map run failed before.
    pub status: Option<ExecutionStatus>,
    pub name: String,
    pub arn: String,
    pub state_machine_arn: Arc<str>,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// JSON, only where the sink asks for inputs.
    pub input: Option<String>,
    /// JSON.
    pub output: Option<Bytes>,
    pub error: Option<String>,
    pub error_cause: Option<String>,
    pub redrive_count: u32,
}

/// What is kept of a child: JSON values.
#[derive(Debug)]
pub(crate) struct Shown {
    pub column: Column,
    pub texts: Vec<String>,
}

/// Makes of a child what is kept of it; several threads do so at once.
pub(crate) type Form = Arc<dyn Fn(&ChildResult) -> Result<Shown, Failure> + Send + Sync>;

/// Takes the results of a map run. After a crash another one is told everything from the start, so
/// what is written under the same name replaces what was written before.
pub(crate) trait ResultSink: Send {
    /// Whether [`ChildResult::input`] is to be filled.
    fn wants_inputs(&self) -> bool;

    fn form(&self) -> Form;

    /// The next children in the order of their items. They come in pages, never all at once.
    fn take(&mut self, children: Vec<Shown>) -> BoxFuture<'_, Result<(), Failure>>;

    /// All children have come: gives the state's output. It is also asked for when the map run
    /// failed; the output is of no use then.
    fn finish(&mut self) -> BoxFuture<'_, Result<Value, Failure>>;
}

/// Opens what the map run's results go to.
fn open(engine: &Arc<Engine>, spec: &MapRunSpec) -> Result<Box<dyn ResultSink>, Failure> {
    match &spec.result_writer {
        None => Ok(Box::new(Collected::up_to(engine.limits.payload_bytes))),
        Some(writer) => files::open(engine, spec, writer),
    }
}

/// The outputs of the children that succeeded as one array, as long as it fits into a payload.
struct Collected {
    results: Vec<Value>,
    bytes: usize,
    most: usize,
}

impl Collected {
    fn up_to(most: usize) -> Collected {
        Collected { results: Vec::new(), bytes: 2, most }
    }

    fn add(&mut self, output: &str) -> Result<(), Failure> {
        self.bytes += output.len() + 1;
        if self.bytes > self.most {
            let cause = format!(
                "The results of the map's children are larger than {} bytes. Use a ResultWriter, \
                 or have them return less",
                self.most
            );
            return Err(Failure::new("States.DataLimitExceeded", cause));
        }
        let value = serde_json::from_str(output)
            .map_err(|error| Failure::new("States.Runtime", error.to_string()))?;
        self.results.push(value);
        Ok(())
    }
}

impl ResultSink for Collected {
    fn wants_inputs(&self) -> bool {
        false
    }

    fn form(&self) -> Form {
        Arc::new(|child| {
            let output = child.output.as_deref().map(str::from_utf8).transpose();
            let output =
                output.map_err(|error| Failure::new("States.Runtime", error.to_string()))?;
            let texts = output.map(str::to_owned).into_iter().collect();
            Ok(Shown { column: Column::Succeeded, texts })
        })
    }

    fn take(&mut self, children: Vec<Shown>) -> BoxFuture<'_, Result<(), Failure>> {
        let mut outputs = children.iter().flat_map(|child| &child.texts);
        let added = outputs.try_for_each(|output| self.add(output));
        Box::pin(async { added })
    }

    fn finish(&mut self) -> BoxFuture<'_, Result<Value, Failure>> {
        let results = std::mem::take(&mut self.results);
        Box::pin(async { Ok(Value::Array(results)) })
    }
}

/// What the sink made of the results, and what the books say of it.
pub(super) async fn conclude(
    engine: &Arc<Engine>,
    spec: &MapRunSpec,
    row: &MapRunRow,
    family: &Arc<Family>,
) -> Result<(Value, Batch), Trouble> {
    let mut sink = open(engine, spec).map_err(Trouble::Failed)?;
    let told = tell(engine, row.id, family, &mut *sink).await?;
    let output = sink.finish().await.map_err(Trouble::Failed)?;
    let mut written = Batch::new();
    if writes(spec) {
        let before = &row.counts;
        written.count_results_written(
            row.id,
            told.items.results_written - before.items.results_written,
            told.executions.results_written - before.executions.results_written,
        );
    }
    Ok((output, written))
}

/// Whether the results go to files: those are written whatever becomes of the map run.
pub(super) fn writes(spec: &MapRunSpec) -> bool {
    spec.result_writer.as_ref().is_some_and(|writer| writer.resource.is_some())
}

/// Tells the sink of all children, page by page, and says of how many it has told. The next pages
/// are made ready meanwhile.
async fn tell(
    engine: &Arc<Engine>,
    map_run: MapRunId,
    family: &Arc<Family>,
    sink: &mut dyn ResultSink,
) -> Result<MapCounts, Trouble> {
    let mut told = MapCounts::default();
    let (inputs, form) = (sink.wants_inputs(), sink.form());
    let pages = stream::iter(0..).map(|number| {
        let (engine, family, form) = (engine.clone(), family.clone(), form.clone());
        let pages = Pages { engine, map_run, family, inputs, form };
        tokio::spawn(async move { pages.shown(number).await })
    });
    let mut pages = pin!(pages.buffered(PAGES_AHEAD));
    let mut next = pages.next().await;
    while let Some(page) = next {
        let Some((children, counts)) = page.map_err(lost)?? else { break };
        told.items.results_written += counts.items.results_written;
        told.executions.results_written += counts.executions.results_written;
        let (following, taken) = join(pages.next(), sink.take(children)).await;
        taken.map_err(Trouble::Failed)?;
        next = following;
    }
    Ok(told)
}

fn lost(error: JoinError) -> Trouble {
    if error.is_panic() {
        return Trouble::Failed(Failure::new("States.Runtime", error.to_string()));
    }
    // The engine stops; the results are written when it is back.
    Trouble::Store(StoreError::Failed(error.to_string()))
}

/// The children of a map run, by pages of their items.
struct Pages {
    engine: Arc<Engine>,
    map_run: MapRunId,
    family: Arc<Family>,
    inputs: bool,
    form: Form,
}

impl Pages {
    /// What is kept of a page's children, and how many of them there are; none after the last page.
    async fn shown(&self, number: u64) -> Result<Option<(Vec<Shown>, MapCounts)>, Trouble> {
        let store = &self.engine.store;
        let Some(page) = store.map_page(self.map_run, number).await? else { return Ok(None) };
        let to = page.first_index + u64::from(page.count);
        let rows = store.map_results(self.map_run, page.first_index, to).await?;
        let mut rows = rows.into_iter().peekable();
        let units = if self.inputs { pages::units(&page)? } else { Vec::new() };
        let mut units = units.into_iter();
        let mut counts = MapCounts::default();
        let mut children = Vec::with_capacity(page.count as usize);
        for index in page.first_index..to {
            let row = rows.next_if(|row| row.index == index);
            if let Some(row) = &row {
                counts.items.results_written += i64::from(row.items);
                counts.executions.results_written += 1;
            }
            let mut child = self.family.result(&self.engine, index, row);
            let input = units.next().and_then(|unit| self.family.input(&unit).ok());
            // Not by `Display`, which is several times as slow.
            child.input = input.and_then(|input| serde_json::to_string(&*input).ok());
            children.push((self.form)(&child).map_err(Trouble::Failed)?);
            give_way();
        }
        Ok(Some((children, counts)))
    }
}
