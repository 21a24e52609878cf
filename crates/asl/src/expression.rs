//! A field whose value is computed when a state runs, in either query language.

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::Value;
use stepbus_expr::{Env, EvalLimits, Jsonata, Roots, Scope, Template};

use crate::diagnostic::{At, INVALID_JSONATA, NO_DOLLAR, Problems, UNASSIGNED, closest};
use crate::fault::Fault;
use crate::paths::{PathExpression, Payload};

/// A compiled field.
#[derive(Debug)]
pub(crate) enum Expression {
    Constant(Arc<Value>),
    Jsonata { template: Template, context: ContextUse },
    Path(PathExpression),
    Payload(Payload),
}

/// Whether the text is `{% … %}`.
pub(crate) fn is_expression(text: &str) -> bool {
    text.starts_with("{%") && text.ends_with("%}")
}

/// What `$states` holds beside `input` and `context` where an expression stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sees {
    /// `$states.result`
    pub(crate) result: bool,
    /// `$states.errorOutput`
    pub(crate) error: bool,
}

/// Compiles a template of JSONata expressions.
pub(crate) fn jsonata(
    value: &Value,
    at: &At,
    sees: Sees,
    problems: &mut Problems<'_>,
) -> Option<Expression> {
    match Template::compile(value) {
        Ok(template) if template.is_constant() => {
            warn_of_paths(value, at, problems);
            Some(Expression::constant(value.clone()))
        }
        Ok(template) => {
            let mut context = ContextUse::None;
            template.for_each_expression(&mut |pointer, expression| {
                context = context.max(reads_context(expression));
                let at = at.inside(pointer);
                check_references(expression, &at, sees, problems);
                for variable in expression.variables().filter(|name| *name != "states") {
                    problems.reads(variable, &at);
                }
            });
            Some(Expression::Jsonata { template, context })
        }
        Err(errors) => {
            for (pointer, error) in errors {
                let at = at.inside(&pointer);
                // The expression starts after `{%` and the space that mostly follows it.
                let inside = value.pointer(&pointer).and_then(Value::as_str).unwrap_or_default();
                let open = inside
                    .strip_prefix("{%")
                    .map_or(0, |rest| 2 + rest.chars().take_while(|c| c.is_whitespace()).count());
                let character = error.position.map_or(0, |position| position + open);
                problems.within(INVALID_JSONATA, &at, character, error.message);
            }
            None
        }
    }
}

/// Reports what an expression reads that is not there.
fn check_references(expression: &Jsonata, at: &At, sees: Sees, problems: &mut Problems<'_>) {
    const SEEN: [&str; 4] = ["input", "result", "errorOutput", "context"];
    for reference in expression.top_references() {
        let message = format!(
            "The JSONata expression refers to '{reference}' at its top level, where there is no input document"
        );
        let path = match reference {
            "$" | "$$" => String::new(),
            name => format!(".{name}"),
        };
        problems
            .error(INVALID_JSONATA, at, message)
            .hint(format!("the state's input is `$states.input{path}`"));
    }
    for member in expression.members_of("states").unwrap_or_default() {
        let hint = match member {
            "result" if !sees.result => {
                "only Output and Assign of a Task, Parallel or Map state see the result"
            }
            "errorOutput" if !sees.error => "only Output and Assign of a Catch see the error",
            name if SEEN.contains(&name) => continue,
            name => {
                let near = closest(name, SEEN).map(|near| format!("did you mean `{near}`?"));
                let message = format!("'$states.{name}' does not exist");
                problems.warning(UNASSIGNED, at, message).hint = near;
                continue;
            }
        };
        let message = format!("'$states.{member}' is not accessible here");
        problems.error(INVALID_JSONATA, at, message).hint(hint);
    }
}

/// Compiles a JSONPath payload template.
pub(crate) fn payload(value: &Value, at: &At, problems: &mut Problems<'_>) -> Option<Expression> {
    let payload = Payload::compile(value, at, problems)?;
    Some(if payload.is_constant() {
        Expression::constant(value.clone())
    } else {
        Expression::Payload(payload)
    })
}

/// Compiles a JSONPath, into the input, the context object or a variable.
pub(crate) fn path(text: &str, at: &At, problems: &mut Problems<'_>) -> Option<Expression> {
    PathExpression::compile(text, false, at, problems).map(Expression::Path)
}

pub(crate) fn path_or_intrinsic(
    text: &str,
    at: &At,
    problems: &mut Problems<'_>,
) -> Option<Expression> {
    PathExpression::compile(text, true, at, problems).map(Expression::Path)
}

/// AWS warns of values that look like paths where nothing evaluates them.
fn warn_of_paths(value: &Value, at: &At, problems: &mut Problems<'_>) {
    match value {
        Value::String(text) if text.starts_with("$.") || text.starts_with("$states.") => {
            problems
                .warning(NO_DOLLAR, at, "The value looks like an expression but is static text")
                .hint(format!("write `{{% {text} %}}` to have it evaluated"));
        }
        Value::Object(members) => {
            for (name, member) in members {
                warn_of_paths(member, &at.field(name), problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                warn_of_paths(item, &at.item(index), problems);
            }
        }
        _ => {}
    }
}

/// How much of the context object may be read. Building it costs as much as the execution's
/// input is large, unless that is known not to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ContextUse {
    None,
    /// Anything but `Execution.Input`.
    Parts,
    Whole,
}

