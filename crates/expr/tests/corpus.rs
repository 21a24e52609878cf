//! What fuzzing has found worth keeping is run again.
#![allow(unreachable_pub, clippy::print_stdout, reason = "the fuzz targets have these modules too")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/jsonata.rs"]
mod jsonata;
#[path = "../../../fuzz/src/paths.rs"]
mod paths;
#[path = "../../../fuzz/src/transformer.rs"]
mod transformer;

#[test]
fn jsonata_corpus() {
    corpus::run("jsonata", jsonata::run);
}

#[test]
fn paths_corpus() {
    corpus::run("paths", paths::run);
}

#[test]
fn transformer_corpus() {
    corpus::run("transformer", transformer::run);
}
