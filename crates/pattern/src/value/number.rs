//! Numbers compare by value when an IEEE double holds them exactly as written, else by their text.
//!
//! "Exactly as written" means: the shortest decimal that reads back as the double is the number
//! itself. So 1, 1.0 and 1e0 are equal, 0.1 is a number, and two 19-digit identifiers that share a
//! nearest double are not taken for each other.

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

/// Significant digits that any double keeps.
const SAFE_DIGITS: u32 = 15;
/// Significant digits that the shortest form of a double can need.
const MOST_DIGITS: u32 = 17;
/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The key of a JSON number; `None` when no double is exactly that number.
pub(crate) fn key(text: &[u8]) -> Option<NumberKey> {
    let decimal = Decimal::read(text)?;
    if decimal.digits == 0 {
        return Some(order(0.0));
    }
    if decimal.count > MOST_DIGITS {
        return None;
    }
    if decimal.count <= SAFE_DIGITS && decimal.power.unsigned_abs() <= 22 {
        let power = EXACT_POWERS[decimal.power.unsigned_abs() as usize];
        let digits = decimal.digits as f64;
        let size = if decimal.power < 0 { digits / power } else { digits * power };
        return Some(order(if decimal.negative { -size } else { size }));
    }
    let double: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if !double.is_finite() {
        return None;
    }
    let shortest = Decimal::read(zmij::Buffer::new().format_finite(double).as_bytes())?;
    (shortest == decimal).then(|| order(double))
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
