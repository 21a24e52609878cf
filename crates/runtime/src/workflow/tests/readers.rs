//! Items from outside: files, buckets, listings, manifests and HTTP pages.

use std::io::Write as _;

use serde_json::{Value, json};
use stepbus_connect::{Auth, BucketPlace, BucketSpec, ConnectionSpec, Secret};
use stepbus_model::{ExecutionId, Limits};
use stepbus_sandbox::ObjectService;
use stepbus_store::{ExecutionFilter, ExecutionStatus};
use tempfile::TempDir;

use super::world::{Running, Target, World, until};

const MAP: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Label: each
    EXTRA
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: EXPRESS }
      StartAt: Pass
      States: { Pass: { Type: Pass, End: true } }
    End: true
"#;

const CALLING: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Label: each
    MaxConcurrency: 2
    EXTRA
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: { ApiEndpoint: "URL/get", Method: POST, RequestBody: "{% $states.input %}" }
          Output: "{% $states.input.sku %}"
          End: true
    End: true
"#;

/// A reader in one line of YAML.
fn reader(resource: &str, arguments: Value, config: Value) -> String {
    let reader = json!({ "Resource": resource, "Arguments": arguments, "ReaderConfig": config });
    format!("ItemReader: {reader}")
}

fn object(key: &str, config: Value) -> String {
    reader("arn:aws:states:::s3:getObject", json!({ "Bucket": "files", "Key": key }), config)
}

fn csv() -> Value {
    json!({ "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW" })
}

/// Small pages and small pieces, so that much is read from the middle.
fn small(limits: Limits) -> Limits {
    Limits {
        map_page_items: 7,
        map_pages_ahead: 1,
        object_chunk_bytes: 64,
        listing_window: 3,
        ..limits
    }
}

/// A world with a bucket `files` that is a folder.
fn folder() -> (World, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::empty();
    world.limits = small(world.limits);
    let place = BucketPlace::Path(folder.path().to_owned());
    world.declared.buckets.push(BucketSpec { name: "files".into(), place });
    (world, folder)
}

/// A world with a bucket `files` of a service that speaks S3's protocol.
async fn service() -> (World, ObjectService) {
    let mut world = World::empty();
    world.limits = small(world.limits);
    let service = world.storage("files").await;
    (world, service)
}

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Runs a map of Pass children with these fields to its end.
async fn output(world: &mut World, extra: &str) -> Value {
    let target = Target::start().await;
    world.workflow("each", &MAP.replace("EXTRA", extra), &target);
    let running = world.open().await;
    let id = running.start("each", json!({})).await;
    let output = running.output(id).await;
    running.expect_sound().await;
    running.stop().await;
    world.declared.workflows.clear();
    output
}

/// The cause a map ends with.
async fn cause(world: &mut World, extra: &str) -> String {
    let target = Target::start().await;
    world.workflow("each", &MAP.replace("EXTRA", extra), &target);
    let running = world.open().await;
    let id = running.start("each", json!({})).await;
    let cause = running.failure(id, "States.ItemReaderFailed").await;
    running.expect_sound().await;
    running.stop().await;
    world.declared.workflows.clear();
    cause
}

