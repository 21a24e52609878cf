//! What a ResultWriter writes: files of results, and the manifest that lists them.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::fault::ItemFault;

/// An evaluated `WriterConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterConfig {
    pub transformation: ResultTransformation,
    pub output_type: OutputType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResultTransformation {
    /// Each child with all that is known of it.
    #[default]
    None,
    /// The outputs.
    Compact,
    /// The outputs, members of arrays one by one.
    Flatten,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputType {
    /// A JSON array.
    #[default]
    Json,
    /// A JSON value a line.
    JsonLines,
}

impl OutputType {
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            OutputType::Json => "json",
            OutputType::JsonLines => "jsonl",
        }
    }
}

impl WriterConfig {
    /// # Errors
    /// When a field is not known.
    pub fn parse(config: &Value) -> Result<WriterConfig, ItemFault> {
        let word = |name: &str| match config.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(ItemFault::new(format!("{name} must be text, but is {other}"))),
        };
        let unknown = |field: &str, value: &str, known: &str| {
            ItemFault::new(format!("{field} `{value}` is not known; there are: {known}"))
        };
        let transformation = match word("Transformation")? {
            None | Some("NONE") => ResultTransformation::None,
            Some("COMPACT") => ResultTransformation::Compact,
            Some("FLATTEN") => ResultTransformation::Flatten,
            Some(other) => return Err(unknown("Transformation", other, "NONE, COMPACT, FLATTEN")),
        };
        let output_type = match word("OutputType")? {
            None | Some("JSON") => OutputType::Json,
            Some("JSONL") => OutputType::JsonLines,
            Some(other) => return Err(unknown("OutputType", other, "JSON, JSONL")),
        };
        Ok(WriterConfig { transformation, output_type })
    }
}

/// The files a child's result may go to, by AWS's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    Failed,
    Pending,
    Succeeded,
}

impl Column {
    pub const ALL: [Column; 3] = [Column::Failed, Column::Pending, Column::Succeeded];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Column::Failed => "FAILED",
            Column::Pending => "PENDING",
            Column::Succeeded => "SUCCEEDED",
        }
    }
}

/// A child as its result file shows it.
#[derive(Debug, Clone, Default)]
pub struct Child<'a> {
    pub execution_arn: &'a str,
    pub name: &'a str,
    pub state_machine_arn: &'a str,
    /// AWS's word, or none of one that was not started.
    pub status: Option<&'a str>,
    /// JSON text.
    pub input: &'a str,
    /// JSON text.
    pub output: Option<&'a str>,
    pub error: Option<&'a str>,
    pub cause: Option<&'a str>,
    /// RFC 3339.
    pub start: Option<String>,
    pub stop: Option<String>,
    pub redrive_count: u32,
    pub express: bool,
}

impl Child<'_> {
    #[must_use]
    pub fn column(&self) -> Column {
        match self.status {
            Some("SUCCEEDED") => Column::Succeeded,
            Some("RUNNING") | None => Column::Pending,
            Some(_) => Column::Failed,
        }
    }

    /// Adds JSON values, one after the other: what the file holds of this child.
    ///
    /// # Errors
    /// When its output is no JSON.
    pub fn add_to(&self, entries: &mut Entries, config: WriterConfig) -> Result<(), ItemFault> {
        let column = self.column();
        // A child that did not succeed is shown whole, whatever was asked for.
        match (column, self.output, config.transformation) {
            (Column::Succeeded, Some(output), ResultTransformation::Compact) => {
                entries.add(column, output);
            }
            (Column::Succeeded, Some(output), ResultTransformation::Flatten) => {
                if !output.trim_start().starts_with('[') {
                    entries.add(column, output);
                    return Ok(());
                }
                let members: Vec<&RawValue> = serde_json::from_str(output)
                    .map_err(|error| ItemFault::new(format!("{}: {error}", self.execution_arn)))?;
                for member in members {
                    entries.add(column, member.get());
                }
            }
            _ => entries.add_with(column, |json| self.write(column, json)),
        }
        Ok(())
    }

    /// All of it, in the order AWS writes it, which is the alphabet's.
    fn write(&self, column: Column, json: &mut Vec<u8>) {
        let (redrivable, reason) = match (column, self.express) {
            (Column::Succeeded, _) => {
                ("NOT_REDRIVABLE", Some("Execution is SUCCEEDED and cannot be redriven"))
            }
            (_, true) => ("REDRIVABLE_BY_MAP_RUN", None),
            (_, false) => ("REDRIVABLE", None),
        };
        let included = || Some(br#"{"Included":true}"#.as_slice());
        let ended = column != Column::Pending;
        let count = ended.then(|| self.redrive_count.to_string());
        let mut object = Object { json, begun: false };
        object.text("Cause", self.cause);
        object.text("Error", self.error);
        object.text("ExecutionArn", Some(self.execution_arn));
        object.text("Input", Some(self.input));
        object.raw("InputDetails", included());
        object.text("Name", Some(self.name));
        object.text("Output", self.output);
        object.raw("OutputDetails", self.output.and_then(|_| included()));
        object.raw("RedriveCount", count.as_deref().map(str::as_bytes));
        object.text("RedriveStatus", ended.then_some(redrivable));
        object.text("RedriveStatusReason", reason);
        object.text("StartDate", self.start.as_deref());
        object.text("StateMachineArn", Some(self.state_machine_arn));
        object.text("Status", Some(self.status.unwrap_or("PENDING")));
        object.text("StopDate", self.stop.as_deref());
        object.json.push(b'}');
    }
}

