//! What fuzzing has found worth keeping is run again.
#![allow(unreachable_pub, clippy::print_stdout, reason = "the fuzz targets have these modules too")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/pattern.rs"]
mod pattern;

#[test]
fn pattern_corpus() {
    corpus::run("pattern", pattern::run);
}
