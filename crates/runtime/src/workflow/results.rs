//! Where the results of a map run go: an array in the state's output, or what a ResultWriter
//! writes.

mod files;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use stepbus_asl::{Failure, MapRunSpec};
use stepbus_items::{Column, Entries};
use stepbus_model::{MapRunId, Timestamp};
use stepbus_store::{Batch, ExecutionStatus, MapCounts, MapResultRow, MapRunRow, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinHandle};

use super::child::Family;
use super::pages::{self, Trouble, Unit};
use crate::engine::Engine;
use crate::threads::give_way;

/// Pages that are told of at once, so that the next ones are ready when they are taken.
const PAGES_AT_ONCE: usize = 6;
/// Bytes of each that wait to be taken; what one child has may be more.
const BYTES_AHEAD: u32 = 512 * 1024;
/// Bytes that are handed on together: few enough to stay near the processor.
const PART_BYTES: usize = 64 * 1024;

/// A child as a sink is told of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChildResult<'r> {
    /// None: it was not started, because the map run failed before.
    pub status: Option<ExecutionStatus>,
    pub name: Cow<'r, str>,
    pub arn: String,
    pub state_machine_arn: &'r str,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// JSON, only where the sink asks for inputs.
    pub input: Option<String>,
    /// JSON.
    pub output: Option<&'r [u8]>,
    pub error: Option<&'r str>,
    pub error_cause: Option<&'r str>,
    pub redrive_count: u32,
}

/// Adds what is kept of a child; several threads do so at once.
pub(crate) type Form =
    Arc<dyn Fn(&ChildResult<'_>, &mut Entries) -> Result<(), Failure> + Send + Sync>;

/// Takes the results of a map run. After a crash another one is told everything from the start, so
/// what is written under the same name replaces what was written before.
pub(crate) trait ResultSink: Send {
    /// Whether [`ChildResult::input`] is to be filled.
    fn wants_inputs(&self) -> bool;

    fn form(&self) -> Form;

    /// What is kept of the next children, in the order of their items. Few come at once.
    fn take(&mut self, entries: Entries) -> BoxFuture<'_, Result<(), Failure>>;

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

    fn add(&mut self, output: &[u8]) -> Result<(), Failure> {
        self.bytes += output.len() + 1;
        if self.bytes > self.most {
            let cause = format!(
                "The results of the map's children are larger than {} bytes. Use a ResultWriter, \
                 or have them return less",
                self.most
            );
            return Err(Failure::new("States.DataLimitExceeded", cause));
        }
        let value = serde_json::from_slice(output)
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
        Arc::new(|child, entries| {
            let output = child.output.map(str::from_utf8).transpose();
            let output =
                output.map_err(|error| Failure::new("States.Runtime", error.to_string()))?;
            if let Some(output) = output {
                entries.add(Column::Succeeded, output);
            }
            Ok(())
        })
    }

    fn take(&mut self, entries: Entries) -> BoxFuture<'_, Result<(), Failure>> {
        let added = entries.iter().try_for_each(|(_, output)| self.add(output));
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
    let pages = Arc::new(Pages {
        engine: engine.clone(),
        map_run,
        family: family.clone(),
        inputs: sink.wants_inputs(),
        form: sink.form(),
    });
    let mut numbers = 0..;
    let mut ahead = VecDeque::new();
    loop {
        ahead.extend(numbers.by_ref().take(PAGES_AT_ONCE - ahead.len()).map(|n| pages.open(n)));
        let Some(mut page) = ahead.pop_front() else { return Ok(told) };
        while let Some(Part { entries, counts, .. }) = page.parts.recv().await {
            told.items.results_written += counts.items.results_written;
            told.executions.results_written += counts.executions.results_written;
            sink.take(entries).await.map_err(Trouble::Failed)?;
        }
        if !page.told.await.map_err(lost)?? {
            return Ok(told);
        }
    }
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

/// A page that is being told of.
struct OpenPage {
    parts: mpsc::UnboundedReceiver<Part>,
    /// Whether there is such a page.
    told: JoinHandle<Result<bool, Trouble>>,
}

/// What is kept of some children, and how many of them there are.
#[derive(Default)]
struct Part {
    entries: Entries,
    counts: MapCounts,
    /// What it takes of the bytes that may wait.
    _room: Option<OwnedSemaphorePermit>,
}

/// Where a page's parts go.
struct Parts {
    to: mpsc::UnboundedSender<Part>,
    room: Arc<Semaphore>,
}

impl Parts {
    /// Whether somebody still listens.
    async fn send(&self, part: Part) -> bool {
        let bytes = u32::try_from(part.entries.bytes()).unwrap_or(BYTES_AHEAD).min(BYTES_AHEAD);
        let _room = self.room.clone().acquire_many_owned(bytes).await.ok();
        self.to.send(Part { _room, ..part }).is_ok()
    }
}

impl Pages {
    fn open(self: &Arc<Self>, number: u64) -> OpenPage {
        let (to, parts) = mpsc::unbounded_channel();
        let to = Parts { to, room: Arc::new(Semaphore::new(BYTES_AHEAD as usize)) };
        let pages = self.clone();
        OpenPage { parts, told: tokio::spawn(async move { pages.tell(number, &to).await }) }
    }

    async fn tell(&self, number: u64, to: &Parts) -> Result<bool, Trouble> {
        let (store, most) = (&self.engine.store, self.engine.limits.map_page_bytes);
        let Some(page) = store.map_page(self.map_run, number).await? else { return Ok(false) };
        let mut units = if self.inputs { pages::units(&page)? } else { Vec::new() }.into_iter();
        let mut part = Part::default();
        let mut indices = page.first_index..page.first_index + u64::from(page.count);
        while !indices.is_empty() {
            let rows = store.map_results(self.map_run, indices.start, indices.end, most).await?;
            let full = rows.iter().map(MapResultRow::bytes).sum::<usize>() >= most;
            let read_to = rows.last().filter(|_| full).map_or(indices.end, |last| last.index + 1);
            let mut rows = rows.iter().peekable();
            for index in indices.start..read_to {
                let row = rows.next_if(|row| row.index == index);
                self.add(&mut part, index, row, units.next())?;
                if part.entries.bytes() >= PART_BYTES && !to.send(std::mem::take(&mut part)).await {
                    // The sink has failed.
                    return Ok(true);
                }
                give_way();
            }
            indices.start = read_to;
        }
        to.send(part).await;
        Ok(true)
    }

    fn add(
        &self,
        part: &mut Part,
        index: u64,
        row: Option<&MapResultRow>,
        unit: Option<Unit>,
    ) -> Result<(), Trouble> {
        if let Some(row) = row {
            part.counts.items.results_written += i64::from(row.items);
            part.counts.executions.results_written += 1;
        }
        let mut child = self.family.result(&self.engine, index, row);
        let input = unit.and_then(|unit| self.family.input(&unit).ok());
        // Not by `Display`, which is several times as slow.
        child.input = input.and_then(|input| serde_json::to_string(&*input).ok());
        (self.form)(&child, &mut part.entries).map_err(Trouble::Failed)
    }
}
