//! An upper bound of what an expression costs, known from its text and the size of its data.
//!
//! Most expressions of a workflow select, compare, join and build: their cost is bounded by a
//! polynomial in the size of their data. The polynomial is found once, when the expression is
//! compiled; where it stays below the budget of steps, the evaluator runs without a meter.

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};
use jsonata_core::value::with_stack;

/// A sum of terms `factor · n^data · s^item`, with `n` the size of all data and `s` the size of
/// the item at hand; both are at least 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound(Vec<Term>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Term {
    factor: f64,
    data: u8,
    item: u8,
}

/// Beyond this degree a bound says nothing useful.
const DEGREE: u8 = 4;
const TERMS: usize = 24;

impl Bound {
    fn constant(factor: f64) -> Bound {
        Bound(vec![Term { factor, data: 0, item: 0 }])
    }

    fn data() -> Bound {
        Bound(vec![Term { factor: 1.0, data: 1, item: 0 }])
    }

    fn item() -> Bound {
        Bound(vec![Term { factor: 1.0, data: 0, item: 1 }])
    }

    fn add(&mut self, other: &Bound) {
        for term in &other.0 {
            match self.0.iter_mut().find(|own| (own.data, own.item) == (term.data, term.item)) {
                Some(own) => own.factor += term.factor,
                None => self.0.push(*term),
            }
        }
    }

    fn times(&self, other: &Bound) -> Option<Bound> {
        let mut product = Bound(Vec::new());
        for one in &self.0 {
            for two in &other.0 {
                let term = Term {
                    factor: one.factor * two.factor,
                    data: one.data + two.data,
                    item: one.item + two.item,
                };
                if term.data + term.item > DEGREE || product.0.len() > TERMS {
                    return None;
                }
                product.add(&Bound(vec![term]));
            }
        }
        Some(product)
    }

    /// The sum over items whose sizes add up to `total`, of a bound for one of them. Powers of the
    /// items add up to at most that power of the total; and there are at most `total` items.
    fn over(&self, total: &Bound) -> Option<Bound> {
        let mut sum = Bound(Vec::new());
        for term in &self.0 {
            let mut part = Bound(vec![Term { item: 0, ..*term }]);
            for _ in 0..term.item.max(1) {
                part = part.times(total)?;
            }
            sum.add(&part);
        }
        Some(sum)
    }

    /// The same with the item's size replaced by a bound that knows only the data's.
    fn outside(&self, item: &Bound) -> Option<Bound> {
        let mut sum = Bound(Vec::new());
        for term in &self.0 {
            let mut part = Bound(vec![Term { item: 0, ..*term }]);
            for _ in 0..term.item {
                part = part.times(item)?;
            }
            sum.add(&part);
        }
        Some(sum)
    }

    fn is_constant(&self) -> bool {
        self.0.iter().all(|term| term.data + term.item == 0)
    }

    /// The bound for data of this size.
    pub(super) fn at(&self, size: u64) -> f64 {
        let size = size.max(1) as f64;
        self.0.iter().map(|term| term.factor * size.powi(i32::from(term.data + term.item))).sum()
    }
}

/// What evaluating a node costs and how large its value is.
struct Cost {
    work: Bound,
    size: Bound,
}

/// Bounds the work of `tree` where `$` is undefined at its top; `None` where its text alone does
/// not.
pub(super) fn bound(tree: &AstNode) -> Option<Bound> {
    let nothing = Bound::constant(1.0);
    let mut walk = Walk { named: Vec::new(), context: nothing.clone(), item: nothing };
    Some(walk.node(tree)?.work)
}

