//! What a sandbox can be told at its start.

use std::path::PathBuf;

/// Stand-ins for a master-data system, a CRM, an ERP and a webshop.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Read the catalogue from this folder (one JSON file an entity) instead of making one.
    #[arg(long, value_name = "DIR")]
    pub catalog: Option<PathBuf>,

    /// Products of a made catalogue (5,000 when not given), or how many to keep of a read one.
    #[arg(long, value_name = "N")]
    pub products: Option<usize>,

    /// The seed of the catalogue, of the faults and of the credentials.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,

    /// How many products are to break a rule.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub invalid: usize,

    /// Chance of a request to meet a fault, all kinds mixed.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = chance)]
    pub faults: f64,

    /// How long a slow answer takes.
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub slow_ms: u64,

    /// Seconds a token of the CRM is good for.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub token_seconds: u64,

    /// The name of the MDM's data container.
    #[arg(long, value_name = "NAME", default_value = "products")]
    pub container: String,

    /// What wraps a row of a projection in the MDM's answers.
    #[arg(long, value_name = "NAME", default_value = "$ExplicitProjection$")]
    pub wrapper: String,

    /// Port of the MDM; the others have the following ones, in the order crm, erp, shop, control,
    /// sink.
    /// 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,

    /// Write every request down in this file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// End when standard input does, so as not to outlive who started this.
    #[arg(long)]
    pub watch_stdin: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            catalog: None,
            products: None,
            seed: 1,
            invalid: 0,
            faults: 0.0,
            slow_ms: 200,
            token_seconds: 300,
            container: "products".to_owned(),
            wrapper: "$ExplicitProjection$".to_owned(),
            port: 0,
            record: None,
            watch_stdin: false,
        }
    }
}

fn chance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("a rate lies between 0 and 1; 0.05 is one request in twenty".to_owned()),
    }
}
