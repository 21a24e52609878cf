//! Match expressions: the objects `{"prefix": …}`, `{"numeric": […]}` and so on.

use crate::error::InvalidPattern;
use crate::json::Token;
use crate::parse::Parser;
use crate::term::{AnythingBut, Term};
use crate::value::{IgnoreCase, IpRange, Number, NumberRange, Wildcard};

type Result<T> = std::result::Result<T, InvalidPattern>;

const ONE_KEY: &str = "Only one key allowed in match expression";
const TOO_MANY: &str = "Too many elements in numeric expression";

/// Reads to the closing brace; the opening one has been read.
pub(crate) fn parse(parser: &mut Parser<'_>) -> Result<Term> {
    if parser.next()? != Token::Name {
        return Err(parser.refuse("Match expression name not found"));
    }
    let name = parser.name().to_owned();
    let term = match name.as_str() {
        "exactly" => Term::Text(text_of(parser, "exact")?.into()),
        "prefix" => return affix(parser, "prefix", "Prefix"),
        "suffix" => return affix(parser, "suffix", "Suffix"),
        "equals-ignore-case" => {
            Term::EqualsIgnoreCase(IgnoreCase::new(&text_of(parser, "equals-ignore-case")?))
        }
        "wildcard" => {
            let text = text_of(parser, "wildcard")?;
            Term::Wildcard(Wildcard::new(&text).map_err(|e| parser.refuse(&e))?)
        }
        // The odd word is AWS's.
        "cidr" => Term::Ip(
            IpRange::read_cidr(&text_of(parser, "prefix")?).map_err(InvalidPattern::anywhere)?,
        ),
        "exists" => match parser.next()? {
            Token::True => Term::Exists,
            Token::False => Term::Absent,
            _ => return Err(parser.refuse("exists match pattern must be either true or false.")),
        },
        "numeric" => return numeric(parser),
        "anything-but" => return anything_but(parser),
        _ => return Err(parser.refuse(&format!("Unrecognized match type {name}"))),
    };
    close(parser, ONE_KEY)?;
    Ok(term)
}

fn close(parser: &mut Parser<'_>, otherwise: &str) -> Result<()> {
    if parser.next()? == Token::EndObject { Ok(()) } else { Err(parser.refuse(otherwise)) }
}

fn text_of(parser: &mut Parser<'_>, name: &str) -> Result<String> {
    if parser.next()? != Token::String {
        return Err(parser.refuse(&format!("{name} match pattern must be a string")));
    }
    parser.string()
}

fn affix(parser: &mut Parser<'_>, name: &str, title: &str) -> Result<Term> {
    let is_prefix = name == "prefix";
    match parser.next()? {
        Token::String => {
            let text = parser.string()?.into();
            close(parser, ONE_KEY)?;
            Ok(if is_prefix { Term::Prefix(text) } else { Term::Suffix(text) })
        }
        Token::StartObject => {
            if parser.next()? != Token::Name {
                return Err(parser.refuse(&format!("{title} expression name not found")));
            }
            if parser.name() != "equals-ignore-case" {
                let inner = parser.name().to_owned();
                return Err(parser.refuse(&format!("Unsupported {name} pattern: {inner}")));
            }
            let text = IgnoreCase::new(&text_of(parser, "equals-ignore-case")?);
            close(parser, ONE_KEY)?;
            close(parser, ONE_KEY)?;
            Ok(if is_prefix { Term::PrefixIgnoreCase(text) } else { Term::SuffixIgnoreCase(text) })
        }
        _ => Err(parser.refuse(&format!("{name} match pattern must be a string"))),
    }
}

fn numeric(parser: &mut Parser<'_>) -> Result<Term> {
    if parser.next()? != Token::StartArray {
        return Err(parser.refuse("Value of numeric must be an array."));
    }
    if parser.next()? != Token::String {
        let found = parser.token_text().to_owned();
        return Err(parser.refuse(&format!("Invalid member in numeric match: {found}")));
    }
    let operator = parser.string()?;
    let token = parser.next()?;
    let word = match operator.as_str() {
        "=" => "equals",
        "<" | "<=" | ">" | ">=" => operator.as_str(),
        _ => {
            return Err(parser.refuse(&format!("Unrecognized numeric range operator: {operator}")));
        }
    };
    if token != Token::Number {
        return Err(parser.refuse(&format!("Value of {word} must be numeric")));
    }
    let operand = parser.token_text().to_owned();
    let after = parser.next()?;
    let term = match operator.as_str() {
        ">" | ">=" if after != Token::EndArray => {
            between(parser, after, &operand, operator == ">")?
        }
        _ if after != Token::EndArray => return Err(parser.refuse(TOO_MANY)),
        "=" => Term::Number(Number::Comparable(comparable(parser, &operand)?)),
        _ => Term::Range(half_line(&operator, comparable(parser, &operand)?)),
    };
    close(parser, TOO_MANY)?;
    Ok(term)
}

fn half_line(operator: &str, key: u64) -> NumberRange {
    match operator {
        ">" => NumberRange { low: key + 1, ..NumberRange::ALL },
        ">=" => NumberRange { low: key, ..NumberRange::ALL },
        "<" => NumberRange { high: key - 1, ..NumberRange::ALL },
        _ => NumberRange { high: key, ..NumberRange::ALL },
    }
}

