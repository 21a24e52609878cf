//! Names and seeds that follow from what they are for: the same after a crash.

use std::fmt::{Display, Write};

use sha1::{Digest, Sha1};
use uuid::Uuid;

use crate::engine::Engine;

impl Engine {
    /// A UUID that is the same for the same text in this data directory.
    pub(crate) fn derived_name(&self, text: impl Display) -> Uuid {
        let mut name = String::with_capacity(64);
        write!(name, "{text}").expect("text is written into memory");
        within(self.store.installation(), &name)
    }

    pub(crate) fn seed(&self, text: impl Display) -> u64 {
        self.derived_name(text).as_u64_pair().0
    }
}

/// [`Uuid::new_v5`], by a hash that has the processor's help where there is one: each call of a
/// map's child has two names.
fn within(namespace: Uuid, text: &str) -> Uuid {
    let hash = Sha1::new().chain_update(namespace).chain_update(text).finalize();
    let (&first, _) = hash.split_first_chunk().expect("SHA-1 has 20 bytes");
    uuid::Builder::from_sha1_bytes(first).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_uuids_of_version_5() {
        let namespace = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        for text in ["", "mr-17/4", &"long".repeat(100)] {
            assert_eq!(within(namespace, text), Uuid::new_v5(&namespace, text.as_bytes()));
        }
    }
}
