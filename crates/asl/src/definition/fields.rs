//! Reading the members of an object, with a problem for whatever is not as it should be.

use serde_json::{Map, Value};

use crate::choice::is_operator;
use crate::definition::model::Language;
use crate::diagnostic::{At, Problems, closest};

/// Which language knows a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum In {
    Both,
    Jsonata,
    JsonPath,
}

impl In {
    fn allows(self, language: Language) -> bool {
        match self {
            In::Both => true,
            In::Jsonata => language == Language::Jsonata,
            In::JsonPath => language == Language::JsonPath,
        }
    }
}

/// The fields an object may have.
pub(crate) type Known = &'static [(&'static str, In)];

/// An object of the definition.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'v> {
    pub(crate) map: &'v Map<String, Value>,
    pub(crate) at: At,
}

impl<'v> Fields<'v> {
    pub(crate) fn of(value: &'v Value, at: At, problems: &mut Problems<'_>) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Fields { map, at }),
            other => {
                problems.schema(&at, expected("Object", other));
                None
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub(crate) fn at(&self, name: &str) -> At {
        self.at.field(name)
    }

    pub(crate) fn text(&self, name: &str, problems: &mut Problems<'_>) -> Option<&'v str> {
        match self.get(name)? {
            Value::String(text) => Some(text),
            other => {
                problems.schema(&self.at(name), expected("String", other));
                None
            }
        }
    }

    pub(crate) fn object(&self, name: &str, problems: &mut Problems<'_>) -> Option<Fields<'v>> {
        Fields::of(self.get(name)?, self.at(name), problems)
    }

    pub(crate) fn array(&self, name: &str, problems: &mut Problems<'_>) -> Option<&'v [Value]> {
        match self.get(name)? {
            Value::Array(items) => Some(items),
            other => {
                problems
                    .schema(&self.at(name), expected("Array", other))
                    .hint("put it into a list, also when it is only one: `[ … ]`");
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn whole(
        &self,
        name: &str,
        least: u64,
        most: u64,
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let value = self.get(name)?;
        let Some(number) = whole(value) else {
            problems.schema(&self.at(name), expected("Integer", value)).hint = in_quotes(value);
            return None;
        };
        if number < i128::from(least) || number > i128::from(most) {
            let bound = if number < i128::from(least) {
                format!("greater than or equal to {least}")
            } else {
                format!("less than or equal to {most}")
            };
            problems.schema(&self.at(name), format!("The value must be {bound}"));
            return None;
        }
        u64::try_from(number).ok()
    }

    /// A list of texts, as ErrorEquals.
    pub(crate) fn texts(&self, name: &str, problems: &mut Problems<'_>) -> Vec<String> {
        let at = self.at(name);
        let Some(items) = self.array(name, problems) else { return Vec::new() };
        if items.is_empty() {
            problems.schema(&at, "Value cannot be empty");
        }
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text.clone()),
                other => {
                    problems.schema(&at.item(index), expected("String", other));
                }
            }
        }
        texts
    }

    /// Reports every field that does not belong here, and every required one that is missing.
    pub(crate) fn check(
        &self,
        known: Known,
        required: &[&str],
        language: Language,
        problems: &mut Problems<'_>,
    ) {
        let missing: Vec<&str> = required.iter().copied().filter(|name| !self.has(name)).collect();
        if !missing.is_empty() {
            let list = missing.join(", ");
            problems.schema(&self.at, format!("These fields are required: [{list}]"));
        }
        for name in self.map.keys() {
            let listed = known.iter().find(|(field, _)| field == name);
            if listed.is_some_and(|(_, place)| place.allows(language)) {
                continue;
            }
            let hint = match listed {
                Some(_) => other_language(name, known, language),
                None => self.meant(name, known, language).or_else(|| self.elsewhere(name)),
            };
            let at = At { pointer: self.at(name).pointer, location: self.at.location.clone() };
            let message = match (listed, language) {
                (None, Language::Jsonata) if is_operator(name) => {
                    only_for(name, "JSONata", "JSONPath")
                }
                (None, _) => format!("Field '{name}' is not supported"),
                (Some(_), Language::JsonPath) => only_for(name, "JSONPath", "JSONata"),
                (Some(_), Language::Jsonata) => only_for(name, "JSONata", "JSONPath"),
            };
            problems.schema(&at, message).hint = hint;
        }
    }

    /// Where a field belongs that this state has not.
    fn elsewhere(&self, name: &str) -> Option<String> {
        const PLACES: &[(&str, &str)] = &[
            ("Resource", "a Task state"),
            ("TimeoutSeconds", "a Task state, or the whole state machine"),
            ("HeartbeatSeconds", "a Task state"),
            ("Retry", "a Task, Parallel or Map state"),
            ("Catch", "a Task, Parallel or Map state"),
            ("Seconds", "a Wait state"),
            ("Timestamp", "a Wait state"),
            ("Choices", "a Choice state"),
            ("Default", "a Choice state"),
            ("Branches", "a Parallel state"),
            ("ItemProcessor", "a Map state"),
            ("MaxConcurrency", "a Map state"),
            ("Error", "a Fail state"),
            ("Cause", "a Fail state"),
        ];
        match (self.get("Type")?.as_str()?, name) {
            (kind @ ("Succeed" | "Fail"), "Next" | "End") => {
                Some(format!("a {kind} state ends the workflow by itself"))
            }
            ("Choice", "Next" | "End") => {
                Some("a Choice state goes where its rules and `Default` lead".to_owned())
            }
            (kind, name) => {
                let (_, place) = PLACES.iter().find(|(field, _)| *field == name)?;
                Some(format!("`{name}` belongs to {place}; this is a {kind} state"))
            }
        }
    }

    fn meant(&self, name: &str, known: Known, language: Language) -> Option<String> {
        let usable = known
            .iter()
            .filter(|(field, place)| place.allows(language) && !self.has(field))
            .map(|(field, _)| *field);
        closest(name, usable)
            .map(|field| format!("unknown field `{name}`; did you mean `{field}`?"))
    }
}

/// What a number that is written as text should be.
pub(crate) fn in_quotes(value: &Value) -> Option<String> {
    let number = value.as_str()?.trim();
    number
        .parse::<f64>()
        .is_ok()
        .then(|| format!("a number stands without quotation marks: {number}"))
}

pub(crate) fn only_for(name: &str, set: &str, supports: &str) -> String {
    format!(
        "The QueryLanguage is set to '{set}', but field '{name}' is only supported for the '{supports}' QueryLanguage"
    )
}

/// What the other language's field is called here.
fn other_language(name: &str, known: Known, language: Language) -> Option<String> {
    const SAME: &[(&str, &str)] = &[
        ("Parameters", "Arguments"),
        ("ResultSelector", "Output"),
        ("ResultPath", "Output"),
        ("OutputPath", "Output"),
        ("ItemsPath", "Items"),
        ("InputPath", "Arguments"),
        ("Result", "Output"),
    ];
    let this = language.name();
    let there = match language {
        Language::Jsonata => "JSONPath",
        Language::JsonPath => "JSONata",
    };
    let usable =
        |field: &str| known.iter().any(|(known, place)| *known == field && place.allows(language));
    let twin = SAME.iter().find_map(|(path, query)| match language {
        Language::Jsonata if *path == name && usable(query) => Some(*query),
        Language::JsonPath if *query == name && usable(path) => Some(*path),
        _ => None,
    });
    let without_path = name.strip_suffix("Path").filter(|field| usable(field));
    Some(match twin.or(without_path) {
        Some(field) => format!("`{name}` belongs to {there}; in {this} use `{field}`"),
        None => format!("`{name}` belongs to {there}; this state's QueryLanguage is {this}"),
    })
}

pub(crate) fn expected(kind: &str, found: &Value) -> String {
    format!("Expected value of type {kind}, but found {}", kind_of(found))
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}

/// The number when it has no fraction.
pub(crate) fn whole(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    if let Some(whole) = number.as_i64() {
        return Some(i128::from(whole));
    }
    if let Some(whole) = number.as_u64() {
        return Some(i128::from(whole));
    }
    let float = number.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "without a fraction and in range")]
    (float.fract() == 0.0 && float.abs() < 1e18).then_some(float as i128)
}
