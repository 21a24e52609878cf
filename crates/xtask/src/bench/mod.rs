//! `cargo xtask bench …`: how fast, measured beside what could be had at best.

mod asl;
mod fair;
mod map;
mod matching;
mod process;
mod publish;
mod repeat;
mod stage;
mod stall;
mod store;
mod sync;

use std::path::{Path, PathBuf};

use anyhow::Result;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Transitions a second of the interpreter, a product beside its expressions, waking.
    Asl(asl::Arguments),
    /// One product's change while a backfill of thousands is under way, beside an idle system.
    Fair(fair::Arguments),
    /// A distributed map over up to a million items; one call a child beside a bare loop.
    Map(map::Arguments),
    /// Events matched a second, beside the quamina crate; ten rules beside ten thousand.
    Match(matching::Arguments),
    /// Events published, matched and enqueued a second, durably.
    Publish(publish::Arguments),
    /// Destinations beside one that never answers, beside a slow one, and alone.
    Stall(stall::Arguments),
    /// Durable steps a second through the store, beside a plain file synced as often.
    Store(store::Arguments),
    /// The product sync beside the same requests by a bare loop.
    Sync(sync::Arguments),
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Asl(arguments) => asl::run(arguments),
        Bench::Fair(arguments) => fair::run(arguments),
        Bench::Map(arguments) => map::run(arguments),
        Bench::Match(arguments) => matching::run(arguments),
        Bench::Publish(arguments) => publish::run(arguments),
        Bench::Stall(arguments) => stall::run(arguments),
        Bench::Store(arguments) => store::run(arguments),
        Bench::Sync(arguments) => sync::run(arguments),
    }
}

/// The project of the main job.
fn example() -> PathBuf {
    root().join("examples/product-sync/stepbus.yaml")
}

/// The checkout this program was built from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}
