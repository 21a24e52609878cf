//! `arn:aws:states:::s3:putObject`: results as files in a bucket, and the manifest that lists them;
//! or without a bucket, as the state's output in the form asked for.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use stepbus_asl::{Failure, MapRunSpec, ResultWriter, WorkflowType};
use stepbus_connect::{Bucket, ObjectError, ObjectWriter};
use stepbus_items::{
    Child, Column, Entries, ItemFault, Listed, OutputType, ResultFile, ResultTransformation,
    WriterConfig, manifest,
};
use stepbus_model::{Timestamp, arn};
use stepbus_store::ExecutionStatus;

use super::{ChildResult, Form, ResultSink};
use crate::engine::Engine;

pub(super) const PUT_OBJECT: &str = "arn:aws:states:::s3:putObject";

/// Bytes gathered before they go to the object's writer.
const GATHERED: usize = 64 * 1024;

pub(super) fn open(
    engine: &Arc<Engine>,
    spec: &MapRunSpec,
    writer: &ResultWriter,
) -> Result<Box<dyn ResultSink>, Failure> {
    opened(engine, spec, writer).map_err(|fault| writer_failed(&fault))
}

fn opened(
    engine: &Arc<Engine>,
    spec: &MapRunSpec,
    writer: &ResultWriter,
) -> Result<Box<dyn ResultSink>, ItemFault> {
    let config = WriterConfig::parse(&writer.config)?;
    let express = spec.execution_type == WorkflowType::Express;
    let Some(resource) = &writer.resource else {
        return Ok(Box::new(Inline {
            config,
            express,
            file: ResultFile::new(config.output_type),
            text: Vec::new(),
            most: engine.limits.payload_bytes,
        }));
    };
    if resource != PUT_OBJECT {
        let message =
            format!("The ResultWriter resource {resource} is not offered; there is: {PUT_OBJECT}");
        return Err(ItemFault(message));
    }
    let named = writer.arguments.get("Bucket").and_then(Value::as_str);
    let named = named.ok_or_else(|| ItemFault("`Bucket` is required".to_owned()))?;
    let name = arn::name_of(named);
    let bucket = engine.connect.bucket(name).ok_or_else(|| {
        ItemFault(format!(
            "there is no bucket `{name}`; declare it under `buckets` in the project file"
        ))
    })?;
    let prefix = writer.arguments.get("Prefix").and_then(Value::as_str).unwrap_or_default();
    let id = spec.map_run_arn.rsplit(':').next().unwrap_or_default();
    let folder = match prefix.trim_matches('/') {
        "" => id.to_owned(),
        prefix => format!("{prefix}/{id}"),
    };
    Ok(Box::new(Files {
        bucket,
        folder,
        config,
        express,
        map_run_arn: spec.map_run_arn.clone(),
        most: engine.limits.result_file_bytes,
        open: [None, None, None],
        begun: [0; 3],
        listed: Vec::new(),
    }))
}

fn writer_failed(fault: &ItemFault) -> Failure {
    Failure::new("States.ResultWriterFailed", fault.0.clone())
}

fn fault(error: ObjectError) -> ItemFault {
    ItemFault(error.to_string())
}

fn add(
    result: &ChildResult<'_>,
    entries: &mut Entries,
    config: WriterConfig,
    express: bool,
) -> Result<(), Failure> {
    let added = child(result, express).and_then(|child| child.add_to(entries, config));
    added.map_err(|fault| writer_failed(&fault))
}

/// A child as the formats take it.
fn child<'r>(result: &'r ChildResult<'r>, express: bool) -> Result<Child<'r>, ItemFault> {
    let output = result.output.map(std::str::from_utf8).transpose();
    let output = output.map_err(|error| ItemFault(format!("{}: {error}", result.arn)))?;
    let status = result.status.filter(|status| *status != ExecutionStatus::Running);
    Ok(Child {
        execution_arn: &result.arn,
        name: &result.name,
        state_machine_arn: result.state_machine_arn,
        status: status.map(ExecutionStatus::name),
        input: result.input.as_deref().unwrap_or_default(),
        output: output.filter(|_| status == Some(ExecutionStatus::Succeeded)),
        error: result.error,
        cause: result.error_cause,
        start: result.started.map(Timestamp::to_rfc3339),
        stop: result.ended.map(Timestamp::to_rfc3339),
        redrive_count: result.redrive_count,
        express,
    })
}

/// Files under `PREFIX/ID/`.
struct Files {
    bucket: Bucket,
    folder: String,
    config: WriterConfig,
    express: bool,
    map_run_arn: String,
    most: u64,
    /// By column.
    open: [Option<OpenFile>; 3],
    begun: [u32; 3],
    listed: Vec<(Column, Listed)>,
}

struct OpenFile {
    writer: ObjectWriter,
    file: ResultFile,
    gathered: Vec<u8>,
}

