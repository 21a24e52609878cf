//! From a pattern's text to the conjunctions it stands for.

use std::sync::Arc;

use stepbus_model::Limits;

use crate::complexity;
use crate::consistency::MOST_CONDITIONS;
use crate::error::InvalidPattern;
use crate::json::{Reader, SyntaxError, Token};
use crate::operator;
use crate::term::{Condition, Conjunction, Term};
use crate::value::{IpAddress, IpRange, Number};

const OR: &str = "$or";

/// Names that AWS keeps for operators, so no field inside `$or` may have them.
const RESERVED_IN_OR: [&str; 24] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Vec<Conjunction>, InvalidPattern> {
    let mut parser =
        Parser { reader: Reader::new(text, limits.json_depth), text, path: Vec::new(), limits };
    if parser.next()? != Token::StartObject {
        return Err(parser.refuse("Filter is not an object"));
    }
    let mut conjunctions = Vec::new();
    parser.object(&mut conjunctions, false)?;
    parser.next()?;
    for conjunction in &mut conjunctions {
        conjunction.sort_by(|a, b| a.path.encode_utf16().cmp(b.path.encode_utf16()));
    }
    if conjunctions.iter().any(|conjunction| conjunction.len() > MOST_CONDITIONS) {
        return Err(InvalidPattern::anywhere(format!(
            "Rule is too complex - at most {MOST_CONDITIONS} fields can be asked for together"
        )));
    }
    complexity::check(&conjunctions, limits.pattern_complexity)?;
    Ok(conjunctions)
}

pub(crate) struct Parser<'a> {
    reader: Reader<'a>,
    text: &'a str,
    path: Vec<String>,
    limits: &'a Limits,
}

impl Parser<'_> {
    fn object(
        &mut self,
        conjunctions: &mut Vec<Conjunction>,
        inside_or: bool,
    ) -> Result<(), InvalidPattern> {
        let mut empty = true;
        while self.next()? != Token::EndObject {
            empty = false;
            let name = self.reader.name().to_owned();
            if name == OR {
                self.or(conjunctions)?;
                continue;
            }
            if inside_or && is_reserved(&name) {
                return Err(self.refuse(&format!(
                    "{name} is Ruler reserved fieldName which cannot be used inside {OR}."
                )));
            }
            let start = self.reader.position();
            match self.next()? {
                Token::StartObject => {
                    self.path.push(name);
                    self.object(conjunctions, inside_or)?;
                    self.path.pop();
                }
                Token::StartArray => {
                    self.path.push(name);
                    let terms = self.terms()?;
                    let source = &self.text[start - 1..self.reader.position()];
                    self.add(conjunctions, terms, source);
                    self.path.pop();
                }
                _ => return Err(self.refuse(&format!("\"{name}\" must be an object or an array"))),
            }
        }
        if empty {
            return Err(self.refuse("Empty objects are not allowed"));
        }
        Ok(())
    }

    /// Every alternative continues each of the conjunctions there are so far.
    fn or(&mut self, conjunctions: &mut Vec<Conjunction>) -> Result<(), InvalidPattern> {
        let so_far = std::mem::take(conjunctions);
        if self.next()? != Token::StartArray {
            return Err(self.refuse("It must be an Array followed with $or."));
        }
        let mut alternatives = 0;
        loop {
            match self.next()? {
                Token::EndArray => break,
                Token::StartObject => {
                    let mut extended =
                        if so_far.is_empty() { vec![Vec::new()] } else { so_far.clone() };
                    self.object(&mut extended, true)?;
                    conjunctions.append(&mut extended);
                }
                _ => {
                    return Err(
                        self.refuse("Only JSON object is allowed in array of $or relationship.")
                    );
                }
            }
            alternatives += 1;
            let most = self.limits.pattern_combinations;
            if conjunctions.len() > most {
                return Err(self.refuse(&format!(
                    "Rule is too complex - $or makes more than {most} combinations of fields"
                )));
            }
        }
        if alternatives < 2 {
            return Err(self.refuse("There must have at least 2 Objects in $or relationship."));
        }
        Ok(())
    }

    /// The last of several members with one path counts.
    fn add(&self, conjunctions: &mut Vec<Conjunction>, terms: Vec<Term>, source: &str) {
        let condition = Condition {
            path: self.path.join(".").into(),
            terms: terms.into(),
            source: Arc::from(source),
        };
        if conjunctions.is_empty() {
            conjunctions.push(Vec::new());
        }
        for conjunction in conjunctions {
            conjunction.retain(|other| other.path != condition.path);
            conjunction.push(condition.clone());
        }
    }

    fn terms(&mut self) -> Result<Vec<Term>, InvalidPattern> {
        let mut terms = Vec::new();
        loop {
            let term = match self.next()? {
                Token::EndArray => break,
                Token::StartObject => operator::parse(self)?,
                Token::String => {
                    let text = self.string()?;
                    match IpAddress::read(text.as_bytes()) {
                        Some(address) => Term::Ip(IpRange::only(address)),
                        None => Term::Text(text.into()),
                    }
                }
                Token::Number => Term::Number(Number::new(self.token_text())),
                Token::True => Term::True,
                Token::False => Term::False,
                Token::Null => Term::Null,
                _ => {
                    return Err(
                        self.refuse("Match value must be String, number, true, false, or null")
                    );
                }
            };
            terms.push(term);
        }
        if terms.is_empty() {
            return Err(self.refuse("Empty arrays are not allowed"));
        }
        Ok(terms)
    }

    pub(crate) fn next(&mut self) -> Result<Token, InvalidPattern> {
        self.reader.next().map_err(|e| self.syntax(&e))
    }

    pub(crate) fn string(&mut self) -> Result<String, InvalidPattern> {
        self.reader.string().map_err(|e| self.syntax(&e))
    }

    pub(crate) fn name(&self) -> &str {
        self.reader.name()
    }

    pub(crate) fn token_text(&self) -> &str {
        self.reader.token_text()
    }

    fn syntax(&self, e: &SyntaxError) -> InvalidPattern {
        InvalidPattern::at(&e.message, self.text, e.offset)
    }

    /// An error that names the place reading has got to.
    pub(crate) fn refuse(&self, reason: &str) -> InvalidPattern {
        InvalidPattern::at(reason, self.text, self.reader.position())
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED_IN_OR.contains(&name)
}
