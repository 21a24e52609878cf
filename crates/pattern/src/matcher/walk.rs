//! Finds an event's values at the paths that patterns name, passing over everything else.

use super::blocks::Blocks;
use super::paths::{FieldId, Member, NodeId, Paths, ROOT};
use crate::error::InvalidEvent;
use crate::flatten::Element;
use crate::json;
use crate::value::number::{self, Approximate};
use crate::value::{IpAddress, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text of the event.
    String,
    /// Text that had escapes, among the texts of the walk.
    Unescaped,
    Number,
    True,
    False,
    Null,
}

/// A value at a path that some pattern names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) field: FieldId,
    kind: Kind,
    start: u32,
    end: u32,
    /// The elements of arrays that it is in; [`NOWHERE`] for none.
    pub(super) place: PlaceId,
    pub(super) number: Option<Approximate>,
    pub(super) ip: Option<IpAddress>,
    /// The next leaf of the same field.
    pub(super) next: Option<u32>,
}

/// A way through arrays, by its index among the places of a walk.
pub(super) type PlaceId = u32;
pub(super) const NOWHERE: PlaceId = 0;

/// What comparing a field's values takes beside their text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wants {
    pub(super) number: bool,
    pub(super) ip: bool,
}

/// What a walk finds. Kept between walks for its memory.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) leaves: Vec<Leaf>,
    /// For each field its first and its last leaf.
    heads: Vec<Option<(u32, u32)>>,
    seen: Vec<FieldId>,
    texts: Vec<u8>,
    places: Vec<(u32, u32)>,
    elements: Vec<Element>,
    arrays: u32,
}

impl Found {
    pub(super) fn clear(&mut self, fields: usize) {
        for &field in &self.seen {
            self.heads[field as usize] = None;
        }
        self.heads.resize(fields.max(self.heads.len()), None);
        self.seen.clear();
        self.leaves.clear();
        self.texts.clear();
        self.places.clear();
        self.places.push((0, 0));
        self.elements.clear();
        self.arrays = 0;
    }

    #[inline]
    pub(super) fn value<'a>(&'a self, leaf: &Leaf, event: &'a [u8]) -> Value<'a> {
        let range = leaf.start as usize..leaf.end as usize;
        match leaf.kind {
            Kind::String => Value::String(&event[range]),
            Kind::Unescaped => Value::String(&self.texts[range]),
            Kind::Number => Value::Number(&event[range]),
            Kind::True => Value::True,
            Kind::False => Value::False,
            Kind::Null => Value::Null,
        }
    }

    /// The first of a field's leaves; the others follow by `next`.
    #[inline]
    pub(super) fn first(&self, field: FieldId) -> Option<u32> {
        self.heads[field as usize].map(|(first, _)| first)
    }

    /// The elements on the way to a place, from the outermost inwards.
    pub(super) fn elements(&self, place: PlaceId) -> &[Element] {
        let (start, end) = self.places[place as usize];
        &self.elements[start as usize..end as usize]
    }

    fn enter(&mut self, outer: PlaceId, array: u32, index: u32) -> PlaceId {
        let (start, end) = self.places[outer as usize];
        let from = self.elements.len() as u32;
        self.elements.extend_from_within(start as usize..end as usize);
        self.elements.push(Element { array, index });
        self.places.push((from, self.elements.len() as u32));
        (self.places.len() - 1) as PlaceId
    }

    #[inline]
    fn push(&mut self, leaf: Leaf) {
        let at = self.leaves.len() as u32;
        let head = &mut self.heads[leaf.field as usize];
        match head {
            None => {
                *head = Some((at, at));
                self.seen.push(leaf.field);
            }
            Some((_, last)) => {
                self.leaves[*last as usize].next = Some(at);
                *last = at;
            }
        }
        self.leaves.push(leaf);
    }
}

pub(super) struct Walk<'a> {
    pub(super) event: &'a [u8],
    pub(super) blocks: &'a mut Blocks,
    pub(super) paths: &'a Paths,
    pub(super) wants: &'a [Wants],
    pub(super) found: &'a mut Found,
    /// Containers that may yet be entered.
    pub(super) depth: usize,
}

type Result<T> = std::result::Result<T, InvalidEvent>;

/// How a walk through a value ended.
enum End {
    /// Here, behind the value, and some path is still to be found.
    At(usize),
    /// Here, behind the value, with a value found for each path that goes there.
    Complete(usize),
    /// The same, before the value's end.
    Early,
}

