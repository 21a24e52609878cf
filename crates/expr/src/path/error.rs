//! What can go wrong with a path, in the words of Step Functions and Jayway where they are known.

/// A path that cannot be read, or that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The text is no path.
    #[error("'{path}' is not a JSONPath: {message} (at character {})", position + 1)]
    Syntax { path: String, message: String, position: usize },
    /// A definite path leads to nothing.
    #[error("{0}")]
    NotFound(String),
    #[error("the variable ${name} has no value")]
    UnknownVariable { name: String },
    /// A function met what it cannot work with.
    #[error("{0}")]
    Function(String),
    #[error("'{path}' is not a reference path: only names and single indices may follow the '$'")]
    NotReference { path: String },
    #[error("Unable to apply ReferencePath {path} to input {input}")]
    CannotSet { path: String, input: String },
    /// More values were visited or selected than one path may.
    #[error("the path visits more than {0} values; make it more specific")]
    Limit(usize),
}
