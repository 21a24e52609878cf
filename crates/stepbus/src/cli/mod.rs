//! The commands, each defined once; parser, help and completions derive from here.

mod client;
mod dead_letters;
mod events;
mod executions;
mod explain;
mod local;
mod map_runs;
mod operating;
mod queues;
mod replay;
mod replays;
mod runs;
mod schedules;
mod serve;
mod tasks;
mod test_state;
mod workflow_tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use serve::{ServeOptions, stop_signal};

/// Event-driven data syncs on your own machines: a durable event bus, workflows in the Amazon
/// States Language, and HTTP destinations with retries and dead letters.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,

    /// The operators' listener of the server that commands talk to.
    #[arg(
        long,
        global = true,
        env = "STEPBUS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:4566"
    )]
    url: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sync a made-up or real catalogue from a stand-in MDM into CRM, ERP and webshop.
    Demo(crate::demo::Options),
    /// Run a project.
    Serve(ServeOptions),
    /// Run a project and take over changes of its files as they are saved.
    Dev(ServeOptions),
    /// Report every problem of a project file.
    Validate {
        /// The project file, or the folder it is in.
        #[arg(default_value = ".")]
        project: PathBuf,
        /// Only warn of variables that are not set and secrets' files that are not there, for CI.
        #[arg(long)]
        without_secrets: bool,
    },
    /// Print the JSON Schema of the project file.
    Schema,
    /// Prove the books of a data directory that no server uses.
    Audit {
        #[arg(long, value_name = "DIR", default_value = serve::DATA)]
        data: PathBuf,
    },
    /// Publish events, read the retained log, explain why one matches a pattern or does not.
    #[command(subcommand)]
    Events(events::Command),
    /// Publish events of the log once more: start, list, show, cancel.
    #[command(subcommand)]
    Replay(replays::Command),
    /// The disk that the records take, by what they are for.
    Storage,
    /// List workflows, start executions.
    #[command(subcommand)]
    Workflows(executions::Workflows),
    /// List, describe and stop executions; read their history.
    #[command(subcommand)]
    Executions(executions::Executions),
    /// List and update map runs; what failed in them, grouped or exported.
    #[command(subcommand)]
    MapRuns(map_runs::Command),
    /// List runs and show their books.
    #[command(subcommand)]
    Runs(runs::Command),
    /// List subscriptions; pause, resume and drain one.
    #[command(subcommand)]
    Subscriptions(operating::Subscriptions),
    /// List schedules, tell their next times, pause, resume and fire one.
    #[command(subcommand)]
    Schedules(schedules::Schedules),
    /// List destinations; pause, resume, drain and test one.
    #[command(subcommand)]
    Destinations(operating::Destinations),
    /// Work on dead letters: list, show, redrive, purge.
    #[command(subcommand)]
    Dlq(dead_letters::Command),
    /// What operators did: who, what, to how many, why. Newest first.
    AuditLog {
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only lines before this one.
        #[arg(long, value_name = "LINE")]
        before: Option<u64>,
    },
    /// Send to queues, receive from them.
    #[command(subcommand)]
    Queues(queues::Command),
    /// Give tasks their results by their tokens.
    #[command(subcommand)]
    Tasks(tasks::Tasks),
    /// Make activities, and take their tasks.
    #[command(subcommand)]
    Activities(tasks::Activities),
    /// Print completions for a shell.
    Completions { shell: clap_complete::Shell },
    /// Stand-ins for an MDM, a CRM, an ERP and a webshop.
    #[command(hide = true)]
    Sandbox(stepbus_sandbox::Options),
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let client = client::Client::new(&self.url, self.json);
        match self.command {
            Command::Demo(options) => crate::demo::run(options, self.json),
            Command::Serve(options) => serve::serve(options, false),
            Command::Dev(options) => serve::serve(options, true),
            Command::Validate { project, without_secrets } => {
                Ok(local::validate(&project, without_secrets, self.json))
            }
            Command::Schema => Ok(local::schema()),
            Command::Audit { data } => local::audit(&data, self.json),
            Command::Events(command) => command.run(&client),
            Command::Replay(command) => command.run(&client),
            Command::Storage => replays::storage(&client),
            Command::Workflows(command) => command.run(&client),
            Command::Executions(command) => command.run(&client),
            Command::MapRuns(command) => command.run(&client),
            Command::Runs(command) => command.run(&client),
            Command::Subscriptions(command) => command.run(&client),
            Command::Schedules(command) => command.run(&client),
            Command::Destinations(command) => command.run(&client),
            Command::Dlq(command) => command.run(&client),
            Command::AuditLog { limit, before } => operating::audit_log(&client, limit, before),
            Command::Queues(command) => command.run(&client),
            Command::Tasks(command) => command.run(&client),
            Command::Activities(command) => command.run(&client),
            Command::Completions { shell } => {
                // Not straight to the output: a reader that goes away is no fault of ours.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "stepbus", &mut script);
                crate::output::text(&String::from_utf8_lossy(&script));
                Ok(ExitCode::SUCCESS)
            }
            Command::Sandbox(options) => sandbox(options),
        }
    }
}

/// One thread is enough for the stand-ins, and leaves the others to what is being shown.
fn sandbox(options: stepbus_sandbox::Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stepbus_sandbox::run(options))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
