//! One product of the example sync, from its id to its event, beside its expressions alone.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Map, Value, json};
use stepbus_asl::{Command, Execution, Input, Program, Status, history};
use stepbus_document::Document;
use stepbus_expr::{Env, EvalLimits, Scope, Template};
use stepbus_model::Timestamp;

use super::{BEGIN, beside, program, start};

const TASKS: [&str; 5] =
    ["FetchProduct", "FetchCategory", "FetchPrice", "FetchDescriptions", "Publish"];

pub(super) fn run(rounds: usize) -> Result<()> {
    let text = std::fs::read_to_string(
        super::super::root().join("examples/product-sync/workflows/fetch-products.asl.yaml"),
    )?;
    let text = text.replace("${MDM_URL}", "http://mdm.example");
    let whole = program(&text)?;
    let document = Document::parse(&text)?;
    let (name, map) = document.value()["States"]
        .as_object()
        .and_then(|states| states.iter().find(|(_, state)| state["Type"] == "Map"))
        .context("the example has no Map state")?;
    let processor = whole.processor(&format!("/States/{name}")).context("no processor")?;
    let input = json!({ "id": "680", "container": "products" });

    let journal = drive(&processor, &input)?;
    let points = Points::of(&map["ItemProcessor"]["States"], &input)?;
    let (all, alone) = beside(rounds, || run_once(&processor, &journal), || points.evaluate());
    println!("\na product of the example sync, {} expressions", points.count());
    println!("  interpreted        {:>8.1} µs", all * 1e6);
    println!("  expressions alone  {:>8.1} µs", alone * 1e6);
    println!("  ratio              {:>8.2}", all / alone);

    let events = history(&processor, journal.clone()).len();
    let (told, again) = beside(
        rounds,
        || {
            black_box(history(&processor, journal.clone()));
        },
        || run_once(&processor, &journal),
    );
    println!(
        "  history by replay  {:>8.0} events/s, {:.2}x running it",
        events as f64 / told,
        told / again
    );
    Ok(())
}

type Journal = Vec<(Timestamp, Input)>;

fn run_once(program: &Program, journal: &Journal) {
    let mut inputs = journal.iter().cloned();
    let Some((at, Input::Started(start))) = inputs.next() else { return };
    let (mut execution, commands) = Execution::begin(program, at, start);
    black_box(commands);
    for (at, input) in inputs {
        black_box(execution.apply(program, at, input));
    }
    black_box(execution);
}

fn drive(program: &Program, input: &Value) -> Result<Journal> {
    let start = start(input.clone());
    let mut journal = vec![(BEGIN, Input::Started(Arc::new(start.clone())))];
    let (mut execution, mut commands) = Execution::begin(program, BEGIN, start);
    loop {
        let task = commands.into_iter().find_map(|command| match command {
            Command::RunTask(task) => Some(task),
            _ => None,
        });
        let Some(task) = task else { break };
        let output = Arc::new(answer(&task.state_name));
        let input = Input::TaskSucceeded { task: task.task, output };
        journal.push((BEGIN, input.clone()));
        commands = execution.apply(program, BEGIN, input);
    }
    ensure!(execution.status() == Status::Succeeded, "{:?}", execution.outcome());
    ensure!(journal.len() == 1 + TASKS.len(), "{} inputs", journal.len());
    Ok(journal)
}

/// What the master-data system answers.
fn answer(state: &str) -> Value {
    let body = match state {
        "FetchProduct" => json!([{ "row": {
            "productnumber": "FR-R92B-58  ", "name": "HL Road Frame - Black, 58",
            "makeflag": "true", "finishedgoodsflag": "true", "color": "Black",
            "listprice": "1431.5000", "size": "58", "sizeunitmeasurecode": "CM ",
            "weightunitmeasurecode": "LB ", "weight": "2.24", "productline": "R ",
            "class": "H ", "style": "U ", "productsubcategoryid": "[14]",
            "productmodelid": "[6]", "sellstartdate": "2008-04-30T00:00:00",
            "sellenddate": "", "version": "1700000000123",
        } }]),
        "FetchCategory" => json!([{ "row": { "root": "Components", "leaf": "Road Frames" } }]),
        "FetchPrice" => json!([{ "row": { "listprice": "1431.5000" } }]),
        "FetchDescriptions" => {
            let rows = ["ar    ", "en    ", "fr    ", "he    ", "th    ", "zh-cht"].map(|language| {
                json!({ "row": { "language": language,
                    "text": "Our lightest and best quality aluminum frame made from the newest alloy; it is welded and heat-treated for strength." } })
            });
            json!(rows)
        }
        _ => return json!({ "FailedEntryCount": 0, "Entries": [{ "EventId": "e" }] }),
    };
    json!({
        "Headers": { "content-type": ["application/json"], "date": ["Tue, 14 Nov 2023 22:13:20 GMT"] },
        "ResponseBody": body, "StatusCode": 200, "StatusText": "OK",
    })
}

