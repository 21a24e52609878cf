//! The digests that `$hash` and `States.Hash` offer.

use std::fmt::Write as _;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

pub(crate) const ALGORITHMS: [&str; 5] = ["MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"];

/// The digest in lower-case hexadecimal; `None` for an algorithm that is not offered.
pub(crate) fn hex(algorithm: &str, data: &[u8]) -> Option<String> {
    Some(match algorithm {
        "MD5" => digest::<Md5>(data),
        "SHA-1" => digest::<Sha1>(data),
        "SHA-256" => digest::<Sha256>(data),
        "SHA-384" => digest::<Sha384>(data),
        "SHA-512" => digest::<Sha512>(data),
        _ => return None,
    })
}

fn digest<D: Digest>(data: &[u8]) -> String {
    D::digest(data).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
