//! The paths that some pattern names, as a tree over the names between the dots.
//!
//! A dot in a member's name and a level of nesting come to the same, as on AWS: `{"a.b": 1}` and
//! `{"a": {"b": 1}}` both have the path `a.b`.

use std::collections::HashMap;

/// A field: a path that some condition is about.
pub(super) type FieldId = u32;
pub(super) type NodeId = u32;

pub(super) const ROOT: NodeId = 0;

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) field: Option<FieldId>,
    children: Children,
    /// Its place among its parent's children.
    pub(super) place: u32,
}

#[derive(Debug, Clone)]
enum Children {
    Few(Vec<(Box<[u8]>, NodeId)>),
    Many(HashMap<Box<[u8]>, NodeId, foldhash::fast::FixedState>),
}

impl Node {
    /// The number of names by which some path goes on from here.
    #[inline]
    pub(super) fn children(&self) -> usize {
        match &self.children {
            Children::Few(children) => children.len(),
            Children::Many(children) => children.len(),
        }
    }
}

impl Default for Children {
    fn default() -> Self {
        Children::Few(Vec::new())
    }
}

/// Children that are looked for one after the other rather than by hash.
const FEW: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Paths {
    nodes: Vec<Node>,
    fields: HashMap<Box<str>, FieldId, foldhash::fast::FixedState>,
}

impl Default for Paths {
    fn default() -> Self {
        Paths { nodes: vec![Node::default()], fields: HashMap::default() }
    }
}

impl Paths {
    pub(super) fn field(&self, path: &str) -> Option<FieldId> {
        self.fields.get(path).copied()
    }

    pub(super) fn fields(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn add(&mut self, path: &str) -> FieldId {
        if let Some(field) = self.field(path) {
            return field;
        }
        let field = self.fields.len() as FieldId;
        self.fields.insert(path.into(), field);
        let mut node = ROOT;
        for name in path.split('.') {
            node = match self.step(node, name.as_bytes()) {
                Some(child) => child,
                None => self.add_child(node, name),
            };
        }
        self.nodes[node as usize].field = Some(field);
        field
    }

    fn add_child(&mut self, parent: NodeId, name: &str) -> NodeId {
        let child = self.nodes.len() as NodeId;
        let place = self.node(parent).children() as u32;
        self.nodes.push(Node { place, ..Node::default() });
        let parent = &mut self.nodes[parent as usize];
        match &mut parent.children {
            Children::Few(children) if children.len() < FEW => {
                children.push((name.as_bytes().into(), child));
            }
            Children::Few(children) => {
                let mut many: HashMap<_, _, _> = children.drain(..).collect();
                many.insert(name.as_bytes().into(), child);
                parent.children = Children::Many(many);
            }
            Children::Many(children) => {
                children.insert(name.as_bytes().into(), child);
            }
        }
        child
    }

    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    fn step(&self, node: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.nodes[node as usize].children {
            Children::Few(children) => {
                children.iter().find(|(own, _)| **own == *name).map(|&(_, child)| child)
            }
            Children::Many(children) => children.get(name).copied(),
        }
    }

    /// Where a member with this name leads, if any path goes there.
    #[inline]
    pub(super) fn member(&self, node: NodeId, name: &[u8]) -> Option<Member> {
        match &self.nodes[node as usize].children {
            Children::Few(children) => {
                for (own, child) in children {
                    if own.len() == name.len() && own.first() == name.first() && **own == *name {
                        return Some(Member::Child(*child));
                    }
                    if name.get(own.len()) == Some(&b'.') && name.starts_with(own) {
                        return self.dotted(node, name);
                    }
                }
                None
            }
            Children::Many(children) => match children.get(name) {
                Some(&child) => Some(Member::Child(child)),
                None => self.dotted(node, name),
            },
        }
    }

    #[cold]
    fn dotted(&self, node: NodeId, name: &[u8]) -> Option<Member> {
        let mut names = name.split(|&b| b == b'.');
        names.try_fold(node, |node, name| self.step(node, name)).map(Member::Descendant)
    }
}

/// Where a member of an object leads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member {
    Child(NodeId),
    /// Past a child, for a name with a dot.
    Descendant(NodeId),
}
