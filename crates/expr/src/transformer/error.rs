//! Why an input of a target is refused, in AWS's words where they are known, and why what it comes
//! to is not delivered.

/// A target's input that PutTargets refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetInputError {
    MoreThanOne,
    /// A member that must be there is not.
    Missing(&'static str),
    NotText(&'static str),
    PathsType,
    TooLong {
        member: &'static str,
        most: usize,
    },
    /// The constant is no JSON.
    Constant(String),
    /// A path, of `InputPath` or of a variable.
    InputPath {
        path: String,
        message: String,
    },
    /// A variable's name, or a path that is no text.
    Variable {
        name: String,
        message: String,
    },
    /// The template names a variable that is not there.
    UnknownVariable(String),
    /// A reserved variable that only a template that is an object may name.
    OnlyInJson(&'static str),
    /// The template is no JSON, variables aside.
    Template {
        template: String,
        message: String,
    },
}

impl TargetInputError {
    /// The message for the target with this id: AWS's, after which more may be said.
    #[must_use]
    pub fn message(&self, target: &str) -> String {
        match self {
            Self::MoreThanOne => format!(
                "Only one of Input, InputPath, or InputTransformer must be provided for target \
                 {target}."
            ),
            Self::Missing(member) => constraint("null", member, "Member must not be null"),
            Self::NotText(member) => {
                format!("{member} for target {target} must be a string")
            }
            Self::PathsType => {
                format!("InputPathsMap for target {target} must be an object of names and paths")
            }
            Self::TooLong { member, most } => constraint(
                "given",
                member,
                &format!("Member must have length less than or equal to {most}"),
            ),
            Self::Constant(message) => {
                format!("JSON syntax error in input for target {target}: {message}")
            }
            Self::InputPath { path, message } => {
                format!("InputPath for target {target} is invalid. {path:?}: {message}")
            }
            Self::Variable { name, message } => {
                format!("InputPathsMap for target {target} has an invalid {name:?}: {message}.")
            }
            Self::UnknownVariable(name) => {
                format!("InputTemplate for target {target} contains invalid placeholder {name}.")
            }
            Self::OnlyInJson(name) => format!(
                "InputTemplate for target {target} contains placeholder {name} valid only for JSON \
                 template."
            ),
            Self::Template { template, message } => {
                format!(
                    "Invalid InputTemplate for target {target} : {message} in \"{template}\"; \
                     strings need quotes."
                )
            }
        }
    }
}

fn constraint(value: &str, member: &str, text: &str) -> String {
    format!(
        "1 validation error detected: Value {value} at 'targets.1.member.{member}' failed to \
         satisfy constraint: {text}"
    )
}

/// Why a target receives nothing for an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undeliverable {
    #[error("the InputPath '{path}' leads to nothing in the event: {message}")]
    NoValue { path: String, message: String },
    #[error(
        "the InputTemplate comes to no JSON for this event ({message}); a variable inside quotes \
         must be a text that needs no escapes"
    )]
    NotJson { message: String },
    #[error("the body would have more than {0} bytes")]
    TooLong(usize),
}
