//! Where an expression stops making sense. The parser does not tell, but the longest beginning of
//! the text that could still be completed does.

use jsonata_core::parser;

/// Characters of the longest text that is searched.
const LONGEST: usize = 1_000;

/// Codes of errors that more text could mend.
const UNFINISHED: [&str; 5] = ["S0101", "S0105", "S0106", "S0203", "S0207"];

/// Characters before the token that does not fit, and the token; without one when the text ends
/// too early.
pub(super) fn place(source: &str, code: Option<&str>) -> (Option<usize>, Option<String>) {
    let count = source.chars().count();
    if code.is_some_and(|code| UNFINISHED.contains(&code)) {
        return (Some(count), None);
    }
    if count > LONGEST {
        return (None, None);
    }
    let mut end = source.len();
    while end > 0 && !could_go_on(&source[..end]) {
        end = source[..end].char_indices().next_back().map_or(0, |(index, _)| index);
    }
    let gap = source[end..].len() - source[end..].trim_start().len();
    let start = end + gap;
    let rest = &source[start..];
    let word = rest.find(|character: char| !character.is_alphanumeric()).unwrap_or(rest.len());
    let token: String = match word {
        0 => rest.chars().take(1).collect(),
        word => rest[..word].to_owned(),
    };
    (Some(source[..start].chars().count()), (!token.is_empty()).then_some(token))
}

fn could_go_on(text: &str) -> bool {
    match parser::parse(text) {
        Ok(_) => true,
        Err(parser::ParserError::UnclosedComment) => true,
        Err(error) => {
            let message = error.to_string();
            UNFINISHED.iter().any(|code| message.contains(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::jsonata::Jsonata;

    #[track_caller]
    fn check(source: &str, position: usize, token: Option<&str>) {
        let error = Jsonata::compile(source).unwrap_err();
        assert_eq!((error.position, error.token.as_deref()), (Some(position), token), "{source}");
    }

    #[test]
    fn places() {
        check("a b", 2, Some("b"));
        check("$x + (1 + 2", 11, None);
        check("{'a': 1, 'b' 2}", 13, Some("2"));
        check("'é' & $f(1;2)", 10, Some(";"));
        check("1 +", 3, None);
        check("'open", 5, None);
        check("$a := 1; $b", 7, Some(";"));
    }
}
