//! The mixed step through the store's own commit path: how many a second become durable, beside a
//! plain file that is synced as often.
//!
//! A step inserts a queue row and a journal row of 1 KB each, updates a status row that has a
//! secondary index, and deletes the queue row of the step before. Executions end after some steps
//! and others begin, as they do in life.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stepbus_model::{ExecutionId, MessageId, ResourceId, RunId, Timestamp};
use stepbus_store::{
    Batch, Cause, DefinitionRow, ExecutionEnd, ExecutionKind, ExecutionRow, ExecutionStatus,
    JournalRow, MessageRow, Priority, Reception, RunRow, Stats, Store,
};
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};

const PAYLOAD: usize = 1024;
/// Payload and the small change of a step, for the plain file.
const STEP_BYTES: usize = 2 * PAYLOAD + 100;
const STEPS_OF_AN_EXECUTION: u64 = 20;
const FILL_ROWS: u64 = 200;
const FILL_SUBMITTERS: u64 = 32;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds measured in each part.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Steps in flight.
    #[arg(long, default_value_t = 1000)]
    submitters: u64,
    /// Size of the full database in MiB; 0 leaves that part out.
    #[arg(long, default_value_t = 2048)]
    full_mib: u64,
    /// Where the databases are made; on the disk that is to be measured.
    #[arg(long, default_value = "target/bench-store")]
    dir: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("built for debugging: what this prints says nothing of a release");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut parts = vec![("empty database", 0)];
    if arguments.full_mib > 0 {
        parts.push(("full database", arguments.full_mib));
    }
    for (name, mib) in parts {
        if arguments.dir.exists() {
            std::fs::remove_dir_all(&arguments.dir)?;
        }
        std::fs::create_dir_all(&arguments.dir)?;
        let measured = runtime.block_on(measure(arguments, mib))?;
        let raw = plain_file(&arguments.dir, measured.batch_size(), arguments.seconds)?;
        measured.print(name, &raw);
    }
    std::fs::remove_dir_all(&arguments.dir)?;
    println!("peak memory of all: {} MiB", peak_mib());
    Ok(())
}

struct Measured {
    steps: u64,
    elapsed: Duration,
    before: Stats,
    after: Stats,
    slowest: Duration,
    cpu: Duration,
    written: u64,
}

impl Measured {
    fn per_second(&self) -> f64 {
        self.steps as f64 / self.elapsed.as_secs_f64()
    }

    fn commits(&self) -> u64 {
        (self.after.commits - self.before.commits).max(1)
    }

    fn batch_size(&self) -> usize {
        usize::try_from((self.after.batches - self.before.batches) / self.commits())
            .unwrap_or(1)
            .max(1)
    }

    fn print(&self, name: &str, raw: &Raw) {
        let commit_ms = (self.after.commit_micros - self.before.commit_micros) as f64
            / 1e3
            / self.commits() as f64;
        let sync_ms =
            (self.after.sync_micros - self.before.sync_micros) as f64 / 1e3 / self.commits() as f64;
        println!("{name} ({} MiB)", self.after.database_bytes >> 20);
        println!("  steps/s        {:>10.0}", self.per_second());
        println!("  plain file     {:>10.0} steps/s, sync {:.2} ms", raw.per_second, raw.sync_ms);
        println!("  ratio          {:>10.2}", self.per_second() / raw.per_second);
        println!("  batch size     {:>10} steps", self.batch_size());
        println!("  commit         {commit_ms:>10.2} ms, of which sync {sync_ms:.2} ms");
        println!("  slowest step   {:>10.0} ms", self.slowest.as_secs_f64() * 1e3);
        println!("  checkpoints    {:>10}", self.after.checkpoints - self.before.checkpoints);
        println!(
            "  cpu            {:>10.1} µs a step, submitters included",
            self.cpu.as_secs_f64() * 1e6 / self.steps.max(1) as f64
        );
        println!(
            "  written        {:>10.1} KiB a step, log and database",
            self.written as f64 / 1024.0 / self.steps.max(1) as f64
        );
    }
}

