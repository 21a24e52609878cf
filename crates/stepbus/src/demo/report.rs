//! What a sync amounted to, and whether it adds up.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use stepbus_model::{Totals, arn};
use stepbus_runtime::DeliveryMeasures;
use stepbus_sandbox::{Addresses, usage};

use crate::output;
use crate::server::Server;

/// The workflow whose map run extracts the products.
const EXTRACTION: &str = "fetch-products";
const TARGETS: [&str; 3] = ["crm", "erp", "shop"];

/// What became of the products on the MDM's side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extraction {
    pub selected: i64,
    pub extracted: i64,
    pub failed: i64,
}

impl Extraction {
    pub(super) fn of(run: &Value) -> Extraction {
        let mut extraction = Extraction::default();
        for map in run["map_runs"].as_array().into_iter().flatten() {
            if map["workflow"] == arn::name_of(EXTRACTION) {
                let count = |name: &str| map["counts"][name].as_i64().unwrap_or(0);
                extraction.selected += count("total");
                extraction.extracted += count("succeeded");
                extraction.failed += count("failed") + count("timed_out") + count("aborted");
            }
        }
        extraction
    }
}

/// The books of the run, by target.
pub(super) fn target_lines(run: &Value) -> BTreeMap<String, Totals> {
    let mut lines = BTreeMap::new();
    for line in run["subscriptions"].as_array().into_iter().flatten() {
        let target = line["target"].as_str().unwrap_or_default();
        if TARGETS.contains(&target)
            && let Ok(totals) = serde_json::from_value::<Totals>(line.clone())
        {
            lines.insert(target.to_owned(), totals);
        }
    }
    lines
}

pub(super) struct Report {
    run: String,
    extraction: Extraction,
    targets: BTreeMap<String, Totals>,
    products: i64,
    verification: Value,
    stats: Value,
    deliveries: Vec<DeliveryMeasures>,
    seconds: f64,
}

impl Report {
    pub(super) fn new(
        run: &Value,
        verification: &Value,
        stats: &Value,
        deliveries: Vec<DeliveryMeasures>,
        seconds: f64,
    ) -> anyhow::Result<Report> {
        let products = verification.pointer("/catalog/products").and_then(Value::as_i64);
        Ok(Report {
            run: run["id"].as_str().unwrap_or_default().to_owned(),
            extraction: Extraction::of(run),
            targets: target_lines(run),
            products: products.unwrap_or(-1),
            verification: verification.clone(),
            stats: stats.clone(),
            deliveries,
            seconds,
        })
    }

    fn verified(&self) -> bool {
        self.verification["verified"] == true
    }

    /// Every total adds up, nothing is left open or dead, and every target holds what it should.
    pub(super) fn sound(&self) -> bool {
        let extraction = self.extraction;
        let complete = extraction.selected == extraction.extracted + extraction.failed
            && (self.products < 0 || extraction.selected == self.products);
        let delivered = |totals: &Totals| {
            totals.balanced()
                && totals.matched == extraction.extracted
                && totals.pending + totals.dead_lettered + totals.discarded == 0
        };
        let all = self.targets.len() == TARGETS.len() && self.targets.values().all(delivered);
        complete && all && self.verified() && self.stakeholders_were_told()
    }

    /// By the mail server's own books: one mail for the one sync, perhaps more than once.
    fn stakeholders_were_told(&self) -> bool {
        self.verification["mail"]["distinct"] == 1
    }

    pub(super) fn to_json(&self) -> Value {
        let targets: Map<String, Value> =
            self.targets.iter().map(|(name, totals)| (name.clone(), json!(totals))).collect();
        json!({
            "run": self.run,
            "selected": self.extraction.selected,
            "extracted": self.extraction.extracted,
            "failed": self.extraction.failed,
            "targets": targets,
            "requests": self.stats["requests"],
            "mails": self.verification["mail"]["distinct"],
            "seconds": rounded(self.seconds),
            "cpu_seconds": usage::cpu_seconds().map(rounded),
            "peak_mib": usage::peak_mib().map(rounded),
            "verified": self.verified(),
        })
    }