struct Walk<'a> {
    /// Sizes of variables bound inside the expression.
    named: Vec<(&'a str, Bound)>,
    /// The size of `$`.
    context: Bound,
    /// What `s` is at most, as a bound in `n` alone.
    item: Bound,
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &'a AstNode) -> Option<Cost> {
        with_stack(|| match node {
            AstNode::String(text) => Some(leaf(text.len() as f64)),
            AstNode::Number(_) | AstNode::Boolean(_) | AstNode::Null | AstNode::Undefined => {
                Some(leaf(1.0))
            }
            AstNode::Name(_) => Some(self.read(self.context.clone())),
            AstNode::Variable(name) => Some(self.variable(name)),
            AstNode::ParentVariable(_) => Some(leaf(1.0)),
            AstNode::Path { steps } => self.path(steps),
            AstNode::Binary { op, lhs, rhs } => self.binary(*op, lhs, rhs),
            AstNode::Unary { operand, .. } => Some(scalar(self.node(operand)?)),
            AstNode::Array(items) => self.sum(items.iter()),
            AstNode::Object(pairs) => self.object(pairs),
            AstNode::Block(items) => self.block(items),
            AstNode::FunctionApplication(inner) => self.node(inner),
            AstNode::Conditional { condition, then_branch, else_branch } => {
                let parts = [Some(&**condition), Some(&**then_branch), else_branch.as_deref()];
                self.sum(parts.into_iter().flatten())
            }
            AstNode::Function { name, args, .. } => self.function(name, args),
            _ => None,
        })
    }

    fn variable(&self, name: &str) -> Cost {
        let size = if name.is_empty() {
            self.context.clone()
        } else {
            let named = self.named.iter().rev().find(|(known, _)| *known == name);
            named.map_or_else(Bound::data, |(_, size)| size.clone())
        };
        Cost { work: Bound::constant(1.0), size }
    }

    /// A selection from something of this size.
    fn read(&self, size: Bound) -> Cost {
        let mut work = Bound::constant(1.0);
        work.add(&size);
        Cost { work, size }
    }

    fn sum(&mut self, nodes: impl Iterator<Item = &'a AstNode>) -> Option<Cost> {
        let mut cost = leaf(1.0);
        for node in nodes {
            let next = self.node(node)?;
            cost.work.add(&next.work);
            // Building and reading cost what there is to build and to read.
            cost.work.add(&next.size);
            cost.size.add(&next.size);
        }
        Some(cost)
    }

    fn block(&mut self, items: &'a [AstNode]) -> Option<Cost> {
        let outside = self.named.len();
        let mut cost = leaf(1.0);
        for item in items {
            let next = match item {
                AstNode::Binary { op: BinaryOp::ColonEqual, lhs, rhs } => {
                    let AstNode::Variable(name) = &**lhs else { return None };
                    let value = self.node(rhs)?;
                    self.named.push((name, value.size.clone()));
                    value
                }
                item => self.node(item)?,
            };
            cost.work.add(&next.work);
            cost.size = next.size;
        }
        self.named.truncate(outside);
        Some(cost)
    }

    /// Where `$` is a list, an object is built from all its items.
    fn object(&mut self, pairs: &'a [(AstNode, AstNode)]) -> Option<Cost> {
        let parts = || pairs.iter().flat_map(|(key, value)| [key, value]);
        if self.context.is_constant() {
            return self.sum(parts());
        }
        let total = self.context.clone();
        let one = self.inside(&total, |walk| walk.sum(parts()))?;
        Some(Cost { work: one.work.over(&total)?, size: one.size.over(&total)? })
    }

    fn binary(&mut self, op: BinaryOp, lhs: &'a AstNode, rhs: &'a AstNode) -> Option<Cost> {
        match op {
            BinaryOp::Range => match (lhs, rhs) {
                (AstNode::Number(first), AstNode::Number(last)) => {
                    Some(leaf((last - first).abs().min(1e9)))
                }
                _ => None,
            },
            // Elsewhere than in a block it may or may not be evaluated.
            BinaryOp::ColonEqual => None,
            BinaryOp::FocusBind | BinaryOp::IndexBind | BinaryOp::ChainPipe => None,
            BinaryOp::Concatenate | BinaryOp::Coalesce | BinaryOp::Default => {
                self.sum([lhs, rhs].into_iter())
            }
            BinaryOp::And | BinaryOp::Or => {
                let cost = self.sum([lhs, rhs].into_iter())?;
                Some(scalar(cost))
            }
            _ => {
                // `in` and `=` may compare each part of one side with each of the other.
                let (left, right) = (self.node(lhs)?, self.node(rhs)?);
                let mut work = left.work;
                work.add(&right.work);
                let least = if matches!(op, BinaryOp::In) {
                    left.size.times(&right.size)?
                } else {
                    let mut both = left.size;
                    both.add(&right.size);
                    both
                };
                work.add(&least);
                Some(scalar(Cost { work, size: Bound::constant(1.0) }))
            }
        }
    }

    fn path(&mut self, steps: &'a [PathStep]) -> Option<Cost> {
        let (first, rest) = steps.split_first()?;
        let mut cost = self.node(&first.node)?;
        self.stages(first, &mut cost)?;
        for step in rest {
            match &step.node {
                AstNode::Name(_) => cost.work.add(&cost.size.clone()),
                AstNode::Object(_) | AstNode::FunctionApplication(_) | AstNode::Block(_) => {
                    let total = cost.size.clone();
                    let one = self.inside(&total, |walk| walk.node(&step.node))?;
                    cost.work.add(&one.work.over(&total)?);
                    cost.size = one.size.over(&total)?;
                }
                _ => return None,
            }
            self.stages(step, &mut cost)?;
        }
        Some(cost)
    }

    fn stages(&mut self, step: &'a PathStep, cost: &mut Cost) -> Option<()> {
        if step.focus.is_some() || step.index_var.is_some() || step.ancestor_label.is_some() {
            return None;
        }
        for stage in &step.stages {
            match stage {
                Stage::KeepArray => {}
                Stage::Index(_) => return None,
                Stage::Filter(predicate) => {
                    let total = cost.size.clone();
                    let one = self.inside(&total, |walk| walk.node(predicate))?;
                    cost.work.add(&one.work.over(&total)?);
                }
            }
        }
        Some(())
    }

    /// Bounds what is done for one item of something that has `total` as its size.
    fn inside<T>(
        &mut self,
        total: &Bound,
        bound: impl FnOnce(&mut Walk<'a>) -> Option<T>,
    ) -> Option<T> {
        let mut named = Vec::with_capacity(self.named.len());
        for (name, size) in &self.named {
            named.push((*name, size.outside(&self.item)?));
        }
        let item = total.outside(&self.item)?;
        bound(&mut Walk { named, context: Bound::item(), item })
    }

    fn function(&mut self, name: &'a str, args: &'a [AstNode]) -> Option<Cost> {
        if self.named.iter().any(|(known, _)| *known == name) {
            return None;
        }
        match name {
            "map" | "filter" | "single" => self.over_items(args),
            // What gives no more than it is given, read a few times.
            "sum" | "count" | "max" | "min" | "average" | "number" | "abs" | "floor" | "ceil"
            | "round" | "boolean" | "not" | "exists" | "type" | "length" | "contains" => {
                let cost = self.sum(args.iter())?;
                Some(scalar(cost))
            }
            "string" | "uppercase" | "lowercase" | "trim" | "substring" | "substringBefore"
            | "substringAfter" | "split" | "formatNumber" | "keys" | "append" | "reverse"
            | "merge" | "spread" | "lookup" | "now" | "millis" | "uuid" | "parse"
            | "fromMillis" | "toMillis" | "hash" => {
                let mut cost = self.sum(args.iter())?;
                // What a number, a date or a digest takes as text.
                cost.size.add(&Bound::constant(200.0));
                Some(cost)
            }
            // The separator may stand between any two.
            "join" => {
                let mut cost = self.sum(args.iter())?;
                cost.size = cost.size.times(&self.node(args.get(1)?)?.size)?;
                cost.work.add(&cost.size.clone());
                Some(cost)
            }
            "distinct" => {
                let mut cost = self.sum(args.iter())?;
                cost.work.add(&cost.size.times(&cost.size)?);
                Some(cost)
            }
            _ => None,
        }
    }

    /// A function of a list and an inline function, called for each item.
    fn over_items(&mut self, args: &'a [AstNode]) -> Option<Cost> {
        let [list, AstNode::Lambda { params, body, signature: None, .. }] = args else {
            return None;
        };
        let list = self.node(list)?;
        let total = list.size;
        let context = self.context.outside(&self.item)?;
        let one = self.inside(&total, |walk| {
            walk.context = context;
            for (index, param) in params.iter().enumerate() {
                let size = match index {
                    0 => Bound::item(),
                    1 => Bound::constant(1.0),
                    _ => walk.item.clone(),
                };
                walk.named.push((param, size));
            }
            walk.node(body)
        })?;
        let mut cost = Cost { work: list.work, size: one.size.over(&total)? };
        cost.work.add(&one.work.over(&total)?);
        cost.size.add(&total);
        Some(cost)
    }
}

