//! The `$names` an expression mentions, and how much of each value it can reach.

use std::collections::{BTreeMap, BTreeSet};

use jsonata_core::ast::{AstNode, BinaryOp, PathStep};

use super::functions;
use super::tree::for_each_child;

/// What an expression can reach of a variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    Whole,
    /// Every use is a path that begins with one of these member names.
    Members(BTreeSet<String>),
}

impl Need {
    fn add(&mut self, member: Option<&str>) {
        match (&mut *self, member) {
            (Need::Members(members), Some(member)) => {
                if !members.contains(member) {
                    members.insert(member.to_owned());
                }
            }
            (_, None) => *self = Need::Whole,
            (Need::Whole, Some(_)) => {}
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Every name written with `$`, bound inside the expression or not.
    pub(crate) mentioned: BTreeMap<String, Need>,
    /// Names that something inside the expression binds.
    pub(crate) bound: BTreeSet<String>,
    /// Variables that nothing inside the expression binds and that are no function's name.
    pub(crate) free: BTreeSet<String>,
}

impl Names {
    pub(crate) fn of(node: &AstNode) -> Names {
        let mut walk = Walk { names: Names::default(), bound: Vec::new() };
        walk.node(node);
        walk.names
    }
}

struct Walk<'a> {
    names: Names,
    /// Names bound where the walk stands, innermost last.
    bound: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &'a AstNode) {
        match node {
            AstNode::Variable(name) => self.variable(name, None),
            AstNode::Function { name, .. } => {
                self.mention(name, None);
                for_each_child(node, &mut |child| self.node(child));
            }
            AstNode::Path { steps } => self.path(steps),
            AstNode::Block(_) => self.scoped(node),
            AstNode::Lambda { params, body, .. } => {
                let outside = self.bound.len();
                self.bound.extend(params.iter().map(String::as_str));
                self.names.bound.extend(params.iter().cloned());
                self.node(body);
                self.bound.truncate(outside);
            }
            AstNode::Binary { op: BinaryOp::ColonEqual, lhs, rhs } => {
                // A function sees its own name; any other value is computed before its name is.
                let early = matches!(**rhs, AstNode::Lambda { .. });
                if !early {
                    self.node(rhs);
                }
                if let AstNode::Variable(name) = &**lhs {
                    self.mention(name, None);
                    self.bound.push(name);
                    self.names.bound.insert(name.clone());
                }
                if early {
                    self.node(rhs);
                }
            }
            // The names a path binds with `@` and `#` are seen by what groups or sorts it.
            AstNode::ObjectTransform { .. } | AstNode::Sort { .. } => self.scoped(node),
            node => for_each_child(node, &mut |child| self.node(child)),
        }
    }

    fn scoped(&mut self, node: &'a AstNode) {
        let outside = self.bound.len();
        for_each_child(node, &mut |child| self.node(child));
        self.bound.truncate(outside);
    }

    fn path(&mut self, steps: &'a [PathStep]) {
        for (index, step) in steps.iter().enumerate() {
            match &step.node {
                AstNode::Variable(name) if index == 0 => {
                    self.variable(name, plain_member(step, steps.get(1)));
                }
                node => self.node(node),
            }
            self.bound.extend(step.focus.as_deref());
            self.bound.extend(step.index_var.as_deref());
            self.names.bound.extend(step.focus.iter().chain(&step.index_var).cloned());
            for stage in &step.stages {
                match stage {
                    jsonata_core::ast::Stage::Filter(predicate) => self.node(predicate),
                    jsonata_core::ast::Stage::Index(name) => self.bound.push(name),
                    jsonata_core::ast::Stage::KeepArray => {}
                }
            }
        }
    }

    fn variable(&mut self, name: &'a str, member: Option<&str>) {
        if name.is_empty() {
            return;
        }
        self.mention(name, member);
        if !self.bound.contains(&name) && !functions::is_function(name) {
            self.names.free.insert(name.to_owned());
        }
    }

    fn mention(&mut self, name: &str, member: Option<&str>) {
        match self.names.mentioned.get_mut(name) {
            Some(need) => need.add(member),
            None => {
                let need = member.map_or(Need::Whole, |member| {
                    Need::Members(BTreeSet::from([member.to_owned()]))
                });
                self.names.mentioned.insert(name.to_owned(), need);
            }
        }
    }
}

/// The member that `$variable.member` goes on to, when the variable's value is used for nothing
/// else.
pub(crate) fn plain_member<'a>(variable: &PathStep, next: Option<&'a PathStep>) -> Option<&'a str> {
    let next = next?;
    match &next.node {
        AstNode::Name(name) if is_plain(variable) && next.ancestor_label.is_none() => Some(name),
        _ => None,
    }
}

/// A step that only selects: no predicate, no binding, no ancestor kept.
pub(crate) fn is_plain(step: &PathStep) -> bool {
    step.stages.is_empty()
        && step.focus.is_none()
        && step.index_var.is_none()
        && step.ancestor_label.is_none()
        && !step.is_tuple
        && !step.inner_tuple
}
