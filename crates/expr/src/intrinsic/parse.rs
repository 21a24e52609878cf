//! The text of calls.

use serde_json::Value;

use super::{Argument, Call, Function, IntrinsicSyntax};
use crate::path::Path;

/// Calls inside one another. AWS: 10.
const NESTING: usize = 10;
/// Bytes of one call's text.
const CALL_BYTES: usize = 64 * 1024;

type Parsed<T> = Result<T, IntrinsicSyntax>;

pub(super) fn call(text: &str) -> Parsed<Call> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > CALL_BYTES {
        return Err(parser.error(format!("the call is longer than {CALL_BYTES} bytes")));
    }
    let call = parser.call(1)?;
    parser.spaces();
    if parser.at < text.len() {
        return Err(parser.error("nothing may follow the call's ')'"));
    }
    Ok(call)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, sign: char) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }

    fn error(&self, message: impl Into<String>) -> IntrinsicSyntax {
        let position = self.text[..self.at].chars().count();
        IntrinsicSyntax { message: message.into(), position }
    }

    fn call(&mut self, depth: usize) -> Parsed<Call> {
        if depth > NESTING {
            return Err(self.error(format!("at most {NESTING} functions may be nested")));
        }
        let function = self.function()?;
        self.spaces();
        if !self.eat('(') {
            return Err(self.error(format!("'(' is missing after {}", function.name())));
        }
        let mut arguments = Vec::new();
        self.spaces();
        while !self.eat(')') {
            if !arguments.is_empty() {
                if !self.eat(',') {
                    return Err(self.error("',' or ')' is missing here"));
                }
                self.spaces();
            }
            arguments.push(self.argument(depth)?);
            self.spaces();
        }
        let arity = function.arity();
        if !arity.contains(&arguments.len()) {
            let takes = if arity.start() == arity.end() {
                arity.start().to_string()
            } else if *arity.end() == usize::MAX {
                format!("at least {}", arity.start())
            } else {
                format!("{} to {}", arity.start(), arity.end())
            };
            return Err(self.error(format!(
                "{} takes {takes} arguments, not {}",
                function.name(),
                arguments.len()
            )));
        }
        Ok(Call { function, arguments })
    }

    fn function(&mut self) -> Parsed<Function> {
        let name = self.rest().strip_prefix("States.").map(|rest| {
            let end = rest.find(|character: char| !character.is_ascii_alphanumeric());
            &rest[..end.unwrap_or(rest.len())]
        });
        let Some(name) = name else {
            return Err(self.error("a function, 'States.…', is missing here"));
        };
        let function = Function::named(name).ok_or_else(|| {
            let names = Function::NAMES.join(", States.");
            self.error(format!("there is no function States.{name}; there are States.{names}"))
        })?;
        self.at += "States.".len() + name.len();
        Ok(function)
    }

    fn argument(&mut self, depth: usize) -> Parsed<Argument> {
        let rest = self.rest();
        if rest.starts_with('\'') {
            return self.quoted();
        }
        if rest.starts_with("States.") {
            return self.call(depth + 1).map(|call| Argument::Call(Box::new(call)));
        }
        if rest.starts_with('$') {
            return self.path();
        }
        let end = rest.find([',', ')']).unwrap_or(rest.len());
        let word = rest[..end].trim_end();
        match serde_json::from_str::<Value>(word) {
            Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => {
                self.at += word.len();
                Ok(Argument::Value(value))
            }
            _ => Err(self.error(
                "an argument is missing here: text in single quotes, a number, true, false, null, \
                 a path or a function",
            )),
        }
    }

    /// A path ends at the ',' or ')' that stands outside its own brackets and quotes.
    fn path(&mut self) -> Parsed<Argument> {
        let rest = self.rest();
        let mut open = 0_usize;
        let mut quote = None;
        let mut end = rest.len();
        let mut characters = rest.char_indices();
        while let Some((index, character)) = characters.next() {
            match (quote, character) {
                (Some(_), '\\') => {
                    characters.next();
                }
                (Some(closing), character) if character == closing => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') if open > 0 => quote = Some(character),
                (None, '[' | '(') => open += 1,
                (None, ')' | ',') if open == 0 => {
                    end = index;
                    break;
                }
                (None, ']' | ')') => open = open.saturating_sub(1),
                _ => {}
            }
        }
        let text = rest[..end].trim_end();
        let path = Path::parse(text).map_err(|error| self.error(error.to_string()))?;
        self.at += text.len();
        Ok(Argument::Path(path))
    }

    fn quoted(&mut self) -> Parsed<Argument> {
        let rest = &self.rest()[1..];
        let mut plain = String::new();
        let mut characters = rest.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '\'' => {
                    self.at += 1 + index + 1;
                    let raw = rest[..index].to_owned();
                    return Ok(Argument::Text { raw, plain: Value::String(plain) });
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('\'' | '\\' | '{' | '}'))) => plain.push(escaped),
                    _ => {
                        self.at += 1 + index;
                        return Err(self.error(
                            "after a backslash only ', \\, { and } may stand in a function's text",
                        ));
                    }
                },
                character => plain.push(character),
            }
        }
        Err(self.error("the quote ' is never closed"))
    }
}
