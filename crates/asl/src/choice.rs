//! The comparisons of a Choice state in JSONPath mode.

use crate::definition::fields::Fields;
use crate::diagnostic::Problems;
use crate::expression::Frame;
use crate::fault::Fault;

#[derive(Debug)]
pub(crate) enum Comparison {}

impl Comparison {
    pub(crate) fn parse(
        fields: &Fields<'_>,
        _top: bool,
        problems: &mut Problems<'_>,
    ) -> Option<Comparison> {
        problems.schema(&fields.at, "JSONPath is not offered").hint("use QueryLanguage: JSONata");
        None
    }

    pub(crate) fn holds(&self, _frame: &Frame<'_>) -> Result<bool, Fault> {
        match *self {}
    }
}
