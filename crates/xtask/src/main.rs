//! Developer commands: `cargo xtask …`.
//!
//! `test`, `tidy` and `fuzz` are built in seconds. `conformance` and `bench` need every room, built for
//! speed: they are the feature `workshop`, and without it this program has cargo build itself
//! anew with it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "workshop")]
mod bench;
#[cfg(feature = "workshop")]
mod conformance;
mod fuzz;
mod soak;
mod test;
mod tidy;
#[cfg(not(feature = "workshop"))]
mod workshop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// What is measured has the allocator it has in the server.
#[cfg(feature = "workshop")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Stepbus")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing and run every test.
    Test(test::Arguments),
    /// Many events towards targets that misbehave, with the process killed again and again.
    Soak(soak::Arguments),
    /// Give the readers of foreign text what they were not made for, guided by coverage.
    Fuzz(fuzz::Arguments),
    /// Check the rules of the house: arrows, lengths, guards.
    Tidy,
    /// Run recorded cases: files or folders of JSON lines.
    #[cfg(feature = "workshop")]
    Conformance(conformance::Arguments),
    /// Measure.
    #[cfg(feature = "workshop")]
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Run recorded cases: files or folders of JSON lines.
    #[cfg(not(feature = "workshop"))]
    #[command(disable_help_flag = true)]
    Conformance(workshop::Rest),
    /// Measure.
    #[cfg(not(feature = "workshop"))]
    #[command(disable_help_flag = true)]
    Bench(workshop::Rest),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Tidy => tidy::run(),
        #[cfg(feature = "workshop")]
        Command::Conformance(arguments) => conformance::run(&arguments),
        #[cfg(feature = "workshop")]
        Command::Bench(bench) => bench::run(&bench).map(|()| ExitCode::SUCCESS),
        #[cfg(not(feature = "workshop"))]
        Command::Conformance(rest) => workshop::run("conformance", &rest),
        #[cfg(not(feature = "workshop"))]
        Command::Bench(rest) => workshop::run("bench", &rest),
    }
}
