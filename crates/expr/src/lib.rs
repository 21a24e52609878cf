//! Expressions in the languages a definition may be written in: JSONata, JSONPath and the
//! `States.*` intrinsics.
//!
//! Everything here is a pure function of its arguments: time and chance come in with [`Env`],
//! and evaluation is bounded in depth, steps and bytes, never by time.

mod hash;
pub mod intrinsic;
pub mod jsonata;
pub mod path;
pub mod payload;
mod pointer;
mod random;
pub mod transformer;

pub use intrinsic::{Intrinsic, IntrinsicError, IntrinsicSyntax};
pub use jsonata::{
    CompileError, EvalError, EvalErrorKind, EvalLimits, InvalidJson, Jsonata, Scope, Template,
};
pub use path::{Path, PathError, Root, Roots};
pub use payload::{PayloadProblem, PayloadTemplate, Source, SourceError};
pub use random::Env;
pub use transformer::{
    InputTransformer, RuleContext, TargetInput, TargetInputError, Undeliverable,
};