impl ContextUse {
    /// What is read of the context object by a path that goes on with `rest`.
    pub(crate) fn of(rest: &str) -> ContextUse {
        const PARTS: [&str; 9] = [
            ".Map.",
            ".State.",
            ".StateMachine.",
            ".Task.",
            ".Execution.Id",
            ".Execution.Name",
            ".Execution.RoleArn",
            ".Execution.StartTime",
            ".Execution.Redrive",
        ];
        match PARTS.iter().any(|part| rest.starts_with(part)) {
            true => ContextUse::Parts,
            false => ContextUse::Whole,
        }
    }
}

fn reads_context(expression: &Jsonata) -> ContextUse {
    const OTHERS: [&str; 3] = [".input", ".result", ".errorOutput"];
    let uses = expression.source().split("$states").skip(1).map(|after| {
        let after = after.trim_start();
        match after.strip_prefix(".context") {
            Some(rest) => ContextUse::of(rest),
            None if OTHERS.iter().any(|member| after.starts_with(member)) => ContextUse::None,
            None => ContextUse::Whole,
        }
    });
    uses.max().unwrap_or(ContextUse::None)
}

/// A variable with its value.
pub(crate) type Variable = (Arc<str>, Arc<Value>);

/// What the expressions of one visit see. Build one for each point of the visit at which
/// different things are seen: before the task, with its result, with its error.
pub(crate) struct Frame<'a> {
    pub(crate) env: Env,
    /// What `$` or `$states.input` is.
    pub(crate) input: &'a Value,
    pub(crate) result: Option<&'a Value>,
    pub(crate) error_output: Option<&'a Value>,
    pub(crate) variables: &'a [Variable],
    pub(crate) context: &'a LazyContext<'a>,
    pub(crate) payload_bytes: usize,
    /// One for each use of the context object.
    scopes: [OnceCell<Scope<'a>>; 3],
}

/// The context object, built when something reads it; the flag asks for all of it.
pub(crate) struct LazyContext<'a> {
    parts: OnceCell<Value>,
    whole: OnceCell<Value>,
    build: &'a dyn Fn(bool) -> Value,
}

impl<'a> LazyContext<'a> {
    pub(crate) fn new(build: &'a dyn Fn(bool) -> Value) -> Self {
        LazyContext { parts: OnceCell::new(), whole: OnceCell::new(), build }
    }

    fn value(&self, used: ContextUse) -> &Value {
        match used {
            ContextUse::None => &Value::Null,
            ContextUse::Parts => self.parts.get_or_init(|| (self.build)(false)),
            ContextUse::Whole => self.whole.get_or_init(|| (self.build)(true)),
        }
    }
}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        env: Env,
        input: &'a Value,
        variables: &'a [Variable],
        context: &'a LazyContext<'a>,
        payload_bytes: usize,
    ) -> Self {
        Frame {
            env,
            input,
            result: None,
            error_output: None,
            variables,
            context,
            payload_bytes,
            scopes: [const { OnceCell::new() }; 3],
        }
    }

    pub(crate) fn with_result(mut self, result: &'a Value) -> Self {
        self.result = Some(result);
        self
    }

    pub(crate) fn with_error(mut self, error_output: &'a Value) -> Self {
        self.error_output = Some(error_output);
        self
    }

    /// Runs `work` with what the roots of paths stand for.
    pub(crate) fn with_roots<T>(
        &self,
        context: ContextUse,
        work: impl FnOnce(Roots<'_>) -> T,
    ) -> T {
        let variables = |name: &str| {
            self.variables.iter().rev().find(|(known, _)| &**known == name).map(|(_, v)| &**v)
        };
        let context = self.context.value(context);
        work(Roots { input: self.input, context, variables: &variables })
    }

    fn scope(&self, context: ContextUse) -> &Scope<'a> {
        self.scopes[context as usize].get_or_init(|| {
            let mut scope = Scope::new(self.env);
            scope.limits(EvalLimits { bytes: self.payload_bytes, ..EvalLimits::DEFAULT });
            scope.bind_member("states", "input", self.input);
            if let Some(result) = self.result {
                scope.bind_member("states", "result", result);
            }
            if let Some(error) = self.error_output {
                scope.bind_member("states", "errorOutput", error);
            }
            if context != ContextUse::None {
                scope.bind_member("states", "context", self.context.value(context));
            }
            for (name, value) in self.variables {
                scope.bind(name, value);
            }
            scope
        })
    }
}

impl Expression {
    pub(crate) fn context_use(&self) -> ContextUse {
        match self {
            Expression::Constant(_) => ContextUse::None,
            Expression::Jsonata { context, .. } => *context,
            Expression::Path(path) => path.context_use(),
            Expression::Payload(payload) => payload.context_use(),
        }
    }

    /// The text of the expression or path; empty for what is neither.
    pub(crate) fn source(&self) -> String {
        match self {
            Expression::Constant(_) | Expression::Payload(_) => String::new(),
            Expression::Jsonata { template, .. } => first_source(template),
            Expression::Path(path) => path.source().to_owned(),
        }
    }

    /// The value, for the field that the messages name.
    pub(crate) fn eval(&self, field: &str, frame: &Frame<'_>) -> Result<Arc<Value>, Fault> {
        match self {
            Expression::Constant(value) => Ok(Arc::clone(value)),
            Expression::Jsonata { template, context } => {
                match template.eval(frame.scope(*context)) {
                    Ok(Some(value)) => Ok(Arc::new(value)),
                    Ok(None) => Err(Fault::undefined(&first_source(template), field)),
                    Err(error) => Err(Fault::query(&error, field)),
                }
            }
            Expression::Path(path) => path.eval(field, frame),
            Expression::Payload(payload) => payload.eval(field, frame),
        }
    }
}

fn first_source(template: &Template) -> String {
    let mut first = None;
    template.for_each_expression(&mut |_, expression| {
        first.get_or_insert_with(|| expression.source().to_owned());
    });
    first.unwrap_or_default()
}
