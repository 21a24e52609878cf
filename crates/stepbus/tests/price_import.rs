//! The example of a price list: a file of rows, good and bad, into a target and into result files.

mod common;

use std::path::{Path, PathBuf};

use common::taker::Taker;
use common::{Server, assert_audit_finds_nothing, wait_for};
use serde_json::{Value, json};

const FILES: [&str; 4] =
    ["stepbus.yaml", "workflows/import-prices.asl.yaml", "mappings/erp.jsonata", "data/prices.csv"];

/// The example in a folder of its own, so that its results do not stay.
fn example(folder: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/price-import");
    for path in FILES {
        let to = folder.join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from.join(path), to).unwrap();
    }
    folder.join("stepbus.yaml")
}

fn results(folder: &Path) -> PathBuf {
    let runs = std::fs::read_dir(folder.join("results/import-prices")).unwrap();
    let mut runs: Vec<PathBuf> = runs.map(|run| run.unwrap().path()).collect();
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_price_list_is_imported() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let project = example(folder.path());
    let erp = Taker::start(|_| (200, json!({})));
    let environment =
        [("ERP_URL", erp.url.as_str()), ("ERP_KEY", "erp-key"), ("IMPORT_KEY", "import-key")];
    let server = Server::start_with(&project, data.path(), environment);

    let import = |file: &str| {
        let request = ureq::post(format!("{}/import/{file}", server.public));
        let mut response = request.header("x-api-key", "import-key").send_empty().unwrap();
        let answer: Value = response.body_mut().read_json().unwrap();
        answer["run"].as_str().unwrap().to_owned()
    };
    let run = server.finished(&import("prices.csv"));
    assert_eq!(common::totals(&run, "load-erp")["delivered"], 5, "{run:#}");

    let price = |sku: &str, text: &str, price: &str| {
        let body = json!({ "sku": sku, "text": text, "price": price });
        (format!("/prices/{sku}"), body)
    };
    let taken = erp.calls();
    assert!(taken.iter().all(|call| call.header("x-api-key") == "erp-key"), "{taken:?}");
    let mut prices: Vec<_> = taken.into_iter().map(|call| (call.path, call.body)).collect();
    prices.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        prices,
        [
            price("A-100", "Bolt M8", "0.25"),
            price("A-101", "Nut M8", "0.10"),
            price("A-102", "Pipe 5\"; galvanised", "12.50"),
            price("A-103", "Bracket left and right", "3.75"),
            price("A-105", "Screw; short", "0.05"),
        ]
    );

    let results = results(folder.path());
    let succeeded = json!(["A-100", "A-101", "A-102", "A-103", "A-105"]);
    assert_eq!(read(results.join("SUCCEEDED_0.json")), succeeded);
    let failed = read(results.join("FAILED_0.json"));
    assert_eq!(failed[0]["Error"], "PriceInvalid");
    assert_eq!(failed[0]["Input"], r#"{"sku":"A-104","name":"Washer","price":""}"#);
    let manifest = read(results.join("manifest.json"));
    assert_eq!(manifest["ResultFiles"]["SUCCEEDED"].as_array().unwrap().len(), 1);

    // A file that is broken ends its run, and says where it is.
    std::fs::write(folder.path().join("data/broken.csv"), "sku;name;price\nA-1;5\" pipe;1\n")
        .unwrap();
    let broken = import("broken.csv");
    let cause = wait_for("the broken file's end", || {
        let executions = server.get("/admin/executions?workflow=import-prices");
        let failed = executions.as_array()?.iter().find(|each| each["status"] == "FAILED")?;
        failed["cause"].as_str().map(str::to_owned)
    });
    let place = "s3://price-lists/broken.csv: row 2 (line 2), column 2 (`name`), character 6: ";
    assert!(cause.starts_with(place), "{cause}");
    server.finished(&broken);
    drop(server);
    assert_audit_finds_nothing(data.path());
}
