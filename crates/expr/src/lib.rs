//! Expressions in the languages a definition may be written in: JSONata, JSONPath and the
//! `States.*` intrinsics.
//!
//! Everything here is a pure function of its arguments: time and chance come in with [`Env`],
//! and evaluation is bounded in depth, steps and bytes, never by time.

mod hash;
pub mod jsonata;
mod random;

pub use jsonata::{
    CompileError, EvalError, EvalErrorKind, EvalLimits, InvalidJson, Jsonata, Scope, Template,
};
pub use random::Env;
