//! The `States.*` functions of payload templates.

mod apply;
mod parse;
mod text;

use serde_json::Value;

use crate::path::{Path, PathError, Roots};
use crate::random::{Draws, Env};

/// A parsed call such as `States.Format('{}!', $.name)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Intrinsic {
    text: String,
    call: Call,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    function: Function,
    arguments: Vec<Argument>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Argument {
    /// A string as written, with its escapes, and as meant.
    Text {
        raw: String,
        plain: Value,
    },
    Value(Value),
    Path(Path),
    Call(Box<Call>),
}

macro_rules! functions {
    ($($name:ident: $least:literal..=$most:expr,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(clippy::upper_case_acronyms, reason = "AWS's spelling")]
        pub(crate) enum Function { $($name),* }

        impl Function {
            fn named(name: &str) -> Option<Function> {
                match name {
                    $(stringify!($name) => Some(Function::$name),)*
                    _ => None,
                }
            }

            fn name(self) -> &'static str {
                match self {
                    $(Function::$name => concat!("States.", stringify!($name)),)*
                }
            }

            fn arity(self) -> std::ops::RangeInclusive<usize> {
                match self {
                    $(Function::$name => $least..=$most,)*
                }
            }

            /// Every name, without `States.`.
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
        }
    };
}

functions! {
    Array: 0..=usize::MAX,
    ArrayContains: 2..=2,
    ArrayGetItem: 2..=2,
    ArrayLength: 1..=1,
    ArrayPartition: 2..=2,
    ArrayRange: 3..=3,
    ArrayUnique: 1..=1,
    Base64Decode: 1..=1,
    Base64Encode: 1..=1,
    Format: 1..=usize::MAX,
    Hash: 2..=2,
    JsonMerge: 3..=3,
    JsonToString: 1..=1,
    MathAdd: 2..=2,
    MathRandom: 2..=3,
    StringSplit: 2..=2,
    StringToJson: 1..=1,
    UUID: 0..=0,
}

/// Text that is no call of an intrinsic function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {})", position + 1)]
pub struct IntrinsicSyntax {
    pub message: String,
    pub position: usize,
}

/// A call that failed: the cause of States.IntrinsicFailure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The function '{function}' had the following error: {message}")]
pub struct IntrinsicError {
    /// The call as written in the definition.
    pub function: String,
    pub message: String,
    /// An argument's path leads nowhere; AWS makes that a States.Runtime.
    pub argument_missing: bool,
}

/// Why a call has no value.
pub(crate) enum Trouble {
    /// An argument's path leads nowhere.
    Missing(String),
    Failed(String),
}

impl From<String> for Trouble {
    fn from(message: String) -> Trouble {
        Trouble::Failed(message)
    }
}

impl Intrinsic {
    /// Reads a call.
    ///
    /// # Errors
    /// When the text is no call of one of the 18 functions.
    pub fn parse(text: &str) -> Result<Intrinsic, IntrinsicSyntax> {
        Ok(Intrinsic { text: text.to_owned(), call: parse::call(text)? })
    }

    /// Whether a value that begins like this is meant as a call and not as a path.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("States.")
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The paths it reads, nested calls included.
    pub fn for_each_path<'a>(&'a self, visit: &mut dyn FnMut(&'a Path)) {
        self.call.for_each_path(visit);
    }

    /// The call's value.
    ///
    /// # Errors
    /// When a path leads nowhere or an argument is none the function takes.
    pub fn eval(&self, roots: Roots<'_>, env: Env) -> Result<Value, IntrinsicError> {
        self.eval_drawing(roots, &Draws::new(env.seed))
    }

    pub(crate) fn eval_drawing(
        &self,
        roots: Roots<'_>,
        draws: &Draws,
    ) -> Result<Value, IntrinsicError> {
        self.call.eval(roots, draws).map_err(|trouble| {
            let (message, argument_missing) = match trouble {
                Trouble::Missing(message) => (message, true),
                Trouble::Failed(message) => (message, false),
            };
            IntrinsicError { function: self.text.clone(), message, argument_missing }
        })
    }
}

impl Call {
    fn for_each_path<'a>(&'a self, visit: &mut dyn FnMut(&'a Path)) {
        for argument in &self.arguments {
            match argument {
                Argument::Path(path) => visit(path),
                Argument::Call(call) => call.for_each_path(visit),
                Argument::Text { .. } | Argument::Value(_) => {}
            }
        }
    }

    fn eval(&self, roots: Roots<'_>, draws: &Draws) -> Result<Value, Trouble> {
        let mut values = Vec::with_capacity(self.arguments.len());
        for (index, argument) in self.arguments.iter().enumerate() {
            values.push(match argument {
                // Braces with a backslash are none of Format's places, so it needs the text raw.
                Argument::Text { raw, .. } if self.function == Function::Format && index == 0 => {
                    Value::String(raw.clone())
                }
                Argument::Text { plain, .. } => plain.clone(),
                Argument::Value(value) => value.clone(),
                Argument::Path(path) => found(path, roots)?,
                Argument::Call(call) => call.eval(roots, draws)?,
            });
        }
        Ok(apply::apply(self.function, values, draws)?)
    }
}

fn found(path: &Path, roots: Roots<'_>) -> Result<Value, Trouble> {
    match path.select_in(roots) {
        Ok(value) => Ok(value.into_owned()),
        Err(PathError::NotFound(_)) => Err(Trouble::Missing(format!(
            "The JsonPath argument for the field '{path}' could not be found in the input '{}'",
            roots.document(path.root())
        ))),
        Err(error) => Err(Trouble::Failed(error.to_string())),
    }
}
