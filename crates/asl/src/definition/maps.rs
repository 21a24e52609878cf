//! The Map state, inline and distributed.

use std::sync::Arc;

use serde_json::Value;

use super::Builder;
use super::fields::{Fields, In, Known, expected};
use super::model::{Batcher, Distributed, Kind, Language, MapState, Processor, Reader, Writer};
use super::values::Scope;
use crate::diagnostic::{DUPLICATE_LABEL, INVALID_LABEL, SCHEMA, closest};
use crate::expression::{Expression, is_expression};
use crate::io::WorkflowType;
use crate::program::Program;

const MAP: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Next", In::Both),
    ("End", In::Both),
    ("Assign", In::Both),
    ("Retry", In::Both),
    ("Catch", In::Both),
    ("ItemProcessor", In::Both),
    ("Iterator", In::Both),
    ("ItemSelector", In::Both),
    ("ItemReader", In::Both),
    ("ItemBatcher", In::Both),
    ("ResultWriter", In::Both),
    ("MaxConcurrency", In::Both),
    ("ToleratedFailureCount", In::Both),
    ("ToleratedFailurePercentage", In::Both),
    ("Label", In::Both),
    ("Items", In::Jsonata),
    ("Output", In::Jsonata),
    ("InputPath", In::JsonPath),
    ("OutputPath", In::JsonPath),
    ("ItemsPath", In::JsonPath),
    ("Parameters", In::JsonPath),
    ("ResultSelector", In::JsonPath),
    ("ResultPath", In::JsonPath),
    ("MaxConcurrencyPath", In::JsonPath),
    ("ToleratedFailureCountPath", In::JsonPath),
    ("ToleratedFailurePercentagePath", In::JsonPath),
];
const PROCESSOR_CONFIG: Known = &[("Mode", In::Both), ("ExecutionType", In::Both)];
const READER: Known = &[
    ("Resource", In::Both),
    ("ReaderConfig", In::Both),
    ("Arguments", In::Jsonata),
    ("Parameters", In::JsonPath),
];
const READER_CONFIG: Known = &[
    ("InputType", In::Both),
    ("Transformation", In::Both),
    ("CSVHeaderLocation", In::Both),
    ("CSVHeaders", In::Both),
    ("CSVDelimiter", In::Both),
    ("ManifestType", In::Both),
    ("ItemsPointer", In::Both),
    ("MaxItems", In::Both),
    ("MaxItemsPath", In::JsonPath),
];
const BATCHER: Known = &[
    ("MaxItemsPerBatch", In::Both),
    ("MaxInputBytesPerBatch", In::Both),
    ("BatchInput", In::Both),
    ("MaxItemsPerBatchPath", In::JsonPath),
    ("MaxInputBytesPerBatchPath", In::JsonPath),
];
const WRITER: Known = &[
    ("Resource", In::Both),
    ("WriterConfig", In::Both),
    ("Arguments", In::Jsonata),
    ("Parameters", In::JsonPath),
];
const WRITER_CONFIG: Known = &[("Transformation", In::Both), ("OutputType", In::Both)];
/// What a ReaderConfig's words may be.
const READER_CHOICES: [(&str, &[&str]); 5] = [
    ("InputType", &["CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"]),
    ("Transformation", &["NONE", "LOAD_AND_FLATTEN"]),
    ("CSVHeaderLocation", &["FIRST_ROW", "GIVEN"]),
    ("CSVDelimiter", &["COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"]),
    ("ManifestType", &["ATHENA_DATA", "S3_INVENTORY"]),
];
const REFUSED_INLINE: &[&str] = &["ItemReader", "ItemBatcher", "ResultWriter"];
const UNUSED_INLINE: &[&str] = &[
    "Label",
    "ToleratedFailureCount",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath",
];
/// AWS: a Label's characters.
const MAX_LABEL: usize = 40;
const MOST: u64 = i64::MAX as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Inline,
    Distributed,
}