fn price_list(rows: u64) -> (String, Value) {
    let mut text = "\u{feff}sku,name\r\n".to_owned();
    let mut items = Vec::new();
    for n in 0..rows {
        text.push_str(&format!("P{n},\"name, {n}\"\r\n\r\n"));
        items.push(json!({ "sku": format!("P{n}"), "name": format!("name, {n}") }));
    }
    (text, Value::Array(items))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_each_format() {
    let (mut world, folder) = folder();
    let (text, items) = price_list(40);
    write(&folder, "in/prices.csv", &text);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    write(&folder, "in/prices.csv.gz", gzip.finish().unwrap());
    let lines: Vec<String> = items.as_array().unwrap().iter().map(Value::to_string).collect();
    write(&folder, "in/prices.jsonl", lines.join("\n"));
    write(&folder, "in/prices.json", json!({ "catalog": { "prices": items } }).to_string());
    let json = json!({ "InputType": "JSON", "ItemsPointer": "/catalog/prices" });
    for (key, config) in [
        ("in/prices.csv", csv()),
        ("in/prices.csv.gz", csv()),
        ("in/prices.jsonl", json!({ "InputType": "JSONL" })),
        ("in/prices.json", json),
    ] {
        assert_eq!(output(&mut world, &object(key, config)).await, items, "{key}");
    }
    let mut config = csv();
    config["MaxItems"] = json!(10);
    let first = output(&mut world, &object("in/prices.csv", config)).await;
    assert_eq!(first, items.as_array().unwrap()[..10].iter().cloned().collect::<Value>());
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_over_what_is_read() {
    let (mut world, folder) = folder();
    write(&folder, "n.jsonl", (0..23).map(|n| format!("{n}\n")).collect::<String>());
    let reader = object("n.jsonl", json!({ "InputType": "JSONL" }));
    let extra =
        format!("{reader}\n    ItemBatcher: {{ MaxItemsPerBatch: 5, BatchInput: {{ run: 1 }} }}");
    let batches = output(&mut world, &extra).await;
    let expected = (0..5).map(|batch| {
        let items: Vec<u64> = (batch * 5..(batch * 5 + 5).min(23)).collect();
        json!({ "BatchInput": { "run": 1 }, "Items": items })
    });
    assert_eq!(batches, expected.collect::<Value>());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_an_object_have_names_and_a_source() {
    let (mut world, folder) = folder();
    write(&folder, "o.json", r#"{"prices":{"P1":1.50,"P2":2}}"#);
    let config = json!({ "InputType": "JSON", "ItemsPointer": "/prices" });
    let extra = format!(
        "{}\n    ItemSelector: {{ k: \"{{% $states.context.Map.Item.Key %}}\", v: \"{{% \
         $states.context.Map.Item.Value %}}\", s: \"{{% $states.context.Map.Item.Source %}}\" }}",
        object("o.json", config)
    );
    let source = "S3://files/o.json";
    assert_eq!(
        output(&mut world, &extra).await,
        json!([{ "k": "P1", "v": 1.5, "s": source }, { "k": "P2", "v": 2, "s": source }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_and_what_they_list() {
    let (mut world, folder) = folder();
    let arguments = json!({ "Bucket": "files", "Prefix": "day/" });
    let resource = "arn:aws:states:::s3:listObjectsV2";
    for n in 0..20 {
        write(&folder, &format!("day/{n:02}.jsonl"), format!("{{\"n\":{n}}}\n{{\"n\":{n}}}\n"));
    }
    write(&folder, "other.jsonl", "1\n");
    let entries = output(&mut world, &reader(resource, arguments.clone(), json!({}))).await;
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 20);
    assert_eq!((&entries[3]["Key"], &entries[3]["Size"]), (&json!("day/03.jsonl"), &json!(16)));
    assert!(entries[3]["LastModified"].as_u64().unwrap() > 1_700_000_000);
    assert!(entries[3]["Etag"].is_string());
    let config = json!({ "InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN" });
    let items = output(&mut world, &reader(resource, arguments, config)).await;
    let expected: Vec<Value> = (0..40).map(|n| json!({ "n": n / 2 })).collect();
    assert_eq!(items, Value::Array(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests() {
    let (mut world, service) = service().await;
    let inventory = json!({
        "sourceBucket": "shop", "destinationBucket": "arn:aws:s3:::reports", "version": "2016-11-30",
        "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size",
        "files": [{ "key": "data/1.csv", "size": 1 }, { "key": "data/2.csv", "size": 1 }],
    });
    service.put("files", "inventory/manifest.json", inventory.to_string());
    service.put("files", "data/1.csv", "\"shop\",\"a\",\"1\"\n\"shop\",\"b\",\"2\"\n");
    service.put("files", "data/2.csv", "\"shop\",\"c\",\"3\"\n");
    let row = |key: &str, size: &str| json!({ "Bucket": "shop", "Key": key, "Size": size });
    let rows = json!([row("a", "1"), row("b", "2"), row("c", "3")]);
    let listed = object("inventory/manifest.json", json!({ "InputType": "MANIFEST" }));
    assert_eq!(output(&mut world, &listed).await, rows);
    service.put("files", "unload-manifest.csv", "s3://files/u/1.jsonl\ns3://files/u/2.jsonl\n");
    service.put("files", "u/1.jsonl", "1\n2\n");
    service.put("files", "u/2.jsonl", "3\n");
    let config = json!({ "ManifestType": "ATHENA_DATA", "InputType": "JSONL" });
    assert_eq!(output(&mut world, &object("unload-manifest.csv", config)).await, json!([1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read() {
    let (mut world, folder) = folder();
    write(&folder, "broken.csv", "sku,name\nP1,a\nP2,5\" pipe\n");
    let check = async |world: &mut World, extra: String, expected: &str| {
        assert_eq!(cause(world, &extra).await, expected);
    };
    check(
        &mut world,
        object("broken.csv", csv()),
        "s3://files/broken.csv: row 3 (line 3), column 2 (`name`), character 5: a quotation mark \
         within a field that is not quoted; double it, and put the field in quotation marks",
    )
    .await;
    check(&mut world, object("none.csv", csv()), "s3://files/none.csv is not there").await;
    let negative = json!({ "InputType": "JSON", "MaxItems": "{% -1 %}" });
    let message = "field MaxItems must be positive";
    check(&mut world, object("broken.csv", negative), message).await;
    let elsewhere = json!({ "Bucket": "flies", "Key": "a" });
    check(
        &mut world,
        reader("arn:aws:states:::s3:getObject", elsewhere, csv()),
        "there is no bucket `flies`; declare it under `buckets` in the project file",
    )
    .await;
    let other = cause(&mut world, &reader("arn:aws:states:::ftp:get", json!({}), csv())).await;
    assert!(
        other.starts_with("The ItemReader resource arn:aws:states:::ftp:get is not"),
        "{other}"
    );
}

/// Begins a map over a file of 60 rows, and stops once a few rows were done.
async fn interrupted(world: &mut World, extra: &str, target: &Target) {
    world.workflow("each", &CALLING.replace("EXTRA", extra), target);
    let running = world.open().await;
    running.start("each", json!({})).await;
    until("some are done", async || target.taken().len() >= 20).await;
    target.close_gate();
    running.stop().await;
    target.open_gate();
}

fn distinct(target: &Target) -> usize {
    let mut keys: Vec<String> =
        target.taken().iter().map(|call| call.body["sku"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys.dedup();
    keys.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_where_it_stopped() {
    let (mut world, service) = service().await;
    let (text, items) = price_list(60);
    service.put("files", "prices.csv", text);
    let target = Target::start().await;
    interrupted(&mut world, &object("prices.csv", csv()), &target).await;
    let before = service.requests().len();
    assert!(!service.requests().iter().any(|request| request.contains("bytes=1100-")));
    let running = world.open().await;
    let id = the_execution(&running).await;
    let skus: Value = items.as_array().unwrap().iter().map(|item| item["sku"].clone()).collect();
    assert_eq!(running.output(id).await, skus);
    running.expect_sound().await;
    assert_eq!(distinct(&target), 60);
    let requests = service.requests();
    let again = requests[before..].iter().filter(|request| request.contains("bytes=0-")).count();
    assert_eq!(again, 0, "what is done is not read again: {requests:#?}");
    assert!(requests.len() > before);
}

/// While the second piece cannot be had, nobody knows how many items there are; but more failed
/// than could be tolerated of as many as may come.
#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_share_of_as_many_as_may_come_ends_the_map_run() {
    let (mut world, service) = service().await;
    service.put("files", "prices.csv", price_list(60).0);
    service.fail_at("bytes=64-", 0, usize::MAX);
    let target = Target::start().await;
    target.behave(|_| (422, json!({})));
    let mut config = csv();
    config["MaxItems"] = json!(4);
    let extra = format!("{}\n    ToleratedFailurePercentage: 20", object("prices.csv", config));
    world.limits.map_page_items = 1;
    world.workflow("each", &CALLING.replace("EXTRA", &extra), &target);
    let running = world.open().await;
    let id = running.start("each", json!({})).await;
    running.failure(id, "States.ExceedToleratedFailureThreshold").await;
    running.expect_sound().await;
    let map_run = &running.map_runs(id).await[0];
    assert!(map_run.counts.items.total < 4, "not all were read: {:?}", map_run.counts);
}

/// A Parquet file of so many rows, ten to a row group.
fn rows(count: usize) -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    let schema = parquet::schema::parser::parse_message_type(
        "message prices { required binary sku (STRING); required binary name (STRING); }",
    );
    let (mut bytes, schema) = (Vec::new(), std::sync::Arc::new(schema.unwrap()));
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    let names: Vec<usize> = (0..count).collect();
    for group in names.chunks(10) {
        let mut columns = writer.next_row_group().unwrap();
        for text in ["P", "name, "] {
            let values: Vec<ByteArray> =
                group.iter().map(|n| format!("{text}{n}").as_str().into()).collect();
            let mut column = columns.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_parquet_files() {
    let parquet = || json!({ "InputType": "PARQUET" });
    let (mut world, folder) = folder();
    let (_, items) = price_list(45);
    write(&folder, "prices.parquet", rows(45));
    let read = output(&mut world, &object("prices.parquet", parquet())).await;
    assert_eq!(read, items);
    write(&folder, "unload/a.parquet", rows(45));
    write(&folder, "unload/b.parquet", rows(3));
    write(&folder, "unload/list", "s3://files/unload/a.parquet\ns3://files/unload/b.parquet\n");
    let config = json!({ "ManifestType": "ATHENA_DATA", "InputType": "PARQUET" });
    let read = output(&mut world, &object("unload/list", config)).await;
    let both = [45, 3].map(|count| price_list(count).1.as_array().unwrap().clone()).concat();
    assert_eq!(read, Value::Array(both));
    write(&folder, "prices.csv", "sku\nP1\n");
    let told = cause(&mut world, &object("prices.csv", parquet())).await;
    let expected = "s3://files/prices.csv: this is no Parquet file, or it is cut off";
    assert_eq!(told, expected);

    let (mut world, service) = service().await;
    service.put("files", "prices.parquet", rows(60));
    let target = Target::start().await;
    interrupted(&mut world, &object("prices.parquet", parquet()), &target).await;
    let running = world.open().await;
    let id = the_execution(&running).await;
    let skus: Value = (0..60).map(|n| format!("P{n}")).collect();
    assert_eq!(running.output(id).await, skus);
    running.expect_sound().await;
    assert_eq!(distinct(&target), 60);
}

/// The only execution that is no map's child.
async fn the_execution(running: &Running) -> ExecutionId {
    let filter = ExecutionFilter::default();
    let rows = running.engine.store.executions(filter, None, 10).await.unwrap();
    rows.iter().find(|row| row.item.is_none()).unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_ends_the_run_or_is_read_on() {
    for continues in [false, true] {
        let (mut world, service) = service().await;
        let (text, _) = price_list(60);
        service.put("files", "prices.csv", text.clone());
        let target = Target::start().await;
        let set = if continues { "CONTINUE" } else { "FAIL" };
        let arguments = json!({ "Bucket": "files", "Key": "prices.csv", "OnSourceChange": set });
        let reader = reader("arn:aws:states:::s3:getObject", arguments, csv());
        interrupted(&mut world, &reader, &target).await;
        service.put("files", "prices.csv", format!("{text}P60,more\r\n"));
        let running = world.open().await;
        let id = the_execution(&running).await;
        if continues {
            assert_eq!(running.output(id).await.as_array().unwrap().len(), 61);
        } else {
            let cause = running.failure(id, "States.ItemReaderFailed").await;
            assert!(cause.contains("is not what it was when reading it began"), "{cause}");
        }
        running.expect_sound().await;
    }
}

/// Pages of rows behind a key, as a master-data system gives them.
fn keyset(target: &Target, rows: u64) {
    let mut trouble = 0;
    target.behave(move |call| {
        if call.path.starts_with("/get") {
            return (200, json!({}));
        }
        trouble += 1;
        if trouble % 3 == 2 {
            return (503, json!({ "busy": true }));
        }
        let (after, limit) = (call.body["after"].as_u64(), call.body["limit"].as_u64().unwrap());
        let first = after.map_or(0, |after| after + 1);
        let page = (first..rows.min(first + limit))
            .map(|n| json!({ "row": { "sku": format!("P{n}"), "key": n } }));
        (200, page.collect::<Value>())
    });
}

fn paged(limit: u64) -> String {
    reader(
        "arn:stepbus:items:::http:pages",
        json!({
            "ApiEndpoint": "URL/query",
            "Method": "PUT",
            "RequestBody": { "limit": limit },
            "Paging": {
                "Items": "$response.body.row",
                "Next": "$count($items) = $request.RequestBody.limit ? { 'RequestBody': \
                         $merge([$request.RequestBody, { 'after': $items[-1].key }]) }",
            },
        }),
        json!({}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn http_pages() {
    for (limit, rows) in [(10, 35), (10, 30), (3, 20), (100, 1), (10, 0)] {
        let target = Target::start().await;
        keyset(&target, rows);
        let mut world = World::empty();
        world.limits = small(world.limits);
        world.workflow("each", &MAP.replace("EXTRA", &paged(limit)), &target);
        let running = world.open().await;
        let id = running.start("each", json!({})).await;
        let skus: Vec<Value> =
            (0..rows).map(|n| json!({ "sku": format!("P{n}"), "key": n })).collect();
        assert_eq!(running.output(id).await, Value::Array(skus));
        running.expect_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_pages_go_on_where_they_stopped() {
    let target = Target::start().await;
    keyset(&target, 60);
    let mut world = World::empty();
    world.limits = small(world.limits);
    world.workflow("each", &CALLING.replace("EXTRA", &paged(12)), &target);
    let running = world.open().await;
    let id = running.start("each", json!({})).await;
    let gets = || target.taken().iter().filter(|call| call.path.starts_with("/get")).count();
    until("some are done", async || gets() >= 20).await;
    target.close_gate();
    running.stop().await;
    target.open_gate();
    let asked = || -> Vec<Value> {
        let calls = target.taken().into_iter().filter(|call| call.path == "/query");
        calls.map(|call| call.body["after"].clone()).collect()
    };
    let before = asked().len();
    let running = world.open().await;
    assert_eq!(running.output(id).await.as_array().unwrap().len(), 60);
    running.expect_sound().await;
    assert!(!asked()[before..].contains(&Value::Null), "the first page is not asked for again");
}

/// Talend's query language, as docs/maps.md shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_data_system_by_its_key() {
    let options = stepbus_sandbox::Options { products: Some(55), ..Default::default() };
    let mdm = stepbus_sandbox::start(&options).await.unwrap();
    let mut world = World::empty();
    world.limits = small(world.limits);
    let password = Secret::from(mdm.mdm_password.as_str());
    let auth = Auth::Basic { username: mdm.mdm_user.clone(), password };
    world.declared.connections.push(ConnectionSpec {
        name: "mdm".into(),
        auth,
        ..Default::default()
    });
    let id = "Product/ProductID";
    let select = json!({
        "from": ["Product"],
        "fields": [{ "field": id }],
        "order_bys": [{ "order_by": [{ "field": id }, { "direction": "ASC" }] }],
        "start": 0,
        "limit": 20,
    });
    let arguments = json!({
        "ApiEndpoint": format!("{}/data/{}/query", mdm.mdm, mdm.container),
        "Method": "PUT",
        "Headers": { "Accept": "application/json" },
        "Authentication": { "ConnectionArn": "mdm" },
        "RequestBody": { "select": select },
        "Paging": {
            "Items": "$response.body.*.productid",
            "Next": "$count($items) = 20 ? { 'RequestBody': $request.RequestBody ~> |select|{ 'where': \
                     { 'gt': [{ 'field': 'Product/ProductID' }, { 'value': $items[-1] }] } }| }",
        },
    });
    let target = Target::start().await;
    let extra = reader("arn:stepbus:items:::http:pages", arguments, json!({}));
    world.workflow("each", &MAP.replace("EXTRA", &extra), &target);
    let running = world.open().await;
    let id = running.start("each", json!({})).await;
    let ids = running.output(id).await;
    let mut ids: Vec<&str> = ids.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    ids.dedup();
    assert_eq!(ids.len(), mdm.products);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_pages_that_lead_nowhere() {
    let check = async |next: &str, status: u16, expected: &str| {
        let target = Target::start().await;
        target.behave(move |_| (status, json!([{ "sku": "P" }])));
        let mut world = World::empty();
        world.limits = Limits { item_page_attempts: 2, ..small(world.limits) };
        let arguments = json!({
            "ApiEndpoint": "URL/query",
            "Method": "GET",
            "Paging": { "Items": "$response.body", "Next": next },
        });
        let extra = reader("arn:stepbus:items:::http:pages", arguments, json!({}));
        world.workflow("each", &MAP.replace("EXTRA", &extra), &target);
        let running = world.open().await;
        let id = running.start("each", json!({})).await;
        let cause = running.failure(id, "States.ItemReaderFailed").await;
        let cause = cause.replace(&target.url, "URL");
        assert!(cause.contains(expected), "{cause}");
    };
    check("{}", 200, "Paging.Next of page 1: it gives the same request again").await;
    check("'https://elsewhere/'", 200, "https://elsewhere/ leads to another host than URL").await;
    check("$error('no')", 200, "Paging.Next of page 1: ").await;
    check("null", 404, "States.Http.StatusCode.404").await;
    check("null", 500, "(2 attempts)").await;
    check("(", 200, "Paging.Next: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_and_a_link_lead_on_too() {
    for link in [false, true] {
        let target = Target::start().await;
        target.behave(move |call| {
            let start = call.path.split("start=").nth(1).map_or(0, |text| text.parse().unwrap());
            let rows: Vec<u64> = (start..25.min(start + 10)).collect();
            let next = (start + 10 < 25).then(|| format!("/query?start={}", start + 10));
            (200, json!({ "rows": rows, "next": next }))
        });
        let mut world = World::empty();
        world.limits = small(world.limits);
        let next = if link {
            "$response.body.next"
        } else {
            "$count($items) = 10 ? { 'QueryParameters': { 'start': $page.items + 10 } }"
        };
        let arguments = json!({
            "ApiEndpoint": "URL/query",
            "Method": "GET",
            "Paging": { "Items": "$response.body.rows", "Next": next },
        });
        let extra = reader("arn:stepbus:items:::http:pages", arguments, json!({}));
        world.workflow("each", &MAP.replace("EXTRA", &extra), &target);
        let running = world.open().await;
        let id = running.start("each", json!({})).await;
        assert_eq!(running.output(id).await, json!((0..25).collect::<Vec<u64>>()));
        assert_eq!(running.row(id).await.status, ExecutionStatus::Succeeded);
    }
}
