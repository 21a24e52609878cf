use std::collections::HashMap;

use crate::Position;

/// The places of one value and of everything in it.
#[derive(Debug)]
pub(crate) struct Mark {
    /// The key of a member; the value itself elsewhere.
    pub(crate) at: Position,
    pub(crate) value: Position,
    pub(crate) style: Style,
    pub(crate) children: Children,
}

/// How a text value is written, as far as finding a character of it needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    Literal,
    /// Not found again character by character: folded text, aliases, numbers.
    Other,
}

#[derive(Debug)]
pub(crate) enum Children {
    None,
    Items(Vec<Mark>),
    Members(HashMap<Box<str>, Mark>),
}

impl Mark {
    pub(crate) fn leaf(at: Position, style: Style) -> Mark {
        Mark { at, value: at, style, children: Children::None }
    }

    pub(crate) fn keyed(self, key: Position) -> Mark {
        Mark { at: key, ..self }
    }

    /// The mark of the pointer's value or of its nearest ancestor.
    pub(crate) fn find(&self, pointer: &str) -> &Mark {
        let mut mark = self;
        let Some(tokens) = pointer.strip_prefix('/') else {
            return mark;
        };
        for token in tokens.split('/') {
            let child = match &mark.children {
                Children::None => None,
                Children::Items(items) => {
                    token.parse::<usize>().ok().and_then(|index| items.get(index))
                }
                Children::Members(members) if token.contains('~') => {
                    members.get(token.replace("~1", "/").replace("~0", "~").as_str())
                }
                Children::Members(members) => members.get(token),
            };
            match child {
                Some(child) => mark = child,
                None => return mark,
            }
        }
        mark
    }
}
