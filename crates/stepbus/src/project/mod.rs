//! The project file: read, filled in, checked as a whole, and made into what the runtime takes.
//!
//! [`load`] reports everything that is wrong in one go. What a file may hold is written down
//! once, in `layout`: the checks, their hints and the JSON Schema come from there.

mod at_crash;
mod endpoints;
mod expression;
mod files;
mod format;
mod inputs;
mod layout;
mod problem;
mod queues;
pub(crate) mod report;
mod schedules;
mod schema;
mod shape;
mod subscriptions;
mod systems;
mod tasks;
mod vars;
mod walk;
mod workflows;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use stepbus_document::{Document, join};
use stepbus_model::Limits;
use stepbus_runtime::{ArchiveSpec, BusSpec, Declared, StorageSpec, WhenFull};

pub(crate) use problem::{Problem, Severity, suggest};
pub(crate) use schema::schema;
pub(crate) use vars::Vars;
pub(crate) use workflows::next_reference;

use files::Files;
use layout::PROJECT;
use problem::{Problems, Source};
use shape::Shape;
use vars::Fill;
use walk::{Filled, Walk};

/// The file that is looked for in a folder.
pub(crate) const FILE_NAME: &str = "stepbus.yaml";

const RETENTION_SECONDS: u64 = 30 * 86_400;

/// A project whose every part was checked.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub name: String,
    pub limits: Limits,
    pub declared: Declared,
    /// What it was read from, the project file first.
    pub files: Vec<PathBuf>,
    /// What is probably not meant but stops nothing.
    pub warnings: Vec<Problem>,
}

/// Reads and checks the project file at `path`, or the one in the folder at `path`.
///
/// # Errors
/// Every problem of the file and of the files it names, warnings left out.
pub(crate) fn load(path: &Path, vars: &Vars) -> Result<Project, Vec<Problem>> {
    let (project, errors, _) = read(path, vars);
    if errors.is_empty() { project.ok_or(errors) } else { Err(errors) }
}

/// Every problem and warning of a project, for where its secrets are not at hand: a variable
/// that is not set or a secret's file that is not there is a warning.
#[must_use]
pub(crate) fn check(path: &Path, vars: &Vars) -> Vec<Problem> {
    let (_, mut problems, warnings) = read(path, &vars.opened());
    problems.extend(warnings);
    problems
}

/// The project as far as there is one, errors, warnings.
fn read(path: &Path, vars: &Vars) -> (Option<Project>, Vec<Problem>, Vec<Problem>) {
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let mut problems = Problems::default();
    let unread = Source { file: path.clone(), text: String::new() };
    let source = match files::read(&path) {
        Ok(text) => Source { file: path.clone(), text },
        Err(message) => {
            let problem = problems.error(&unread, None, "", message);
            if !path.exists() {
                problem.hint(format!("give the path of a {FILE_NAME}"));
            }
            return (None, problems.finish(&unread).0, Vec::new());
        }
    };
    let document = match Document::parse(&source.text) {
        Ok(document) => document,
        Err(error) => {
            problems.error(&source, error.position, "", error.message);
            return (None, problems.finish(&source).0, Vec::new());
        }
    };
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut value = document.value().clone();
    let fill = Fill { vars, folder: &folder };
    let mut walk = Walk {
        source: &source,
        document: &document,
        fill,
        problems: &mut problems,
        filled: Filled::new(),
    };
    walk.value(&Shape::Object(&PROJECT), &mut value, "");
    let filled = walk.filled;
    let files = Files::new(folder.clone(), path);
    let reader = Reader {
        vars,
        source: &source,
        document: &document,
        value: &value,
        filled,
        limits: limits(&value),
        files,
        problems,
        used_queues: Vec::new(),
    };
    let (project, problems) = reader.read();
    let (errors, warnings) = problems.finish(&source);
    (Some(Project { warnings: warnings.clone(), ..project }), errors, warnings)
}

fn limits(value: &Value) -> Limits {
    let mut limits = match value.pointer("/limits/profile").and_then(Value::as_str) {
        Some("aws") => Limits::AWS,
        _ => Limits::DEFAULT,
    };
    let pending = value.pointer("/limits/subscription_pending").and_then(Value::as_u64);
    if let Some(pending) = pending.and_then(|pending| usize::try_from(pending).ok()) {
        limits.subscription_pending = pending;
    }
    limits
}

