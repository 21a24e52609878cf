//! The wiring: a store, a connection to the outside, the engine and its two listeners.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use stepbus_connect::Connect;
use stepbus_model::{Clock, SystemClock, crash};
use stepbus_runtime::{CatalogueError, Engine};
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use crate::cli::ServeOptions;
use crate::project::Project;

/// How long requests under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// A running server.
pub(crate) struct Server {
    pub engine: Arc<Engine>,
    pub public: SocketAddr,
    pub operators: SocketAddr,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start(options: &ServeOptions, project: &Project) -> anyhow::Result<Server> {
        if !options.operators.ip().is_loopback() {
            tracing::warn!(
                address = %options.operators,
                "the operators' listener asks for no key and is not on loopback"
            );
        }
        let public = listen(options.public, "--public").await?;
        let operators = listen(options.operators, "--operators").await?;
        let limits = project.limits;
        let mut sqlite = SqliteOptions::default();
        sqlite.limits = limits;
        std::fs::create_dir_all(&options.data)
            .with_context(|| format!("cannot make {}", options.data.display()))?;
        let store = Arc::new(SqliteStore::open(&options.data, sqlite)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let connect = Arc::new(Connect::new(clock.clone(), limits));
        let engine = Engine::open(store, connect, clock, limits, &project.declared).await?;
        let stop = watch::Sender::new(false);
        let (public_at, operators_at) = (public.local_addr()?, operators.local_addr()?);
        let url: Arc<str> = format!("http://{operators_at}").into();
        let open = stepbus_api::serve_public(public, engine.clone(), url.clone(), told(&stop));
        let own = stepbus_api::serve_operators(operators, engine.clone(), url, told(&stop));
        let listeners = vec![serving(open, "public"), serving(own, "operators'")];
        Ok(Server { engine, public: public_at, operators: operators_at, stop, listeners })
    }

    pub(crate) async fn reload(&self, project: &Project) -> Result<(), CatalogueError> {
        self.engine.reload(&project.declared).await
    }

    /// Takes no more requests, lets those under way finish, and leaves the rest to the next start.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for listener in self.listeners {
            if tokio::time::timeout(GRACE, listener).await.is_err() {
                tracing::warn!("requests under way were cut off");
            }
        }
        self.engine.close().await;
    }
}

async fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another with {option}"))
}

fn told(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut told = stop.subscribe();
    async move {
        // An error means the server is gone, which is a stop as well.
        let _ = told.wait_for(|stop| *stop).await;
    }
}

fn serving(
    face: impl Future<Output = std::io::Result<()>> + Send + 'static,
    name: &'static str,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = face.await {
            tracing::error!(%error, "the {name} listener failed");
        }
    })
}

pub(crate) fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("--log is no filter, such as `info`")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// `STEPBUS_CRASH_AT=POINT[:NTH]` has the process abort there: for tests that prove recovery.
pub(crate) fn arm_crash_point() -> anyhow::Result<()> {
    let Ok(text) = std::env::var("STEPBUS_CRASH_AT") else { return Ok(()) };
    let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
    let nth = nth.parse().with_context(|| format!("STEPBUS_CRASH_AT: '{nth}' is no number"))?;
    crash::arm(point, nth).map_err(anyhow::Error::msg)
}
