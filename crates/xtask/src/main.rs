//! Developer commands: `cargo xtask …`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod conformance;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Stepbus")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run recorded cases: files or folders of JSON lines.
    Conformance(conformance::Arguments),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Conformance(arguments) => conformance::run(&arguments),
    }
}
