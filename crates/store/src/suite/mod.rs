//! The conformance suite that every implementation of [`crate::Store`] must pass.
