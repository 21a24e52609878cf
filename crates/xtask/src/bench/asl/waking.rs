//! Waking an execution that has lived long: from the store, the way the runtime does it.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use stepbus_asl::{Command, Execution, Input, Program, SEMANTICS, Status, history};
use stepbus_model::{ExecutionId, Limits, ResourceId, RunId, Timestamp};
use stepbus_runtime::restore;
use stepbus_store::{
    Batch, Cause, DefinitionRow, ExecutionKind, ExecutionRow, ExecutionStatus, JournalRow,
    Priority, RunRow, SnapshotRow, Store,
};
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};

use super::{Arguments, BEGIN, program, start};

/// Asks again and again, and counts.
const POLL: &str = r#"
QueryLanguage: JSONata
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { ApiEndpoint: "{% 'http://mdm.example/jobs/' & $states.input.id %}", Method: GET }
    Assign: { asked: "{% $exists($asked) ? $asked + 1 : 1 %}" }
    Output: "{% $merge([$states.input, { 'status': $states.result.ResponseBody.status }]) %}"
    Next: Done
  Done:
    Type: Choice
    Choices: [{ Condition: "{% $states.input.status = 'done' %}", Next: End }]
    Default: Ask
  End: { Type: Succeed, Output: "{% $asked %}" }
"#;

/// A call for each item of a map whose items and results stay in memory until it ends.
const FAN: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: "{% $states.input.items %}"
    ItemProcessor:
      StartAt: Ask
      States:
        Ask:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: { ApiEndpoint: "{% 'http://mdm.example/items/' & $states.input.id %}", Method: GET }
          Output: "{% $states.result.ResponseBody.status %}"
          End: true
    End: true
"#;

type Journal = Vec<(Timestamp, Input)>;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let every = usize::try_from(Limits::DEFAULT.snapshot_every_inputs)?;
    // The longest tail there can be.
    let entries = arguments.entries / every * every + every - 1;
    println!("\nwaking from the store, {entries} journal entries, a snapshot every {every}");
    let items: Vec<Value> = (0..entries).map(|n| json!({ "id": format!("P-{n}") })).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (name, definition, input) in [
        ("a task in a loop", POLL, json!({ "id": "J-1" })),
        ("a task an item of an inline map", FAN, json!({ "items": items })),
    ] {
        let program = program(definition)?;
        let long = live(&program, input, entries, every)?;
        runtime.block_on(wake(arguments.rounds, name, &program, &long))?;
        let begun = Instant::now();
        let events = history(&program, long.journal.clone()).len();
        println!(
            "    history            {:>9.0} events/s",
            events as f64 / begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

struct Long {
    journal: Journal,
    snapshot: (usize, Vec<u8>),
    value: Execution,
}

/// An execution that has had so many inputs and still runs.
fn live(program: &Program, input: Value, entries: usize, every: usize) -> Result<Long> {
    let start = start(input);
    let mut journal = vec![(BEGIN, Input::Started(Arc::new(start.clone())))];
    let (mut value, mut commands) = Execution::begin(program, BEGIN, start);
    let mut open = std::collections::VecDeque::new();
    let mut snapshot = (0, Vec::new());
    let answer = json!({
        "Headers": { "content-type": ["application/json"], "date": ["Tue, 14 Nov 2023 22:13:20 GMT"] },
        "ResponseBody": { "status": "busy", "worker": "w-17", "progress": [1, 2, 3] },
        "StatusCode": 200, "StatusText": "OK",
    });
    while journal.len() < entries {
        open.extend(commands.into_iter().filter_map(|command| match command {
            Command::RunTask(run) => Some(run.task),
            _ => None,
        }));
        let task = open.pop_front().context("nothing is open")?;
        let at = Timestamp(BEGIN.0 + journal.len() as i64);
        let input = Input::TaskSucceeded { task, output: Arc::new(answer.clone()) };
        journal.push((at, input.clone()));
        commands = value.apply(program, at, input);
        if journal.len() % every == 0 {
            snapshot = (journal.len(), value.to_bytes());
        }
    }
    ensure!(value.status() == Status::Running, "it has ended: {:?}", value.outcome());
    Ok(Long { journal, snapshot, value })
}

async fn wake(rounds: usize, name: &str, program: &Program, long: &Long) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = SqliteStore::open(dir.path(), SqliteOptions::default())?;
    let row = keep(&store, long).await?;
    println!("  {name}: the snapshot has {} KiB", long.snapshot.1.len() / 1024);
    let plain = timed(rounds, &store, &row, program, long).await?;
    let mut batch = Batch::new();
    let (inputs, value) = (long.snapshot.0 as u64, Bytes::from(long.snapshot.1.clone()));
    batch.put_snapshot(SnapshotRow { execution: row.id, inputs, value });
    store.commit(batch).await?;
    let quick = timed(rounds, &store, &row, program, long).await?;
    println!("    with its snapshot  {:>9.2} ms", quick * 1e3);
    println!("    without            {:>9.2} ms, {:.1}x", plain * 1e3, plain / quick);
    Ok(())
}

async fn timed(
    rounds: usize,
    store: &SqliteStore,
    row: &ExecutionRow,
    program: &Program,
    long: &Long,
) -> Result<f64> {
    let expected = long.value.to_bytes();
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let begun = Instant::now();
        let restored = restore(store, row, program).await?;
        best = best.min(begun.elapsed().as_secs_f64());
        ensure!(restored.execution.to_bytes() == expected, "it woke as something else");
    }
    Ok(best)
}

/// Puts the execution into the store, a row an input.
async fn keep(store: &SqliteStore, long: &Long) -> Result<ExecutionRow> {
    let (run, definition) = (RunId(store.next_id()), store.next_id());
    let row = ExecutionRow {
        id: ExecutionId(store.next_id()),
        run,
        workflow: ResourceId(store.next_id()),
        definition,
        kind: ExecutionKind::Standard,
        name: "e".into(),
        cause: Cause::Outside,
        hops: 0,
        item: None,
        items: 1,
        redrives: 0,
        redriven: None,
        awaits_redrive: false,
        status: ExecutionStatus::Running,
        idle: false,
        wake: None,
        started: BEGIN,
        ended: None,
        output: None,
        error: None,
        error_cause: None,
        recoveries: 0,
        semantics: SEMANTICS,
    };
    let mut batch = Batch::new();
    batch.put_definition(DefinitionRow { id: definition, hash: "bench".into(), text: "{}".into() });
    batch.start_run(RunRow {
        id: run,
        origin: "bench".into(),
        label: String::new(),
        started: BEGIN,
        last: BEGIN,
        open: 0,
        priority: Priority::Normal,
        force: false,
    });
    batch.start_execution(row.clone());
    for (first, entry) in (0..).zip(&long.journal) {
        let entries = serde_json::to_vec(std::slice::from_ref(entry))?.into();
        batch.append_journal(JournalRow { execution: row.id, first, count: 1, entries });
    }
    store.commit(batch).await?;
    Ok(row)
}
