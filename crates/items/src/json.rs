//! The members of one array or object of a JSON document, without holding the document.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decoder::{Item, Step};
use crate::fault::ItemFault;

#[derive(Debug, Clone)]
pub(crate) struct Json {
    /// None: the document itself must be an array.
    pointer: Option<Vec<String>>,
    at: JsonPosition,
    seek: Seek,
}

/// Where a JSON decoder stands, its offset apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct JsonPosition {
    /// Items read.
    items: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// On the way to the items.
    #[default]
    Before,
    Array,
    Object,
    Behind,
}

/// The way to the items.
#[derive(Debug, Clone, Default)]
struct Seek {
    /// Segments of the pointer that were followed.
    followed: usize,
    expects: Expects,
}

#[derive(Debug, Clone, Default)]
enum Expects {
    #[default]
    Value,
    Member,
    Element(usize),
    /// A value on the way that is not wanted.
    Skip(Skip, Box<Expects>),
}

/// How far into a value that is skipped.
#[derive(Debug, Clone, Default)]
struct Skip {
    depth: usize,
    in_text: bool,
    escaped: bool,
    begun: bool,
}

impl Json {
    pub(crate) fn new(pointer: Option<Vec<String>>, at: JsonPosition) -> Json {
        Json { pointer, at, seek: Seek::default() }
    }

    pub(crate) fn position(&self) -> JsonPosition {
        self.at.clone()
    }

    /// Whether reading can go on from here: not on the way to the items.
    pub(crate) fn is_among_items(&self) -> bool {
        self.at.place != Place::Before
    }

    pub(crate) fn what(&self) -> String {
        format!("item {}", self.at.items)
    }

    pub(crate) fn step(&mut self, input: &[u8], ended: bool) -> Result<Step, ItemFault> {
        let step = match self.at.place {
            Place::Before => self.seek(input, ended)?,
            Place::Array => self.element(input, ended)?,
            Place::Object => self.member(input, ended)?,
            Place::Behind => return self.behind(input, ended),
        };
        if matches!(step, Step::More) && ended {
            let what = self.what();
            return Err(ItemFault::new(format!("the JSON breaks off: it ends at {what}")));
        }
        Ok(step)
    }

    fn behind(&self, input: &[u8], ended: bool) -> Result<Step, ItemFault> {
        if self.pointer.is_some() {
            return Ok(Step::Done);
        }
        match input.trim_ascii_start() {
            [] if ended => Ok(Step::Done),
            [] if input.is_empty() => Ok(Step::More),
            [] => Ok(Step::Skip(input.len())),
            _ => Err(ItemFault::new(
                "text behind the JSON document; for one JSON value a line use InputType JSONL",
            )),
        }
    }

    fn seek(&mut self, input: &[u8], ended: bool) -> Result<Step, ItemFault> {
        if let Expects::Skip(skip, then) = &mut self.seek.expects {
            let (bytes, done) = skip.over(input);
            if done {
                self.seek.expects = std::mem::take(then);
            } else if bytes == 0 {
                return Ok(Step::More);
            }
            return Ok(Step::Skip(bytes));
        }
        let start = space(input);
        let Some(&byte) = input.get(start) else {
            return match (ended, self.seek.followed) {
                (true, 0) if matches!(self.seek.expects, Expects::Value) => {
                    Err(ItemFault::new("the JSON document is empty"))
                }
                _ => Ok(Step::More),
            };
        };
        match self.seek.expects.clone() {
            Expects::Value => self.enter(byte, start),
            Expects::Member => self.look_at_member(&input[start..], start),
            Expects::Element(left) => match byte {
                b']' => Err(self.leads_nowhere()),
                b',' => Ok(Step::Skip(start + 1)),
                _ if left == 0 => {
                    self.seek = Seek { followed: self.seek.followed + 1, expects: Expects::Value };
                    Ok(Step::Skip(start))
                }
                _ => {
                    let then = Box::new(Expects::Element(left - 1));
                    self.seek.expects = Expects::Skip(Skip::default(), then);
                    Ok(Step::Skip(start))
                }
            },
            Expects::Skip(..) => Ok(Step::More),
        }
    }

    /// The value that the segments so far lead to.
    fn enter(&mut self, byte: u8, start: usize) -> Result<Step, ItemFault> {
        let pointer = self.pointer.as_deref().unwrap_or_default();
        let Some(segment) = pointer.get(self.seek.followed) else {
            self.at.place = match byte {
                b'[' => Place::Array,
                b'{' if self.pointer.is_some() => Place::Object,
                _ => return Err(ItemFault::new("Attempting to map over non-iterable node.")),
            };
            return Ok(Step::Skip(start + 1));
        };
        self.seek.expects = match byte {
            b'{' => Expects::Member,
            b'[' => match segment.parse() {
                Ok(index) => Expects::Element(index),
                Err(_) => return Err(self.leads_nowhere()),
            },
            _ => return Err(self.leads_nowhere()),
        };
        Ok(Step::Skip(start + 1))
    }

    fn look_at_member(&mut self, input: &[u8], before: usize) -> Result<Step, ItemFault> {
        match input[0] {
            b'}' => return Err(self.leads_nowhere()),
            b',' => return Ok(Step::Skip(before + 1)),
            _ => {}
        }
        let Some((name, bytes)) = name(input, &"on the way to the items")? else {
            return Ok(Step::More);
        };
        let wanted = self.pointer.as_deref().unwrap_or_default().get(self.seek.followed);
        if wanted == Some(&name) {
            self.seek = Seek { followed: self.seek.followed + 1, expects: Expects::Value };
        } else {
            let then = Box::new(Expects::Member);
            self.seek.expects = Expects::Skip(Skip::default(), then);
        }
        Ok(Step::Skip(before + bytes))
    }

