//! Numbers compare by value when an IEEE double holds them exactly as written, else by their text.
//!
//! "Exactly as written" means: the shortest decimal that reads back as the double is the number
//! itself. So 1, 1.0 and 1e0 are equal, 0.1 is a number, and two 19-digit identifiers that share a
//! nearest double are not taken for each other. Ranges ask for less: the nearest double of a
//! number with no more digits than a double can need is in them or not.

use crate::json;

/// A double's bits, turned so that their order as integers is the order of the numbers.
pub(crate) type NumberKey = u64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Number {
    Comparable(NumberKey),
    Text(Box<str>),
}

impl Number {
    pub(crate) fn new(text: &str) -> Number {
        key(text.as_bytes()).map_or_else(|| Number::Text(text.into()), Number::Comparable)
    }

    pub(crate) fn equals(&self, text: &[u8]) -> bool {
        match self {
            Number::Comparable(own) => key(text) == Some(*own),
            Number::Text(own) => own.as_bytes() == text,
        }
    }
}

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NumberRange {
    pub(crate) low: NumberKey,
    pub(crate) high: NumberKey,
}

impl NumberRange {
    pub(crate) const ALL: NumberRange = NumberRange { low: 0, high: NumberKey::MAX };

    pub(crate) fn contains(self, key: NumberKey) -> bool {
        (self.low..=self.high).contains(&key)
    }
}

/// The nearest double of a number, which other numbers may share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Approximate {
    pub(crate) key: NumberKey,
    /// The number has too few digits to share its nearest double.
    exact: bool,
}

impl Approximate {
    /// Whether the number, whose text this is, is exactly the one with the key.
    #[inline]
    pub(crate) fn equals(self, key: NumberKey, text: &[u8]) -> bool {
        self.key == key && (self.exact || self::key(text) == Some(key))
    }
}

/// Numbers below have digits that any double keeps.
const SAFE: u64 = 1_000_000_000_000_000;
/// Significant digits that the shortest form of a double can need.
const MOST_DIGITS: u32 = 17;
const COMPARABLE: u64 = 10_u64.pow(MOST_DIGITS);
/// Integers up to here are doubles.
const EXACT_INTEGER: u64 = 1 << 53;
/// Digits that always fit into 64 bits.
const WORD_DIGITS: usize = 19;
/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The nearest double of a JSON number; `None` for more digits or a larger power than a double
/// can tell apart, and for most texts that are no number.
#[inline]
pub(crate) fn approximate(text: &[u8]) -> Option<Approximate> {
    let (negative, unsigned) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let mut digits = 0_u64;
    let mut fraction = None;
    for (i, &byte) in unsigned.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if byte == b'.' && fraction.is_none() && i > 0 {
            fraction = Some(i + 1);
        } else {
            return approximate_any(text);
        }
    }
    let places = fraction.map_or(0, |start| unsigned.len() - start);
    let plain = unsigned.len() <= WORD_DIGITS
        && unsigned.last().is_some_and(u8::is_ascii_digit)
        && (unsigned[0] != b'0' || unsigned.len() == 1 || unsigned[1] == b'.');
    if plain && digits <= EXACT_INTEGER && places < EXACT_POWERS.len() {
        let size = digits as f64 / EXACT_POWERS[places];
        let double = if negative { -size } else { size };
        return Some(Approximate { key: order(double), exact: digits < SAFE });
    }
    if plain && digits < COMPARABLE {
        return nearest(text);
    }
    approximate_any(text)
}

fn nearest(text: &[u8]) -> Option<Approximate> {
    let double: f64 = fast_float2::parse(text).ok()?;
    double.is_finite().then(|| Approximate { key: order(double), exact: false })
}

fn approximate_any(text: &[u8]) -> Option<Approximate> {
    if !json::is_number(text) || Decimal::read(text)?.count > MOST_DIGITS {
        return None;
    }
    nearest(text)
}