/// A moment at which expressions are evaluated, and what they see.
struct Point {
    result: Option<Value>,
    variables: Map<String, Value>,
    templates: Vec<Template>,
}

struct Points {
    input: Value,
    points: Vec<Point>,
}

impl Points {
    /// Goes the way of the product that [`answer`] describes.
    fn of(states: &Value, input: &Value) -> Result<Points> {
        let mut points = Points { input: input.clone(), points: Vec::new() };
        let mut variables = Map::new();
        let mut name = "FetchProduct".to_owned();
        loop {
            let state = &states[&name];
            let next = if state["Type"] == "Choice" {
                points.choice(state, &variables)?
            } else {
                points.task(&name, state, &mut variables)?
            };
            match next {
                Some(next) => name = next,
                None => return Ok(points),
            }
        }
    }

    fn task(
        &mut self,
        name: &str,
        state: &Value,
        variables: &mut Map<String, Value>,
    ) -> Result<Option<String>> {
        self.add(None, variables, vec![compile(&state["Arguments"])?]);
        let result = Some(answer(name));
        let assign = state.get("Assign").map(compile).transpose()?;
        let output = state.get("Output").map(compile).transpose()?;
        self.add(result, variables, assign.into_iter().chain(output).collect());
        let point = self.points.last().context("just added")?;
        if state.get("Assign").is_some() {
            let value = self.value(point, &point.templates[0])?;
            variables.extend(value.as_object().cloned().unwrap_or_default());
        }
        Ok(state["Next"].as_str().map(str::to_owned))
    }

    fn choice(&mut self, state: &Value, variables: &Map<String, Value>) -> Result<Option<String>> {
        let mut looked_at = Vec::new();
        let mut next = state["Default"].as_str();
        for rule in state["Choices"].as_array().into_iter().flatten() {
            let condition = compile(&rule["Condition"])?;
            looked_at.push(condition.clone());
            let point = Point { result: None, variables: variables.clone(), templates: Vec::new() };
            if self.value(&point, &condition)? == true {
                next = rule["Next"].as_str();
                break;
            }
        }
        self.add(None, variables, looked_at);
        Ok(next.map(str::to_owned))
    }

    fn add(
        &mut self,
        result: Option<Value>,
        variables: &Map<String, Value>,
        templates: Vec<Template>,
    ) {
        self.points.push(Point { result, variables: variables.clone(), templates });
    }

    fn scope<'p>(&'p self, point: &'p Point) -> Scope<'p> {
        let mut scope = Scope::new(Env::new(BEGIN, 1));
        scope.limits(EvalLimits::DEFAULT);
        scope.bind_member("states", "input", &self.input);
        if let Some(result) = &point.result {
            scope.bind_member("states", "result", result);
        }
        for (name, value) in &point.variables {
            scope.bind(name, value);
        }
        scope
    }

    fn value(&self, point: &Point, template: &Template) -> Result<Value> {
        let value = template.eval(&self.scope(point)).map_err(|error| anyhow!("{error}"))?;
        value.context("the expression gives nothing")
    }

    fn evaluate(&self) {
        for point in &self.points {
            let scope = self.scope(point);
            for template in &point.templates {
                black_box(template.eval(&scope).is_ok());
            }
        }
    }

    fn count(&self) -> usize {
        let mut count = 0;
        for template in self.points.iter().flat_map(|point| &point.templates) {
            template.for_each_expression(&mut |_, _| count += 1);
        }
        count
    }
}

fn compile(value: &Value) -> Result<Template> {
    Template::compile(value).map_err(|errors| anyhow!("{errors:?}"))
}
