//! JSONPath mode: paths, intrinsics and payload templates.

use std::sync::Arc;

use serde_json::Value;

use crate::diagnostic::{At, Problems};
use crate::expression::Frame;
use crate::fault::Fault;

#[derive(Debug)]
pub(crate) enum PathExpression {}

#[derive(Debug)]
pub(crate) enum Payload {}

impl PathExpression {
    pub(crate) fn compile(
        _text: &str,
        _intrinsic: bool,
        at: &At,
        problems: &mut Problems<'_>,
    ) -> Option<PathExpression> {
        problems.schema(at, "JSONPath is not offered").hint("use QueryLanguage: JSONata");
        None
    }

    pub(crate) fn source(&self) -> &str {
        match *self {}
    }

    pub(crate) fn eval(&self, _field: &str, _frame: &Frame<'_>) -> Result<Arc<Value>, Fault> {
        match *self {}
    }
}

impl Payload {
    pub(crate) fn compile(_value: &Value, at: &At, problems: &mut Problems<'_>) -> Option<Payload> {
        problems.schema(at, "JSONPath is not offered").hint("use QueryLanguage: JSONata");
        None
    }

    pub(crate) fn constant(&self) -> Option<Arc<Value>> {
        match *self {}
    }

    pub(crate) fn eval(&self, _field: &str, _frame: &Frame<'_>) -> Result<Arc<Value>, Fault> {
        match *self {}
    }
}
