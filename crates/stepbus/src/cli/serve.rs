//! `stepbus serve` and `stepbus dev`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use crate::output;
use crate::project::{self, Project, Vars};
use crate::server::Server;

/// Where data lives unless told otherwise.
pub(super) const DATA: &str = "stepbus-data";

/// How often `dev` looks for changed files.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServeOptions {
    /// The project file, or the folder it is in.
    #[arg(default_value = ".")]
    pub project: PathBuf,

    /// Where everything durable is kept; made when it is not there.
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,

    /// The operators' listener: admin API, health, metrics. It asks for no key.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub operators: SocketAddr,

    /// The public listener: the project's endpoints.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub public: SocketAddr,

    /// What to log, as in `info` or `stepbus_runtime=debug`.
    #[arg(long, env = "STEPBUS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

pub(super) fn serve(options: ServeOptions, watch: bool) -> anyhow::Result<ExitCode> {
    crate::server::log_to_stderr(&options.log)?;
    crate::server::arm_crash_point()?;
    let project = match project::load(&options.project, &Vars::environment()) {
        Ok(project) => project,
        Err(problems) => {
            output::note(&project::report::render(&problems));
            anyhow::bail!("{} in the project", project::report::counted(&problems));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(&options, &project).await?;
        output::note(&format!(
            "{} is up: endpoints on http://{}, operators on http://{}, data in {}",
            project.name,
            server.public,
            server.operators,
            options.data.display()
        ));
        tokio::select! {
            () = reload_on_change(&server, &options, project), if watch => {}
            result = stop_signal() => result?,
        }
        server.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Ctrl-C, or SIGTERM as service managers send it.
pub(crate) async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

async fn reload_on_change(server: &Server, options: &ServeOptions, mut project: Project) {
    let mut seen = changed_at(&project);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = changed_at(&project);
        if now == seen {
            continue;
        }
        seen = now;
        match project::load(&options.project, &Vars::environment()) {
            Err(problems) => output::note(&format!(
                "{}the project as it was goes on",
                project::report::render(&problems)
            )),
            Ok(changed) => match server.reload(&changed).await {
                Ok(()) => {
                    output::note(&format!("{} is reloaded", changed.name));
                    project = changed;
                    seen = changed_at(&project);
                }
                Err(error) => output::note(&format!("{error}; the project as it was goes on")),
            },
        }
    }
}

fn changed_at(project: &Project) -> Vec<Option<SystemTime>> {
    let changed = |file: &PathBuf| std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
    project.files.iter().map(changed).collect()
}