/// Which children of a node have been met in one object.
struct Missing {
    left: usize,
    met: u64,
}

impl Missing {
    fn new(children: usize) -> Missing {
        // Objects of which more is asked are read to their end.
        let left = if children <= u64::BITS as usize { children } else { usize::MAX };
        Missing { left, met: 0 }
    }

    /// Whether all have been met now.
    #[inline]
    fn meet(&mut self, place: u32) -> bool {
        let bit = 1 << (place % u64::BITS);
        if self.met & bit == 0 {
            self.met |= bit;
            self.left -= 1;
        }
        self.left == 0
    }
}

impl Walk<'_> {
    pub(super) fn run(&mut self) -> Result<()> {
        let start = self.skip_space(0);
        if self.event.get(start) != Some(&b'{') {
            return Err(self.error("Event must be a JSON object", start));
        }
        if let End::At(end) | End::Complete(end) = self.object(start, ROOT, NOWHERE)? {
            let end = self.skip_space(end);
            if end < self.event.len() {
                return Err(self.error("expected the end of the text", end));
            }
        }
        Ok(())
    }

    /// Walks the object that opens at `at`.
    fn object(&mut self, at: usize, node: NodeId, place: PlaceId) -> Result<End> {
        self.go_in(at)?;
        let mut missing = Missing::new(self.paths.node(node).children());
        let mut at = self.skip_space(at + 1);
        if self.event.get(at) == Some(&b'}') {
            self.depth += 1;
            return Ok(End::At(at + 1));
        }
        loop {
            if self.event.get(at) != Some(&b'"') {
                return Err(self.error("was expecting double-quote to start field name", at));
            }
            let end = self.end_of_string(at)?;
            let member = self.member(node, at + 1, end - 1)?;
            at = self.skip_space(end);
            if self.event.get(at) != Some(&b':') {
                return Err(
                    self.error("was expecting a colon to separate field name and value", at)
                );
            }
            at = self.skip_space(at + 1);
            let end = match member {
                None => End::At(self.skip_value(at)?),
                Some(Member::Descendant(node)) => self.value(at, node, place)?,
                Some(Member::Child(node)) => {
                    let end = self.value(at, node, place)?;
                    if !matches!(end, End::At(_)) && missing.meet(self.paths.node(node).place) {
                        self.depth += 1;
                        return Ok(End::Early);
                    }
                    end
                }
            };
            at = self.end_of_value(at, &end)?;
            at = self.skip_space(at);
            match self.event.get(at) {
                Some(b',') => at = self.skip_space(at + 1),
                Some(b'}') => break,
                _ => {
                    return Err(self.error("was expecting comma to separate Object entries", at));
                }
            }
        }
        self.depth += 1;
        Ok(End::At(at + 1))
    }

    #[inline]
    fn end_of_value(&mut self, start: usize, end: &End) -> Result<usize> {
        match *end {
            End::At(end) | End::Complete(end) => Ok(end),
            End::Early => self.skip_value(start),
        }
    }

    fn go_in(&mut self, at: usize) -> Result<()> {
        match self.depth.checked_sub(1) {
            Some(left) => self.depth = left,
            None => return Err(self.error("Document nesting depth exceeds the maximum", at)),
        }
        Ok(())
    }

    #[inline]
    fn member(&mut self, node: NodeId, start: usize, end: usize) -> Result<Option<Member>> {
        let name = &self.event[start..end];
        if !self.blocks.has_escapes() || memchr::memchr(b'\\', name).is_none() {
            return Ok(self.paths.member(node, name));
        }
        let name = self.unescape(start, end)?;
        Ok(self.paths.member(node, name.as_bytes()))
    }

    fn array(&mut self, at: usize, node: NodeId, place: PlaceId) -> Result<End> {
        self.go_in(at)?;
        let array = self.found.arrays;
        self.found.arrays += 1;
        let mut at = self.skip_space(at + 1);
        if self.event.get(at) == Some(&b']') {
            self.depth += 1;
            return Ok(End::At(at + 1));
        }
        let inner = self.paths.node(node).children() > 0;
        let mut complete = false;
        for index in 0.. {
            let end = match self.event.get(at) {
                Some(b'{') if !inner => End::At(self.skip_value(at)?),
                Some(b'{' | b'[') => {
                    let element = self.found.enter(place, array, index);
                    self.value(at, node, element)?
                }
                _ => self.value(at, node, place)?,
            };
            complete |= !matches!(end, End::At(_));
            at = self.end_of_value(at, &end)?;
            at = self.skip_space(at);
            match self.event.get(at) {
                Some(b',') => at = self.skip_space(at + 1),
                Some(b']') => break,
                _ => {
                    return Err(self.error("was expecting comma to separate Array entries", at));
                }
            }
        }
        self.depth += 1;
        Ok(if complete { End::Complete(at + 1) } else { End::At(at + 1) })
    }

    #[inline]
    fn value(&mut self, at: usize, node: NodeId, place: PlaceId) -> Result<End> {
        let target = self.paths.node(node);
        let inner = target.children() > 0;
        match (self.event.get(at), target.field) {
            (Some(b'{'), _) if inner => self.object(at, node, place),
            (Some(b'['), _) => self.array(at, node, place),
            (Some(b'{'), _) | (_, None) => self.skip_value(at).map(End::At),
            (_, Some(field)) => {
                let end = self.leaf(at, field, place)?;
                Ok(if inner { End::At(end) } else { End::Complete(end) })
            }
        }
    }

    #[inline]
    fn leaf(&mut self, at: usize, field: FieldId, place: PlaceId) -> Result<usize> {
        let mut leaf = Leaf {
            field,
            kind: Kind::String,
            start: at as u32,
            end: at as u32,
            place,
            number: None,
            ip: None,
            next: None,
        };
        let wants = self.wants[field as usize];
        let end = if self.event.get(at) == Some(&b'"') {
            let end = self.end_of_string(at)?;
            self.string_leaf(&mut leaf, at + 1, end - 1, wants)?;
            end
        } else {
            let end = self.end_of_word(at);
            leaf.end = end as u32;
            let word = &self.event[at..end];
            if wants.number {
                leaf.number = number::approximate(word);
            }
            leaf.kind = match word {
                _ if leaf.number.is_some() => Kind::Number,
                b"true" => Kind::True,
                b"false" => Kind::False,
                b"null" => Kind::Null,
                _ if json::is_number(word) => Kind::Number,
                _ => return Err(self.error("expected a valid value", at)),
            };
            end
        };
        self.found.push(leaf);
        Ok(end)
    }

    #[inline]
    fn string_leaf(
        &mut self,
        leaf: &mut Leaf,
        start: usize,
        end: usize,
        wants: Wants,
    ) -> Result<()> {
        let text = &self.event[start..end];
        (leaf.start, leaf.end) = (start as u32, end as u32);
        if wants.ip {
            leaf.ip = IpAddress::read(text);
        }
        if self.blocks.has_escapes() && memchr::memchr(b'\\', text).is_some() {
            let text = self.unescape(start, end)?;
            leaf.kind = Kind::Unescaped;
            leaf.start = self.found.texts.len() as u32;
            self.found.texts.extend_from_slice(text.as_bytes());
            leaf.end = self.found.texts.len() as u32;
            if wants.ip {
                leaf.ip = IpAddress::read(text.as_bytes());
            }
        }
        Ok(())
    }

    #[cold]
    fn unescape(&self, start: usize, end: usize) -> Result<String> {
        json::unescape(&self.event[start..end]).map_err(|reason| self.error(&reason, start))
    }

    /// Passes over a value that no pattern is about.
    #[inline]
    fn skip_value(&mut self, at: usize) -> Result<usize> {
        match self.event.get(at) {
            Some(b'"') => self.end_of_string(at),
            Some(b'{' | b'[') => match self.blocks.end_of_container(self.event, at) {
                Some(end) => Ok(end),
                None => Err(self.error("an object or array is not closed", at)),
            },
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Ok(self.end_of_word(at)),
            _ => Err(self.error("expected a valid value", at)),
        }
    }

    #[inline]
    fn end_of_string(&mut self, at: usize) -> Result<usize> {
        match self.blocks.next_quote(self.event, at + 1) {
            Some(quote) => Ok(quote + 1),
            None => Err(self.error("a string is not closed", at)),
        }
    }

    #[inline]
    fn end_of_word(&self, at: usize) -> usize {
        let rest = &self.event[at..];
        let length = rest.iter().position(|b| {
            matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'{' | b'[')
        });
        at + length.unwrap_or(rest.len())
    }

    #[inline]
    fn skip_space(&self, at: usize) -> usize {
        let mut at = at;
        while matches!(self.event.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            at += 1;
        }
        at
    }

    #[cold]
    fn error(&self, reason: &str, at: usize) -> InvalidEvent {
        InvalidEvent::at(reason, self.event, at)
    }
}
