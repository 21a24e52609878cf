//! Stand-ins that misbehave on demand, and their own books.
//!
//! Four systems as a product sync meets them: a master-data system with Talend's REST query
//! language, a CRM, an ERP and a webshop, each with the habits of the real ones, and a control
//! listener that tells them how to behave and compares what the targets hold with what they should.
//! Beside them object storage that speaks S3's protocol.
//! Used by the demo, tests and benchmarks, and by nothing else.

mod books;
mod catalog;
mod control;
mod faults;
mod http;
mod mdm;
mod objects;
mod options;
mod random;
mod record;
mod smtp;
mod targets;
pub mod usage;

#[cfg(test)]
mod example;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub use crate::objects::ObjectService;
pub use crate::options::Options;
pub use crate::record::Recorded;

use crate::catalog::Catalog;
use crate::control::Control;
use crate::faults::{CRM_MIX, ERP_MIX, MDM_MIX, Misbehaviour, Mix, SHOP_MIX, SINK_MIX};
use crate::http::{Service, serve};
use crate::mdm::Mdm;
use crate::mdm::table::Database;
use crate::random::mix;
use crate::record::Recorder;
use crate::smtp::{SMTP_MIX, Smtp};
use crate::targets::crm::Crm;
use crate::targets::erp::Erp;
use crate::targets::shop::Shop;
use crate::targets::sink::Sink;

/// Products of a catalogue that is made and not told how many.
const PRODUCTS: usize = 5_000;

/// Where the stand-ins listen, and what opens them; printed as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// With the path up to `/rest`.
    pub mdm: String,
    pub crm: String,
    pub erp: String,
    pub shop: String,
    /// Host and port of the mail server.
    pub smtp_host: String,
    pub smtp_port: String,
    pub control: String,
    /// A plain target for anything, under any name.
    pub sink: String,
    pub container: String,
    pub mdm_user: String,
    pub mdm_password: String,
    pub crm_id: String,
    pub crm_secret: String,
    pub erp_key: String,
    pub shop_user: String,
    pub shop_password: String,
    /// Products of the catalogue, broken ones included.
    pub products: usize,
}

impl Addresses {
    /// The environment variables of `examples/product-sync`.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &str); 15] {
        [
            ("MDM_URL", &self.mdm),
            ("MDM_USER", &self.mdm_user),
            ("MDM_PASSWORD", &self.mdm_password),
            ("MDM_CONTAINER", &self.container),
            ("CRM_URL", &self.crm),
            ("CRM_ID", &self.crm_id),
            ("CRM_SECRET", &self.crm_secret),
            ("ERP_URL", &self.erp),
            ("ERP_KEY", &self.erp_key),
            ("SHOP_URL", &self.shop),
            ("SMTP_HOST", &self.smtp_host),
            ("SMTP_PORT", &self.smtp_port),
            ("SHOP_USER", &self.shop_user),
            ("SHOP_PASSWORD", &self.shop_password),
            ("SINK_URL", &self.sink),
        ]
    }
}

/// Runs the stand-ins until the process is told to end; says first where they are.
///
/// A runtime of one thread is enough for them and wakes nobody else.
///
/// # Errors
/// When the catalogue cannot be read or a port is taken.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let watch_stdin = options.watch_stdin;
    let addresses = start(&options).await?;
    announce(&addresses)?;
    if watch_stdin {
        let mut stdin = tokio::io::stdin();
        tokio::io::copy(&mut stdin, &mut tokio::io::sink()).await?;
    } else {
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}

/// Starts the stand-ins as tasks of the runtime that calls; they end with it.
///
/// # Errors
/// When the catalogue cannot be read or a port is taken.
pub async fn start(options: &Options) -> anyhow::Result<Addresses> {
    let database = Database::new(&catalog(options)?.records)?;
    let products = database.table(mdm::schema::PRODUCT).rows.len();
    let mut listeners = Vec::new();
    for offset in 0..7 {
        listeners.push(listen(options.port, offset).await?);
    }
    let mut addresses = addresses(options, products, &listeners)?;
    let smtp = listeners.pop().context("there is a listener for mail")?;
    let mail = Arc::new(Smtp::new(misbehaviour(options, SMTP_MIX, 6)));
    tokio::spawn(smtp::serve(smtp, mail.clone()));
    let stand_ins = stand_ins(options, &addresses, database, mail);
    addresses.mdm.push_str(mdm::BASE);
    let recorder = match &options.record {
        None => None,
        Some(path) => {
            let recorder = Recorder::create(path);
            let recorder = recorder.with_context(|| format!("cannot write {}", path.display()))?;
            Some(Arc::new(recorder))
        }
    };
    for (listener, stand_in) in listeners.into_iter().zip(stand_ins) {
        tokio::spawn(serve(listener, stand_in, recorder.clone()));
    }
    Ok(addresses)
}

