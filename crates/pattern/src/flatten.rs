//! An event as a list of its leaves: the plain way, for explaining and for checking the fast one.

use crate::error::InvalidEvent;
use crate::json::{Reader, SyntaxError, Token};
use crate::value::Value;

/// The element an array was left in on the way to a leaf. Arrays are numbered in the order in
/// which they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) array: u32,
    pub(crate) index: u32,
}

#[derive(Debug)]
pub(crate) enum Scalar {
    String(String),
    Number(String),
    True,
    False,
    Null,
}

impl Scalar {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Scalar::String(text) => Value::String(text.as_bytes()),
            Scalar::Number(text) => Value::Number(text.as_bytes()),
            Scalar::True => Value::True,
            Scalar::False => Value::False,
            Scalar::Null => Value::Null,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Leaf {
    /// The names from the root, joined with dots; arrays add nothing.
    pub(crate) path: String,
    pub(crate) scalar: Scalar,
    /// From the outermost inwards. An array's own plain values are in no element.
    pub(crate) elements: Vec<Element>,
}

#[derive(Debug, Default)]
pub(crate) struct Flat {
    pub(crate) leaves: Vec<Leaf>,
    /// Paths of objects and of arrays without values, which have no value to compare.
    pub(crate) containers: Vec<(String, &'static str)>,
}

pub(crate) fn flatten(event: &[u8], depth: usize) -> Result<Flat, InvalidEvent> {
    let text = std::str::from_utf8(event)
        .map_err(|e| InvalidEvent::at("it is not UTF-8", event, e.valid_up_to()))?;
    let mut flattener = Flattener {
        reader: Reader::new(text, depth),
        event,
        flat: Flat::default(),
        names: Vec::new(),
        elements: Vec::new(),
        arrays: 0,
    };
    if flattener.next()? != Token::StartObject {
        let offset = flattener.reader.position();
        return Err(InvalidEvent::at("Event must be a JSON object", event, offset));
    }
    flattener.object()?;
    flattener.next()?;
    Ok(flattener.flat)
}

struct Flattener<'a> {
    reader: Reader<'a>,
    event: &'a [u8],
    flat: Flat,
    names: Vec<String>,
    elements: Vec<Element>,
    arrays: u32,
}

impl Flattener<'_> {
    fn object(&mut self) -> Result<(), InvalidEvent> {
        while self.next()? != Token::EndObject {
            self.names.push(self.reader.name().to_owned());
            match self.next()? {
                Token::StartObject => {
                    self.flat.containers.push((self.path(), "an object"));
                    self.object()?;
                }
                Token::StartArray => self.array()?,
                token => self.leaf(token)?,
            }
            self.names.pop();
        }
        Ok(())
    }

    fn array(&mut self) -> Result<(), InvalidEvent> {
        let array = self.arrays;
        self.arrays += 1;
        let mut index = 0;
        loop {
            match self.next()? {
                Token::EndArray => break,
                token @ (Token::StartObject | Token::StartArray) => {
                    self.elements.push(Element { array, index });
                    if token == Token::StartObject {
                        self.object()?;
                    } else {
                        self.array()?;
                    }
                    self.elements.pop();
                }
                token => self.leaf(token)?,
            }
            index += 1;
        }
        if index == 0 {
            self.flat.containers.push((self.path(), "an empty array"));
        }
        Ok(())
    }

    fn leaf(&mut self, token: Token) -> Result<(), InvalidEvent> {
        let scalar = match token {
            Token::String => {
                let result = self.reader.string();
                Scalar::String(result.map_err(|e| self.syntax(&e))?)
            }
            Token::Number => Scalar::Number(self.reader.token_text().to_owned()),
            Token::True => Scalar::True,
            Token::False => Scalar::False,
            _ => Scalar::Null,
        };
        let path = self.path();
        self.flat.leaves.push(Leaf { path, scalar, elements: self.elements.clone() });
        Ok(())
    }

    fn path(&self) -> String {
        self.names.join(".")
    }

    fn next(&mut self) -> Result<Token, InvalidEvent> {
        self.reader.next().map_err(|e| self.syntax(&e))
    }

    fn syntax(&self, e: &SyntaxError) -> InvalidEvent {
        InvalidEvent::at(&e.message, self.event, e.offset)
    }
}