/// The key of a JSON number; `None` when no double is exactly that number.
pub(crate) fn key(text: &[u8]) -> Option<NumberKey> {
    let Approximate { key, exact } = approximate(text)?;
    if exact {
        return Some(key);
    }
    let decimal = Decimal::read(text)?;
    let double: f64 = fast_float2::parse(text).ok()?;
    let shortest = Decimal::read(zmij::Buffer::new().format_finite(double).as_bytes())?;
    (shortest == decimal).then_some(key)
}

fn order(double: f64) -> NumberKey {
    // There is one zero: adding turns the negative one into the positive one.
    let bits = (double + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// A number as digits without zeros at either end, and the power of ten they are multiplied by.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: u64,
    count: u32,
    power: i32,
}

impl Decimal {
    /// `count` is right, and `digits` is not, for numbers of more than [`MOST_DIGITS`] digits.
    fn read(text: &[u8]) -> Option<Decimal> {
        let (negative, text) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let mut decimal = Decimal { negative, digits: 0, count: 0, power: 0 };
        let mut zeros = 0_u32;
        let mut fraction = false;
        let mut exponent = 0_i32;
        for (i, &byte) in text.iter().enumerate() {
            match byte {
                b'0' => {
                    decimal.power -= i32::from(fraction);
                    zeros += u32::from(decimal.count > 0);
                    if decimal.count == 0 {
                        continue;
                    }
                }
                b'1'..=b'9' => {
                    decimal.power -= i32::from(fraction);
                    decimal.push(zeros, byte - b'0');
                    zeros = 0;
                }
                b'.' => fraction = true,
                b'e' | b'E' => {
                    exponent = read_exponent(&text[i + 1..])?;
                    break;
                }
                _ => return None,
            }
        }
        if decimal.count == 0 {
            return Some(Decimal { negative: false, digits: 0, count: 0, power: 0 });
        }
        decimal.power = decimal.power.checked_add(i32::try_from(zeros).ok()?)?;
        decimal.power = decimal.power.checked_add(exponent)?;
        Some(decimal)
    }

    fn push(&mut self, zeros: u32, digit: u8) {
        self.count = self.count.saturating_add(zeros + 1);
        if self.count <= MOST_DIGITS {
            self.digits = self.digits * 10_u64.pow(zeros + 1) + u64::from(digit);
        }
    }
}

fn read_exponent(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_equal(a: &str, b: &str, expected: bool) {
        let equal = key(a.as_bytes()).is_some() && key(a.as_bytes()) == key(b.as_bytes());
        assert_eq!(equal, expected, "{a} = {b}");
    }

    #[test]
    fn the_same_number_in_other_words() {
        check_equal("1", "1.0", true);
        check_equal("1", "10e-1", true);
        check_equal("-0", "0.000e9", true);
        check_equal("300", "3.0e2", true);
        check_equal("0.1", "1e-1", true);
        check_equal("-122.42916360922355", "-122.42916360922355", true);
        check_equal("1e300", "10E+299", true);
        check_equal("27.807807921694092", "27.80780792169409", false);
        check_equal("1", "-1", false);
    }

    #[test]
    fn what_no_double_holds_is_not_compared_by_value() {
        assert_eq!(key(b"123456789012345678"), None);
        assert_eq!(key(b"2.0e422"), None);
        assert_eq!(key(b"1E-325"), None);
        assert_eq!(key(b"0.1000000000000000055511151231257827"), None);
        assert_eq!(key(b"1e99999999999"), None);
    }

    #[test]
    fn keys_are_in_the_order_of_the_numbers() {
        let sorted = ["-1e300", "-5e9", "-1.5", "-1e-9", "0", "1e-9", "1", "1.5", "5e9", "1e300"];
        let keys: Vec<_> = sorted.iter().map(|text| key(text.as_bytes()).unwrap()).collect();
        assert!(keys.is_sorted(), "{keys:?}");
    }
}
