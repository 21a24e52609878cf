//! Items from outside in recorded map runs: read by the real decoders, from an object that is made
//! to be what the recording must have read.

use serde_json::{Value, json};
use stepbus_asl::map::batch_input;
use stepbus_asl::{Failure, ItemBatcher, ItemReader, MapRunSpec, ResultWriter};
use stepbus_items::{Child, Decoder, Entries, Format, ItemFault, Next, ReaderConfig, WriterConfig};
use stepbus_model::Limits;

/// Recorded of the Map state: what it gave, or the cause it failed with.
pub(super) struct Recorded<'a> {
    pub(super) output: Option<&'a Value>,
    pub(super) cause: Option<&'a str>,
}

impl<'a> Recorded<'a> {
    /// What a history tells of a Map state.
    pub(super) fn of(history: &'a [Value], state: &str) -> Recorded<'a> {
        let exited = |event: &&Value| {
            event["type"] == "MapStateExited" && event["stateExitedEventDetails"]["name"] == state
        };
        let failed = |event: &'a Value| event["mapRunFailedEventDetails"]["cause"].as_str();
        Recorded {
            output: history
                .iter()
                .find(exited)
                .map(|event| &event["stateExitedEventDetails"]["output"]),
            cause: history.iter().find_map(failed),
        }
    }
}

/// What the case says of the items that its map read; nothing when it reads none.
pub(crate) fn told(case: &Value) -> Option<Vec<Value>> {
    let reads = case["definition"].to_string().contains("ItemReader");
    let output = case["expect"].get("output").filter(|output| reads && output.is_array())?;
    Some(items_of(Some(output)))
}

/// The reader's items. `told` is the most that a recording of the same test tells of its object, so
/// that it holds more than a case with a small MaxItems may read.
pub(super) fn read(
    reader: &ItemReader,
    recorded: &Recorded<'_>,
    told: Option<&[Value]>,
) -> Result<Vec<Value>, Failure> {
    let failed = |fault: ItemFault| Failure::new("States.ItemReaderFailed", fault.0);
    let config = ReaderConfig::parse(&reader.config, &Limits::AWS).map_err(failed)?;
    let own = items_of(recorded.output);
    let items = match told {
        Some(told) if told.len() > own.len() && !own.is_empty() => told.to_vec(),
        _ => own,
    };
    let Some(format) = &config.format else { return Ok(items) };
    let object = object(format, &items, recorded.cause);
    decode(format, object.as_bytes(), config.max_items).map_err(failed)
}

fn decode(format: &Format, object: &[u8], most: u64) -> Result<Vec<Value>, ItemFault> {
    let mut decoder = Decoder::new(format, &Limits::AWS);
    decoder.feed(object);
    decoder.finish();
    let mut items = Vec::new();
    while (items.len() as u64) < most
        && let Next::Item(item) = decoder.next_item()?
    {
        let value = serde_json::from_str(&item.json);
        items.push(value.map_err(|error| ItemFault(error.to_string()))?);
    }
    Ok(items)
}

/// What the recorded map run was over, seen from its results.
fn items_of(output: Option<&Value>) -> Vec<Value> {
    let parsed = output.map(super::recording::parsed).unwrap_or_default();
    let results = parsed.as_array().map(Vec::as_slice).unwrap_or_default();
    let batched = |result: &Value| result.get("Items").and_then(Value::as_array).cloned();
    match results.iter().map(batched).collect::<Option<Vec<_>>>() {
        Some(batches) => batches.into_iter().flatten().collect(),
        None => results.to_vec(),
    }
}

/// The object, with one item more than the recording shows where it may have had more.
fn object(format: &Format, items: &[Value], cause: Option<&str>) -> String {
    let refused = items.is_empty().then_some(cause).flatten();
    let more = items.iter().chain(items.last());
    match (format, refused) {
        (Format::Json(_), Some(_)) => r#"{"no":"array"}"#.to_owned(),
        (Format::Csv(_), Some(_)) => "H1,H1\n1,2\n".to_owned(),
        (Format::Json(None), None) => Value::from_iter(items.iter().cloned()).to_string(),
        (Format::Json(Some(pointer)), None) => {
            let inner = Value::from_iter(items.iter().cloned());
            let nest = |inner: Value, name: &String| json!({ "before": [0], name.clone(): inner });
            pointer.iter().rev().fold(inner, nest).to_string()
        }
        // No recording has one; the decoder refuses it by name.
        (Format::Parquet, _) => String::new(),
        (Format::JsonLines, _) => more.map(|item| format!("{item}\n")).collect(),
        (Format::Csv(settings), None) => {
            let first = items.first().and_then(Value::as_object);
            let names: Vec<String> = match &settings.headers {
                Some(given) => given.clone(),
                None => first.into_iter().flat_map(|item| item.keys().cloned()).collect(),
            };
            let header = settings.headers.is_none().then(|| row(&names));
            let rows = items.iter().map(|item| {
                let field = |name: &String| item[name].as_str().unwrap_or_default().to_owned();
                row(&names.iter().map(field).collect::<Vec<_>>())
            });
            header.into_iter().chain(rows).collect()
        }
    }
}

/// Fields by the comma, in quotation marks where that matters.
fn row(fields: &[String]) -> String {
    let quoted = |field: &String| match field.contains(['"', ',', '\n', '\\']) {
        true => format!("\"{}\"", field.replace('\\', "\\\\").replace('"', "\"\"")),
        false => field.clone(),
    };
    format!("{}\n", fields.iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// Items by what one child takes.
pub(super) fn batches(items: Vec<Value>, batcher: Option<&ItemBatcher>) -> Vec<Vec<Value>> {
    let Some(batcher) = batcher else { return items.into_iter().map(|item| vec![item]).collect() };
    let bound = |most: u64| if most == 0 { u64::MAX } else { most };
    let (most, most_bytes) =
        (bound(batcher.max_items_per_batch), bound(batcher.max_input_bytes_per_batch));
    let (mut batches, mut bytes): (Vec<Vec<Value>>, u64) = (Vec::new(), 0);
    for item in items {
        let size = item.to_string().len() as u64;
        match batches.last_mut() {
            Some(batch) if (batch.len() as u64) < most && bytes + size <= most_bytes => {
                batch.push(item);
                bytes += size;
            }
            _ => {
                batches.push(vec![item]);
                bytes = size;
            }
        }
    }
    batches
}

/// The input of the child for a batch.
pub(super) fn input(mut selected: Vec<Value>, batcher: Option<&ItemBatcher>) -> Value {
    match batcher {
        Some(batcher) => batch_input(selected, batcher),
        None => selected.pop().unwrap_or_default(),
    }
}

/// What the state gives for its children's outputs.
pub(super) fn output(spec: &MapRunSpec, outputs: Vec<Value>) -> Result<Value, Failure> {
    let Some(writer) = &spec.result_writer else { return Ok(Value::Array(outputs)) };
    written(spec, writer, &outputs)
        .map_err(|fault| Failure::new("States.ResultWriterFailed", fault.0))
}

fn written(
    spec: &MapRunSpec,
    writer: &ResultWriter,
    outputs: &[Value],
) -> Result<Value, ItemFault> {
    let config = WriterConfig::parse(&writer.config)?;
    if let Some(bucket) = writer.arguments.get("Bucket") {
        let prefix = writer.arguments.get("Prefix").and_then(Value::as_str).unwrap_or_default();
        let id = spec.map_run_arn.rsplit(':').next().unwrap_or_default();
        let parts = [prefix.trim_matches('/'), id, "manifest.json"];
        let key: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        return Ok(json!({
            "MapRunArn": spec.map_run_arn,
            "ResultWriterDetails": { "Bucket": bucket, "Key": key.join("/") },
        }));
    }
    let mut entries = Entries::default();
    for output in outputs {
        let text = output.to_string();
        let child = Child { status: Some("SUCCEEDED"), output: Some(&text), ..Child::default() };
        child.add_to(&mut entries, config)?;
    }
    let values = entries.iter().map(|(_, entry)| serde_json::from_slice(entry));
    let values = values.collect::<Result<_, _>>().map_err(|error| ItemFault(error.to_string()))?;
    Ok(Value::Array(values))
}
