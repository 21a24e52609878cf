//! How a sync comes along: bars in a terminal, a line a second elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::report::{Extraction, target_lines};
use crate::output;

/// How often a line is written without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);

pub(super) enum Progress {
    Bars {
        all: MultiProgress,
        extracted: ProgressBar,
        targets: BTreeMap<String, ProgressBar>,
        products: u64,
    },
    Lines {
        last: Instant,
    },
}

impl Progress {
    pub(super) fn new(products: usize) -> Progress {
        if !stderr().is_terminal() {
            return Progress::Lines { last: Instant::now() };
        }
        let all = MultiProgress::new();
        let products = products as u64;
        let extracted = bar(&all, "extract", products);
        Progress::Bars { all, extracted, targets: BTreeMap::new(), products }
    }

    pub(super) fn show(&mut self, run: &Value) {
        let extraction = Extraction::of(run);
        match self {
            Progress::Bars { all, extracted, targets, products } => {
                set(extracted, extraction.extracted + extraction.failed);
                for (name, totals) in target_lines(run) {
                    let bar =
                        targets.entry(name.clone()).or_insert_with(|| bar(all, &name, *products));
                    set(bar, totals.matched - totals.pending);
                    bar.set_length(
                        (*products).saturating_sub(u64::try_from(extraction.failed).unwrap_or(0)),
                    );
                }
            }
            Progress::Lines { last } => {
                if last.elapsed() < LINE_EVERY {
                    return;
                }
                *last = Instant::now();
                output::note(&line(&extraction, run));
            }
        }
    }

    pub(super) fn finish(&mut self) {
        if let Progress::Bars { extracted, targets, .. } = self {
            for bar in targets.values().chain([&*extracted]) {
                bar.abandon();
            }
        }
    }
}

fn line(extraction: &Extraction, run: &Value) -> String {
    let mut text = format!(
        "selected {}  extracted {}  failed {}",
        output::count(extraction.selected),
        output::count(extraction.extracted),
        output::count(extraction.failed),
    );
    for (name, totals) in target_lines(run) {
        let done = output::count(totals.matched - totals.pending);
        text.push_str(&format!("  {name} {done}"));
    }
    text
}

fn bar(all: &MultiProgress, name: &str, length: u64) -> ProgressBar {
    // A template that is part of the program is well formed.
    let style = ProgressStyle::with_template("{prefix:>8} {bar:40} {pos:>7}/{len} {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    all.add(ProgressBar::new(length).with_style(style).with_prefix(name.to_owned()))
}

fn set(bar: &ProgressBar, position: i64) {
    bar.set_position(u64::try_from(position).unwrap_or(0));
}
