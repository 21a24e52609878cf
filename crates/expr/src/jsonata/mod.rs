//! JSONata as Step Functions runs it: `jsonata-core` behind a thin adapter.
//!
//! An expression is compiled once and shared; the evaluator and its values are built where it
//! runs, since they cannot leave their thread.

mod convert;
mod cost;
mod error;
mod functions;
mod guard;
mod locate;
mod meter;
mod metered;
mod names;
mod regexes;
mod scope;
mod template;
mod top;
mod tree;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{
    Context, Evaluator, EvaluatorError, EvaluatorOptions, error_code_prefix,
};
use jsonata_core::parser::{self, ParserError};
use jsonata_core::value::JValue;
use serde_json::Value;

pub use error::{CompileError, EvalError, EvalErrorKind, InvalidJson};
pub use scope::{EvalLimits, Scope};
pub use template::{Template, expression_in};

pub(crate) use convert::from_f64 as number;
use convert::{NoJson, Room, from_evaluator};
use meter::Meter;
use names::{Names, Need, is_plain};
use scope::Plain;

/// Bytes of one expression's text.
const SOURCE_BYTES: usize = 256 * 1024;

/// A compiled expression. Cloning is cheap.
#[derive(Clone)]
pub struct Jsonata {
    compiled: Arc<Compiled>,
}

struct Compiled {
    source: String,
    tree: AstNode,
    /// What evaluating the tree costs at most, where that is known.
    cost: Option<cost::Bound>,
    /// The tree that counts its steps and the functions it does so by, made when first needed.
    metered: OnceLock<(AstNode, Vec<&'static str>)>,
    names: Names,
    top: Vec<String>,
    /// Functions of ours that the evaluator needs for it.
    functions: Vec<String>,
    guards: Vec<String>,
    /// Steps that compiling its regular expressions once takes.
    regexes: u64,
    /// Set when the expression is `$name.member.member…` and nothing else.
    plain: Option<(String, Vec<String>)>,
}

impl Jsonata {
    /// Parses an expression, without `{% %}`.
    ///
    /// # Errors
    /// When the text is no JSONata expression, or is too long or too deeply nested.
    pub fn compile(source: &str) -> Result<Jsonata, CompileError> {
        if source.len() > SOURCE_BYTES {
            return Err(compile_error(&format!(
                "The expression has {} bytes; at most {SOURCE_BYTES} are allowed. Split it.",
                source.len()
            )));
        }
        let mut tree = parser::parse(source).map_err(|error| parse_error(source, &error))?;
        let names = Names::of(&tree);
        let top = top::references(&tree);
        let regexes = regexes::steps(&tree)?;
        let functions =
            names.mentioned.keys().filter(|name| functions::is_ours(name)).cloned().collect();
        let plain = plain_path(&tree);
        let source = source.to_owned();
        let guards = guard::guard(&mut tree, &|name| names.bound.contains(name));
        let (cost, metered) = (cost::bound(&tree), OnceLock::new());
        let compiled =
            Compiled { source, tree, cost, metered, names, top, functions, guards, regexes, plain };
        Ok(Jsonata { compiled: Arc::new(compiled) })
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.compiled.source
    }

    /// Variables that the expression reads and does not bind itself, without their `$`.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.compiled.names.free.iter().map(String::as_str)
    }

    /// What it reads of an input document, as `$`, `$$` or a field's name at its top: nothing, where
    /// it is evaluated without one.
    pub fn top_references(&self) -> impl Iterator<Item = &str> {
        self.compiled.top.iter().map(String::as_str)
    }

    /// The members of `$name` that it reads, by name; `None` when it may read all of it.
    #[must_use]
    pub fn members_of(&self, name: &str) -> Option<Vec<&str>> {
        match self.compiled.names.mentioned.get(name) {
            None => Some(Vec::new()),
            Some(Need::Whole) => None,
            Some(Need::Members(members)) => Some(members.iter().map(String::as_str).collect()),
        }
    }

    /// The result; `None` for JSONata's undefined.
    ///
    /// # Errors
    /// What the expression throws, or the bound it reaches.
    pub fn eval(&self, scope: &Scope<'_>) -> Result<Option<Value>, EvalError> {
        if let Some((name, path)) = &self.compiled.plain {
            match scope.plain(name, path) {
                Plain::Value(value) => return Ok(Some(value.clone())),
                Plain::Undefined => return Ok(None),
                Plain::Elsewhere => {}
            }
        }
        let limits = scope.limits;
        // The evaluator is guarded where it is known to panic. Should it do so elsewhere, one
        // expression fails instead of its thread; nothing of the evaluator outlives the call.
        let result = catch_unwind(AssertUnwindSafe(|| self.evaluate(scope)))
            .map_err(|_| self.broken())?
            .map_err(|error| self.thrown(&error))?;
        let mut room = Room { bytes: limits.bytes, depth: limits.result_depth };
        from_evaluator(&result, &mut room).map_err(|reason| self.no_json(reason, limits))
    }

