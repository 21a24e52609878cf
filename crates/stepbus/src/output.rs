//! What is said to people and programs: answers on stdout, everything else on stderr.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where it is done")]

use std::io::{IsTerminal, Read, Write, stdout};

use anyhow::Context;
use serde::Serialize;
use stepbus_model::Timestamp;

/// A line of the answer. A reader that went away is no error of ours.
pub(crate) fn line(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// A text that brings its own line ends.
pub(crate) fn text(text: &str) {
    let _ = write!(stdout(), "{text}");
}

pub(crate) fn json(value: &impl Serialize) {
    let text = if stdout().is_terminal() {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    line(&text.unwrap_or_default());
}

pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

pub(crate) fn error(text: &str) {
    eprintln!("error: {text}");
}

/// An argument that `-` has read from standard input.
pub(crate) fn argument(argument: String) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

/// Columns as wide as their widest cell; numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn pad(cell: &str, width: usize) -> String {
    let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
    let number = !cell.is_empty()
        && cell.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | '-'));
    if number { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
}

/// 12345 as `12,345`.
pub(crate) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A time of the store, which counts milliseconds.
pub(crate) fn time(value: &serde_json::Value) -> String {
    value.as_i64().map_or_else(|| "-".to_owned(), |at| Timestamp(at).to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_stand_to_the_right() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(-1_234), "-1,234");
        let rows = [vec!["crm".to_owned(), count(5_000)], vec!["erp".to_owned(), count(7)]];
        assert_eq!(
            table(&["target", "sent"], &rows),
            "target  sent\ncrm     5,000\nerp         7\n"
        );
    }
}