/// A JSON object in the making. A million of them are made at the end of a map run: by `Serialize`
/// each name and text would be looked through byte by byte.
struct Object<'a> {
    json: &'a mut Vec<u8>,
    begun: bool,
}

impl Object<'_> {
    fn raw(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.name(name);
            self.json.extend_from_slice(value);
        }
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.name(name);
            quote(self.json, value);
        }
    }

    fn name(&mut self, name: &str) {
        self.json.extend_from_slice(if self.begun { b",\"" } else { b"{\"" });
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
        self.begun = true;
    }
}

fn quote(json: &mut Vec<u8>, text: &str) {
    let escapes = |byte| byte < b' ' || byte == b'"' || byte == b'\\';
    // All bytes, whatever is found: that is done many at a time.
    if text.bytes().fold(false, |found, byte| found | escapes(byte)) {
        serde_json::to_writer(json, text).expect("text is written into memory");
        return;
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
}

/// Entries of result files, all in one text.
#[derive(Debug, Default)]
pub struct Entries {
    json: Vec<u8>,
    /// Where each ends.
    ends: Vec<(Column, usize)>,
}

impl Entries {
    pub fn add(&mut self, column: Column, json: &str) {
        self.add_with(column, |all| all.extend_from_slice(json.as_bytes()));
    }

    fn add_with(&mut self, column: Column, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.json);
        self.ends.push((column, self.json.len()));
    }

    /// The memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.json.len() + size_of_val(&*self.ends)
    }

    /// Each with its file.
    pub fn iter(&self) -> impl Iterator<Item = (Column, &[u8])> {
        let mut from = 0;
        self.ends.iter().map(move |(column, end)| {
            let entry = &self.json[from..*end];
            from = *end;
            (*column, entry)
        })
    }
}

/// Makes one file of entries.
#[derive(Debug)]
pub struct ResultFile {
    output_type: OutputType,
    begun: bool,
}

impl ResultFile {
    #[must_use]
    pub fn new(output_type: OutputType) -> ResultFile {
        ResultFile { output_type, begun: false }
    }

    pub fn add(&mut self, entry: &[u8], out: &mut Vec<u8>) {
        if self.output_type == OutputType::Json {
            out.push(if self.begun { b',' } else { b'[' });
        }
        self.begun = true;
        out.extend_from_slice(entry);
        if self.output_type == OutputType::JsonLines {
            out.push(b'\n');
        }
    }

    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.output_type == OutputType::Json {
            out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
        }
    }
}

/// A file as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    pub key: String,
    pub size: u64,
}

