//! Regular expressions are compiled anew each time they are used, so what that takes counts.

use jsonata_core::ast::AstNode;

use super::error::CompileError;
use super::tree::for_each_child;

/// Bytes of a compiled program, and the steps that compiling it is worth.
const SIZES: [(usize, u64); 3] = [(32 << 10, 100), (256 << 10, 1_000), (2 << 20, 10_000)];

/// The steps of compiling every regular expression of `tree` once.
///
/// # Errors
/// When one of them is too large.
pub(super) fn steps(tree: &AstNode) -> Result<u64, CompileError> {
    let mut steps = Ok(0);
    add(tree, &mut steps);
    steps
}

fn add(node: &AstNode, steps: &mut Result<u64, CompileError>) {
    if let (AstNode::Regex { pattern, .. }, Ok(sum)) = (node, &mut *steps) {
        match of(pattern) {
            Some(steps) => *sum += steps,
            None => {
                *steps = Err(super::compile_error(&format!(
                    "The regular expression /{pattern}/ takes more than {} bytes when compiled; \
                     use smaller repetitions",
                    SIZES[SIZES.len() - 1].0
                )));
            }
        }
    }
    for_each_child(node, &mut |child| add(child, steps));
}

fn of(pattern: &str) -> Option<u64> {
    for (size, steps) in SIZES {
        match regex::RegexBuilder::new(pattern).size_limit(size).build() {
            Err(regex::Error::CompiledTooBig(_)) => {}
            // One that is not valid fails when it is used.
            _ => return Some(steps),
        }
    }
    None
}
