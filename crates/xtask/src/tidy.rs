//! The house rules that no compiler checks: the arrows between rooms, how long a file may be, and
//! that every guard ARCHITECTURE.md names is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use serde_json::Value;

/// From the top of the house to the bottom: a room uses only rooms above it.
const ROOMS: &[&str] = &[
    "stepbus-model",
    "stepbus-document",
    "stepbus-pattern",
    "stepbus-expr",
    "stepbus-asl",
    "stepbus-items",
    "stepbus-store",
    "stepbus-store-sqlite",
    "stepbus-connect",
    "stepbus-runtime",
    "stepbus-api",
    "stepbus-sandbox",
    "stepbus",
    "xtask",
];

/// Arrows that go up the list and must not be drawn all the same: what a room never knows.
const FORBIDDEN: &[(&str, &str)] = &[
    ("stepbus-connect", "stepbus-store"),
    ("stepbus-connect", "stepbus-asl"),
    ("stepbus-connect", "stepbus-pattern"),
    ("stepbus-runtime", "stepbus-store-sqlite"),
    ("stepbus-store", "stepbus-asl"),
    ("stepbus-sandbox", "stepbus-runtime"),
];

/// Crates that would break what a room promises: `model`, `pattern`, `expr`, `asl`, `items` do no
/// I/O and are not async.
const PURE: &[&str] = &[
    "stepbus-model",
    "stepbus-document",
    "stepbus-pattern",
    "stepbus-expr",
    "stepbus-asl",
    "stepbus-items",
];
const IMPURE: &[&str] = &["tokio", "hyper", "rusqlite", "reqwest", "ureq", "mio", "futures-util"];

/// A longer file usually has two jobs.
const FILE_LINES: usize = 800;

pub(crate) fn run() -> Result<ExitCode> {
    let problems = problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} problems", problems.len());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything untidy, a line each.
pub(crate) fn problems() -> Result<Vec<String>> {
    let root = root();
    let mut problems = arrows(&metadata(&root)?);
    let files = rust_files(&root.join("crates"))?;
    for file in &files {
        problems.extend(too_long(&root, file)?);
    }
    problems.extend(missing_guards(&root, &files)?);
    Ok(problems)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

fn metadata(root: &Path) -> Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")
}

fn arrows(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(place) = ROOMS.iter().position(|room| *room == name) else {
            problems.push(format!(
                "{name} is no room: add it to the list in tidy.rs and to ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // What tests use shows in no binary.
            if dependency["kind"] == "dev" {
                continue;
            }
            let used = dependency["name"].as_str().unwrap_or_default();
            problems.extend(arrow(name, place, used));
        }
    }
    problems
}

fn arrow(name: &str, place: usize, used: &str) -> Option<String> {
    if PURE.contains(&name) && IMPURE.contains(&used) {
        return Some(format!("{name} must do no I/O, but depends on {used}"));
    }
    let used_place = ROOMS.iter().position(|room| *room == used)?;
    let forbidden = FORBIDDEN.contains(&(name, used));
    (used_place >= place || forbidden)
        .then(|| format!("{name} must not depend on {used}: a room uses only rooms above it"))
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn too_long(root: &Path, file: &Path) -> Result<Option<String>> {
    let lines = fs::read_to_string(file)?.lines().count();
    let shown = file.strip_prefix(root).unwrap_or(file).display();
    Ok((lines > FILE_LINES).then(|| {
        format!("{shown} has {lines} lines, at most {FILE_LINES}: it has probably two jobs")
    }))
}

/// ARCHITECTURE.md names its guards as `crates/…/file.rs::test`; each must be there.
fn missing_guards(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md"))
        .context("ARCHITECTURE.md cannot be read")?;
    let mut sources = BTreeMap::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(file).display().to_string();
        sources.insert(name, fs::read_to_string(file)?);
    }
    let mut problems = Vec::new();
    let mut guards = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let Some((file, test)) = quoted.split_once(".rs::") else { continue };
        guards += 1;
        let file = format!("{file}.rs");
        let there = sources.get(&file).is_some_and(|source| source.contains(&format!("fn {test}")));
        if !there {
            problems.push(format!("ARCHITECTURE.md names the guard {quoted}, which is not there"));
        }
    }
    if guards == 0 {
        problems.push("ARCHITECTURE.md names no guards".to_owned());
    }
    for room in ROOMS.iter().map(|room| room.trim_start_matches("stepbus-")) {
        if !text.contains(&format!("`{room}`")) {
            problems.push(format!("ARCHITECTURE.md does not name the room `{room}`"));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let found = problems().unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn an_arrow_down_is_found() {
        let check = |from: &str, to: &str, fine: bool| {
            let place = ROOMS.iter().position(|room| *room == from).unwrap();
            assert_eq!(arrow(from, place, to).is_none(), fine, "{from} -> {to}");
        };
        check("stepbus-asl", "stepbus-expr", true);
        check("stepbus-expr", "stepbus-asl", false);
        check("stepbus-connect", "stepbus-store", false);
        check("stepbus-asl", "tokio", false);
        check("stepbus-runtime", "tokio", true);
        check("stepbus", "stepbus", false);
    }
}
