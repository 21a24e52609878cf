//! The log as a target: one JSON line a delivery, in a file, in the process's own log, or both.
//!
//! Delivered means that the line is on disk. A line may come twice, as everything outside may; its
//! delivery's id tells.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use stepbus_connect::{Receipt, Report, code};
use stepbus_model::{DeliveryId, EventId, RunId};
use tokio::sync::oneshot;

use super::{Outside, Parcel};
use crate::declared::LogSpec;
use crate::delivery::failure;
use crate::engine::Engine;

/// Files in which lines are collected and written together.
#[derive(Debug, Default)]
pub(crate) struct LogFiles(Mutex<HashMap<PathBuf, Arc<LogFile>>>);

#[derive(Debug)]
pub(crate) struct Log(LogSpec);

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    subscription: &'a str,
    delivery: DeliveryId,
    event: EventId,
    run: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    payload: Value,
}

impl Log {
    pub(super) fn new(spec: &LogSpec) -> Log {
        Log(spec.clone())
    }
}

impl Outside for Log {
    fn workers(&self, engine: &Engine) -> usize {
        engine.limits.destination_concurrency
    }

    fn send<'a>(&'a self, engine: &'a Engine, parcel: Parcel) -> BoxFuture<'a, Report> {
        write(&self.0, engine, parcel).boxed()
    }
}

async fn write(spec: &LogSpec, engine: &Engine, parcel: Parcel) -> Report {
    let started = Instant::now();
    // Read and written anew: the publisher's own line breaks would make more lines of one.
    let payload = serde_json::from_slice(&parcel.payload.json()).unwrap_or_default();
    let line = Line {
        time: engine.clock.now().to_rfc3339(),
        subscription: &parcel.subscription.spec.name,
        delivery: parcel.delivery,
        event: parcel.event.row.id,
        run: parcel.run,
        key: parcel.key.as_deref(),
        payload,
    };
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    if spec.trace {
        let line = String::from_utf8_lossy(&text);
        tracing::info!(target: "stepbus::events", subscription = line_subscription(&parcel), %line);
    }
    if let Some(path) = &spec.file {
        text.push(b'\n');
        let file = engine.log_files.0.lock().entry(path.clone()).or_default().clone();
        if let Err(message) = file.append(path, spec, text).await {
            let message = format!("the log {} cannot be written: {message}", path.display());
            let error = Arc::new(failure(code::ERROR_FROM_TARGET, message));
            return Report::Retryable { error, retry_after: None, remote_id: None };
        }
    }
    let receipt = Receipt { status: 0, calls: 1, took: started.elapsed() };
    Report::Delivered { remote_id: None, failed: Vec::new(), receipt }
}

fn line_subscription(parcel: &Parcel) -> &str {
    &parcel.subscription.spec.name
}

/// A line that waits to be written, and who waits for it.
type Waiting = (Vec<u8>, oneshot::Sender<Result<(), String>>);

#[derive(Debug, Default)]
struct LogFile {
    waiting: Mutex<Vec<Waiting>>,
    /// Whose turn it is to write for all that wait.
    turn: tokio::sync::Mutex<()>,
    writer: Arc<Mutex<Writer>>,
}

impl LogFile {
    async fn append(&self, path: &Path, spec: &LogSpec, line: Vec<u8>) -> Result<(), String> {
        let (tell, told) = oneshot::channel();
        self.waiting.lock().push((line, tell));
        let turn = self.turn.lock().await;
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if !waiting.is_empty() {
            let (writer, path, spec) = (self.writer.clone(), path.to_owned(), spec.clone());
            let written = tokio::task::spawn_blocking(move || {
                let lines: Vec<u8> = waiting.iter().flat_map(|(line, _)| line).copied().collect();
                let written = writer.lock().write(&path, &spec, &lines);
                let written = written.map_err(|error| error.to_string());
                for (_, tell) in waiting {
                    // Who does not wait any more will ask again.
                    let _ = tell.send(written.clone());
                }
            });
            // A panic there drops what tells, which is told below.
            let _ = written.await;
        }
        drop(turn);
        told.await.unwrap_or_else(|_| Err("the writer gave up".to_owned()))
    }
}

#[derive(Debug, Default)]
struct Writer {
    file: Option<File>,
    length: u64,
}

impl Writer {
    fn write(&mut self, path: &Path, spec: &LogSpec, lines: &[u8]) -> io::Result<()> {
        let mut file = self.open(path)?;
        if self.length > 0 && self.length + lines.len() as u64 > spec.max_bytes {
            drop(file);
            rotate(path, spec.keep)?;
            file = self.open(path)?;
        }
        let written = file.write_all(lines).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // No half line stays; should that fail as well, the next writer begins a new one.
            let _ = file.set_len(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// The file as it was left, else opened anew: somebody may have moved it away.
    fn open(&mut self, path: &Path) -> io::Result<File> {
        if let Some(file) = self.file.take()
            && std::fs::metadata(path).is_ok_and(|there| there.len() == self.length)
        {
            return Ok(file);
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        self.length = file.metadata()?.len();
        if self.length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            // A crash may have left half a line: whoever reads loses that one only.
            if last != *b"\n" {
                file.write_all(b"\n")?;
                self.length += 1;
            }
        }
        Ok(file)
    }
}

/// `log` becomes `log.1`, that one `log.2`, and the oldest goes.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    if keep == 0 {
        return gone(std::fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        gone(std::fs::rename(aside(number), aside(number + 1)))?;
    }
    gone(std::fs::rename(path, aside(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(path: &Path, max_bytes: u64, keep: u32) -> LogSpec {
        LogSpec { file: Some(path.to_owned()), max_bytes, keep, trace: false }
    }

    fn read(path: &Path, suffix: &str) -> String {
        std::fs::read_to_string(format!("{}{suffix}", path.display())).unwrap_or_default()
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let spec = spec(&path, 6, 2);
        let mut writer = Writer::default();
        for line in ["a\n", "b\n", "c\n", "d\n", "e\n", "f\n", "g\n", "h\n", "i\n", "j\n"] {
            writer.write(&path, &spec, line.as_bytes()).unwrap();
        }
        let kept = ["", ".1", ".2", ".3"].map(|suffix| read(&path, suffix));
        assert_eq!(kept, ["j\n", "g\nh\ni\n", "d\ne\nf\n", ""]);
    }

    #[test]
    fn half_a_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "whole\nha").unwrap();
        Writer::default().write(&path, &spec(&path, 1_000, 1), b"next\n").unwrap();
        assert_eq!(read(&path, ""), "whole\nha\nnext\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let spec = spec(&path, 1_000, 1);
        let mut writer = Writer::default();
        writer.write(&path, &spec, b"one\n").unwrap();
        std::fs::rename(&path, folder.path().join("log.old")).unwrap();
        writer.write(&path, &spec, b"two\n").unwrap();
        assert_eq!((read(&path, ""), read(&path, ".old")), ("two\n".into(), "one\n".into()));
    }

    #[test]
    fn a_disk_without_room_is_said() {
        let full = Path::new("/dev/full");
        let written = Writer::default().write(full, &spec(full, 1_000, 1), b"line\n");
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
