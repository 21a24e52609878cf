//! Developer commands: `cargo xtask …`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod conformance;
mod test;
mod tidy;

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
    /// Install what is missing and run every test.
    Test(test::Arguments),
    /// Check the rules of the house: arrows, lengths, guards.
    Tidy,
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Tidy => tidy::run(),
    }
}
