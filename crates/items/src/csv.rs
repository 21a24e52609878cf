//! CSV as Step Functions reads it: fields are texts, a field may be quoted, quotes are doubled or
//! escaped with a backslash, what a row lacks is empty and what it has beyond the header is left
//! out.
//!
//! That is no dialect of the `csv` crate's: a doubled quote stands for one in a field that is not
//! quoted as well, and so does a backslash before a quote, a backslash or the delimiter; before
//! anything else the backslash goes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepbus_model::Limits;

use crate::config::CsvSettings;
use crate::decoder::{Item, Step};
use crate::fault::ItemFault;

#[derive(Debug)]
pub(crate) struct Csv {
    delimiter: u8,
    headers: Option<Headers>,
    limits: Limits,
    at: CsvPosition,
    record: Record,
}

/// Where a CSV decoder stands, its offset apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CsvPosition {
    /// Rows read, the header among them.
    row: u64,
    /// Lines read; a quoted field may hold several.
    line: u64,
    /// The header, where it was the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers: Option<Arc<[String]>>,
}

#[derive(Debug)]
struct Headers {
    /// Each with its quotes and a colon, as it stands in an item.
    members: Vec<String>,
    names: Arc<[String]>,
    first_row: bool,
}

/// The fields of a row, one after the other, and where each ends.
#[derive(Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    quoted: bool,
}

enum Row {
    More,
    Whole { bytes: usize, lines: u64 },
}

enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a closing quote.
    Closed,
}

/// What is wrong at a byte of a row.
struct Broken {
    at: usize,
    message: &'static str,
}

impl Csv {
    pub(crate) fn new(settings: &CsvSettings, at: CsvPosition, limits: Limits) -> Csv {
        let given = settings.headers.clone().map(|names| Headers::new(names.into(), false));
        let read = at.headers.clone().map(|names| Headers::new(names, true));
        Csv {
            delimiter: settings.delimiter.byte(),
            headers: given.or(read),
            limits,
            at,
            record: Record::default(),
        }
    }

    pub(crate) fn position(&self) -> CsvPosition {
        let first_row = self.headers.as_ref().filter(|headers| headers.first_row);
        CsvPosition { headers: first_row.map(|headers| headers.names.clone()), ..self.at.clone() }
    }

    pub(crate) fn what(&self) -> String {
        format!("the row that begins in line {}", self.at.line + 1)
    }

    pub(crate) fn step(&mut self, input: &[u8], ended: bool) -> Result<Step, ItemFault> {
        if input.is_empty() {
            return Ok(if ended { Step::Done } else { Step::More });
        }
        self.record.clear();
        let row = match read_row(input, ended, self.delimiter, &mut self.record) {
            Ok(row) => row,
            Err(broken) => return Err(self.broken(input, &broken)),
        };
        let Row::Whole { bytes, lines } = row else { return Ok(Step::More) };
        if self.record.is_blank() {
            self.at.line += lines;
            return Ok(Step::Skip(bytes));
        }
        let Some(headers) = &self.headers else {
            let names = self.names()?;
            check_headers(&names, &self.limits)?;
            self.headers = Some(Headers::new(names.into(), true));
            self.at.row += 1;
            self.at.line += lines;
            return Ok(Step::Skip(bytes));
        };
        let json = self.item(headers)?;
        self.at.row += 1;
        self.at.line += lines;
        Ok(Step::Item(bytes, Item { json, key: None }))
    }

    fn item(&self, headers: &Headers) -> Result<String, ItemFault> {
        let mut json = String::with_capacity(self.record.bytes.len() + headers.members.len() * 16);
        json.push('{');
        for (index, member) in headers.members.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(member);
            write_text(&mut json, self.field(index)?);
        }
        json.push('}');
        Ok(json)
    }

    fn names(&self) -> Result<Vec<String>, ItemFault> {
        let fields = 0..self.record.ends.len();
        fields.map(|index| self.field(index).map(str::to_owned)).collect()
    }

    fn field(&self, index: usize) -> Result<&str, ItemFault> {
        std::str::from_utf8(self.record.field(index)).map_err(|error| {
            let valid = &self.record.field(index)[..error.valid_up_to()];
            let characters = std::str::from_utf8(valid).map_or(0, |text| text.chars().count());
            ItemFault::new(format!(
                "{}, column {}: the text is not valid UTF-8 after its first {characters} \
                 characters; convert the file to UTF-8",
                self.place(self.at.line + 1),
                self.column(index),
            ))
        })
    }

    /// Rows are counted with the header, as a spreadsheet does.
    fn place(&self, line: u64) -> String {
        format!("row {} (line {line})", self.at.row + 1)
    }

    fn column(&self, index: usize) -> String {
        let name = self.headers.as_ref().and_then(|headers| headers.names.get(index));
        match name {
            Some(name) => format!("{} (`{name}`)", index + 1),
            None => (index + 1).to_string(),
        }
    }

    fn broken(&self, input: &[u8], broken: &Broken) -> ItemFault {
        let before = &input[..broken.at];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let lines = memchr::memchr_iter(b'\n', before).count() as u64;
        let characters = String::from_utf8_lossy(&before[line_start..]).chars().count();
        ItemFault::new(format!(
            "{}, column {}, character {}: {}",
            self.place(self.at.line + lines + 1),
            self.column(self.record.ends.len()),
            characters + 1,
            broken.message,
        ))
    }
}

