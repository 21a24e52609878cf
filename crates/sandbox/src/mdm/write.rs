//! Answers as the record writers of the real server make them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::execute::{Execution, Found};
use super::query::{Column, Expr};
use super::schema::ENTITIES;
use super::shape::Query;
use super::table::Database;
use crate::http::{Chunks, Content};

/// What a streamed answer sends at a time.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Xml,
}

#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// JSON names in lower case.
    pub(crate) lower_case: bool,
    /// The name that wraps a row of a projection.
    pub(crate) wrapper: Arc<str>,
}

/// Rows on their way out.
pub(crate) struct Answer {
    database: Arc<Database>,
    query: Query,
    style: Style,
    found: Vec<Found>,
    next: usize,
    labels: Arc<Labels>,
    ended: bool,
}

/// The texts around a row's values, made once.
#[derive(Debug)]
pub(crate) struct Labels {
    open: String,
    /// With its comma and colon, or as an XML tag's name.
    names: Vec<String>,
    close: String,
    /// XML leaves null values out of whole records, but not out of projections.
    leave_out_empty: bool,
}

impl Answer {
    pub(crate) fn new(
        database: Arc<Database>,
        query: Query,
        style: Style,
        rotation: usize,
    ) -> Answer {
        let execution = Execution { query: &query, database: &database };
        let mut found = execution.rows(rotation);
        if let Some(columns) = &query.columns
            && columns.iter().any(|column| matches!(column.expr, Expr::Distinct(_)))
        {
            let mut seen = HashSet::new();
            found.retain(|rows| {
                let values: Vec<String> = columns
                    .iter()
                    .map(|column| execution.json(&column.expr, rows).into_owned())
                    .collect();
                seen.insert(values)
            });
        }
        let labels = Labels::of(&query, &style);
        Answer { database, query, style, found, next: 0, labels, ended: false }
    }

    /// A short answer whole, a long one piece by piece.
    pub(crate) fn into_content(mut self) -> Content {
        let first = self.next_chunk().unwrap_or_default();
        if self.ended {
            return Content::Whole(first);
        }
        Content::Streamed(Box::new(Continued { first: Some(first), rest: self }))
    }

    fn write_rows(&mut self, out: &mut String) {
        let execution = Execution { query: &self.query, database: &self.database };
        let json = self.style.format == Format::Json;
        if let Some(columns) = &self.query.columns
            && columns.iter().any(|column| column.expr.is_aggregate())
        {
            let values =
                columns.iter().map(|column| execution.aggregate(&column.expr, &self.found).into());
            self.labels.write(json, out, values);
            self.next = self.found.len();
            return;
        }
        while self.next < self.found.len() && out.len() < CHUNK_BYTES {
            let rows = &self.found[self.next];
            if json && self.next > 0 {
                out.push(',');
            }
            match &self.query.columns {
                Some(columns) => {
                    let values = columns.iter().map(|column| execution.json(&column.expr, rows));
                    self.labels.write(json, out, values);
                }
                None => {
                    let row = execution.answer_row(0, rows);
                    let fields = 0..ENTITIES[self.query.from[0]].fields.len();
                    let values =
                        fields.map(|field| row.map_or("\"\"", |row| row.json(field)).into());
                    self.labels.write(json, out, values);
                }
            }
            self.next += 1;
        }
    }
}

impl Chunks for Answer {
    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let json = self.style.format == Format::Json;
        let mut out = String::new();
        if self.next == 0 {
            out.push_str(if json { "[" } else { "<results>" });
        }
        self.write_rows(&mut out);
        if self.next == self.found.len() {
            out.push_str(if json { "]" } else { "</results>" });
            self.ended = true;
        }
        Some(out.into())
    }
}

struct Continued {
    first: Option<Bytes>,
    rest: Answer,
}

impl Chunks for Continued {
    fn next_chunk(&mut self) -> Option<Bytes> {
        self.first.take().or_else(|| self.rest.next_chunk())
    }
}

impl Labels {
    fn of(query: &Query, style: &Style) -> Arc<Labels> {
        if style.format == Format::Json && style.lower_case {
            let labels = query.labels.get_or_init(|| Arc::new(Labels::new(query, style)));
            return Arc::clone(labels);
        }
        Arc::new(Labels::new(query, style))
    }

    fn new(query: &Query, style: &Style) -> Labels {
        let cased = |name: &str| {
            if style.lower_case && style.format == Format::Json {
                name.to_lowercase()
            } else {
                name.to_owned()
            }
        };
        let entity = &ENTITIES[query.from[0]];
        let (wrapper, names): (String, Vec<String>) = match &query.columns {
            Some(columns) => {
                let names = columns.iter().map(|Column { name, .. }| cased(name)).collect();
                let wrapper = match style.format {
                    Format::Json => cased(&style.wrapper),
                    Format::Xml => "result".to_owned(),
                };
                (wrapper, names)
            }
            None => {
                (cased(entity.name), entity.fields.iter().map(|field| cased(field.name)).collect())
            }
        };
        match style.format {
            Format::Json => Labels {
                open: format!("{{{}:{{", quoted(&wrapper)),
                names: names
                    .iter()
                    .enumerate()
                    .map(|(at, name)| format!("{}{}:", if at > 0 { "," } else { "" }, quoted(name)))
                    .collect(),
                close: "}}".to_owned(),
                leave_out_empty: false,
            },
            Format::Xml => Labels {
                open: format!("<{wrapper}>"),
                names,
                close: format!("</{wrapper}>"),
                leave_out_empty: query.columns.is_none(),
            },
        }
    }

    fn write<'a>(
        &self,
        json: bool,
        out: &mut String,
        values: impl Iterator<Item = std::borrow::Cow<'a, str>>,
    ) {
        out.push_str(&self.open);
        for (name, value) in self.names.iter().zip(values) {
            if json {
                out.push_str(name);
                out.push_str(&value);
            } else {
                let text: String = serde_json::from_str(&value).unwrap_or_default();
                if text.is_empty() && self.leave_out_empty {
                    continue;
                }
                if text.is_empty() {
                    let _ = write!(out, "<{name}/>");
                } else {
                    let _ = write!(out, "<{name}>{}</{name}>", xml_escaped(&text));
                }
            }
        }
        out.push_str(&self.close);
    }
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

fn xml_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
