//! IP addresses, and the ranges that CIDR notation names.

use std::net::Ipv6Addr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum IpAddress {
    V4(u32),
    V6(u128),
}

impl IpAddress {
    /// Dotted quads may have leading zeros; an IPv6 address that maps an IPv4 one is that one.
    pub(crate) fn read(text: &[u8]) -> Option<IpAddress> {
        if looks_like_v4(text) {
            return read_v4(text).map(IpAddress::V4);
        }
        if !looks_like_v6(text) {
            return None;
        }
        let address: Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(match address.to_ipv4_mapped() {
            Some(v4) => IpAddress::V4(u32::from(v4)),
            None => IpAddress::V6(u128::from(address)),
        })
    }
}

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IpRange {
    pub(crate) low: IpAddress,
    pub(crate) high: IpAddress,
}

impl IpRange {
    pub(crate) fn only(address: IpAddress) -> IpRange {
        IpRange { low: address, high: address }
    }

    pub(crate) fn contains(&self, address: IpAddress) -> bool {
        (self.low..=self.high).contains(&address)
    }

    /// Errors are in AWS's words.
    pub(crate) fn read_cidr(cidr: &str) -> Result<IpRange, String> {
        let mut parts = cidr.split('/').collect::<Vec<_>>();
        while parts.last() == Some(&"") {
            parts.pop();
        }
        let [address, mask] = parts[..] else {
            return Err("Malformed CIDR, one '/' required".to_owned());
        };
        let Ok(mask) = mask.parse::<i32>() else {
            return Err("Malformed CIDR, mask bits must be an integer".to_owned());
        };
        let Ok(mask) = u32::try_from(mask) else {
            return Err("Malformed CIDR, mask bits must not be negative".to_owned());
        };
        let text = address.as_bytes();
        let Some(ip) = IpAddress::read(text) else {
            let shaped = looks_like_v4(text) || looks_like_v6(text);
            let kind = if shaped { "Invalid" } else { "Nonstandard" };
            return Err(format!("{kind} IP address: {address}"));
        };
        match ip {
            IpAddress::V4(_) if mask > 31 => Err("IPv4 mask bits must be < 32".to_owned()),
            IpAddress::V6(_) if mask > 127 => Err("IPv6 mask bits must be < 128".to_owned()),
            IpAddress::V4(bits) => {
                let free = u32::MAX.checked_shr(mask).unwrap_or(0);
                Ok(IpRange { low: IpAddress::V4(bits & !free), high: IpAddress::V4(bits | free) })
            }
            IpAddress::V6(bits) => {
                let free = u128::MAX.checked_shr(mask).unwrap_or(0);
                Ok(IpRange { low: IpAddress::V6(bits & !free), high: IpAddress::V6(bits | free) })
            }
        }
    }
}

fn looks_like_v4(text: &[u8]) -> bool {
    let mut parts = 0;
    for part in text.split(|&b| b == b'.') {
        parts += 1;
        if part.is_empty() || !part.iter().all(u8::is_ascii_digit) {
            return false;
        }
    }
    parts == 4
}

fn looks_like_v6(text: &[u8]) -> bool {
    text.contains(&b':') && text.iter().all(|&b| b == b':' || b.is_ascii_hexdigit())
}

/// The longest dotted quad that is read as an address.
const LONGEST_V4: usize = 15;

fn read_v4(text: &[u8]) -> Option<u32> {
    if text.len() > LONGEST_V4 {
        return None;
    }
    text.split(|&b| b == b'.').try_fold(0_u32, |address, part| {
        let byte = part.iter().fold(0_u32, |n, &digit| (n * 10 + u32::from(digit - b'0')).min(999));
        (byte < 256).then_some(address << 8 | byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_contains(cidr: &str, address: &str, expected: bool) {
        let range = IpRange::read_cidr(cidr).unwrap();
        let inside = IpAddress::read(address.as_bytes()).is_some_and(|ip| range.contains(ip));
        assert_eq!(inside, expected, "{address} in {cidr}");
    }

    #[test]
    fn ranges() {
        check_contains("10.1.2.3/8", "10.255.0.1", true);
        check_contains("10.1.2.3/8", "11.0.0.0", false);
        check_contains("0.0.0.0/0", "255.255.255.255", true);
        check_contains("0.0.0.0/0", "::1", false);
        check_contains("2001:db8::/32", "2001:0DB8:ffff::1", true);
        check_contains("2001:db8::/32", "2001:db9::", false);
        check_contains("::/0", "::ffff:10.0.0.1", false);
        check_contains("10.0.0.0/8", "::ffff:a00:1", true);
        check_contains("10.0.0.0/8", "10.0.0.256", false);
    }

    #[track_caller]
    fn check_error(cidr: &str, expected: &str) {
        assert_eq!(IpRange::read_cidr(cidr).unwrap_err(), expected);
    }

    #[test]
    fn errors_say_what_is_wrong_with_a_cidr() {
        check_error("10.0.0.0", "Malformed CIDR, one '/' required");
        check_error("10.0.0.0/", "Malformed CIDR, one '/' required");
        check_error("10.0.0.0/a", "Malformed CIDR, mask bits must be an integer");
        check_error("10.0.0.0/-1", "Malformed CIDR, mask bits must not be negative");
        check_error("10.0.0.0/32", "IPv4 mask bits must be < 32");
        check_error("::/128", "IPv6 mask bits must be < 128");
        check_error("10.0.0/8", "Nonstandard IP address: 10.0.0");
        check_error("10.0.0.300/8", "Invalid IP address: 10.0.0.300");
        check_error("1:2/8", "Invalid IP address: 1:2");
    }
}
