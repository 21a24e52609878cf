use std::collections::HashMap;

use crate::{Position, join};

/// The places of one value and of everything in it.
#[derive(Debug, Clone)]
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

#[derive(Debug, Clone)]
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

    /// The pointer of the innermost part that starts at or before this place.
    pub(crate) fn pointer_at(&self, position: Position) -> String {
        let mut pointer = String::new();
        let mut mark = self;
        loop {
            let inner: Option<(String, &Mark)> = match &mark.children {
                Children::None => None,
                Children::Items(items) => {
                    let index = items.partition_point(|item| item.at <= position);
                    index.checked_sub(1).map(|index| (index.to_string(), &items[index]))
                }
                Children::Members(members) => members
                    .iter()
                    .filter(|(_, member)| member.at <= position)
                    .max_by_key(|(_, member)| member.at)
                    .map(|(key, member)| (key.to_string(), member)),
            };
            let Some((token, child)) = inner else { return pointer };
            pointer = join(&pointer, token);
            mark = child;
        }
    }
}