/// A span of time as the project file has it: `24h`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    format::duration(text)
}

/// Makes the parts of a file whose shape was checked; a part with a problem is left out.
struct Reader<'a> {
    vars: &'a Vars,
    source: &'a Source,
    document: &'a Document,
    /// The file's value with its references filled in.
    value: &'a Value,
    filled: Filled,
    limits: Limits,
    files: Files,
    problems: Problems,
    /// Queues there are where no section declares them.
    used_queues: Vec<String>,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> (Project, Problems) {
        let subscriptions = self.subscriptions();
        let schedules = self.schedules();
        let queues = self.queues(&subscriptions, &schedules);
        self.used_queues = queues.iter().map(|queue| queue.name.clone()).collect();
        let declared = Declared {
            buses: self.buses(),
            queues,
            connections: self.connections(),
            buckets: self.buckets(),
            destinations: self.destinations(),
            functions: self.functions(),
            workflows: self.workflows(),
            subscriptions,
            endpoints: self.endpoints(),
            schedules,
            archives: self.archives(),
            storage: self.storage(),
        };
        let project = Project {
            name: self.value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            limits: self.limits,
            declared,
            files: self.files.read,
            warnings: Vec::new(),
        };
        (project, self.problems)
    }

    fn buses(&mut self) -> Vec<BusSpec> {
        let sound = self.sound("buses");
        let bus = |(name, value, _): (&'a str, &'a Value, String)| {
            let retention = value.get("retention").and_then(Value::as_str);
            let retention = retention.and_then(|text| format::duration(text).ok());
            BusSpec {
                name: name.to_owned(),
                retention_seconds: retention.map_or(RETENTION_SECONDS, |span| span.as_secs()),
                deduplicate_content: value.get("deduplicate").is_some(),
            }
        };
        sound.into_iter().map(bus).collect()
    }

    fn archives(&mut self) -> Vec<ArchiveSpec> {
        let mut archives = Vec::new();
        for (name, value, at) in self.members("archives") {
            let pattern = self.pattern(value, &at);
            let text = |field: &str| value.get(field).and_then(Value::as_str);
            let retention = text("retention").and_then(|text| format::duration(text).ok());
            if let Some(pattern) = pattern.filter(|_| self.is_sound(&at)) {
                archives.push(ArchiveSpec {
                    name: name.to_owned(),
                    bus: text("bus").unwrap_or_default().to_owned(),
                    pattern,
                    retention_seconds: retention.map(|span| span.as_secs()),
                });
            }
        }
        archives
    }

    fn storage(&self) -> StorageSpec {
        let text = |field: &str| self.value.get("storage")?.get(field)?.as_str();
        StorageSpec {
            max_bytes: text("max_bytes").and_then(|text| format::amount(text).ok()),
            when_full: match text("when_full") {
                Some("refuse") => WhenFull::Refuse,
                _ => WhenFull::DropOldest,
            },
        }
    }

    fn section(&self, name: &str) -> Option<&'a Map<String, Value>> {
        self.value.get(name)?.as_object()
    }

    /// The members of a section: name, value and pointer.
    fn members(&self, section: &str) -> Vec<(&'a str, &'a Value, String)> {
        let members = self.section(section).into_iter().flatten();
        members
            .map(|(name, value)| (name.as_str(), value, join(&format!("/{section}"), name)))
            .collect()
    }

    /// Those in which nothing is wrong.
    fn sound(&self, section: &str) -> Vec<(&'a str, &'a Value, String)> {
        let mut members = self.members(section);
        members.retain(|(_, _, at)| self.is_sound(at));
        members
    }

    fn is_sound(&self, at: &str) -> bool {
        !self.problems.any_within(self.source, at)
    }

    /// A field in which nothing is wrong, and its pointer.
    fn field<'v>(&self, value: &'v Value, at: &str, name: &str) -> Option<(&'v Value, String)> {
        let at = join(at, name);
        let field = value.get(name)?;
        self.is_sound(&at).then_some((field, at))
    }

    /// Notes a problem at the value of a field.
    fn wrong(&mut self, at: &str, message: impl Into<String>) -> &mut Problem {
        let position = self.document.value_position(at);
        self.problems.error(self.source, position, at, message)
    }
}
