//! Map states: their items, and the map runs of distributed ones.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::context::context;
use super::data::Seen;
use super::work::{field_name, not_of_type};
use super::{Flow, Run, check_array, events};
use crate::chance::{Point, visit_uuid};
use crate::definition::model::{
    Batcher, Distributed, Language, MapState, Processor, Reader, State, Writer,
};
use crate::expression::{ContextUse, Expression};
use crate::fault::Fault;
use crate::io::{
    Command, ItemBatcher, ItemReader, MapRunOutcome, MapRunSpec, MapScope, MapSource, ResultWriter,
    TaskId,
};
use crate::map::map_run_arn;
use crate::thread::{Activity, LastMapRun, Thread, ThreadId};

impl Run<'_> {
    pub(super) fn start_map(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        state: &State,
        map: &MapState,
    ) -> Result<Flow, Fault> {
        let input = self.effective_input(thread, state)?;
        let max_concurrency = match &map.max_concurrency {
            Some(most) => self.whole_number(thread, most, "MaxConcurrency", &input)?,
            None => 0,
        };
        match &map.processor {
            Processor::Inline { .. } => {
                let items = self.items(thread, state, map, &input)?;
                self.note("maxConcurrency", &Value::from(max_concurrency));
                self.note_items(thread, map, (Some(&items), &input), None)?;
                self.fork_iterations(id, thread, state, (items, input), max_concurrency)
            }
            Processor::Distributed(distributed) => {
                let source = self.source(thread, state, (map, distributed), &input)?;
                let length = match &source {
                    MapSource::Items(items) => items.as_array().map_or(0, Vec::len),
                    MapSource::Reader(_) => 0,
                };
                let started = events::started(&state.kind);
                thread.last = self.emit(thread.last, started, || events::map_started(length));
                let sources = (map, &**distributed);
                let items = (source, max_concurrency);
                let spec = self.map_run(thread, state, sources, input, items)?;
                self.start_map_run(thread, spec);
                Ok(Flow::Wait)
            }
        }
    }

    /// The array that Items or ItemsPath gives, or else the input.
    fn items(
        &self,
        thread: &Thread,
        state: &State,
        map: &MapState,
        input: &Arc<Value>,
    ) -> Result<Arc<Value>, Fault> {
        let items = match (&map.items, state.language) {
            (Some(items), language) => {
                let field = match language {
                    Language::Jsonata => "Items",
                    Language::JsonPath => "ItemsPath",
                };
                self.evaluate(thread, Point::Before, items, field, input, Seen::default())?
            }
            (None, _) => Arc::clone(input),
        };
        if check_array(&items) {
            if state.language == Language::JsonPath {
                self.note("afterItemsPath", &items);
            }
            return Ok(items);
        }
        Err(match (state.language, &map.items) {
            (Language::Jsonata, Some(expression)) => {
                not_of_type(state, expression, "Items", &items, "array")
            }
            (Language::Jsonata, None) => Fault::evaluation(
                format!("Map state input must be an array but was: {items}"),
                None,
            ),
            (Language::JsonPath, expression) => Fault::runtime(format!(
                "Reference path \"{}\" must point to array.",
                // AWS shows a path into the context object with one `$`.
                expression
                    .as_ref()
                    .map_or_else(|| "$".to_owned(), |path| path.source().replace("$$", "$"))
            )),
        })
    }

    fn map_run(
        &self,
        thread: &Thread,
        state: &State,
        (map, distributed): (&MapState, &Distributed),
        input: Arc<Value>,
        (source, max_concurrency): (MapSource, u64),
    ) -> Result<MapRunSpec, Fault> {
        let tolerated_failure_count = match &distributed.tolerated_count {
            Some(count) => {
                Some(self.whole_number(thread, count, "ToleratedFailureCount", &input)?)
            }
            None => None,
        };
        let tolerated_failure_percentage = match &distributed.tolerated_percentage {
            Some(percentage) => Some(self.percentage(thread, state, percentage, &input)?),
            None => None,
        };
        let batcher = match &distributed.batcher {
            Some(batcher) => Some(self.batcher(thread, batcher, &input)?),
            None => None,
        };
        let items = match &source {
            MapSource::Items(items) => Some(&**items),
            MapSource::Reader(_) => None,
        };
        self.note_items(thread, map, (items, &input), batcher.as_ref())?;
        let result_writer = match &distributed.writer {
            Some(writer) => Some(self.writer(thread, state, writer, &input)?),
            None => None,
        };
        self.note("maxConcurrency", &Value::from(max_concurrency));
        if let Some(count) = tolerated_failure_count {
            self.note("toleratedFailureCount", &Value::from(count));
        }
        if let Some(percentage) = tolerated_failure_percentage {
            self.note("toleratedFailurePercentage", &Value::from(percentage));
        }
        let start = &self.execution.start;
        let task = TaskId { visit: thread.visit, attempt: thread.attempt };
        let uuid = visit_uuid(&start.execution_arn, start.seed, task);
        let label = distributed.label.clone().unwrap_or_else(|| state.name.to_string());
        let redriven = thread.map_run.as_ref().filter(|last| last.redriven);
        let map_run_arn = redriven.map_or_else(
            || map_run_arn(&start.state_machine_arn, &label, &uuid),
            |last| last.arn.clone(),
        );
        Ok(MapRunSpec {
            visit: thread.visit,
            attempt: thread.attempt,
            state_path: state.pointer.clone(),
            state_name: state.name.to_string(),
            map_run_arn,
            redrives: redriven.map_or(0, |last| last.redrives + 1),
            label,
            source,
            scope: self.map_scope(thread, map, input),
            max_concurrency,
            tolerated_failure_count,
            tolerated_failure_percentage,
            execution_type: distributed.execution_type,
            batcher,
            result_writer,
        })
    }

    fn map_scope(&self, thread: &Thread, map: &MapState, input: Arc<Value>) -> MapScope {
        let selects = map.item_selector.is_some();
        let mut variables = Map::new();
        if selects {
            for (name, value) in self.variables(thread).iter() {
                variables.insert(name.to_string(), (**value).clone());
            }
        }
        let used = map.item_selector.as_ref().map_or(ContextUse::None, Expression::context_use);
        let context = match used {
            ContextUse::None => Value::Null,
            used => {
                let whole = used == ContextUse::Whole;
                context(self.execution, self.program, thread, None, whole)
            }
        };
        let start = &self.execution.start;
        MapScope {
            input: if selects { input } else { Arc::new(Value::Null) },
            variables: Arc::new(Value::Object(variables)),
            context: Arc::new(context),
            seed: crate::chance::seed(start.seed, thread.visit.0, thread.attempt, Point::Before),
            at: self.execution.at,
        }
    }

    fn percentage(
        &self,
        thread: &Thread,
        state: &State,
        expression: &Expression,
        input: &Value,
    ) -> Result<f64, Fault> {
        let name = "ToleratedFailurePercentage";
        let field = field_name(name, expression);
        let seen = Seen::default();
        let value = self.evaluate(thread, Point::Before, expression, &field, input, seen)?;
        let path = matches!(expression, Expression::Path(_));
        let number = match &*value {
            Value::String(text) if path => text.parse().ok(),
            other => other.as_f64(),
        };
        match number {
            Some(number) if (0.0..=100.0).contains(&number) => Ok(number),
            Some(_) if state.language == Language::JsonPath => {
                Err(Fault::runtime(format!("{name} must be between 0 and 100.")))
            }
            _ => {
                let needed = if path { "a valid float" } else { "a number between 0 and 100" };
                Err(not_of_type(state, expression, &field, &value, needed))
            }
        }
    }

    fn reader(
        &self,
        thread: &Thread,
        state: &State,
        reader: &Reader,
        input: &Arc<Value>,
    ) -> Result<ItemReader, Fault> {
        let field = arguments_field("ItemReader", state.language);
        let arguments = self.optional(thread, reader.arguments.as_ref(), &field, input)?;
        let mut config = Map::new();
        for (name, expression) in &reader.config {
            let field = field_name(&format!("ItemReader/ReaderConfig/{name}"), expression);
            let seen = Seen::default();
            let value = self.evaluate(thread, Point::Before, expression, &field, input, seen)?;
            config.insert(name.clone(), Arc::unwrap_or_clone(value));
        }
        Ok(ItemReader {
            resource: reader.resource.clone(),
            arguments: arguments.unwrap_or(Value::Null),
            config: Value::Object(config),
        })
    }

    fn batcher(
        &self,
        thread: &Thread,
        batcher: &Batcher,
        input: &Arc<Value>,
    ) -> Result<ItemBatcher, Fault> {
        let number = |expression: Option<&Expression>, name| match expression {
            Some(expression) => self.whole_number(thread, expression, name, input),
            None => Ok(0),
        };
        Ok(ItemBatcher {
            max_items_per_batch: number(batcher.max_items.as_ref(), "MaxItemsPerBatch")?,
            max_input_bytes_per_batch: number(batcher.max_bytes.as_ref(), "MaxInputBytesPerBatch")?,
            batch_input: self.optional(
                thread,
                batcher.batch_input.as_ref(),
                "ItemBatcher/BatchInput",
                input,
            )?,
        })
    }

    fn writer(
        &self,
        thread: &Thread,
        state: &State,
        writer: &Writer,
        input: &Arc<Value>,
    ) -> Result<ResultWriter, Fault> {
        let field = arguments_field("ResultWriter", state.language);
        let arguments = self.optional(thread, writer.arguments.as_ref(), &field, input)?;
        Ok(ResultWriter {
            resource: writer.resource.clone(),
            arguments: arguments.unwrap_or(Value::Null),
            config: writer.config.clone(),
        })
    }

    fn optional(
        &self,
        thread: &Thread,
        expression: Option<&Expression>,
        field: &str,
        input: &Arc<Value>,
    ) -> Result<Option<Value>, Fault> {
        let Some(expression) = expression else { return Ok(None) };
        let seen = Seen::default();
        let value = self.evaluate(thread, Point::Before, expression, field, input, seen)?;
        Ok(Some(Arc::unwrap_or_clone(value)))
    }

    fn source(
        &self,
        thread: &Thread,
        state: &State,
        (map, distributed): (&MapState, &Distributed),
        input: &Arc<Value>,
    ) -> Result<MapSource, Fault> {
        Ok(match &distributed.reader {
            Some(reader) => MapSource::Reader(self.reader(thread, state, reader, input)?),
            None => MapSource::Items(self.items(thread, state, map, input)?),
        })
    }

    fn start_map_run(&mut self, thread: &mut Thread, spec: MapRunSpec) {
        let (arn, redrives) = (&spec.map_run_arn, spec.redrives);
        thread.last = match redrives {
            0 => self.emit(thread.last, "MapRunStarted", || events::map_run_started(arn)),
            _ => {
                self.emit(thread.last, "MapRunRedriven", || events::map_run_redriven(arn, redrives))
            }
        };
        thread.map_run = Some(Box::new(LastMapRun {
            visit: thread.visit,
            arn: arn.clone(),
            redrives,
            redriven: false,
        }));
        self.watch(|watch| watch.starts_map_run(thread.visit, arn, redrives));
        let spec = Box::new(spec);
        self.commands.push(Command::StartMapRun(spec.clone()));
        thread.activity = Activity::MapRun(spec);
    }

    pub(super) fn map_run_ended(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        outcome: MapRunOutcome,
    ) -> Flow {
        let program = self.program;
        let state = program.state(thread.state);
        match outcome {
            MapRunOutcome::Succeeded(output) => {
                // What follows the state follows the map run's start, as AWS has it.
                let ended = self.emit(thread.last, "MapRunSucceeded", || None);
                self.emit(ended, events::succeeded(&state.kind), || None);
                let left = self
                    .check_size(thread, &output)
                    .and_then(|()| self.leaving(thread, state, output))
                    .and_then(|leaving| self.leave(thread, leaving, state.next));
                left.unwrap_or_else(|fault| self.handle(id, thread, fault))
            }
            MapRunOutcome::Failed(failure) => {
                thread.last = self.emit(thread.last, "MapRunFailed", || {
                    events::workflow_failure_details("mapRunFailedEventDetails", &failure)
                });
                self.handle(id, thread, Fault::told(failure))
            }
        }
    }
}

fn arguments_field(part: &str, language: Language) -> String {
    match language {
        Language::Jsonata => format!("{part}/Arguments"),
        Language::JsonPath => format!("{part}/Parameters"),
    }
}