impl ResultSink for Files {
    fn wants_inputs(&self) -> bool {
        // A child that failed is shown with its input whatever was asked for.
        true
    }

    fn form(&self) -> Form {
        let (config, express) = (self.config, self.express);
        Arc::new(move |result, entries| add(result, entries, config, express))
    }

    fn take(&mut self, entries: Entries) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            for (column, entry) in entries.iter() {
                self.write(column, entry).await.map_err(|fault| writer_failed(&fault))?;
            }
            Ok(())
        })
    }

    fn finish(&mut self) -> BoxFuture<'_, Result<Value, Failure>> {
        Box::pin(async move { self.end().await.map_err(|fault| writer_failed(&fault)) })
    }
}

impl Files {
    async fn write(&mut self, column: Column, entry: &[u8]) -> Result<(), ItemFault> {
        let at = column as usize;
        // With its comma and the closing bracket.
        let full = |file: &OpenFile| {
            let size = file.writer.size() + file.gathered.len() as u64;
            size + entry.len() as u64 + 2 > self.most
        };
        if self.open[at].as_ref().is_some_and(full) {
            self.close(column).await?;
        }
        let file = match &mut self.open[at] {
            Some(file) => file,
            closed => {
                let (name, number) = (column.name(), self.begun[at]);
                self.begun[at] += 1;
                let extension = self.config.output_type.extension();
                let key = format!("{}/{name}_{number}.{extension}", self.folder);
                closed.insert(OpenFile {
                    writer: self.bucket.writer(&key).map_err(fault)?,
                    file: ResultFile::new(self.config.output_type),
                    gathered: Vec::with_capacity(GATHERED),
                })
            }
        };
        file.file.add(entry, &mut file.gathered);
        if file.gathered.len() >= GATHERED {
            file.writer.write(&file.gathered).await.map_err(fault)?;
            file.gathered.clear();
        }
        Ok(())
    }

    async fn close(&mut self, column: Column) -> Result<(), ItemFault> {
        let Some(mut open) = self.open[column as usize].take() else { return Ok(()) };
        open.file.finish(&mut open.gathered);
        open.writer.write(&open.gathered).await.map_err(fault)?;
        let key = open.writer.key().to_owned();
        let size = open.writer.finish().await.map_err(fault)?;
        self.listed.push((column, Listed { key, size }));
        Ok(())
    }

    /// The manifest comes last: who reads it finds all it lists.
    async fn end(&mut self) -> Result<Value, ItemFault> {
        for column in Column::ALL {
            self.close(column).await?;
        }
        let key = format!("{}/manifest.json", self.folder);
        let text = manifest(self.bucket.name(), &self.map_run_arn, &self.listed);
        self.bucket.put(&key, text).await.map_err(fault)?;
        Ok(json!({
            "MapRunArn": self.map_run_arn,
            "ResultWriterDetails": { "Bucket": self.bucket.name(), "Key": key },
        }))
    }
}

/// The state's output, in the writer's form.
struct Inline {
    config: WriterConfig,
    express: bool,
    file: ResultFile,
    text: Vec<u8>,
    most: usize,
}

impl ResultSink for Inline {
    fn wants_inputs(&self) -> bool {
        self.config.transformation == ResultTransformation::None
    }

    /// As where there is no writer, only children that succeeded show, unless all of a child is
    /// asked for.
    fn form(&self) -> Form {
        let (config, express) = (self.config, self.express);
        Arc::new(move |result, entries| {
            let succeeded = result.status == Some(ExecutionStatus::Succeeded);
            if !succeeded && config.transformation != ResultTransformation::None {
                return Ok(());
            }
            add(result, entries, config, express)
        })
    }

    fn take(&mut self, entries: Entries) -> BoxFuture<'_, Result<(), Failure>> {
        let taken = entries.iter().try_for_each(|(_, entry)| self.add(entry));
        Box::pin(async { taken })
    }

    fn finish(&mut self) -> BoxFuture<'_, Result<Value, Failure>> {
        self.file.finish(&mut self.text);
        let output = match self.config.output_type {
            OutputType::Json => {
                serde_json::from_slice(&self.text).map_err(|error| error.to_string())
            }
            // Lines are text within JSON.
            OutputType::JsonLines => String::from_utf8(std::mem::take(&mut self.text))
                .map(Value::from)
                .map_err(|error| error.to_string()),
        };
        let output = output.map_err(|problem| writer_failed(&ItemFault(problem)));
        Box::pin(async { output })
    }
}

impl Inline {
    fn add(&mut self, entry: &[u8]) -> Result<(), Failure> {
        self.file.add(entry, &mut self.text);
        let closing = usize::from(self.config.output_type == OutputType::Json);
        if self.text.len() + closing <= self.most {
            return Ok(());
        }
        let cause = format!(
            "The results of the map's children are larger than {} bytes. Give the ResultWriter a \
             Bucket, or have them return less",
            self.most
        );
        Err(Failure::new("States.DataLimitExceeded", cause))
    }
}
