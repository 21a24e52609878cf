//! What a process used, by the system's own accounting (Linux).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// `/proc/…/stat` counts in hundredths of a second on every Linux that people run.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    pub cpu_seconds: f64,
    pub peak_mib: f64,
    /// CPU seconds by the threads' names.
    pub threads: BTreeMap<String, f64>,
}

impl Usage {
    /// Of a process by its number, or of `self`.
    pub(super) fn of(process: &str) -> Result<Usage> {
        let folder = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 = peak.context("no VmHWM")?.trim().trim_end_matches("kB").trim().parse()?;
        let mut usage = Usage {
            cpu_seconds: seconds(&fs::read_to_string(format!("{folder}/stat"))?)?.1,
            peak_mib: kib / 1024.0,
            threads: BTreeMap::new(),
        };
        for task in fs::read_dir(format!("{folder}/task"))? {
            // A thread may end while it is being looked at.
            if let Ok(stat) = fs::read_to_string(task?.path().join("stat")) {
                let (name, seconds) = seconds(&stat)?;
                *usage.threads.entry(name).or_default() += seconds;
            }
        }
        Ok(usage)
    }

    pub(super) fn since(mut self, before: &Usage) -> Usage {
        self.cpu_seconds -= before.cpu_seconds;
        for (name, seconds) in &mut self.threads {
            *seconds -= before.threads.get(name).copied().unwrap_or(0.0);
        }
        self.threads.retain(|_, seconds| *seconds > 0.0);
        self
    }
}

/// A stat line's name, and its user and system time.
fn seconds(stat: &str) -> Result<(String, f64)> {
    let (head, rest) = stat.rsplit_once(')').context("not a stat line")?;
    let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next().context("no user time")?.parse()?;
    let system: f64 = fields.next().context("no system time")?.parse()?;
    Ok((name, (user + system) / TICKS_PER_SECOND))
}
