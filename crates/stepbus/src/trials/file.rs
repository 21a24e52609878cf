//! A file of cases: which workflow, what answers it, what is expected.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Bounds, Program, Severity as AslSeverity, Start, WorkflowType};
use stepbus_document::{Document, join};
use stepbus_model::{Timestamp, arn};

use super::expect::Expect;
use super::mocks::{self, Mocks};
use super::reader::Reader;
use crate::project::{Problem, Severity};

/// When a case begins that says nothing else.
const BEGIN: &str = "2024-01-01T00:00:00Z";

pub(super) struct Suite {
    pub(super) document: Document,
    pub(super) program: Arc<Program>,
    name: String,
    kind: WorkflowType,
    pub(super) cases: Vec<Case>,
}

pub(super) struct Case {
    pub(super) name: String,
    /// Where it stands.
    pub(super) pointer: String,
    input: Arc<Value>,
    pub(super) at: Timestamp,
    seed: u64,
    pub(super) mocks: Mocks,
    pub(super) expect: Expect,
}

/// The states of a definition, those within maps and branches too: name and definition.
pub(super) struct States(Vec<(String, Value)>);

impl States {
    fn of(definition: &Value) -> States {
        let mut states = Vec::new();
        collect(definition, &mut states);
        States(states)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Why a state has no mock, where it has none.
    pub(super) fn no_mock(&self, name: &str) -> Option<String> {
        let (_, state) = self.0.iter().find(|(known, _)| known == name)?;
        let distributed = state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED";
        match state["Type"].as_str() {
            Some("Task") => None,
            Some("Map") if distributed => None,
            Some(kind @ ("Map" | "Parallel")) => {
                Some(format!("this {kind} state runs as it is; mock the Task states in it"))
            }
            kind => {
                let kind = kind.unwrap_or("such");
                Some(format!("a {kind} state calls nothing; Task states and distributed Maps do"))
            }
        }
    }
}

fn collect(definition: &Value, states: &mut Vec<(String, Value)>) {
    for (name, state) in definition["States"].as_object().into_iter().flatten() {
        states.push((name.clone(), state.clone()));
        for inner in ["ItemProcessor", "Iterator"] {
            collect(&state[inner], states);
        }
        for branch in state["Branches"].as_array().into_iter().flatten() {
            collect(branch, states);
        }
    }
}

fn whole_file(path: &Path, message: String) -> Problem {
    Problem {
        severity: Severity::Error,
        file: path.to_owned(),
        position: None,
        location: String::new(),
        message,
        hint: None,
        excerpt: None,
    }
}

fn parse(path: &Path) -> Result<Document, Box<Problem>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Box::new(whole_file(path, format!("it cannot be read: {error}"))))?;
    Document::parse(&text).map_err(|error| {
        let excerpt = text.lines().nth(error.position.line as usize - 1).map(str::to_owned);
        let position = Some(error.position);
        Box::new(Problem { position, excerpt, ..whole_file(path, error.message) })
    })
}

impl Suite {
    pub(super) fn read(path: &Path) -> Result<Suite, Vec<Problem>> {
        let document = parse(path).map_err(|problem| vec![*problem])?;
        let mut reader =
            Reader { file: path.to_owned(), document: &document, problems: Vec::new() };
        let read = suite(&mut reader, path);
        let mut problems = reader.problems;
        match read {
            Some((program, name, kind, cases)) if problems.is_empty() => {
                Ok(Suite { document, program, name, kind, cases })
            }
            _ => {
                problems.sort_by_key(|problem| problem.position);
                Err(problems)
            }
        }
    }

    pub(super) fn start(&self, case: &Case) -> Start {
        Start {
            input: Arc::clone(&case.input),
            execution_arn: arn::execution(&self.name, "test").into(),
            execution_name: "test".into(),
            state_machine_arn: arn::state_machine(&self.name).into(),
            state_machine_name: self.name.as_str().into(),
            role_arn: None,
            seed: case.seed,
            workflow_type: self.kind,
            map_item: None,
            resumption: None,
            bounds: Bounds::default(),
        }
    }
}

type Read = (Arc<Program>, String, WorkflowType, Vec<Case>);

