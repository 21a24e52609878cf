//! Workflows run from their text to their end, with answers given by hand.

mod corners;
mod definitions;
mod errors;
mod forks;
mod generated;
mod histories;
mod integrations;
mod journals;
mod jsonata;
mod maps;
mod mutations;
mod paths;
mod properties;
mod recordings;
mod redrives;
mod retries;
mod states;
mod support;
mod test_state;
mod trials;
mod validation;
mod variables;
