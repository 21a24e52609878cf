//! 64-bit digests of business keys. They are stored, so they must never change: FNV-1a.

use stepbus_model::ResourceId;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn digest(parts: [&[u8]; 2]) -> i64 {
    let mut hash = OFFSET;
    for part in parts {
        for &byte in part {
            hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        // A byte no UTF-8 text holds, so that ("a", "bc") and ("ab", "c") differ.
        hash = (hash ^ 0xff).wrapping_mul(PRIME);
    }
    hash.cast_signed()
}

pub(crate) fn key_digest(scope: ResourceId, key: &str) -> i64 {
    digest([&scope.0.to_le_bytes(), key.as_bytes()])
}

pub(crate) fn claim_digest(scope: &str, key: &str) -> i64 {
    digest([scope.as_bytes(), key.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_what_they_always_were() {
        assert_eq!(claim_digest("", ""), 763_862_646_787_557_219);
        assert_ne!(claim_digest("a", "bc"), claim_digest("ab", "c"));
        assert_ne!(key_digest(ResourceId(1), "x"), key_digest(ResourceId(2), "x"));
    }
}