    pub(super) fn render(&self) -> String {
        let Extraction { selected, extracted, failed } = self.extraction;
        let head = [
            "target",
            "matched",
            "delivered",
            "unchanged",
            "stale",
            "dead",
            "discarded",
            "pending",
        ];
        let rows: Vec<Vec<String>> = self.targets.iter().map(|(name, t)| row(name, t)).collect();
        let mut text = format!(
            "\n{}: selected {} = extracted {} + failed {}\n\n{}\n",
            self.run,
            output::count(selected),
            output::count(extracted),
            output::count(failed),
            output::table(&head, &rows)
        );
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = selected as f64 / self.seconds.max(0.001);
        text.push_str(&format!(
            "{rate:.0} products/s: {:.1} s, {} requests, {:.1} s of CPU, {:.0} MiB at most\n",
            self.seconds,
            output::count(self.stats["requests"].as_i64().unwrap_or(0)),
            usage::cpu_seconds().unwrap_or(0.0),
            usage::peak_mib().unwrap_or(0.0),
        ));
        text.push_str(&self.trouble());
        text.push_str(&self.verdict());
        text
    }

    /// How often the targets had to be asked again, when they had to.
    fn trouble(&self) -> String {
        let retries: u64 = self.deliveries.iter().map(|line| line.retries).sum();
        let throttled: f64 = self.deliveries.iter().map(|line| line.throttled.as_secs_f64()).sum();
        if retries == 0 && throttled == 0.0 {
            return String::new();
        }
        let each: Vec<String> =
            self.deliveries.iter().map(|line| format!("{} {}", line.name, line.retries)).collect();
        format!(
            "Delivered again after a failure: {}; held back by throttling for {throttled:.1} s\n",
            each.join(", ")
        )
    }

    fn verdict(&self) -> String {
        if self.sound() {
            return "Verified: every product is in every target as it should be; stakeholders were told.\n".to_owned();
        }
        let mut text = "NOT verified. What the sandbox's own books say:\n".to_owned();
        for (name, target) in self.verification["targets"].as_object().into_iter().flatten() {
            text.push_str(&format!("  {name}: {target}\n"));
        }
        text.push_str(&format!("  mail: {}\n", self.verification["mail"]));
        text
    }
}

fn row(name: &str, totals: &Totals) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    row.extend(
        [
            totals.matched,
            totals.delivered,
            totals.unchanged,
            totals.stale,
            totals.dead_lettered,
            totals.discarded,
            totals.pending,
        ]
        .map(output::count),
    );
    row
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// This program as one would type it here.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "stepbus".into());
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}

/// Commands to go on with.
pub(super) fn next_steps(
    server: &Server,
    addresses: &Addresses,
    data: &Path,
    exit: bool,
) -> String {
    let data_line = format!("The data directory is {}\n", data.display());
    if exit {
        return format!("{data_line}  {} audit --data {}\n", program(), data.display());
    }
    let (operators, control) = (server.operators, &addresses.control);
    let mut stepbus = program();
    if operators.port() != super::OPERATORS_PORT {
        stepbus.push_str(&format!(" --url http://{operators}"));
    }
    let (key, public, container) = (super::SYNC_KEY, server.public, &addresses.container);
    format!(
        "{data_line}
It stays up until Ctrl-C. In another terminal:

  # sync three products by hand
  {stepbus} events put --bus catalog --detail-type product_ids_fetched \
--detail '{{\"container\":\"{container}\",\"ids\":[\"1\",\"2\",\"3\"]}}'

  # take the ERP down and sync again: its deliveries wait, the others do not; then it comes back
  curl -X POST {control}/erp/down -d '{{}}'
  curl -X POST -H 'x-api-key: {key}' http://{public}/sync/{container}
  {stepbus} runs list
  curl -X POST {control}/erp/up -d '{{}}'

  # a product that no target takes: look at the dead letters, send them again
  {stepbus} events put --bus catalog --detail-type product_fetched \
--detail '{{\"id\":\"9\",\"sku\":\"X-9\",\"version\":1}}'
  {stepbus} dlq list
  {stepbus} dlq redrive --all
"
    )
}
