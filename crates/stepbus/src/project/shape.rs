//! How the project file's shape is written down: once, for the loader's checks, its hints and
//! the JSON Schema alike.

use super::format::Check;

/// What may stand in one place.
#[derive(Debug)]
pub(super) enum Shape {
    Object(&'static Object),
    /// Members whose names the user gives.
    Named(&'static Shape),
    List(&'static Shape),
    Text(&'static Text),
    /// The name of a member of this section.
    Name(Section),
    /// A whole number from the first to the second.
    Count(u64, u64),
    Flag,
    /// True or false, or an object that says how.
    FlagOr(&'static Object),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Bytes: a number, or text with a unit.
    Size,
    /// Names with text values: headers, query parameters.
    Params,
    /// Names with text values that are kept with the subscription, so nothing secret is in them;
    /// a value may be an expression over these variables.
    Values(&'static [&'static str]),
    /// Text that is taken as it stands, without references; an example.
    Plain(&'static str),
    /// Text in the file or, as a path, in a file of its own; or the value itself.
    FileOr(&'static str, Inline),
    /// JSON whose `{% … %}` texts are JSONata over these variables.
    Template(&'static [&'static str]),
    /// One `{% … %}` over these variables.
    Expression(&'static [&'static str]),
}

/// What a place that may name a file may hold instead.
#[derive(Debug)]
pub(super) enum Inline {
    /// Any JSON object, judged by what reads it.
    Foreign,
    Object(&'static Object),
    Template(&'static [&'static str]),
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) fields: &'static [Field],
    /// Exactly one of these must be there.
    pub(super) one_of: &'static [&'static str],
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// One sentence for editors and hints.
    pub(super) about: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) struct Text {
    /// Must come from `${VAR}` or `${file:PATH}`.
    pub(super) secret: bool,
    pub(super) check: Check,
    /// A regular expression for the schema; empty when any text will do.
    pub(super) pattern: &'static str,
    pub(super) example: &'static str,
}

/// A section of the file whose members others name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Buckets,
    Buses,
    Connections,
    Destinations,
    Functions,
    Queues,
    Workflows,
}

impl Section {
    pub(super) fn name(self) -> &'static str {
        match self {
            Section::Buckets => "buckets",
            Section::Buses => "buses",
            Section::Connections => "connections",
            Section::Destinations => "destinations",
            Section::Functions => "functions",
            Section::Queues => "queues",
            Section::Workflows => "workflows",
        }
    }

    /// What one member is.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Section::Buckets => "bucket",
            Section::Buses => "bus",
            Section::Connections => "connection",
            Section::Destinations => "destination",
            Section::Functions => "function",
            Section::Queues => "queue",
            Section::Workflows => "workflow",
        }
    }
}

impl Object {
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.name)
    }
}

impl Shape {
    /// For messages: what should stand here.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Shape::Object(_) => "an object",
            Shape::Named(_) => "an object of names",
            Shape::Params | Shape::Values(_) => "an object of names with text values",
            Shape::Plain(_) => "a text",
            Shape::List(_) => "a list",
            Shape::Text(_) => "a text",
            Shape::Name(_) => "a name",
            Shape::Word(_) => "a word",
            Shape::Count(..) => "a whole number",
            Shape::Flag => "true or false",
            Shape::FlagOr(_) => "true, false or an object",
            Shape::Size => "a size",
            Shape::Expression(_) => "an expression `{% … %}`",
            Shape::FileOr(..) => "a path or an object",
            Shape::Template(_) => "a value",
        }
    }
}
