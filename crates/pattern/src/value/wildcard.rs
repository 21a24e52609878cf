//! Text with `*` for any run of characters; `\*` and `\\` stand for themselves.

use memchr::memmem;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Wildcard {
    /// What stands between the stars, so always one more than there are stars.
    parts: Vec<Box<[u8]>>,
}

impl Wildcard {
    /// Errors are in AWS's words; it counts bytes, with the opening quote.
    pub(crate) fn new(text: &str) -> Result<Wildcard, String> {
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut bytes = text.bytes().enumerate().peekable();
        while let Some((i, byte)) = bytes.next() {
            let after = bytes.peek().map(|&(_, next)| next);
            match byte {
                b'*' if after == Some(b'*') => {
                    return Err(format!("Consecutive wildcard characters at pos {}", i + 1));
                }
                b'*' => parts.push(std::mem::take(&mut part).into()),
                b'\\' => match after {
                    Some(escaped @ (b'*' | b'\\')) => {
                        part.push(escaped);
                        bytes.next();
                    }
                    _ => return Err(format!("Invalid escape character at pos {}", i + 1)),
                },
                _ => part.push(byte),
            }
        }
        parts.push(part.into());
        Ok(Wildcard { parts })
    }

    /// What stands before, between and behind the stars.
    pub(crate) fn parts(&self) -> &[Box<[u8]>] {
        &self.parts
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        let (first, rest) = self.parts.split_first().expect("there is always one part");
        let Some((last, middle)) = rest.split_last() else { return **first == *value };
        let Some(value) = value.strip_prefix(&**first) else { return false };
        let Some(mut value) = value.strip_suffix(&**last) else { return false };
        for part in middle {
            let Some(at) = memmem::find(value, part) else { return false };
            value = &value[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, value: &str, expected: bool) {
        let found = Wildcard::new(pattern).unwrap().matches(value.as_bytes());
        assert_eq!(found, expected, "{value} like {pattern}");
    }

    #[test]
    fn matches() {
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("*", "anything", true);
        check("a*", "a", true);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("*ab*ab", "abab", true);
        check("*ab*ab", "ab", false);
        check("a*b*c", "a1b2b3c", true);
        check(r"a\*b", "a*b", true);
        check(r"a\*b", "axb", false);
        check(r"\\*", r"\x", true);
    }

    #[track_caller]
    fn check_error(pattern: &str, expected: &str) {
        assert_eq!(Wildcard::new(pattern).unwrap_err(), expected);
    }

    #[test]
    fn errors() {
        check_error("ab**", "Consecutive wildcard characters at pos 3");
        check_error(r"a\b", "Invalid escape character at pos 2");
        check_error(r"a\", "Invalid escape character at pos 2");
    }
}
