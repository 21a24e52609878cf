//! JSON Lines: a JSON value a line.

use serde::{Deserialize, Serialize};

use crate::decoder::{Item, Step};
use crate::fault::ItemFault;
use crate::json::checked;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Lines {
    /// Lines read.
    line: u64,
}

impl Lines {
    pub(crate) fn what(&self) -> String {
        format!("line {}", self.line + 1)
    }

    pub(crate) fn step(&mut self, input: &[u8], ended: bool) -> Result<Step, ItemFault> {
        let (line, bytes) = match memchr::memchr(b'\n', input) {
            Some(end) => (&input[..end], end + 1),
            None if !ended => return Ok(Step::More),
            None if input.is_empty() => return Ok(Step::Done),
            None => (input, input.len()),
        };
        let line = line.trim_ascii();
        if line.is_empty() {
            self.line += 1;
            return Ok(Step::Skip(bytes));
        }
        let json = checked(line, &format_args!("line {}", self.line + 1))?;
        self.line += 1;
        Ok(Step::Item(bytes, Item { json, key: None }))
    }
}
