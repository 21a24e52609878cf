//! Workflows run from their text to their end, with answers given by hand.

mod definitions;
mod errors;
mod forks;
mod generated;
mod histories;
mod journals;
mod maps;
mod mutations;
mod paths;
mod properties;
mod recordings;
mod states;
mod support;
mod test_state;
mod trials;
mod validation;
