//! A parsed, checked and compiled definition.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use stepbus_document::{Document, Position};

use crate::io::{Failure, MapScope, WorkflowType};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    Error,
    Warning,
}

/// One problem of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// AWS's code, as `SCHEMA_VALIDATION_FAILED`.
    pub code: &'static str,
    pub message: String,
    /// As in `/States/X/Field`; none when the text as a whole is meant.
    pub location: Option<String>,
    pub position: Option<Position>,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
}

/// A definition ready to run. Put it in an [`Arc`] and share it.
#[derive(Debug)]
pub struct Program {
    _private: (),
}

impl Program {
    /// Parses a definition for a workflow of the given type.
    ///
    /// # Errors
    /// Every problem that makes the definition unfit to run, warnings among them.
    pub fn parse(_document: &Document, _kind: WorkflowType) -> Result<Program, Vec<Diagnostic>> {
        unimplemented!()
    }

    /// What does not stop the definition from running but is probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        unimplemented!()
    }

    /// The program that the children of a distributed map run.
    #[must_use]
    pub fn processor(&self, _state_path: &str) -> Option<Arc<Program>> {
        unimplemented!()
    }

    /// The input of a map run's child (ItemSelector applied).
    ///
    /// # Errors
    /// The failure of the map state, when the selector cannot be evaluated.
    pub fn map_item_input(
        &self,
        _state_path: &str,
        _scope: &MapScope,
        _index: u64,
        _item: &Value,
    ) -> Result<Arc<Value>, Failure> {
        unimplemented!()
    }
}