impl Builder<'_> {
    pub(super) fn map(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Kind> {
        fields.check(MAP, &[], scope.language, &mut self.problems);
        let items = match (scope.language, fields.get("Items")) {
            (Language::JsonPath, _) => self.path("ItemsPath", fields),
            (Language::Jsonata, Some(items)) => self.item_list(items, fields, scope),
            (Language::Jsonata, None) => None,
        };
        let selector = match (scope.language, fields.has("ItemSelector")) {
            (Language::JsonPath, false) => self.payload("Parameters", fields, scope),
            _ => self.payload("ItemSelector", fields, scope),
        };
        let max_concurrency = self.number("MaxConcurrency", (0, MOST), fields, scope);
        let processor = self.processor(fields, scope)?;
        Some(Kind::Map(Box::new(MapState {
            items,
            item_selector: selector,
            max_concurrency,
            processor,
        })))
    }

    /// Items: a list, or an expression for one.
    fn item_list(
        &mut self,
        items: &Value,
        fields: &Fields<'_>,
        scope: Scope,
    ) -> Option<Expression> {
        if items.is_array() || items.as_str().is_some_and(is_expression) {
            return self.payload("Items", fields, scope);
        }
        self.problems
            .schema(&fields.at("Items"), expected("Array", items))
            .hint("a list, or an expression for one as `{% $states.input.items %}`");
        None
    }

    fn processor(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Processor> {
        let name = match (fields.has("ItemProcessor"), fields.has("Iterator")) {
            (false, true) => "Iterator",
            (true, both) => {
                if both {
                    let message = "'ItemProcessor' and 'Iterator' can not both be given";
                    self.problems.schema(&fields.at, message);
                }
                "ItemProcessor"
            }
            (false, false) => {
                let message = "These fields are required: [ItemProcessor]";
                self.problems.schema(&fields.at, message);
                return None;
            }
        };
        let processor = fields.object(name, &mut self.problems)?;
        let (mode, execution_type) = self.processor_config(&processor, scope);
        if mode == Some(Mode::Inline) {
            self.only_distributed(fields);
        }
        if mode != Some(Mode::Distributed) {
            return self.inline_processor(&processor).map(|start| Processor::Inline { start });
        }
        if self.workflow_type == WorkflowType::Express {
            let message = "Express state machine does not support distributed Map";
            self.problems.schema(&processor.at.field("ProcessorConfig"), message);
        }
        let label = self.label(fields);
        let reader = self.reader(fields, scope);
        let batcher = self.batcher(fields, scope);
        let writer = self.writer(fields, scope);
        let tolerated_count = self.number("ToleratedFailureCount", (0, MOST), fields, scope);
        let tolerated_percentage =
            self.fraction("ToleratedFailurePercentage", (0.0, 100.0), fields, scope);
        let program = self.distributed_processor(&processor, execution_type)?;
        Some(Processor::Distributed(Box::new(Distributed {
            program: Arc::new(Program::from_parsed(program, Vec::new())),
            execution_type,
            label,
            reader,
            batcher,
            writer,
            tolerated_count,
            tolerated_percentage,
        })))
    }

    /// What an inline Map has no use for. AWS takes some of it in silence.
    fn only_distributed(&mut self, fields: &Fields<'_>) {
        const HINT: &str = "set `ProcessorConfig: { Mode: DISTRIBUTED }` in the ItemProcessor";
        for field in REFUSED_INLINE.iter().filter(|field| fields.has(field)) {
            let message = format!("Field '{field}' is not supported");
            self.problems.schema(&fields.at, message).hint(HINT);
        }
        for field in UNUSED_INLINE.iter().filter(|field| fields.has(field)) {
            let message = format!("Field '{field}' has no effect in an inline Map");
            self.problems.warning(SCHEMA, &fields.at(field), message).hint(HINT);
        }
    }

    /// The mode is none when nobody can tell what was meant.
    fn processor_config(
        &mut self,
        processor: &Fields<'_>,
        scope: Scope,
    ) -> (Option<Mode>, WorkflowType) {
        let Some(config) = processor.object("ProcessorConfig", &mut self.problems) else {
            let mode = (!processor.has("ProcessorConfig")).then_some(Mode::Inline);
            return (mode, WorkflowType::Standard);
        };
        config.check(PROCESSOR_CONFIG, &[], scope.language, &mut self.problems);
        let mode = match self.one_of("Mode", &["INLINE", "DISTRIBUTED"], &config) {
            Some("DISTRIBUTED") => Some(Mode::Distributed),
            Some(_) => Some(Mode::Inline),
            None => (!config.has("Mode")).then_some(Mode::Inline),
        };
        let execution_type = match self.one_of("ExecutionType", &["STANDARD", "EXPRESS"], &config) {
            Some("EXPRESS") => WorkflowType::Express,
            _ => WorkflowType::Standard,
        };
        (mode, execution_type)
    }

    /// A text that must be one of a few.
    fn one_of<'v>(
        &mut self,
        name: &str,
        choices: &'static [&'static str],
        fields: &Fields<'v>,
    ) -> Option<&'v str> {
        let text = fields.text(name, &mut self.problems)?;
        if choices.contains(&text) {
            return Some(text);
        }
        let message = format!("Value is not valid. Expected one of [{}]", choices.join(", "));
        self.problems.schema(&fields.at(name), message).hint =
            closest(text, choices.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        None
    }

    fn label(&mut self, fields: &Fields<'_>) -> Option<String> {
        let label = fields.text("Label", &mut self.problems)?;
        let at = fields.at("Label");
        if label.is_empty() || label.chars().count() > MAX_LABEL {
            let message = format!("Label name must have 1 to {MAX_LABEL} characters");
            self.problems.error(INVALID_LABEL, &at, message);
            return None;
        }
        if let Some(bad) = label.chars().find(|c| !fits_label(*c)) {
            let message = format!("Label name contains an invalid character: {bad:?}");
            self.problems.error(INVALID_LABEL, &at, message);
            return None;
        }
        if !self.labels.insert(label.to_owned()) {
            self.problems.error(DUPLICATE_LABEL, &at, format!("Duplicate label name: {label}"));
        }
        Some(label.to_owned())
    }

    fn reader(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Reader> {
        let reader = fields.object("ItemReader", &mut self.problems)?;
        reader.check(READER, &["Resource"], scope.language, &mut self.problems);
        if let Some(name) = ["Items", "ItemsPath"].into_iter().find(|name| fields.has(name))
            && name == "Items"
        {
            let message = format!("'{name}' and 'ItemReader' can not both be given");
            self.problems.schema(&fields.at, message);
        }
        let resource = reader.text("Resource", &mut self.problems).map(str::to_owned);
        let arguments = self.arguments(&reader, scope);
        let config = reader
            .object("ReaderConfig", &mut self.problems)
            .map_or_else(Vec::new, |config| self.reader_config(&config, scope));
        Some(Reader { resource: resource?, arguments, config })
    }

    fn reader_config(&mut self, config: &Fields<'_>, scope: Scope) -> Vec<(String, Expression)> {
        config.check(READER_CONFIG, &[], scope.language, &mut self.problems);
        for (name, choices) in READER_CHOICES {
            let computed = config.get(name).and_then(Value::as_str).is_some_and(is_expression);
            if scope.language == Language::JsonPath || !computed {
                self.one_of(name, choices, config);
            }
        }
        self.number("MaxItems", (0, MOST), config, scope);
        self.csv_headers(config);
        let mut members = Vec::with_capacity(config.map.len());
        for (name, value) in config.map {
            let expression = match name.strip_suffix("Path") {
                Some(_) => self.path(name, config),
                None => match scope.language {
                    Language::Jsonata => self.template(value, &config.at(name), scope),
                    Language::JsonPath => Some(Expression::constant(value.clone())),
                },
            };
            let name = name.strip_suffix("Path").unwrap_or(name).to_owned();
            members.extend(expression.map(|expression| (name, expression)));
        }
        members
    }

    /// CSVHeaders, which must be given where CSVHeaderLocation says so.
    fn csv_headers(&mut self, config: &Fields<'_>) {
        let given = config.get("CSVHeaderLocation").is_some_and(|place| place == "GIVEN");
        match config.get("CSVHeaders") {
            Some(Value::String(text)) if is_expression(text) => {}
            Some(_) => {
                config.texts("CSVHeaders", &mut self.problems);
            }
            None if given => {
                let message = "These fields are required: [CSVHeaders]";
                self.problems
                    .schema(&config.at, message)
                    .hint("CSVHeaderLocation GIVEN takes the names of the fields from CSVHeaders");
            }
            None => {}
        }
    }

    fn arguments(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Expression> {
        let name = match scope.language {
            Language::Jsonata => "Arguments",
            Language::JsonPath => "Parameters",
        };
        self.payload(name, fields, scope)
    }

    fn batcher(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Batcher> {
        let batcher = fields.object("ItemBatcher", &mut self.problems)?;
        batcher.check(BATCHER, &[], scope.language, &mut self.problems);
        let max_items = self.number("MaxItemsPerBatch", (1, MOST), &batcher, scope);
        let max_bytes = self.number("MaxInputBytesPerBatch", (1, MOST), &batcher, scope);
        if max_items.is_none() && max_bytes.is_none() {
            let message =
                "One of these fields is required: [MaxItemsPerBatch, MaxInputBytesPerBatch]";
            self.problems.schema(&batcher.at, message);
        }
        let batch_input = self.payload("BatchInput", &batcher, scope);
        Some(Batcher { max_items, max_bytes, batch_input })
    }

    fn writer(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Writer> {
        let writer = fields.object("ResultWriter", &mut self.problems)?;
        writer.check(WRITER, &[], scope.language, &mut self.problems);
        let resource = writer.text("Resource", &mut self.problems).map(str::to_owned);
        let arguments = self.arguments(&writer, scope);
        if let Some(config) = writer.object("WriterConfig", &mut self.problems) {
            config.check(WRITER_CONFIG, &[], scope.language, &mut self.problems);
            self.one_of("Transformation", &["NONE", "COMPACT", "FLATTEN"], &config);
            self.one_of("OutputType", &["JSON", "JSONL"], &config);
        }
        let config = writer.get("WriterConfig").cloned().unwrap_or(Value::Null);
        Some(Writer { resource, arguments, config })
    }
}

/// What AWS takes in a label: no white space, brackets, wildcards, special or control characters.
fn fits_label(c: char) -> bool {
    !(c.is_whitespace() || c.is_control() || "<>{}[]?*\"#%\\^|~`$&,;:/".contains(c))
}
