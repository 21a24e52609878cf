//! `${VAR}` and `${file:PATH}`: values that the project file does not hold itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest file that `${file:PATH}` reads, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Where `${VAR}` takes its values from.
#[derive(Clone, Default)]
pub(crate) struct Vars {
    own: BTreeMap<String, String>,
    environment: bool,
    pub(super) open: bool,
}

impl Vars {
    /// The process's environment.
    #[must_use]
    pub(crate) fn environment() -> Vars {
        Vars { environment: true, ..Vars::default() }
    }

    /// Nothing but what [`Vars::with`] adds.
    #[must_use]
    pub(crate) fn none() -> Vars {
        Vars::default()
    }

    /// Adds a value that goes before the environment's.
    #[must_use]
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Vars {
        self.own.insert(name.into(), value.into());
        self
    }

    /// The same, where what is not there is worth a warning only.
    pub(super) fn opened(&self) -> Vars {
        Vars { open: true, ..self.clone() }
    }

    fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = self.own.get(name) {
            return Some(value.clone());
        }
        self.environment.then(|| std::env::var(name).ok()).flatten()
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secret.
        let names: Vec<&String> = self.own.keys().collect();
        f.debug_struct("Vars").field("own", &names).field("environment", &self.environment).finish()
    }
}

/// A text with its references filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Whether anything in it came from outside.
    pub(super) referred: bool,
}

/// Why a reference could not be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    /// Characters before the reference.
    pub(super) character: usize,
    pub(super) message: String,
    pub(super) hint: String,
    /// The reference is well written, but what it names is not there.
    pub(super) absent: bool,
}

impl Unfilled {
    pub(super) fn broken(message: impl Into<String>, hint: impl Into<String>) -> Unfilled {
        Unfilled { character: 0, message: message.into(), hint: hint.into(), absent: false }
    }

    fn absent(message: impl Into<String>, hint: impl Into<String>) -> Unfilled {
        Unfilled { absent: true, ..Unfilled::broken(message, hint) }
    }
}

/// What gives references their values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill<'a> {
    pub(super) vars: &'a Vars,
    /// Where relative paths start.
    pub(super) folder: &'a Path,
}

impl Fill<'_> {
    /// Fills in `${VAR}` and `${file:PATH}`; `$${` stands for `${`.
    pub(super) fn text(&self, text: &str) -> Result<Filled, Vec<Unfilled>> {
        let mut filled = Filled { text: String::with_capacity(text.len()), referred: false };
        let mut problems = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let start = text.len() - rest.len() + at;
            if let Some(before) = rest[..at].strip_suffix('$') {
                filled.text.push_str(before);
                filled.text.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.text.push_str(&rest[..at]);
            filled.referred = true;
            let inside = &rest[at + 2..];
            let end = inside.find('}');
            match self.value(end.map(|end| &inside[..end])) {
                Ok(value) => filled.text.push_str(&value),
                Err(problem) => {
                    let character = text[..start].chars().count();
                    problems.push(Unfilled { character, ..problem });
                }
            }
            rest = end.map_or("", |end| &inside[end + 1..]);
        }
        filled.text.push_str(rest);
        if problems.is_empty() { Ok(filled) } else { Err(problems) }
    }

    fn value(&self, reference: Option<&str>) -> Result<String, Unfilled> {
        let Some(reference) = reference else {
            let hint = "write `$${` for the characters `${` themselves";
            return Err(Unfilled::broken("`${` is not closed by `}`", hint));
        };
        if let Some(path) = reference.strip_prefix("file:") {
            return self.file(path);
        }
        if !is_name(reference) {
            let message = format!("`${{{reference}}}` names neither a variable nor a file");
            return Err(Unfilled::broken(message, "write `${NAME}` or `${file:PATH}`"));
        }
        self.variable(reference)
    }

    pub(super) fn variable(&self, name: &str) -> Result<String, Unfilled> {
        self.vars.get(name).ok_or_else(|| {
            let hint = format!("set it in the environment: export {name}=…");
            Unfilled::absent(format!("the variable `{name}` is not set"), hint)
        })
    }

    fn file(&self, path: &str) -> Result<String, Unfilled> {
        let full: PathBuf = self.folder.join(path);
        let fail = |problem: String| {
            let hint = format!("the file is looked for at {}", full.display());
            Unfilled::absent(format!("the file `{path}` {problem}"), hint)
        };
        let unreadable = |error: std::io::Error| fail(format!("cannot be read: {error}"));
        let size = std::fs::metadata(&full).map_err(unreadable)?.len();
        if size > MAX_FILE_BYTES {
            return Err(fail(format!("has {size} bytes; at most {MAX_FILE_BYTES} are read")));
        }
        let text = std::fs::read_to_string(&full).map_err(unreadable)?;
        // Editors and `echo` end a file with a line break that is no part of the value.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_filled_in() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "s3cret\n").unwrap();
        std::fs::write(folder.path().join("large"), vec![b'x'; 70_000]).unwrap();
        let vars = Vars::none().with("A", "1").with("B_2", "zwei").with("EMPTY", "");
        let fill = Fill { vars: &vars, folder: folder.path() };
        let check = |text: &str, expected: &str| {
            let found = match fill.text(text) {
                Ok(filled) => format!("{} {}", filled.text, filled.referred),
                Err(problems) => problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.character, problem.message))
                    .collect::<Vec<_>>()
                    .join("; "),
            };
            assert_eq!(found, expected, "{text}");
        };
        check("plain $A {B}", "plain $A {B} false");
        check("${A}/${B_2}!", "1/zwei! true");
        check("a${EMPTY}b", "ab true");
        check("$${A} ${A}", "${A} 1 true");
        check("${file:key}", "s3cret true");
        check("ä ${C} ${D}", "2: the variable `C` is not set; 7: the variable `D` is not set");
        check("${", "0: `${` is not closed by `}`");
        check("${A B}", "0: `${A B}` names neither a variable nor a file");
        check("${}", "0: `${}` names neither a variable nor a file");
        check("${file:large}", "0: the file `large` has 70000 bytes; at most 65536 are read");
        assert!(fill.text("${file:nothing}").is_err());
    }

    #[test]
    fn a_value_added_goes_before_the_environment() {
        let folder = Path::new(".");
        let vars = Vars::environment().with("PATH", "own");
        let fill = Fill { vars: &vars, folder };
        assert_eq!(fill.text("${PATH}").unwrap().text, "own");
        let vars = Vars::environment();
        let fill = Fill { vars: &vars, folder };
        assert_ne!(fill.text("${PATH}").unwrap().text, "own");
        assert_eq!(
            format!("{:?}", Vars::none().with("KEY", "secret")).matches("secret").count(),
            0
        );
    }
}