fn suite(reader: &mut Reader<'_>, path: &Path) -> Option<Read> {
    let document = reader.document;
    let known = ["workflow", "type", "vars", "mocks", "cases"];
    let members = reader.members(document.value(), "", &known)?;
    let kind = match members.get("type").map(|kind| (kind, kind.as_str())) {
        None | Some((_, Some("STANDARD"))) => WorkflowType::Standard,
        Some((_, Some("EXPRESS"))) => WorkflowType::Express,
        Some(_) => {
            reader.wrong("/type", "the type must be STANDARD or EXPRESS");
            return None;
        }
    };
    let Some(workflow) = members.get("workflow") else {
        let hint = "write `workflow: PATH`, from this file's folder";
        reader.wrong("", "the file names no workflow").hint = Some(hint.to_owned());
        return None;
    };
    let workflow = reader.text(workflow, "/workflow")?;
    let file = path.parent().unwrap_or(Path::new("")).join(workflow);
    let definition = definition(reader, &file, members.get("vars"))?;
    let program = match Program::parse(&definition, kind) {
        Ok(program) => Arc::new(program),
        Err(diagnostics) => {
            reader.problems.extend(diagnostics.into_iter().filter_map(|found| {
                let errs = found.severity == AslSeverity::Error;
                let message = format!("{}: {}", found.code, found.message);
                let (position, hint) = (found.position, found.hint);
                errs.then(|| Problem { position, hint, ..whole_file(&file, message) })
            }));
            return None;
        }
    };
    let states = States::of(definition.value());
    let shared = match members.get("mocks") {
        Some(value) => mocks::read(reader, value, "/mocks", &states),
        None => Mocks::new(),
    };
    let cases = cases(reader, members.get("cases"), &states, &shared, path);
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("workflow");
    let name = name.split('.').next().unwrap_or(name).to_owned();
    Some((program, name, kind, cases))
}

/// The workflow's definition with its `${NAME}`s filled in.
fn definition(reader: &mut Reader<'_>, file: &Path, vars: Option<&Value>) -> Option<Document> {
    let document = match parse(file) {
        Ok(document) => document,
        Err(problem) if problem.position.is_some() => {
            reader.problems.push(*problem);
            return None;
        }
        Err(problem) => {
            let message = format!("{}: {}", file.display(), problem.message);
            reader.wrong("/workflow", message);
            return None;
        }
    };
    let mut missing = Vec::new();
    let filled = document.map_texts(|_, text| {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = crate::project::next_reference(rest) {
            filled.push_str(before);
            match vars.and_then(|vars| vars.get(name)).and_then(Value::as_str) {
                Some(value) => filled.push_str(value),
                None => missing.push(name.to_owned()),
            }
            rest = after;
        }
        (rest.len() != text.len()).then(|| filled + rest)
    });
    missing.sort();
    missing.dedup();
    for name in &missing {
        let at = if vars.is_some() { "/vars" } else { "/workflow" };
        let hint = format!("write `vars: {{ {name}: … }}` (a text)");
        reader.wrong(at, format!("the workflow needs `${{{name}}}`")).hint = Some(hint);
    }
    missing.is_empty().then_some(filled)
}

fn cases<'d>(
    reader: &mut Reader<'d>,
    value: Option<&'d Value>,
    states: &States,
    shared: &Mocks,
    path: &Path,
) -> Vec<Case> {
    let items = value.and_then(Value::as_array).filter(|items| !items.is_empty());
    let Some(items) = items else {
        reader.wrong("/cases", "the file needs a list of cases, one at least");
        return Vec::new();
    };
    let mut cases = Vec::new();
    for (index, value) in items.iter().enumerate() {
        let pointer = join("/cases", index);
        cases.extend(case(reader, value, pointer, states, shared, path));
    }
    cases
}

fn case<'d>(
    reader: &mut Reader<'d>,
    value: &'d Value,
    pointer: String,
    states: &States,
    shared: &Mocks,
    path: &Path,
) -> Option<Case> {
    let known = ["name", "input", "input_file", "at", "seed", "mocks", "expect"];
    let members = reader.members(value, &pointer, &known)?;
    let at = |name: &str| join(&pointer, name);
    let name = match members.get("name") {
        Some(name) => reader.text(name, &at("name"))?.to_owned(),
        None => format!("line {}", reader.document.position(&pointer).line),
    };
    let mut mocks = shared.clone();
    if let Some(value) = members.get("mocks") {
        mocks.extend(mocks::read(reader, value, &at("mocks"), states));
    }
    let expect = match members.get("expect") {
        Some(expected) => Expect::read(reader, expected, &at("expect"), states),
        None => {
            let hint = "write `expect: { status: SUCCEEDED }` at least";
            reader.wrong(&pointer, "the case expects nothing").hint = Some(hint.to_owned());
            None
        }
    };
    let input = match (members.get("input"), members.get("input_file")) {
        (Some(_), Some(_)) => {
            reader.wrong(&at("input_file"), "a case has `input` or `input_file`, not both");
            return None;
        }
        (input, None) => input.cloned().unwrap_or_else(|| serde_json::json!({})),
        (None, Some(file)) => {
            let file = reader.text(file, &at("input_file"))?;
            match parse(&path.parent().unwrap_or(Path::new("")).join(file)) {
                Ok(document) => document.value().clone(),
                Err(problem) => {
                    reader.wrong(&at("input_file"), format!("{file}: {}", problem.message));
                    return None;
                }
            }
        }
    };
    let begin = match members.get("at") {
        Some(value) => reader.text(value, &at("at"))?,
        None => BEGIN,
    };
    let Ok(begin) = Timestamp::parse(begin) else {
        reader.wrong(&at("at"), "this must be a moment as 2024-01-01T00:00:00Z");
        return None;
    };
    let seed = match members.get("seed") {
        Some(value) => reader.whole(value, &at("seed"))?,
        None => 1,
    };
    Some(Case { name, pointer, input: Arc::new(input), at: begin, seed, mocks, expect: expect? })
}