/// manifest.json
#[must_use]
pub fn manifest(bucket: &str, map_run_arn: &str, files: &[(Column, Listed)]) -> String {
    let mut listed = Map::new();
    for column in Column::ALL {
        let of_column = files.iter().filter(|(of, _)| *of == column);
        let of_column: Vec<Value> =
            of_column.map(|(_, file)| json!({ "Key": file.key, "Size": file.size })).collect();
        listed.insert(column.name().to_owned(), Value::Array(of_column));
    }
    json!({ "DestinationBucket": bucket, "MapRunArn": map_run_arn, "ResultFiles": listed })
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(transformation: &str, output_type: &str) -> WriterConfig {
        let config = json!({ "Transformation": transformation, "OutputType": output_type });
        WriterConfig::parse(&config).unwrap()
    }

    fn succeeded(output: &str) -> Child<'_> {
        Child {
            execution_arn: "arn:e",
            name: "e",
            state_machine_arn: "arn:m",
            status: Some("SUCCEEDED"),
            input: r#"{"id":1}"#,
            output: Some(output),
            start: Some("2026-01-01T00:00:00Z".to_owned()),
            stop: Some("2026-01-01T00:00:01Z".to_owned()),
            ..Child::default()
        }
    }

    fn file(children: &[Child<'_>], config: WriterConfig) -> String {
        let (mut file, mut out) = (ResultFile::new(config.output_type), Vec::new());
        let mut entries = Entries::default();
        for child in children {
            child.add_to(&mut entries, config).unwrap();
        }
        for (_, entry) in entries.iter() {
            file.add(entry, &mut out);
        }
        file.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn outputs_in_each_form() {
        let children = [succeeded(r#"{"a":1}"#), succeeded("[1,[2]]"), succeeded("[]")];
        let check = |transformation: &str, output_type: &str, expected: &str| {
            assert_eq!(file(&children, config(transformation, output_type)), expected);
        };
        check("COMPACT", "JSON", r#"[{"a":1},[1,[2]],[]]"#);
        check("FLATTEN", "JSON", r#"[{"a":1},1,[2]]"#);
        check("COMPACT", "JSONL", "{\"a\":1}\n[1,[2]]\n[]\n");
        check("FLATTEN", "JSONL", "{\"a\":1}\n1\n[2]\n");
        assert_eq!(file(&[], config("NONE", "JSON")), "[]");
        assert_eq!(file(&[], config("NONE", "JSONL")), "");
    }

    #[test]
    fn a_child_whole() {
        let text = file(&[succeeded(r#"{"a":1}"#)], WriterConfig::default());
        let expected = json!([{
            "ExecutionArn": "arn:e",
            "Input": r#"{"id":1}"#,
            "InputDetails": { "Included": true },
            "Name": "e",
            "Output": r#"{"a":1}"#,
            "OutputDetails": { "Included": true },
            "RedriveCount": 0,
            "RedriveStatus": "NOT_REDRIVABLE",
            "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
            "StartDate": "2026-01-01T00:00:00Z",
            "StateMachineArn": "arn:m",
            "Status": "SUCCEEDED",
            "StopDate": "2026-01-01T00:00:01Z",
        }]);
        assert_eq!(text, expected.to_string());
    }

    #[test]
    fn a_failed_child_is_whole_whatever_was_asked_for() {
        let child = Child {
            status: Some("FAILED"),
            output: None,
            error: Some("Broken"),
            cause: Some("no sku"),
            ..succeeded("")
        };
        assert_eq!(child.column(), Column::Failed);
        let text = file(std::slice::from_ref(&child), config("FLATTEN", "JSON"));
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shown[0]["Error"], "Broken");
        assert_eq!(shown[0]["Cause"], "no sku");
        assert_eq!(shown[0]["RedriveStatus"], "REDRIVABLE");
        assert_eq!(shown[0]["Input"], r#"{"id":1}"#);
        let never = Child { status: None, start: None, stop: None, ..child };
        assert_eq!(never.column(), Column::Pending);
        let text = file(&[never], WriterConfig::default());
        let expected = json!([{
            "Cause": "no sku",
            "Error": "Broken",
            "ExecutionArn": "arn:e",
            "Input": r#"{"id":1}"#,
            "InputDetails": { "Included": true },
            "Name": "e",
            "StateMachineArn": "arn:m",
            "Status": "PENDING",
        }]);
        assert_eq!(text, expected.to_string());
    }

    #[test]
    fn texts_are_quoted_as_json_wants_it() {
        let check = |text: &str| {
            let child = Child { cause: Some(text), ..succeeded("1") };
            let shown = file(&[child], WriterConfig::default());
            let quoted = serde_json::to_string(text).unwrap();
            assert!(shown.starts_with(&format!("[{{\"Cause\":{quoted},")), "{shown}");
        };
        for text in ["", "plain", "é ☃ \u{7f}", "\"", "a\\b", "line\nline", "\u{0}", "\u{1f}x"] {
            check(text);
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let error = WriterConfig::parse(&json!({ "Transformation": "FLAT" })).unwrap_err();
        let expected = "Transformation `FLAT` is not known; there are: NONE, COMPACT, FLATTEN";
        assert_eq!(error.0, expected);
        assert!(WriterConfig::parse(&json!({ "OutputType": 1 })).is_err());
    }

    #[test]
    fn the_manifest() {
        let file = Listed { key: "p/id/SUCCEEDED_0.json".to_owned(), size: 12 };
        let expected = concat!(
            r#"{"DestinationBucket":"b","MapRunArn":"arn:r","ResultFiles":{"FAILED":[],"#,
            r#""PENDING":[],"SUCCEEDED":[{"Key":"p/id/SUCCEEDED_0.json","Size":12}]}}"#
        );
        assert_eq!(manifest("b", "arn:r", &[(Column::Succeeded, file)]), expected);
    }
}
