//! What fuzzing has found worth keeping is run again.
#![allow(unreachable_pub, clippy::print_stdout, reason = "the fuzz targets have these modules too")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/definition.rs"]
mod definition;

#[test]
fn definition_corpus() {
    corpus::run("definition", definition::run);
}
