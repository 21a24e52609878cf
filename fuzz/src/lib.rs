//! What each fuzz target does with the bytes it is given. The modules are also built into the
//! tests of the crates they drive, which run the corpus.

pub mod corpus;
pub mod definition;
pub mod document;
pub mod jsonata;
pub mod paths;
pub mod pattern;
pub mod transformer;
