//! Finds one character of a text value again in the source.

use crate::Position;
use crate::mark::{Mark, Style};

pub(crate) fn within(source: &str, mark: &Mark, text: &str, character: usize) -> Position {
    let found = match mark.style {
        Style::Plain => on_one_line(source, mark.value, text, character, 0),
        Style::Quoted => on_one_line(source, mark.value, text, character, 1),
        Style::Literal => in_literal(source, mark.value, text, character),
        Style::Other => None,
    };
    found.unwrap_or(mark.value)
}

/// Text that stands on one line as it is: no escapes, nothing folded.
fn on_one_line(
    source: &str,
    start: Position,
    text: &str,
    character: usize,
    quote: u32,
) -> Option<Position> {
    let line = line(source, start.line)?;
    let column = start.column + quote;
    let written = skip(line, column - 1)?;
    written
        .starts_with(text)
        .then(|| Position { line: start.line, column: column.saturating_add(clamp(character)) })
}

/// A block after `|`: the same lines, indented. It starts at its first line that is not blank.
fn in_literal(source: &str, start: Position, text: &str, character: usize) -> Option<Position> {
    let before: String = text.chars().take(character).collect();
    let row = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or("").chars().count();
    let wanted = text.split('\n').nth(row)?;
    let blank = text.chars().take_while(|c| *c == '\n').count();
    let number = start.line.checked_add(clamp(row.checked_sub(blank)?))?;
    let written = line(source, number)?;
    let indent = written.strip_suffix(wanted)?;
    if !indent.chars().all(|c| c == ' ') {
        return None;
    }
    Some(Position { line: number, column: clamp(indent.len() + column) + 1 })
}

fn line(source: &str, number: u32) -> Option<&str> {
    source.lines().nth(number as usize - 1)
}

fn skip(line: &str, characters: u32) -> Option<&str> {
    let (offset, _) = line.char_indices().nth(characters as usize)?;
    line.get(offset..)
}

fn clamp(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX / 2)
}
