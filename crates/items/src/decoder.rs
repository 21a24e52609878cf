//! Bytes in, items out, whatever the format.

use serde::{Deserialize, Serialize};
use stepbus_model::Limits;

use crate::config::Format;
use crate::csv::{Csv, CsvPosition};
use crate::fault::ItemFault;
use crate::json::{Json, JsonPosition};
use crate::lines::Lines;
use crate::parquet::RowPlace;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// JSON text.
    pub json: String,
    /// The member's name, where an object is mapped over.
    pub key: Option<String>,
}

/// What a decoder has to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Item(Item),
    /// Nothing before [`Decoder::feed`] or [`Decoder::finish`].
    More,
    End,
}

/// Where a decoder stands: one that begins here, fed from `offset` on, gives the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Of the object's bytes, as they are when nothing is compressed.
    pub offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Csv(CsvPosition),
    Json(JsonPosition),
    Lines(Lines),
    Row(RowPlace),
}

impl Position {
    /// Before a row of a Parquet file.
    #[must_use]
    pub fn of_row(place: RowPlace) -> Position {
        Position { offset: 0, state: Some(State::Row(place)) }
    }

    #[must_use]
    pub fn row(&self) -> RowPlace {
        match &self.state {
            Some(State::Row(place)) => *place,
            _ => RowPlace::default(),
        }
    }
}

/// What a format makes of the bytes before it.
pub(crate) enum Step {
    More,
    Skip(usize),
    Item(usize, Item),
    Done,
}

#[derive(Debug)]
pub struct Decoder {
    kind: Kind,
    limits: Limits,
    /// Bytes read, those from `start` on not yet used.
    buffer: Vec<u8>,
    start: usize,
    /// The place of `start` in the object.
    offset: u64,
    ended: bool,
    /// Too few bytes were there; it is of no use to look again before there are so many.
    wanted: usize,
}

#[derive(Debug)]
enum Kind {
    Csv(Box<Csv>),
    Json(Json),
    Lines(Lines),
    /// A format that cannot be read from beginning to end.
    Rows,
}

impl Decoder {
    #[must_use]
    pub fn new(format: &Format, limits: &Limits) -> Decoder {
        Decoder::at(format, Position::default(), limits)
    }

    /// A decoder that goes on from where another one stood.
    #[must_use]
    pub fn at(format: &Format, position: Position, limits: &Limits) -> Decoder {
        let kind = match (format, position.state) {
            (Format::Csv(settings), Some(State::Csv(at))) => {
                Kind::Csv(Box::new(Csv::new(settings, at, *limits)))
            }
            (Format::Csv(settings), _) => {
                Kind::Csv(Box::new(Csv::new(settings, CsvPosition::default(), *limits)))
            }
            (Format::Json(pointer), Some(State::Json(at))) => {
                Kind::Json(Json::new(pointer.clone(), at))
            }
            (Format::Json(pointer), _) => {
                Kind::Json(Json::new(pointer.clone(), JsonPosition::default()))
            }
            (Format::JsonLines, Some(State::Lines(at))) => Kind::Lines(at),
            (Format::JsonLines, _) => Kind::Lines(Lines::default()),
            (Format::Parquet, _) => Kind::Rows,
        };
        Decoder {
            kind,
            limits: *limits,
            buffer: Vec::new(),
            start: 0,
            offset: position.offset,
            ended: false,
            wanted: 1,
        }
    }

    /// The next bytes of the object.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// There are no more bytes.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// # Errors
    /// When the bytes do not fit the format, saying where.
    pub fn next_item(&mut self) -> Result<Next, ItemFault> {
        if self.offset == 0 && !self.begin()? {
            return Ok(Next::More);
        }
        loop {
            let unused = self.buffer.len() - self.start;
            if unused < self.wanted && !self.ended {
                return Ok(Next::More);
            }
            let input = &self.buffer[self.start..];
            let step = match &mut self.kind {
                Kind::Csv(csv) => csv.step(input, self.ended)?,
                Kind::Json(json) => json.step(input, self.ended)?,
                Kind::Lines(lines) => lines.step(input, self.ended)?,
                Kind::Rows => {
                    return Err(ItemFault::new(
                        "a Parquet file is not read as one stream of bytes",
                    ));
                }
            };
            match step {
                Step::More => {
                    self.check_size(unused)?;
                    // Doubled, so that a long item is not looked through again and again.
                    self.wanted = (unused * 2).max(1);
                    return Ok(Next::More);
                }
                Step::Skip(bytes) => self.advance(bytes),
                Step::Item(bytes, item) => {
                    self.check_size(item.json.len())?;
                    self.advance(bytes);
                    return Ok(Next::Item(item));
                }
                Step::Done => return Ok(Next::End),
            }
        }
    }

    /// Where reading goes on behind the last item given.
    #[must_use]
    pub fn position(&self) -> Position {
        let state = match &self.kind {
            Kind::Csv(csv) => State::Csv(csv.position()),
            Kind::Json(json) if !json.is_among_items() => return Position::default(),
            Kind::Json(json) => State::Json(json.position()),
            Kind::Lines(lines) => State::Lines(lines.clone()),
            Kind::Rows => return Position::default(),
        };
        Position { offset: self.offset, state: Some(state) }
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
        self.wanted = 1;
    }

    /// Looks past a byte order mark; false while too little is there to tell.
    fn begin(&mut self) -> Result<bool, ItemFault> {
        let input = &self.buffer[self.start..];
        if input.len() < BOM.len() && !self.ended {
            return Ok(false);
        }
        if input.starts_with(b"\xFF\xFE") || input.starts_with(b"\xFE\xFF") {
            return Err(ItemFault::new("the text is UTF-16; convert the file to UTF-8"));
        }
        if input.starts_with(BOM) {
            self.advance(BOM.len());
        }
        Ok(true)
    }

    fn check_size(&self, bytes: usize) -> Result<(), ItemFault> {
        let limit = self.limits.payload_bytes;
        if bytes <= limit {
            return Ok(());
        }
        let what = match &self.kind {
            Kind::Csv(csv) => csv.what(),
            Kind::Json(json) => json.what(),
            Kind::Lines(lines) => lines.what(),
            Kind::Rows => "the file".to_owned(),
        };
        Err(ItemFault::new(format!(
            "{what} is larger than {limit} bytes (limit payload_bytes); a quotation mark that is \
             never closed may be the reason"
        )))
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