impl Headers {
    fn new(names: Arc<[String]>, first_row: bool) -> Headers {
        let members = names
            .iter()
            .map(|name| {
                let mut member = String::with_capacity(name.len() + 3);
                write_text(&mut member, name);
                member.push(':');
                member
            })
            .collect();
        Headers { members, names, first_row }
    }
}

impl Record {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.quoted = false;
    }

    fn end_field(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Empty where the row has no such field.
    fn field(&self, index: usize) -> &[u8] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    /// An empty line.
    fn is_blank(&self) -> bool {
        self.ends.len() == 1 && self.bytes.is_empty() && !self.quoted
    }

    /// Whether the field that is being read holds nothing but white space.
    fn only_space(&self) -> bool {
        let start = self.ends.last().copied().unwrap_or(0);
        self.bytes[start..].iter().all(|byte| matches!(byte, b' ' | b'\t'))
    }

    fn drop_field(&mut self) {
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }
}

/// Names once each, and not too many of them.
pub(crate) fn check_headers(names: &[String], limits: &Limits) -> Result<(), ItemFault> {
    let bytes = names.iter().map(String::len).sum::<usize>() + names.len().saturating_sub(1);
    if bytes > limits.csv_header_bytes {
        return Err(ItemFault::new(format!(
            "The CSV header has {bytes} bytes, allowed are {} (limit csv_header_bytes)",
            limits.csv_header_bytes
        )));
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ItemFault::new("CSV headers cannot contain duplicates."));
    }
    Ok(())
}

fn read_row(input: &[u8], ended: bool, delimiter: u8, record: &mut Record) -> Result<Row, Broken> {
    const UNTERMINATED: &str = "the field that is quoted from here on has no closing quotation \
                                mark; quotation marks within it must be doubled";
    const WITHIN: &str = "a quotation mark within a field that is not quoted; double it, and put \
                          the field in quotation marks";
    const BEHIND: &str = "text behind the closing quotation mark of a field; quotation marks \
                          within a quoted field must be doubled";
    let mut state = State::FieldStart;
    let (mut at, mut lines, mut opened) = (0, 0, 0);
    while let Some(&byte) = input.get(at) {
        let next = input.get(at + 1).copied();
        // What follows decides about these, so it must be there.
        if next.is_none() && !ended && matches!(byte, b'"' | b'\\' | b'\r') {
            return Ok(Row::More);
        }
        let ends_line = matches!(byte, b'\n' | b'\r');
        let width = if byte == b'\r' && next == Some(b'\n') { 2 } else { 1 };
        match state {
            State::Quoted => match byte {
                b'"' if next == Some(b'"') => {
                    record.bytes.push(b'"');
                    at += 1;
                }
                b'"' => state = State::Closed,
                b'\\' => at += escape(next, delimiter, record),
                _ => {
                    record.bytes.push(byte);
                    lines += u64::from(byte == b'\n');
                }
            },
            _ if byte == delimiter => {
                record.end_field();
                state = State::FieldStart;
            }
            _ if ends_line => {
                record.end_field();
                return Ok(Row::Whole { bytes: at + width, lines: lines + 1 });
            }
            State::Closed if matches!(byte, b' ' | b'\t') => {}
            State::Closed => return Err(Broken { at, message: BEHIND }),
            State::FieldStart | State::Plain => match byte {
                b'"' if matches!(state, State::FieldStart) || record.only_space() => {
                    record.drop_field();
                    record.quoted = true;
                    (state, opened) = (State::Quoted, at);
                }
                b'"' if next == Some(b'"') => {
                    record.bytes.push(b'"');
                    at += 1;
                    state = State::Plain;
                }
                b'"' => return Err(Broken { at, message: WITHIN }),
                b'\\' => {
                    at += escape(next, delimiter, record);
                    state = State::Plain;
                }
                _ => {
                    record.bytes.push(byte);
                    state = State::Plain;
                }
            },
        }
        at += 1;
    }
    if !ended {
        return Ok(Row::More);
    }
    if matches!(state, State::Quoted) {
        return Err(Broken { at: opened, message: UNTERMINATED });
    }
    record.end_field();
    Ok(Row::Whole { bytes: at, lines: lines + 1 })
}

/// Takes what a backslash escapes; one before anything else is dropped. Gives how many bytes more
/// were taken.
fn escape(next: Option<u8>, delimiter: u8, record: &mut Record) -> usize {
    match next {
        Some(byte) if byte == b'"' || byte == b'\\' || byte == delimiter => {
            record.bytes.push(byte);
            1
        }
        _ => 0,
    }
}

/// A JSON text.
pub(crate) fn write_text(out: &mut String, text: &str) {
    let plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\');
    if text.as_bytes().iter().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}