fn scalar(of: Cost) -> Cost {
    let mut work = of.work;
    work.add(&Bound::constant(1.0));
    Cost { work, size: Bound::constant(1.0) }
}

fn leaf(size: f64) -> Cost {
    Cost { work: Bound::constant(1.0), size: Bound::constant(size.max(1.0)) }
}

#[cfg(test)]
mod tests {
    use jsonata_core::parser::parse;

    #[track_caller]
    fn check(source: &str, expected: Option<(u64, u64)>) {
        let tree = parse(source).unwrap();
        let bound = super::bound(&tree);
        // How often the cost at 1,000 fits that at 10,000 tells the degree.
        let degree = bound.as_ref().map(|bound| (bound.at(10_000) / bound.at(1_000)).log10());
        let least_most = expected.map(|(least, most)| (least as f64, most as f64));
        match (degree, least_most) {
            (Some(degree), Some((least, most))) => {
                assert!(degree >= least - 0.5 && degree <= most + 0.1, "{source}: {degree}");
            }
            (None, None) => {}
            other => panic!("{source}: {other:?}"),
        }
    }

    #[test]
    fn degrees() {
        check("$states.input.a.b & '-' & $states.input.c", Some((1, 1)));
        check("$states.input.items[id = 2].{'a': x, 'b': $sum(lines.price)}", Some((1, 1)));
        check("$map($s.items, function($i) { {'a': $i.x, 'b': $i.y & '!'} })", Some((1, 1)));
        check("$s.items.{'p': $s.prices[sku = 'a']}", Some((2, 2)));
        check("$map($s.a, function($i) { $s.b[x = $i.x].{'t': $s.c[y = 1]} })", Some((3, 3)));
        check("($x := $s.a; $x.b)", Some((1, 1)));
        check("[1..100].{'a': 1}", Some((0, 0)));
    }

    #[test]
    fn what_no_text_bounds() {
        check("($f := function($n) { $f($n) }; $f(1))", None);
        check("[1..$s.n]", None);
        check("$reduce($s.a, function($x, $y) { $x & $y })", None);
        check("$s.**.a", None);
        check("$s.a ~> $f", None);
        check("$map($s.a, $f)", None);
        check("$eval($s.a)", None);
        check("($f := $sum; $f($s))", None);
        check("($sum := $s; $sum($s))", None);
    }
}
