//! What `docs/workflows.md` says of limits, codes and errors is what the code has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stepbus_model::Limits;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documentation(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The rows of the table under a heading, a cell each.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Names in back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A limit as people write it.
fn value(text: &str) -> Value {
    match text {
        "none" => return Value::Null,
        "yes" => return Value::Bool(true),
        "no" => return Value::Bool(false),
        _ => {}
    }
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number: u64 = number.replace(',', "").parse().unwrap();
    Value::from(
        number
            << match unit {
                "KiB" => 10,
                "MiB" => 20,
                _ => 0,
            },
    )
}

#[test]
fn limits_are_as_documented() {
    let (default, aws) = (serde_json::to_value(Limits::DEFAULT), serde_json::to_value(Limits::AWS));
    let (default, aws) = (default.unwrap(), aws.unwrap());
    let table = rows(&documentation("workflows.md"), "Limits");
    assert!(table.len() > 20, "{table:?}");
    for row in &table {
        let name = row[0].trim_matches('`');
        let found = (default.get(name), aws.get(name));
        assert_eq!(found, (Some(&value(&row[1])), Some(&value(&row[2]))), "{name}");
    }
    let names: BTreeSet<&str> = table.iter().map(|row| row[0].trim_matches('`')).collect();
    let differing = default.as_object().unwrap().keys().filter(|name| default[*name] != aws[*name]);
    // Those of the bus and of maps are told where these are.
    let elsewhere = ["delivery_age_least_seconds", "csv_header_bytes"];
    for name in differing.filter(|name| !elsewhere.contains(&name.as_str())) {
        assert!(names.contains(name.as_str()), "`{name}` differs by profile and is not documented");
    }
}

#[test]
fn codes_are_documented() {
    let text = documentation("workflows.md");
    let table = rows(&text, "What validation says");
    let told: BTreeSet<&str> = table.iter().flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(told, stepbus_asl::CODES.iter().copied().collect());
}

#[test]
fn errors_are_documented() {
    let told = documentation("workflows.md");
    let families = ["States", "Lambda", "Sqs", "EventBridge", "StepFunctions", "Events", "Stepbus"];
    let mut seen = BTreeSet::new();
    for folder in ["asl/src", "runtime/src/workflow", "connect/src"] {
        sources(&root().join("crates").join(folder), &mut |source| {
            for family in families {
                let start = format!("\"{family}.");
                for (at, _) in source.match_indices(&start) {
                    let part = |c: char| c.is_ascii_alphanumeric() || c == '.';
                    let name = source[at + 1..].split(|c| !part(c)).next().unwrap_or_default();
                    // As in `States.Http.StatusCode.404`.
                    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
                    seen.insert(name.to_owned());
                }
            }
        });
    }
    assert!(seen.len() > 20, "{seen:?}");
    for name in seen {
        assert!(told.contains(&name) || told.contains(&short(&name)), "`{name}` is not documented");
    }
}

/// As `.ExecutionAlreadyExistsException`, where its family has been named.
fn short(name: &str) -> String {
    format!("`.{}", name.split_once('.').map_or(name, |(_, short)| short))
}

fn sources(folder: &Path, visit: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&std::fs::read_to_string(path).unwrap());
        }
    }
}