    fn leads_nowhere(&self) -> ItemFault {
        let pointer = self.pointer.as_deref().unwrap_or_default();
        let text: String = pointer.iter().map(|segment| format!("/{segment}")).collect();
        ItemFault::new(format!("ItemsPointer `{text}` leads to nothing in the JSON document"))
    }

    fn element(&mut self, input: &[u8], ended: bool) -> Result<Step, ItemFault> {
        let Some(start) = self.next_member(input, b']')? else { return Ok(Step::More) };
        let Member::At(start) = start else { return Ok(Step::Skip(self.leave(start))) };
        let Some(length) = value_length(&input[start..], ended) else { return Ok(Step::More) };
        let json = checked(&input[start..start + length], &self.what())?;
        self.at.items += 1;
        Ok(Step::Item(start + length, Item { json, key: None }))
    }

    fn member(&mut self, input: &[u8], ended: bool) -> Result<Step, ItemFault> {
        let Some(start) = self.next_member(input, b'}')? else { return Ok(Step::More) };
        let Member::At(start) = start else { return Ok(Step::Skip(self.leave(start))) };
        let Some((key, bytes)) = name(&input[start..], &self.what())? else {
            return Ok(Step::More);
        };
        let start = start + bytes;
        let start = start + space(&input[start..]);
        let Some(length) = value_length(&input[start..], ended) else { return Ok(Step::More) };
        let json = checked(&input[start..start + length], &self.what())?;
        self.at.items += 1;
        Ok(Step::Item(start + length, Item { json, key: Some(key) }))
    }

    fn leave(&mut self, end: Member) -> usize {
        self.at.place = Place::Behind;
        match end {
            Member::At(at) | Member::End(at) => at,
        }
    }

    /// Where the next member begins; none while that cannot be seen.
    fn next_member(&self, input: &[u8], end: u8) -> Result<Option<Member>, ItemFault> {
        let mut at = space(input);
        match input.get(at) {
            None => return Ok(None),
            Some(&byte) if byte == end => return Ok(Some(Member::End(at + 1))),
            Some(b',') if self.at.items > 0 => {
                at += 1;
                at += space(&input[at..]);
            }
            Some(_) if self.at.items == 0 => {}
            Some(&byte) => {
                let (found, what) = (char::from(byte), self.what());
                return Err(ItemFault::new(format!(
                    "the JSON is broken at {what}: a comma is expected, `{found}` was found"
                )));
            }
        }
        Ok((at < input.len()).then_some(Member::At(at)))
    }
}

enum Member {
    At(usize),
    /// Behind the closing bracket.
    End(usize),
}

impl Skip {
    /// How many bytes belong to the value, and whether it ends there.
    fn over(&mut self, input: &[u8]) -> (usize, bool) {
        for (at, &byte) in input.iter().enumerate() {
            if self.in_text {
                match (self.escaped, byte) {
                    (true, _) => self.escaped = false,
                    (false, b'\\') => self.escaped = true,
                    (false, b'"') => {
                        self.in_text = false;
                        if self.depth == 0 {
                            return (at + 1, true);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => (self.in_text, self.begun) = (true, true),
                b'{' | b'[' => (self.depth, self.begun) = (self.depth + 1, true),
                b'}' | b']' | b',' if self.depth == 0 => return (at, true),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return (at + 1, true);
                    }
                }
                byte if byte.is_ascii_whitespace() => {
                    if self.depth == 0 && self.begun {
                        return (at, true);
                    }
                }
                _ => self.begun = true,
            }
        }
        (input.len(), false)
    }
}

/// The length of the value that begins here, if its end can be seen.
fn value_length(input: &[u8], ended: bool) -> Option<usize> {
    let (length, done) = Skip::default().over(input);
    // A number at the very end has nothing behind it.
    (done || (ended && length > 0)).then_some(length)
}

/// A member's name with its colon.
fn name(input: &[u8], place: &dyn Display) -> Result<Option<(String, usize)>, ItemFault> {
    let broken =
        |what: &dyn Display| ItemFault::new(format!("the JSON is broken at {place}: {what}"));
    if input[0] != b'"' {
        let found = char::from(input[0]);
        return Err(broken(&format_args!("a member's name is expected, `{found}` was found")));
    }
    let Some(length) = value_length(input, false) else { return Ok(None) };
    let name = serde_json::from_slice(&input[..length]).map_err(|error| broken(&error))?;
    let at = length + space(&input[length..]);
    match input.get(at) {
        None => Ok(None),
        Some(b':') => Ok(Some((name, at + 1))),
        Some(&byte) => {
            let found = char::from(byte);
            Err(broken(&format_args!("a colon is expected, `{found}` was found")))
        }
    }
}

fn space(input: &[u8]) -> usize {
    input.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The text, when it is a JSON value.
pub(crate) fn checked(text: &[u8], place: &dyn Display) -> Result<String, ItemFault> {
    match serde_json::from_slice::<Box<RawValue>>(text) {
        Ok(raw) => Ok(String::from(Box::<str>::from(raw))),
        Err(error) => Err(ItemFault::new(format!("{place} is no JSON value: {error}"))),
    }
}
