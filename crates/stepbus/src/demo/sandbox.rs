//! The stand-ins as a process of their own, so that their work is not the engine's.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use serde_json::Value;
use stepbus_sandbox::Addresses;

use super::Options;

pub(super) struct Sandbox {
    pub addresses: Addresses,
    process: Child,
}

impl Sandbox {
    pub(super) fn start(options: &Options) -> anyhow::Result<Sandbox> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("sandbox").arg("--watch-stdin");
        command.arg("--seed").arg(options.seed.to_string());
        command.arg("--invalid").arg(options.invalid.to_string());
        command.arg("--faults").arg(options.faults.to_string());
        if let Some(products) = options.products {
            command.arg("--products").arg(products.to_string());
        }
        if let Some(catalog) = &options.catalog {
            command.arg("--catalog").arg(catalog);
        }
        // It ends with its standard input, so it cannot outlive this process.
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().context("the sandbox has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addresses = serde_json::from_str(&line).context("the sandbox did not start")?;
        Ok(Sandbox { addresses, process })
    }

    /// Asks the control listener.
    pub(super) fn control(&self, what: &str) -> anyhow::Result<Value> {
        let url = format!("{}/{what}", self.addresses.control);
        let mut response = ureq::get(&url).call().context("the sandbox does not answer")?;
        Ok(response.body_mut().with_config().limit(u64::MAX).read_json()?)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
