//! Text compared character by character with its lower- and upper-case forms.

/// A text that ignores case. As on AWS each character of the pattern stands for exactly its own
/// lower-case and its own upper-case form, which may differ in length ("ß" also stands for "SS").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct IgnoreCase {
    text: Box<str>,
    /// Empty when all of `text` is ASCII.
    forms: Vec<Forms>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Forms {
    lower: Box<str>,
    upper: Box<str>,
}

impl IgnoreCase {
    pub(crate) fn new(text: &str) -> IgnoreCase {
        let forms = if text.is_ascii() { Vec::new() } else { text.chars().map(forms).collect() };
        IgnoreCase { text: text.into(), forms }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn equals(&self, value: &[u8]) -> bool {
        if self.forms.is_empty() {
            return self.text.as_bytes().eq_ignore_ascii_case(value);
        }
        consume(&self.forms, value, &mut <[u8]>::is_empty)
    }

    pub(crate) fn is_prefix_of(&self, value: &[u8]) -> bool {
        if self.forms.is_empty() {
            let own = self.text.as_bytes();
            return value.get(..own.len()).is_some_and(|start| own.eq_ignore_ascii_case(start));
        }
        consume(&self.forms, value, &mut |_| true)
    }

    pub(crate) fn is_suffix_of(&self, value: &[u8]) -> bool {
        if self.forms.is_empty() {
            let own = self.text.as_bytes();
            let start = value.len().checked_sub(own.len());
            return start.is_some_and(|start| own.eq_ignore_ascii_case(&value[start..]));
        }
        let longest: usize = self.forms.iter().map(|f| f.lower.len().max(f.upper.len())).sum();
        (value.len().saturating_sub(longest)..=value.len())
            .any(|start| consume(&self.forms, &value[start..], &mut <[u8]>::is_empty))
    }

    /// A form in which any two texts that this comparison takes for equal are the same; some that
    /// it does not may be, too.
    pub(crate) fn folded(text: &str) -> String {
        if text.is_ascii() {
            return text.to_ascii_lowercase();
        }
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    }
}

fn forms(c: char) -> Forms {
    // Characters beyond the basic plane are two units there, and neither has another case.
    let (lower, upper) = if c.len_utf16() > 1 {
        (c.to_string(), c.to_string())
    } else {
        (c.to_lowercase().to_string(), c.to_uppercase().to_string())
    };
    Forms { lower: lower.into(), upper: upper.into() }
}

fn consume(forms: &[Forms], value: &[u8], done: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let mut rest = value;
    for (i, form) in forms.iter().enumerate() {
        let lower = rest.strip_prefix(form.lower.as_bytes());
        let upper = rest.strip_prefix(form.upper.as_bytes());
        rest = match (lower, upper) {
            (None, None) => return false,
            (Some(rest), None) | (None, Some(rest)) => rest,
            (Some(a), Some(b)) if a.len() == b.len() => a,
            (Some(a), Some(b)) => {
                return consume(&forms[i + 1..], a, done) || consume(&forms[i + 1..], b, done);
            }
        };
    }
    done(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, value: &str, expected: [bool; 3]) {
        let text = IgnoreCase::new(pattern);
        let value = value.as_bytes();
        let found = [text.equals(value), text.is_prefix_of(value), text.is_suffix_of(value)];
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn equals_prefix_suffix() {
        check("aBc", "AbC", [true, true, true]);
        check("aBc", "AbCd", [false, true, false]);
        check("aBc", "xAbC", [false, false, true]);
        check("éa", "ÉA", [true, true, true]);
        check("aß", "xaSS", [false, false, true]);
        check("aß", "ASS", [true, true, true]);
        check("k", "\u{212a}", [false, false, false]);
        check("\u{212a}", "k", [true, true, true]);
        check("aé", "é", [false, false, false]);
    }
}
