//! The `stepbus` binary: commands, project file, wiring.

mod cli;
mod demo;
mod output;
mod project;
mod server;
mod trials;

use std::process::ExitCode;

use clap::Parser;

// Many small, short-lived values from several threads: measured faster and flatter than the
// system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            output::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
