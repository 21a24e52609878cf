//! What benchmarks of the whole system run: the binary, the stand-ins, a server over a project.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use stepbus_sandbox::Addresses;

use super::process::Usage;

/// The key of the example's endpoint.
pub(super) const SYNC_KEY: &str = "bench";

/// Builds the binary by a profile of Cargo.toml.
pub(super) fn build(profile: &str) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    let status = cargo.args(["build", "--profile", profile, "--package", "stepbus"]).status()?;
    if !status.success() {
        bail!("the binary does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| super::root().join("target"), PathBuf::from);
    Ok(target.join(profile).join("stepbus"))
}

pub(super) struct Sandbox {
    process: Child,
    pub(super) addresses: Addresses,
}

impl Sandbox {
    pub(super) fn start(binary: &Path, products: usize, record: Option<&Path>) -> Result<Sandbox> {
        let mut command = Command::new(binary);
        command.args(["sandbox", "--watch-stdin", "--token-seconds", "86400"]);
        command.args(["--products", &products.to_string()]);
        if let Some(path) = record {
            command.arg("--record").arg(path);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Sandbox { process, addresses: serde_json::from_str(&line)? })
    }

    pub(super) fn control(&self, what: &str, post: bool) -> Result<Value> {
        let url = format!("{}/{what}", self.addresses.control);
        let mut response =
            if post { ureq::post(&url).send("{}")? } else { ureq::get(&url).call()? };
        Ok(response.body_mut().with_config().limit(u64::MAX).read_json()?)
    }

    /// Newer versions of so many products, spread over the catalogue: their ids.
    pub(super) fn change(&self, count: usize) -> Result<Vec<String>> {
        let url = format!("{}/mdm/change", self.addresses.control);
        let body = serde_json::json!({ "count": count });
        let answer: Value = ureq::post(&url).send_json(body)?.body_mut().read_json()?;
        let ids = answer["ids"].as_array().into_iter().flatten();
        Ok(ids.filter_map(|id| id.as_str().map(str::to_owned)).collect())
    }

    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stats = self.control("stats", false)?;
        stats["cpu_seconds"].as_f64().context("the sandbox does not tell its CPU time")
    }

    pub(super) fn host(&self, system: &str) -> String {
        let url = match system {
            "mdm" => &self.addresses.mdm,
            "crm" => &self.addresses.crm,
            "erp" => &self.addresses.erp,
            _ => &self.addresses.shop,
        };
        let host = url.trim_start_matches("http://");
        host.split('/').next().unwrap_or(host).to_owned()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) struct Stepbus {
    process: Child,
    pub(super) public: String,
    pub(super) operators: String,
}

impl Stepbus {
    pub(super) fn start(
        binary: &Path,
        project: &Path,
        data: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Stepbus> {
        let mut process = Command::new(binary)
            .args([
                "serve",
                "--operators",
                "127.0.0.1:0",
                "--public",
                "127.0.0.1:0",
                "--log",
                "warn",
            ])
            .arg("--data")
            .arg(data)
            .arg(project)
            .envs(environment.iter().copied())
            .env("SYNC_KEY", SYNC_KEY)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stderr = BufReader::new(process.stderr.take().context("no output")?);
        loop {
            let mut line = String::new();
            if stderr.read_line(&mut line)? == 0 {
                bail!("the server did not start");
            }
            let Some((_, rest)) = line.split_once("endpoints on ") else {
                eprint!("{line}");
                continue;
            };
            let (public, rest) = rest.split_once(", operators on ").context("no operators")?;
            let (operators, _) = rest.split_once(", data in ").context("no data")?;
            return Ok(Stepbus {
                process,
                public: public.to_owned(),
                operators: operators.to_owned(),
            });
        }
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(&self.process.id().to_string())
    }
}

impl Stepbus {
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.operators);
        Ok(ureq::get(&url).call()?.body_mut().with_config().limit(u64::MAX).read_json()?)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.operators);
        Ok(ureq::post(&url).send_json(body)?.body_mut().read_json()?)
    }

    /// Calls the example's endpoint and gives the run.
    pub(super) fn start_sync(&self) -> Result<String> {
        let url = format!("{}/sync/products", self.public);
        let mut response = ureq::post(&url).header("x-api-key", SYNC_KEY).send_empty()?;
        let answer: Value = response.body_mut().read_json()?;
        Ok(answer["run"].as_str().context("no run")?.to_owned())
    }
}

impl Drop for Stepbus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