async fn measure(arguments: &Arguments, fill_mib: u64) -> Result<Measured> {
    let dir = arguments.dir.join("data");
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open(&dir, SqliteOptions::default())
            .with_context(|| format!("cannot open {}", dir.display()))?,
    );
    let bench = Bench::set_up(store).await?;
    fill(&bench, fill_mib).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let steps = Arc::new(AtomicU64::new(0));
    let slowest = Arc::new(AtomicU64::new(0));
    let submitters: Vec<_> = (0..arguments.submitters)
        .map(|_| {
            let (bench, stop) = (bench.clone(), Arc::clone(&stop));
            let (steps, slowest) = (Arc::clone(&steps), Arc::clone(&slowest));
            tokio::spawn(async move {
                let mut submitter = Submitter::new(&bench);
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    bench.store.commit(submitter.step(&bench)).await?;
                    let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                    slowest.fetch_max(took, Ordering::Relaxed);
                    steps.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, stepbus_store::StoreError>(())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, first) = (bench.store.stats(), steps.load(Ordering::Relaxed));
    let (cpu, written) = (cpu_time(), written_bytes());
    slowest.store(0, Ordering::Relaxed);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let measured = Measured {
        steps: steps.load(Ordering::Relaxed) - first,
        elapsed: started.elapsed(),
        before,
        after: bench.store.stats(),
        slowest: Duration::from_micros(slowest.load(Ordering::Relaxed)),
        cpu: cpu_time().saturating_sub(cpu),
        written: written_bytes() - written,
    };
    stop.store(true, Ordering::Relaxed);
    for submitter in submitters {
        submitter.await??;
    }
    Ok(measured)
}

#[derive(Clone)]
struct Bench {
    store: Arc<dyn Store>,
    run: RunId,
    definition: u64,
    payload: bytes::Bytes,
}

impl Bench {
    async fn set_up(store: Arc<dyn Store>) -> Result<Bench> {
        let (run, definition) = (RunId(store.next_id()), store.next_id());
        let at = Timestamp(1);
        let mut batch = Batch::new();
        batch.put_definition(DefinitionRow {
            id: definition,
            hash: "bench".into(),
            text: "{}".into(),
        });
        batch.start_run(RunRow {
            id: run,
            origin: "bench".into(),
            label: String::new(),
            priority: Priority::Normal,
            force: false,
            started: at,
            last: at,
            open: 0,
        });
        store.commit(batch).await?;
        // Not compressible, should a file system try.
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        let payload = noise.take(PAYLOAD).collect();
        Ok(Bench { store, run, definition, payload })
    }

    fn execution(&self) -> ExecutionRow {
        let id = ExecutionId(self.store.next_id());
        ExecutionRow {
            id,
            run: self.run,
            workflow: ResourceId(1),
            definition: self.definition,
            kind: ExecutionKind::Standard,
            name: id.to_string(),
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
            started: Timestamp(1),
            ended: None,
            output: None,
            error: None,
            error_cause: None,
            recoveries: 0,
            semantics: 1,
        }
    }

    fn message(&self) -> MessageRow {
        MessageRow {
            id: MessageId(self.store.next_id()),
            queue: ResourceId(2),
            run: self.run,
            sent: Timestamp(1),
            body: self.payload.clone(),
            attributes: String::new(),
            error_code: None,
            delivery: None,
            reception: Reception::default(),
        }
    }

    fn journal(&self, execution: ExecutionId, first: u64) -> JournalRow {
        JournalRow { execution, first, count: 1, entries: self.payload.clone() }
    }
}

/// One execution after the other, a step at a time.
struct Submitter {
    execution: ExecutionRow,
    steps: u64,
    message: Option<MessageId>,
}

impl Submitter {
    fn new(bench: &Bench) -> Submitter {
        Submitter { execution: bench.execution(), steps: 0, message: None }
    }

    fn step(&mut self, bench: &Bench) -> Batch {
        let mut batch = Batch::new();
        if self.steps == STEPS_OF_AN_EXECUTION {
            let end = ExecutionEnd {
                status: ExecutionStatus::Succeeded,
                at: Timestamp(2),
                output: None,
                error: None,
                error_cause: None,
            };
            batch.end_execution(&self.execution, end);
            self.execution = bench.execution();
            self.steps = 0;
        }
        if self.steps == 0 {
            batch.start_execution(self.execution.clone());
        }
        let message = bench.message();
        let sent = self.message.replace(message.id);
        batch.send_message(message);
        batch.append_journal(bench.journal(self.execution.id, self.steps));
        let wake = Timestamp(self.execution.id.0.cast_signed() + self.steps.cast_signed());
        batch.park_execution(self.execution.id, Some(wake));
        if let Some(sent) = sent {
            batch.delete_message(sent);
        }
        self.steps += 1;
        batch
    }
}

/// Makes the database `mib` large with rows like those of the steps.
async fn fill(bench: &Bench, mib: u64) -> Result<()> {
    let started = Instant::now();
    let submitters: Vec<_> = (0..FILL_SUBMITTERS)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move {
                while bench.store.stats().database_bytes >> 20 < mib {
                    let execution = bench.execution();
                    let mut batch = Batch::new();
                    batch.start_execution(execution.clone());
                    for number in 0..FILL_ROWS {
                        batch.send_message(bench.message());
                        batch.append_journal(bench.journal(execution.id, number));
                    }
                    bench.store.commit(batch).await?;
                }
                Ok::<_, stepbus_store::StoreError>(())
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await??;
    }
    if mib > 0 {
        eprintln!("filled {mib} MiB in {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

struct Raw {
    per_second: f64,
    sync_ms: f64,
}

/// As many bytes in groups as large, appended to a file that is synced after each.
fn plain_file(dir: &Path, group: usize, seconds: u64) -> Result<Raw> {
    let mut file = File::create(dir.join("plain"))?;
    let bytes = vec![0x5a; group * STEP_BYTES];
    let started = Instant::now();
    let (mut groups, mut syncing) = (0_u64, Duration::ZERO);
    while started.elapsed() < Duration::from_secs(seconds.min(5)) {
        file.write_all(&bytes)?;
        let sync = Instant::now();
        file.sync_data()?;
        syncing += sync.elapsed();
        groups += 1;
    }
    let steps = groups * group as u64;
    Ok(Raw {
        per_second: steps as f64 / started.elapsed().as_secs_f64(),
        sync_ms: syncing.as_secs_f64() * 1e3 / groups as f64,
    })
}

/// A field of Linux's `/proc/self`; nothing elsewhere.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// What this process has handed to write calls.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold spaces: fields 14 and 15 are user and system ticks of 10 ms.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
