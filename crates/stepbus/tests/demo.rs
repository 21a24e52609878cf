//! The demo as a stranger runs it.

mod common;

use common::{binary, stdout};
use serde_json::Value;

fn demo(options: &[&str]) -> Value {
    let data = tempfile::tempdir().unwrap();
    let output = binary()
        .args(["demo", "--exit", "--json", "--data"])
        .arg(data.path())
        .args(options)
        .output()
        .unwrap();
    let text = stdout(&output);
    let last = text.lines().last().unwrap_or_default();
    let report: Value = serde_json::from_str(last)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    assert!(output.status.success(), "{report:#}");
    common::assert_audit_finds_nothing(data.path());
    report
}

fn check_books(report: &Value, selected: i64, failed: i64) {
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_i64).unwrap();
    assert_eq!(number("/selected"), selected);
    assert_eq!(number("/failed"), failed);
    assert_eq!(number("/extracted"), selected - failed);
    for target in ["crm", "erp", "shop"] {
        let column = |name: &str| number(&format!("/targets/{target}/{name}"));
        assert_eq!(column("matched"), selected - failed, "{target}");
        assert_eq!(column("delivered"), selected - failed, "{target}");
        for name in ["unchanged", "stale", "dead_lettered", "discarded", "pending"] {
            assert_eq!(column(name), 0, "{target} {name}");
        }
    }
    assert_eq!(report["verified"], true);
}

#[test]
fn a_catalogue_reaches_every_target() {
    check_books(&demo(&["--products", "300"]), 300, 0);
}

#[test]
fn broken_products_fail_alone() {
    check_books(&demo(&["--products", "150", "--invalid", "37"]), 150, 37);
}

#[test]
fn faults_lose_nothing_and_double_nothing() {
    let report = demo(&["--products", "200", "--faults", "0.05"]);
    check_books(&report, 200, 0);
    // Each product takes at least six requests; more were made, since some had to be repeated.
    assert!(report["requests"].as_i64().unwrap() > 200 * 6, "{report:#}");
}

#[test]
#[ignore = "full tier: the size people see first"]
fn five_thousand_products_with_faults() {
    check_books(&demo(&["--faults", "0.05", "--seed", "7"]), 5_000, 0);
}
