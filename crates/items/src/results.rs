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

    /// JSON values, one after the other: what the file holds of this child.
    ///
    /// # Errors
    /// When its output is no JSON.
    pub fn entries(&self, config: WriterConfig) -> Result<Vec<String>, ItemFault> {
        let unreadable =
            |error: serde_json::Error| ItemFault::new(format!("{}: {error}", self.execution_arn));
        // A child that did not succeed is shown whole, whatever was asked for.
        let output = match (self.column(), self.output, config.transformation) {
            (Column::Succeeded, Some(output), ResultTransformation::Compact) => {
                return Ok(vec![output.to_owned()]);
            }
            (Column::Succeeded, Some(output), ResultTransformation::Flatten) => output,
            _ => {
                let record = serde_json::to_string(&self.record());
                return record.map(|record| vec![record]).map_err(unreadable);
            }
        };
        if !output.trim_start().starts_with('[') {
            return Ok(vec![output.to_owned()]);
        }
        let members: Vec<&RawValue> = serde_json::from_str(output).map_err(unreadable)?;
        Ok(members.into_iter().map(|member| member.get().to_owned()).collect())
    }

    fn record(&self) -> Record<'_> {
        let column = self.column();
        let (redrivable, reason) = match (column, self.express) {
            (Column::Succeeded, _) => {
                ("NOT_REDRIVABLE", Some("Execution is SUCCEEDED and cannot be redriven"))
            }
            (_, true) => ("REDRIVABLE_BY_MAP_RUN", None),
            (_, false) => ("REDRIVABLE", None),
        };
        let ended = column != Column::Pending;
        Record {
            cause: self.cause,
            error: self.error,
            execution_arn: self.execution_arn,
            input: self.input,
            input_details: Details { included: true },
            name: self.name,
            output: self.output,
            output_details: self.output.map(|_| Details { included: true }),
            redrive_count: ended.then_some(self.redrive_count),
            redrive_status: ended.then_some(redrivable),
            redrive_status_reason: reason,
            start_date: self.start.as_deref(),
            state_machine_arn: self.state_machine_arn,
            status: self.status.unwrap_or("PENDING"),
            stop_date: self.stop.as_deref(),
        }
    }
}

/// In the order AWS writes them, which is the alphabet's.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Record<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    execution_arn: &'a str,
    input: &'a str,
    input_details: Details,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redrive_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redrive_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redrive_status_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<&'a str>,
    state_machine_arn: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_date: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    included: bool,
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

    pub fn add(&mut self, entry: &str, out: &mut Vec<u8>) {
        if self.output_type == OutputType::Json {
            out.push(if self.begun { b',' } else { b'[' });
        }
        self.begun = true;
        out.extend_from_slice(entry.as_bytes());
        if self.output_type == OutputType::JsonLines {
            out.push(b'\n');
        }
    }

    pub fn finish(self, out: &mut Vec<u8>) {
        if self.output_type == OutputType::Json {
            if !self.begun {
                out.push(b'[');
            }
            out.push(b']');
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
        for child in children {
            for entry in child.entries(config).unwrap() {
                file.add(&entry, &mut out);
            }
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
        assert_eq!(never.record().status, "PENDING");
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