    fn evaluate(&self, scope: &Scope<'_>) -> Result<JValue, EvaluatorError> {
        let mut context = Context::new();
        for (name, need) in &self.compiled.names.mentioned {
            if let Some(value) = scope.value(name, need) {
                context.bind(name.clone(), value);
            }
        }
        let options = EvaluatorOptions {
            max_stack_depth: Some(scope.limits.depth),
            max_sequence_length: Some(scope.limits.sequence),
            ..EvaluatorOptions::default()
        };
        let mut evaluator = Evaluator::with_options(context, options);
        for name in &self.compiled.functions {
            functions::register(&mut evaluator, name, scope)?;
        }
        guard::install(&mut evaluator, &self.compiled.guards, scope.limits)?;
        let root = scope.root();
        if self.is_cheap(scope) {
            return evaluator.evaluate(&self.compiled.tree, &root);
        }
        let (tree, called) = self.compiled.metered.get_or_init(|| {
            let tree = metered::metered(&self.compiled.tree);
            let called = meter::called(&tree);
            (tree, called)
        });
        Meter::new(scope.limits, self.compiled.regexes).install(&mut evaluator, called)?;
        evaluator.evaluate(tree, &root)
    }

    /// Whether the expression cannot take more steps than it may with what the scope holds.
    fn is_cheap(&self, scope: &Scope<'_>) -> bool {
        let cost = self.compiled.cost.as_ref();
        !scope.has_input()
            && cost.is_some_and(|cost| cost.at(scope.size()) <= scope.limits.steps as f64)
    }

    fn fail(&self, kind: EvalErrorKind) -> EvalError {
        EvalError { kind, expression: self.compiled.source.clone(), pointer: None }
    }

    fn broken(&self) -> EvalError {
        let message = "The evaluator broke off: this expression cannot be evaluated".to_owned();
        self.fail(EvalErrorKind::Limit { code: None, message })
    }

    fn thrown(&self, error: &EvaluatorError) -> EvalError {
        if let Some(message) = error.message().strip_prefix(meter::LIMIT) {
            let code = Some("U1001".to_owned());
            return self.fail(EvalErrorKind::Limit { code, message: message.to_owned() });
        }
        let (code, message) = split_code(error.message());
        self.fail(match code.as_deref() {
            // JSONata's name for what goes too deep or takes too long.
            Some("D1011") => EvalErrorKind::Limit { code: Some("U1001".to_owned()), message },
            Some("D2014" | "D2015" | "U1001") => EvalErrorKind::Limit { code, message },
            // AWS names no token here.
            Some("T1006") => {
                let (message, token) = match message.split_once(": ") {
                    Some((message, token)) => (message.to_owned(), Some(token.to_owned())),
                    None => (message, None),
                };
                EvalErrorKind::Thrown { code, message, token }
            }
            _ => EvalErrorKind::Thrown { code, message, token: None },
        })
    }

    fn no_json(&self, reason: NoJson, limits: EvalLimits) -> EvalError {
        let message = match reason {
            NoJson::Function => return self.fail(EvalErrorKind::NotData),
            NoJson::TooLarge => {
                let message = format!("The result is larger than {} bytes", limits.bytes);
                return self.fail(EvalErrorKind::TooLarge { message });
            }
            NoJson::TooDeep => {
                format!("The result is nested deeper than {} levels", limits.result_depth)
            }
        };
        self.fail(EvalErrorKind::Limit { code: None, message })
    }
}

impl fmt::Debug for Jsonata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jsonata").field(&self.compiled.source).finish()
    }
}

fn plain_path(tree: &AstNode) -> Option<(String, Vec<String>)> {
    let name = |node: &AstNode| match node {
        AstNode::Variable(name) if !name.is_empty() && !functions::is_function(name) => {
            Some(name.clone())
        }
        _ => None,
    };
    let AstNode::Path { steps } = tree else {
        return Some((name(tree)?, Vec::new()));
    };
    let (first, rest) = steps.split_first()?;
    if !steps.iter().all(is_plain) {
        return None;
    }
    let members = rest.iter().map(|step| match &step.node {
        AstNode::Name(name) => Some(name.clone()),
        _ => None,
    });
    Some((name(&first.node)?, members.collect::<Option<_>>()?))
}

fn compile_error(message: &str) -> CompileError {
    CompileError { code: None, message: message.to_owned(), position: None, token: None }
}

fn parse_error(source: &str, error: &ParserError) -> CompileError {
    let (code, message) = match error {
        ParserError::UnclosedComment => {
            (Some("S0106".to_owned()), "Comment has no closing tag".to_owned())
        }
        error => {
            let text = error.to_string();
            split_code(text.strip_prefix("Invalid syntax: ").unwrap_or(&text))
        }
    };
    let (position, token) = locate::place(source, code.as_deref());
    CompileError { code, message, position, token }
}

/// JSONata's code and the message after it. Some messages have words before the code.
fn split_code(text: &str) -> (Option<String>, String) {
    let start = text
        .char_indices()
        .map(|(index, _)| index)
        .find(|index| error_code_prefix(&text[*index..]).is_some());
    match start {
        Some(start) => {
            let message = text[start + 6..].trim_start().to_owned();
            (Some(text[start..start + 5].to_owned()), message)
        }
        None => (None, text.to_owned()),
    }
}
