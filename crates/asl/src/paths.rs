//! JSONPath mode: paths, intrinsics and payload templates over what a state sees.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use stepbus_expr::{Path, PathError, PayloadTemplate, Root, Roots, Source, SourceError};

use crate::diagnostic::{At, Problems, location_of};
use crate::expression::{ContextUse, Frame};
use crate::fault::Fault;

/// A path, or where it is allowed a call of an intrinsic.
#[derive(Debug)]
pub(crate) struct PathExpression {
    source: Source,
    context: ContextUse,
}

#[derive(Debug)]
pub(crate) struct Payload {
    template: PayloadTemplate,
    context: ContextUse,
}

impl PathExpression {
    pub(crate) fn compile(
        text: &str,
        intrinsic: bool,
        at: &At,
        problems: &mut Problems<'_>,
    ) -> Option<PathExpression> {
        let source = match Source::parse(text) {
            Ok(Source::Intrinsic(_)) if !intrinsic => {
                problems.schema(at, "Value is not a valid JSONPath");
                return None;
            }
            Ok(source) => source,
            Err(reason) => {
                let what =
                    if intrinsic { "JSONPath or intrinsic function call" } else { "JSONPath" };
                problems.schema(at, format!("Value is not a valid {what}")).hint(reason);
                return None;
            }
        };
        let mut context = ContextUse::None;
        source.for_each_path(&mut |path| context = context.max(reads(path, at, problems)));
        Some(PathExpression { source, context })
    }

    pub(crate) fn context_use(&self) -> ContextUse {
        self.context
    }

    pub(crate) fn source(&self) -> &str {
        self.source.text()
    }

    /// `$`, which stands for what is there anyway.
    pub(crate) fn is_input(&self) -> bool {
        matches!(&self.source, Source::Path(path) if path.is_root() && *path.root() == Root::Input)
    }

    pub(crate) fn eval(&self, field: &str, frame: &Frame<'_>) -> Result<Arc<Value>, Fault> {
        frame.with_roots(self.context, |roots| match &self.source {
            Source::Path(path) => path
                .select_in(roots)
                .map(|value| Arc::new(value.into_owned()))
                .map_err(|error| path_fault(path, field, &error)),
            source => source.eval(roots, frame.env).map(Arc::new).map_err(|error| fault(&error)),
        })
    }
}

/// What the path reads of the context object. A variable it reads is written down.
pub(crate) fn reads(path: &Path, at: &At, problems: &mut Problems<'_>) -> ContextUse {
    match path.root() {
        Root::Input => ContextUse::None,
        Root::Variable(name) => {
            problems.reads(name, at);
            ContextUse::None
        }
        Root::Context => ContextUse::of(path.text().strip_prefix("$$").unwrap_or_default()),
    }
}

/// What a path leads to; none when it leads nowhere.
pub(crate) fn find<'v>(path: &Path, roots: Roots<'v>) -> Result<Option<Cow<'v, Value>>, PathError> {
    match path.select_in(roots) {
        Ok(value) => Ok(Some(value)),
        Err(PathError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn path_fault(path: &Path, _field: &str, error: &PathError) -> Fault {
    match error {
        PathError::NotFound(reason) => {
            Fault::runtime(format!("Invalid path '{}' : {reason}", path.text()))
        }
        error => Fault::runtime(format!("Invalid path '{}' : {error}", path.text())),
    }
}

fn fault(error: &SourceError) -> Fault {
    match error {
        SourceError::Intrinsic(failed) if !failed.argument_missing => {
            Fault::named("States.IntrinsicFailure", error.to_string())
        }
        SourceError::Intrinsic(_) | SourceError::PathNotFound { .. } | SourceError::Path(_) => {
            Fault::runtime(error.to_string())
        }
    }
}

impl Payload {
    pub(crate) fn compile(value: &Value, at: &At, problems: &mut Problems<'_>) -> Option<Payload> {
        match PayloadTemplate::compile(value) {
            Ok(template) => {
                let mut context = ContextUse::None;
                template
                    .for_each_path(&mut |path| context = context.max(reads(path, at, problems)));
                Some(Payload { template, context })
            }
            Err(found) => {
                for problem in found {
                    let message = problem.to_string();
                    let above = problem.pointer.rsplit_once('/').map_or("", |(above, _)| above);
                    let place = At {
                        pointer: format!("{}{}", at.pointer, problem.pointer),
                        location: format!("{}{}", at.location, location_of(above)),
                    };
                    problems.schema(&place, message).hint(problem.reason);
                }
                None
            }
        }
    }

    pub(crate) fn context_use(&self) -> ContextUse {
        self.context
    }

    pub(crate) fn is_constant(&self) -> bool {
        self.template.is_constant()
    }

    pub(crate) fn eval(&self, _field: &str, frame: &Frame<'_>) -> Result<Arc<Value>, Fault> {
        frame.with_roots(self.context, |roots| {
            self.template.eval(roots, frame.env).map(Arc::new).map_err(|error| fault(&error))
        })
    }
}
