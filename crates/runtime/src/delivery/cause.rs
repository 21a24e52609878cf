//! What dead letters died of, without what differs from one to the next.

/// Characters of a cause; more of them would tell apart what belongs together.
const LONGEST: usize = 200;

/// The error with its key as `{key}`, and `#` for what is a number or an id in it: a run of letters
/// and digits with a digit in it, as in a UUID, a hash, a date or an order number. A status such as
/// `503` at its beginning stays.
pub(super) fn of(message: &str, key: Option<&str>) -> String {
    let keyless = match key {
        Some(key) if key.chars().count() > 1 => message.replace(key, "{key}"),
        _ => message.to_owned(),
    };
    let mut cause = String::with_capacity(keyless.len().min(LONGEST));
    let mut rest = keyless.as_str();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !belongs(c)).unwrap_or(rest.len());
        if word == 0 {
            cause.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (text, after) = rest.split_at(word);
        let status = cause.is_empty() && text.len() == 3 && text.parse::<u16>().is_ok();
        match text.contains(|c: char| c.is_ascii_digit()) && !status {
            true if cause.ends_with('#') => {}
            true => cause.push('#'),
            false => cause.push_str(text),
        }
        rest = after;
    }
    match cause.char_indices().nth(LONGEST) {
        Some((end, _)) => cause[..end].to_owned(),
        None => cause,
    }
}

/// What may stand within an id. Words with a hyphen or a point stay words as long as they have no
/// digit.
fn belongs(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_one_to_the_next_is_left_out() {
        let check = |message: &str, key: Option<&str>, expected: &str| {
            assert_eq!(of(message, key), expected);
        };
        check("product P-4711: missing Default UoM", None, "product #: missing Default UoM");
        check("product blue: missing", Some("blue"), "product {key}: missing");
        check("503 Service Unavailable", None, "503 Service Unavailable");
        check("503 after 3000 ms", None, "503 after # ms");
        check(
            "no row 7f3c2a90-1b2c-4d5e-8f90-a1b2c3d4e5f6 at 2026-11-24T10:00:00Z",
            None,
            "no row # at #:#:#",
        );
        check("price 12.50 is above 9.99", None, "price #.# is above #.#");
        check("a-b_c: non-numeric", Some("x"), "a-b_c: non-numeric");
        check("", None, "");
        assert_eq!(of(&"ä".repeat(999), None).chars().count(), LONGEST);
    }
}
