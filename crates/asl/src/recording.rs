//! An execution outside its house: definition and journal in one file, and its replay to any
//! event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stepbus_document::Document;
use stepbus_model::Timestamp;

use crate::execution::{Execution, SEMANTICS};
use crate::history::HistoryEvent;
use crate::interpreter::Recorder;
use crate::io::{Input, Outcome, WorkflowType};
use crate::program::Program;
use crate::validate::refusal;

/// What `format` says in every such file.
const FORMAT: &str = "stepbus-execution";
/// The form of the file.
const VERSION: u32 = 1;

/// Everything an execution was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    format: String,
    version: u32,
    /// The semantics the execution began under.
    semantics: u32,
    execution: About,
    /// The workflow's definition, as text.
    definition: String,
    /// Of a map's child: pointers of the Map states it runs within, the outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    within: Vec<String>,
    /// `[milliseconds since 1970, input]`, one after the other.
    journal: Vec<(Timestamp, Input)>,
    /// SHA-256 over definition and journal.
    digest: String,
}

/// What people know an execution by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// As the commands take it.
    pub id: String,
    pub name: String,
    pub workflow: String,
    #[serde(rename = "type")]
    pub workflow_type: WorkflowType,
}

/// Why a text is no recording that can be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    #[error("the file is no JSON, or it is cut off: {0}")]
    Syntax(String),
    #[error(
        "the file is no export of an execution: it lacks `format: {FORMAT}`; `stepbus executions export` makes one"
    )]
    Foreign,
    #[error("the file has version {0}; this program reads version {VERSION}")]
    Version(u64),
    #[error("the execution began under semantics {0}; this program replays {SEMANTICS}")]
    Semantics(u64),
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("the execution has {has} events; there is no event {asked}")]
    NoSuchEvent { asked: u64, has: u64 },
}

/// An execution at one moment of its life.
#[derive(Debug)]
pub struct Moment {
    about: About,
    program: Arc<Program>,
    execution: Execution,
    history: Vec<HistoryEvent>,
    /// Journal entries that led here, of how many, and events that all of them make.
    entries: (usize, usize),
    events: u64,
}

impl Recording {
    #[must_use]
    pub fn new(
        about: About,
        semantics: u32,
        definition: String,
        within: Vec<String>,
        journal: Vec<(Timestamp, Input)>,
    ) -> Recording {
        let digest = digest(&definition, &within, &journal);
        let (format, version) = (FORMAT.to_owned(), VERSION);
        Recording {
            format,
            version,
            semantics,
            execution: about,
            definition,
            within,
            journal,
            digest,
        }
    }

    /// Reads what `stepbus executions export` wrote.
    ///
    /// # Errors
    /// When the text is something else, of another version, or was changed.
    pub fn parse(text: &str) -> Result<Recording, RecordingError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| RecordingError::Syntax(error.to_string()))?;
        if value["format"] != FORMAT {
            return Err(RecordingError::Foreign);
        }
        // Before anything else is looked at, which another version may say in another way.
        match value["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            version => return Err(RecordingError::Version(version.unwrap_or_default())),
        }
        let recording = Recording::deserialize(value)
            .map_err(|error| RecordingError::Damaged(error.to_string()))?;
        if recording.semantics != SEMANTICS {
            return Err(RecordingError::Semantics(u64::from(recording.semantics)));
        }
        let Recording { definition, within, journal, .. } = &recording;
        if digest(definition, within, journal) != recording.digest {
            let what = "definition and journal do not have the digest it names".to_owned();
            return Err(RecordingError::Damaged(what));
        }
        Ok(recording)
    }

    /// Replays the journal up to an event, or all of it.
    ///
    /// # Errors
    /// When the definition or the journal cannot be used, or there is no such event.
    pub fn replay(&self, until: Option<u64>) -> Result<Moment, RecordingError> {
        let program = self.program()?;
        let (_, all, _) = self.run(&program, u64::MAX)?;
        let events = all.len() as u64;
        let until = until.unwrap_or(events);
        if until == 0 || until > events {
            return Err(RecordingError::NoSuchEvent { asked: until, has: events });
        }
        let (execution, mut history, entries) = self.run(&program, until)?;
        history.truncate(usize::try_from(until).unwrap_or(usize::MAX));
        let entries = (entries, self.journal.len());
        Ok(Moment { about: self.execution.clone(), program, execution, history, entries, events })
    }

    fn program(&self) -> Result<Arc<Program>, RecordingError> {
        let damaged = RecordingError::Damaged;
        let document = Document::parse(&self.definition)
            .map_err(|error| damaged(format!("the definition: {error}")))?;
        let kind = match self.within.is_empty() {
            true => self.execution.workflow_type,
            false => WorkflowType::Standard,
        };
        let program = Program::parse(&document, kind)
            .map_err(|problems| damaged(refusal(&problems).unwrap_or_default()))?;
        self.within.iter().try_fold(Arc::new(program), |program, path| {
            program.processor(path).ok_or_else(|| damaged(format!("there is no Map state {path}")))
        })
    }

    /// The value once `until` has come about, what was told, and how many entries that took.
    fn run(
        &self,
        program: &Program,
        until: u64,
    ) -> Result<(Execution, Vec<HistoryEvent>, usize), RecordingError> {
        let mut told = Vec::new();
        let mut inputs = self.journal.iter().cloned();
        let Some((at, Input::Started(start))) = inputs.next() else {
            let what = "the journal does not begin with a start".to_owned();
            return Err(RecordingError::Damaged(what));
        };
        let recorder = Recorder { events: &mut told, until, watch: None };
        let (mut execution, _) = Execution::begin_recorded(program, at, start, Some(recorder));
        let mut entries = 1;
        for (at, input) in inputs {
            if told.len() as u64 >= until {
                break;
            }
            if !execution.expects(&input) {
                return Err(RecordingError::Damaged(format!(
                    "journal entry {entries} does not follow from those before it"
                )));
            }
            let recorder = Recorder { events: &mut told, until, watch: None };
            execution.apply_recorded(program, at, input, Some(recorder));
            entries += 1;
        }
        Ok((execution, told, entries))
    }
}

fn digest(definition: &str, within: &[String], journal: &[(Timestamp, Input)]) -> String {
    let bytes = serde_json::to_vec(&(definition, within, journal))
        .expect("a journal holds nothing but JSON and numbers");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Moment {
    /// The moment as JSON: the same bytes for the same recording and event, always.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let Moment { about, execution, history, .. } = self;
        let mut value = json!({
            "execution": about,
            "semantics": execution.semantics(),
            "event": history.last().map(|event| event.id),
            "events": self.events,
            "journalEntries": self.entries.0,
            "journalEntriesInAll": self.entries.1,
            "time": execution.latest().to_rfc3339(),
            "status": execution.status(),
            "input": &*execution.start().input,
        });
        match execution.outcome() {
            None => {}
            Some(Outcome::Succeeded(output)) => value["output"] = (**output).clone(),
            Some(
                Outcome::Failed(failure) | Outcome::TimedOut(failure) | Outcome::Aborted(failure),
            ) => {
                value["error"] = json!(failure.error);
                value["cause"] = json!(failure.cause);
            }
        }
        let mut inspected = execution.inspect(&self.program);
        value["threads"] = inspected["threads"].take();
        value["history"] = history.iter().map(told).collect();
        value
    }
}

fn told(event: &HistoryEvent) -> Value {
    let mut value = event.to_value();
    value["timestamp"] = event.timestamp.to_rfc3339().into();
    value
}