fn between(parser: &mut Parser<'_>, token: Token, bottom: &str, open: bool) -> Result<Term> {
    if token != Token::String {
        let found = parser.token_text().to_owned();
        return Err(parser.refuse(&format!("Bad value in numeric range: {found}")));
    }
    let operator = parser.string()?;
    if operator != "<" && operator != "<=" {
        return Err(parser.refuse(&format!("Bad numeric range operator: {operator}")));
    }
    if parser.next()? != Token::Number {
        return Err(parser.refuse(&format!("Value of {operator} must be numeric")));
    }
    let top = parser.token_text().to_owned();
    if parser.next()? != Token::EndArray {
        return Err(parser.refuse("Too many terms in numeric range expression"));
    }
    let bottom = comparable(parser, bottom)?;
    let top = comparable(parser, &top)?;
    if bottom >= top {
        return Err(parser.refuse("Bottom must be less than top"));
    }
    let low = half_line(if open { ">" } else { ">=" }, bottom).low;
    let high = half_line(&operator, top).high;
    Ok(Term::Range(NumberRange { low, high }))
}

fn comparable(parser: &Parser<'_>, text: &str) -> Result<u64> {
    match Number::new(text) {
        Number::Comparable(key) => Ok(key),
        Number::Text(_) => Err(parser.refuse(&not_comparable(text))),
    }
}

fn not_comparable(text: &str) -> String {
    format!("Cannot compare number : {text}")
}

/// What `anything-but` is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum But {
    Values,
    EqualsIgnoreCase,
    Prefix,
    Suffix,
    Wildcard,
}

fn anything_but(parser: &mut Parser<'_>) -> Result<Term> {
    let mut token = parser.next()?;
    let mut kind = But::Values;
    if token == Token::StartObject {
        if parser.next()? != Token::Name {
            return Err(parser.refuse("Anything-But expression name not found"));
        }
        kind = match parser.name() {
            "equals-ignore-case" => But::EqualsIgnoreCase,
            "prefix" => But::Prefix,
            "suffix" => But::Suffix,
            "wildcard" => But::Wildcard,
            other => {
                let reason = format!("Unsupported anything-but pattern: {other}");
                return Err(parser.refuse(&reason));
            }
        };
        token = parser.next()?;
    }
    let but = match token {
        Token::StartArray => {
            let members = list(parser, kind).map_err(|e| parser.refuse(&e.detail()))?;
            if kind == But::Values {
                plain_values(parser, members)?
            } else {
                applied(parser, kind, members)?
            }
        }
        Token::String | Token::Number => {
            let member = member(parser, kind, token)?;
            if kind == But::Values {
                plain_values(parser, vec![member])?
            } else {
                applied(parser, kind, vec![member])?
            }
        }
        _ => {
            return Err(parser
                .refuse("Value of anything-but must be an array or single string/number value."));
        }
    };
    close(parser, TOO_MANY)?;
    if kind != But::Values {
        close(parser, TOO_MANY)?;
    }
    Ok(Term::AnythingBut(but))
}

#[derive(Debug)]
enum Member {
    Text(String),
    Number(Number),
}

fn list(parser: &mut Parser<'_>, kind: But) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    loop {
        match parser.next()? {
            Token::EndArray => return Ok(members),
            token => members.push(member(parser, kind, token)?),
        }
    }
}

fn member(parser: &mut Parser<'_>, kind: But, token: Token) -> Result<Member> {
    match (token, kind) {
        (Token::String, _) => {
            let text = parser.string()?;
            if text.is_empty() && matches!(kind, But::Prefix | But::Suffix) {
                return Err(parser.refuse("Null prefix/suffix not allowed"));
            }
            Ok(Member::Text(text))
        }
        (Token::Number, But::Values) => {
            let text = parser.token_text();
            match Number::new(text) {
                Number::Text(_) => Err(InvalidPattern::anywhere(not_comparable(text))),
                number => Ok(Member::Number(number)),
            }
        }
        (_, But::Values) => {
            Err(parser.refuse("Inside anything but list, start|null|boolean is not supported."))
        }
        (_, But::EqualsIgnoreCase) => Err(parser.refuse(
            "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
        )),
        (_, But::Wildcard) => Err(parser.refuse("wildcard match pattern must be a string")),
        (_, But::Prefix | But::Suffix) => {
            Err(parser.refuse("prefix/suffix match pattern must be a string"))
        }
    }
}

fn plain_values(parser: &Parser<'_>, members: Vec<Member>) -> Result<AnythingBut> {
    let mut texts = Vec::new();
    let mut numbers = Vec::new();
    for member in members {
        match member {
            Member::Text(text) => texts.push(text.into()),
            Member::Number(number) => numbers.push(number),
        }
    }
    match (texts.is_empty(), numbers.is_empty()) {
        (false, true) => Ok(AnythingBut::Texts(texts)),
        (true, false) => Ok(AnythingBut::Numbers(numbers)),
        _ => Err(parser.refuse(
            "Inside anything but list, either all values are number or string, mixed type is not \
             supported",
        )),
    }
}

fn applied(parser: &Parser<'_>, kind: But, members: Vec<Member>) -> Result<AnythingBut> {
    let texts = members.into_iter().filter_map(|member| match member {
        Member::Text(text) => Some(text),
        Member::Number(_) => None,
    });
    Ok(match kind {
        But::EqualsIgnoreCase => {
            AnythingBut::EqualsIgnoreCase(texts.map(|text| IgnoreCase::new(&text)).collect())
        }
        But::Suffix => AnythingBut::Suffixes(texts.map(String::into).collect()),
        But::Wildcard => AnythingBut::Wildcards(
            texts
                .map(|text| Wildcard::new(&text).map_err(|e| parser.refuse(&e)))
                .collect::<Result<_>>()?,
        ),
        But::Prefix | But::Values => AnythingBut::Prefixes(texts.map(String::into).collect()),
    })
}
