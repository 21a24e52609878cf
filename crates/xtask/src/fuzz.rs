//! `cargo xtask fuzz`: libFuzzer over the readers of foreign text, on the stable compiler.
//!
//! `fuzz/` is a package of its own, because all that is in it is built with coverage counters.
//! What a run finds grows in `target/fuzz-found`; `--keep` puts the smallest set of inputs that
//! reaches as much into `fuzz/corpus`, which the ordinary tests run as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One target; all of them when none is named.
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Run one input, such as one that a run has kept for being wrong.
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "keep")]
    input: Option<PathBuf>,
    /// Put what was found into the corpus, minimised, instead of looking for more.
    #[arg(long)]
    keep: bool,
}

const TARGETS: [&str; 6] = ["definition", "document", "jsonata", "paths", "pattern", "transformer"];

/// Counters on edges and comparisons, as libFuzzer reads them. All of it is stable.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// A longer input takes longer and shows no more.
const INPUT_BYTES: u32 = 4096;
/// What one input may take before it counts as one that hangs.
const INPUT_SECONDS: u32 = 10;
const MEMORY_MIB: u32 = 2048;
/// The stack of a server's threads: what overflows it there must overflow it here.
const STACK_KIB: u32 = 2048;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let fuzz = Fuzz::build()?;
    let named = arguments.target.as_deref();
    let targets = TARGETS.iter().filter(|target| named.is_none_or(|named| named == **target));
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        let fine = match &arguments.input {
            Some(input) => fuzz.input(target, input)?,
            None if arguments.keep => fuzz.keep(target)?,
            None => fuzz.search(target, arguments.seconds)?,
        };
        if !fine {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Every target for that long; whether nothing was found.
pub(crate) fn all(seconds: u64) -> Result<bool> {
    let fuzz = Fuzz::build()?;
    let mut fine = true;
    for target in TARGETS {
        fine &= fuzz.search(target, seconds)?;
    }
    Ok(fine)
}

struct Fuzz {
    root: PathBuf,
    programs: PathBuf,
}

impl Fuzz {
    fn build() -> Result<Fuzz> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("no root")?;
        let told = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let host = told.lines().find_map(|line| line.strip_prefix("host: ")).context("no host")?;
        let folder = root.join("target/fuzz");
        // With a target named, build scripts and macros go without counters.
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked", "--target", host, "--target-dir"])
            .arg(&folder)
            .env("RUSTFLAGS", INSTRUMENTED)
            .current_dir(root.join("fuzz"))
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "the fuzz targets cannot be built");
        let programs = folder.join(host).join("release");
        Ok(Fuzz { root: root.to_owned(), programs })
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.root.join("fuzz/corpus").join(target)
    }

    fn found(&self, target: &str) -> Result<PathBuf> {
        let folder = self.root.join("target/fuzz-found").join(target);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The target's program with the bounds of every run. A shell sets the stack's, for this
    /// program has no means to.
    fn program(&self, target: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -s {STACK_KIB} && exec \"$0\" \"$@\"")]);
        command.arg(self.programs.join(target));
        command.arg(format!("-max_len={INPUT_BYTES}"));
        command.arg(format!("-timeout={INPUT_SECONDS}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        command
    }

    fn search(&self, target: &str, seconds: u64) -> Result<bool> {
        let found = self.found(target)?;
        let wrong = self.root.join("target/fuzz-wrong").join(target);
        fs::create_dir_all(&wrong)?;
        let dictionary = self.root.join("fuzz/dictionaries").join(format!("{target}.dict"));
        let log = wrong.join("log");
        let status = self
            .program(target)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", wrong.display()))
            .arg(format!("-dict={}", dictionary.display()))
            .arg("-print_final_stats=1")
            .args([found, self.corpus(target)])
            .stderr(fs::File::create(&log)?)
            .stdout(Stdio::null())
            .status()?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let runs = figure(&text, "stat::number_of_executed_units:");
        if status.success() {
            println!("{target}: {runs} inputs in {seconds} s, nothing wrong");
            return Ok(true);
        }
        println!("{target}: wrong after {runs} inputs; {} tells what", log.display());
        for line in text.lines() {
            if line.contains("panicked at") || line.starts_with("SUMMARY") {
                println!("  {line}");
            } else if let Some((_, file)) = line.split_once("Test unit written to ") {
                println!("  again with: cargo xtask fuzz {target} --input {file}");
            }
        }
        Ok(false)
    }

    fn input(&self, target: &str, input: &Path) -> Result<bool> {
        ensure!(input.is_file(), "there is no file {}", input.display());
        Ok(self.program(target).arg(input).status()?.success())
    }

    /// Makes the corpus anew from itself and what was found.
    fn keep(&self, target: &str) -> Result<bool> {
        let corpus = self.corpus(target);
        fs::create_dir_all(&corpus)?;
        let kept = self.root.join("target/fuzz-kept").join(target);
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::create_dir_all(&kept)?;
        // Which edges are reached counts, not how often.
        let status = self
            .program(target)
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .args([&kept, &corpus, &self.found(target)?])
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("{target}: the corpus cannot be minimised");
        }
        fs::remove_dir_all(&corpus)?;
        fs::create_dir_all(&corpus)?;
        let mut files = 0;
        let mut bytes = 0;
        for entry in fs::read_dir(&kept)? {
            let entry = entry?;
            bytes += fs::copy(entry.path(), corpus.join(entry.file_name()))?;
            files += 1;
        }
        println!("{target}: {files} inputs, {bytes} bytes");
        Ok(true)
    }
}

fn figure<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("no", str::trim)
}
