//! The text of paths.

use serde_json::Value;

use super::error::PathError;
use super::filter::{Compare, Condition, Operand, Regex};
use super::function::{Argument, Function};
use super::select::is_definite;
use super::{Root, Step};

/// Bytes of one path's text.
const PATH_BYTES: usize = 64 * 1024;
/// Parentheses, filters and function calls inside one another.
const NESTING: usize = 64;

pub(super) fn path(text: &str) -> Result<(Root, Vec<Step>), PathError> {
    let mut parser = Parser { text, at: 0, nesting: 0 };
    if text.len() > PATH_BYTES {
        return Err(parser.error(format!("it is longer than {PATH_BYTES} bytes")));
    }
    if !parser.eat("$") {
        return Err(parser.error("a path begins with '$'"));
    }
    let root = if parser.eat("$") {
        Root::Context
    } else {
        match parser.take_while(is_name_character) {
            "" => Root::Input,
            name => Root::Variable(name.into()),
        }
    };
    let steps = parser.steps(false)?;
    if parser.at < text.len() {
        return Err(parser.error("this does not belong to a path"));
    }
    Ok((root, steps))
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: usize,
}

type Parsed<T> = Result<T, PathError>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.eat(text) { Ok(()) } else { Err(self.error(format!("'{text}' is missing here"))) }
    }

    fn spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn error(&self, message: impl Into<String>) -> PathError {
        PathError::Syntax {
            path: self.text.to_owned(),
            message: message.into(),
            position: self.text[..self.at.min(self.text.len())].chars().count(),
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nesting += 1;
        if self.nesting > NESTING {
            return Err(self.error(format!("it is nested deeper than {NESTING} levels")));
        }
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// The steps after a root. Inside a filter or an argument a path ends where something else
    /// begins.
    fn steps(&mut self, inside: bool) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Scan);
                match self.peek() {
                    Some('[') => steps.push(self.bracket()?),
                    _ => steps.push(self.dotted(inside)?),
                }
            } else if self.eat(".") {
                match self.peek() {
                    Some('[') => steps.push(self.bracket()?),
                    _ => steps.push(self.dotted(inside)?),
                }
            } else if self.peek() == Some('[') {
                steps.push(self.bracket()?);
            } else {
                return Ok(steps);
            }
            if matches!(steps.last(), Some(Step::Function(_))) {
                return Ok(steps);
            }
        }
    }

    /// What follows a dot: a name, `*` or a function.
    fn dotted(&mut self, inside: bool) -> Parsed<Step> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        let start = self.at;
        let name = self.take_while(|character| {
            let ends = match character {
                '.' | '[' | ']' | '(' | ')' | ',' | '\'' | '"' | '\\' | '*' => true,
                '=' | '!' | '<' | '>' | '&' | '|' | '~' => inside,
                character => character.is_whitespace(),
            };
            !ends
        });
        if name.is_empty() {
            return Err(self.error("a name is missing after '.'"));
        }
        if self.peek() == Some('(') {
            let end = self.at;
            self.at = start;
            let known = Function::is_known(name);
            if !known {
                return Err(self.error(format!("there is no function '{name}'")));
            }
            self.at = end;
            return self.nested(|parser| parser.call(name)).map(Step::Function);
        }
        Ok(Step::Names(vec![name.to_owned()]))
    }

    fn call(&mut self, name: &str) -> Parsed<Function> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        self.spaces();
        while !self.eat(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
                self.spaces();
            }
            arguments.push(match self.peek() {
                Some('$') => {
                    self.at += 1;
                    Argument::Path(self.steps(true)?)
                }
                _ => Argument::Value(self.json()?),
            });
            self.spaces();
        }
        Ok(Function { name: name.to_owned(), arguments })
    }

    fn bracket(&mut self) -> Parsed<Step> {
        self.expect("[")?;
        self.spaces();
        let step = match self.peek() {
            Some('*') => {
                self.at += 1;
                Step::Wildcard
            }
            Some('?') => {
                self.at += 1;
                self.spaces();
                self.expect("(")?;
                let condition = self.nested(Self::any_of)?;
                self.spaces();
                self.expect(")")?;
                Step::Filter(condition)
            }
            Some('\'' | '"') => Step::Names(self.list(Self::quoted)?),
            Some('-' | ':' | '0'..='9') => self.positions()?,
            _ => {
                return Err(self.error(
                    "a name in quotes, an index, a slice, '*' or a filter '?(…)' is missing here",
                ));
            }
        };
        self.spaces();
        self.expect("]")?;
        Ok(step)
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        loop {
            self.spaces();
            if !self.eat(",") {
                return Ok(items);
            }
            self.spaces();
            items.push(item(self)?);
        }
    }

    fn positions(&mut self) -> Parsed<Step> {
        let from = if self.peek() == Some(':') { None } else { Some(self.integer()?) };
        self.spaces();
        if self.eat(":") {
            self.spaces();
            let to = if self.peek() == Some(']') { None } else { Some(self.integer()?) };
            return Ok(Step::Slice { from, to });
        }
        let mut indices: Vec<i64> = from.into_iter().collect();
        if self.eat(",") {
            self.spaces();
            indices.extend(self.list(Self::integer)?);
        }
        Ok(Step::Indices(indices))
    }

    fn integer(&mut self) -> Parsed<i64> {
        let start = self.at;
        self.eat("-");
        self.take_while(|character| character.is_ascii_digit());
        self.text[start..self.at].parse().map_err(|_| self.error("an index is missing here"))
    }

    /// Text in single or double quotes. A backslash stands for itself unless the quote or another
    /// backslash follows: AWS finds the member `a\"b` with `$['a\"b']`.
    fn quoted(&mut self) -> Parsed<String> {
        let start = self.at;
        let quote = match self.peek() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => return Err(self.error("text in quotes is missing here")),
        };
        let mut text = String::new();
        let mut characters = self.rest()[1..].char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, next)) if next == quote || next == '\\' => text.push(next),
                    Some((_, next)) => text.extend(['\\', next]),
                    None => break,
                },
                character if character == quote => {
                    self.at = start + 1 + index + quote.len_utf8();
                    return Ok(text);
                }
                character => text.push(character),
            }
        }
        Err(self.error(format!("the quote {quote} is never closed")))
    }

    fn any_of(&mut self) -> Parsed<Condition> {
        let mut conditions = vec![self.all_of()?];
        loop {
            self.spaces();
            if !self.eat("||") {
                return Ok(one_or(conditions, Condition::Any));
            }
            conditions.push(self.all_of()?);
        }
    }

    fn all_of(&mut self) -> Parsed<Condition> {
        let mut conditions = vec![self.condition()?];
        loop {
            self.spaces();
            if !self.eat("&&") {
                return Ok(one_or(conditions, Condition::All));
            }
            conditions.push(self.condition()?);
        }
    }

    fn condition(&mut self) -> Parsed<Condition> {
        self.spaces();
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            let negated = self.nested(Self::condition)?;
            return Ok(Condition::Not(Box::new(negated)));
        }
        if self.eat("(") {
            let inner = self.nested(Self::any_of)?;
            self.spaces();
            self.expect(")")?;
            return Ok(inner);
        }
        let left = self.operand()?;
        self.spaces();
        match self.comparison() {
            Some(compare) => {
                self.spaces();
                let right = self.operand()?;
                Ok(Condition::Compare { left, compare, right })
            }
            None => match left {
                Operand::Path { .. } => Ok(Condition::Exists(left)),
                _ => Err(self.error("a comparison is missing here")),
            },
        }
    }

    fn comparison(&mut self) -> Option<Compare> {
        for (sign, compare) in Compare::SIGNS {
            if self.eat(sign) {
                return Some(*compare);
            }
        }
        let start = self.at;
        let word = self.take_while(|character| character.is_ascii_alphabetic());
        let compare = Compare::WORDS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map(|(_, compare)| *compare);
        if compare.is_none() {
            self.at = start;
        }
        compare
    }

    fn operand(&mut self) -> Parsed<Operand> {
        match self.peek() {
            Some(sign @ ('@' | '$')) => {
                self.at += 1;
                let steps = self.nested(|parser| parser.steps(true))?;
                let definite = is_definite(&steps);
                Ok(Operand::Path { from_item: sign == '@', steps, definite })
            }
            Some('/') => self.regex().map(Operand::Regex),
            _ => self.json().map(Operand::Value),
        }
    }

    fn regex(&mut self) -> Parsed<Regex> {
        let start = self.at;
        let mut end = None;
        let mut escaped = false;
        for (index, character) in self.rest().char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '/' => {
                    end = Some(index);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else {
            return Err(self.error("the regular expression is never closed by '/'"));
        };
        let pattern = &self.rest()[1..end];
        self.at += end + 1;
        let flags = self.take_while(|character| character.is_ascii_alphabetic());
        Regex::new(pattern, flags).map_err(|message| {
            self.at = start;
            self.error(message)
        })
    }

    /// A JSON value, whose strings may stand in single quotes.
    fn json(&mut self) -> Parsed<Value> {
        match self.peek() {
            Some('\'' | '"') => self.quoted().map(Value::String),
            Some('[') => self.nested(|parser| {
                parser.at += 1;
                parser.spaces();
                let mut items = Vec::new();
                if parser.peek() != Some(']') {
                    items = parser.list(Self::json)?;
                }
                parser.spaces();
                parser.expect("]")?;
                Ok(Value::Array(items))
            }),
            Some('{') => self.nested(|parser| {
                parser.at += 1;
                parser.spaces();
                let mut members = Vec::new();
                if parser.peek() != Some('}') {
                    members = parser.list(Self::member)?;
                }
                parser.spaces();
                parser.expect("}")?;
                Ok(Value::Object(members.into_iter().collect()))
            }),
            _ => {
                let start = self.at;
                let word = self.take_while(|character| {
                    character.is_ascii_alphanumeric() || matches!(character, '-' | '+' | '.')
                });
                serde_json::from_str(word).map_err(|_| {
                    self.at = start;
                    self.error("a value, or a path that begins with '@' or '$', is missing here")
                })
            }
        }
    }

    fn member(&mut self) -> Parsed<(String, Value)> {
        let name = self.quoted()?;
        self.spaces();
        self.expect(":")?;
        self.spaces();
        Ok((name, self.json()?))
    }
}

fn one_or(mut conditions: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Condition {
    if conditions.len() == 1 { conditions.remove(0) } else { join(conditions) }
}
