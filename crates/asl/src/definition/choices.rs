//! The rules of a Choice state.

use serde_json::Value;

use super::Builder;
use super::fields::{Fields, In, Known};
use super::flow::Flow;
use super::model::{Choice, Kind, Language, Rule, StateId, Test};
use super::values::Scope;
use crate::choice;
use crate::diagnostic::At;
use crate::expression::is_expression;

const JSONATA_RULE: Known = &[
    ("Comment", In::Both),
    ("Condition", In::Jsonata),
    ("Next", In::Both),
    ("Assign", In::Both),
    ("Output", In::Jsonata),
    ("Variable", In::JsonPath),
    ("And", In::JsonPath),
    ("Or", In::JsonPath),
    ("Not", In::JsonPath),
];

impl Builder<'_> {
    pub(super) fn choice(
        &mut self,
        id: StateId,
        fields: &Fields<'_>,
        scope: Scope,
        flow: &mut Flow,
    ) -> Option<Kind> {
        let at = fields.at("Choices");
        let default = match fields.has("Default") {
            true => Some(self.target("Default", "Next", id, fields, flow)),
            false => None,
        };
        let rules = fields.array("Choices", &mut self.problems)?;
        if rules.is_empty() {
            self.problems.schema(&at, "Value cannot be empty");
        }
        let mut parsed = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            parsed.push(self.rule(id, rule, at.item(index), scope, flow));
        }
        let rules = parsed.into_iter().collect::<Option<Vec<_>>>()?;
        let default = match default {
            Some(found) => Some(found?),
            None => None,
        };
        Some(Kind::Choice(Box::new(Choice { rules, default })))
    }

    fn rule(
        &mut self,
        id: StateId,
        value: &Value,
        at: At,
        scope: Scope,
        flow: &mut Flow,
    ) -> Option<Rule> {
        let fields = Fields::of(value, at, &mut self.problems)?;
        let next = match fields.has("Next") {
            true => self.target("Next", "Next", id, &fields, flow),
            false => {
                self.problems.schema(&fields.at, "These fields are required: [Next]");
                None
            }
        };
        let assign = self.assign(&fields, scope);
        let (test, output) = match scope.language {
            Language::Jsonata => {
                fields.check(JSONATA_RULE, &["Condition"], scope.language, &mut self.problems);
                let output = self.payload("Output", &fields, scope);
                (self.condition(&fields, scope), output)
            }
            Language::JsonPath => {
                let test = choice::Comparison::parse(&fields, &mut self.problems);
                (test.map(Test::Compare), None)
            }
        };
        Some(Rule { test: test?, next: next?, output, assign })
    }

    fn condition(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Test> {
        let value = fields.get("Condition")?;
        let at = fields.at("Condition");
        match value {
            Value::Bool(_) => {}
            Value::String(text) if is_expression(text) => {}
            other => {
                let written = other.as_str().map(|text| text.trim_matches(['{', '}', '%', ' ']));
                let written = written.unwrap_or("$states.input.count > 0");
                self.problems
                    .schema(&at, "Condition must be a boolean or a JSONata expression")
                    .hint(format!("write it as `{{% {written} %}}`"));
                return None;
            }
        }
        self.template(value, &at, scope).map(Test::Condition)
    }
}