fn catalog(options: &Options) -> anyhow::Result<Catalog> {
    let mut catalog = match &options.catalog {
        Some(folder) => catalog::read(folder)?,
        None => catalog::generate(options.seed, options.products.unwrap_or(PRODUCTS)),
    };
    if let Some(products) = options.products {
        catalog.truncate(products);
    }
    catalog::damage(&mut catalog, options.invalid);
    Ok(catalog)
}

async fn listen(port: u16, offset: u16) -> anyhow::Result<TcpListener> {
    let port = match port {
        0 => 0,
        port => port.checked_add(offset).context("--port leaves no room for seven ports")?,
    };
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}; --port takes another"))
}

/// Credentials are made from the seed, so that a restart with the same seed keeps them.
fn addresses(
    options: &Options,
    products: usize,
    listeners: &[TcpListener],
) -> anyhow::Result<Addresses> {
    let url = |at: usize| -> anyhow::Result<String> {
        Ok(format!("http://{}", listeners[at].local_addr()?))
    };
    let secret = |number: u64| format!("{:016x}", mix(mix(options.seed) ^ number));
    Ok(Addresses {
        mdm: url(0)?,
        crm: url(1)?,
        erp: url(2)?,
        shop: url(3)?,
        smtp_host: listeners[6].local_addr()?.ip().to_string(),
        smtp_port: listeners[6].local_addr()?.port().to_string(),
        control: format!("{}/control", url(4)?),
        sink: url(5)?,
        container: options.container.clone(),
        mdm_user: "stepbus".to_owned(),
        mdm_password: secret(1),
        crm_id: "stepbus".to_owned(),
        crm_secret: secret(2),
        erp_key: secret(3),
        shop_user: "stepbus".to_owned(),
        shop_password: secret(4),
        products,
    })
}

fn misbehaviour(options: &Options, mix_of: Mix, number: u64) -> Misbehaviour {
    let slow = Duration::from_millis(options.slow_ms);
    let misbehaviour = Misbehaviour::new(mix_of, mix(options.seed ^ mix(number)), slow);
    misbehaviour.set_mixed(options.faults);
    misbehaviour
}

fn stand_ins(
    options: &Options,
    addresses: &Addresses,
    database: Database,
    mail: Arc<Smtp>,
) -> [Arc<dyn Service>; 6] {
    let misbehaviour = |mix_of: Mix, number: u64| misbehaviour(options, mix_of, number);
    let mdm = Arc::new(Mdm::new(
        options.container.clone(),
        &options.wrapper,
        addresses.mdm_user.clone(),
        &addresses.mdm_password,
        database,
        misbehaviour(MDM_MIX, 1),
    ));
    let crm = Arc::new(Crm::new(
        addresses.crm_id.clone(),
        addresses.crm_secret.clone(),
        Duration::from_secs(options.token_seconds),
        options.seed,
        misbehaviour(CRM_MIX, 2),
    ));
    let erp = Arc::new(Erp::new(addresses.erp_key.clone(), misbehaviour(ERP_MIX, 3)));
    let shop = Arc::new(Shop::new(
        addresses.shop_user.clone(),
        &addresses.shop_password,
        misbehaviour(SHOP_MIX, 4),
    ));
    let sink = Arc::new(Sink::new(misbehaviour(SINK_MIX, 5)));
    let control = Arc::new(Control {
        mdm: Arc::clone(&mdm),
        crm: Arc::clone(&crm),
        erp: Arc::clone(&erp),
        shop: Arc::clone(&shop),
        sink: Arc::clone(&sink),
        mail,
    });
    [mdm, crm, erp, shop, control, sink]
}

#[expect(clippy::print_stdout, reason = "who starts a sandbox reads this line")]
fn announce(addresses: &Addresses) -> anyhow::Result<()> {
    use std::io::Write as _;
    println!("{}", serde_json::to_string(addresses)?);
    std::io::stdout().flush()?;
    Ok(())
}
