//! Text with `{placeholders}`.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// RFC 3986's unreserved characters stay, all others are encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes for any place of a path or query.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

pub(crate) fn encode_into(into: &mut String, text: &str) {
    let _ = write!(into, "{}", utf8_percent_encode(text, RESERVED));
}

/// Text whose placeholders are known by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TextTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(String),
}

impl TextTemplate {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let closing = if brace == "{" { rest.find('}') } else { None };
            let name = closing.map(|end| rest[..end].trim());
            match (closing, name) {
                (Some(end), Some(name)) if !name.is_empty() && !name.contains('{') => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Placeholder(name.to_owned()));
                    rest = &rest[end + 1..];
                }
                _ => {
                    return Err(format!(
                        "`{text}` has a `{brace}` that belongs to no placeholder; \
                         write `{{name}}` for a placeholder and `{brace}{brace}` for the brace"
                    ));
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(TextTemplate(parts))
    }

    /// The text before the first placeholder.
    pub(crate) fn head(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Text that is taken as it is.
    pub(crate) fn literal(text: &str) -> Self {
        TextTemplate(vec![Part::Text(text.to_owned())])
    }

    /// The text when there is no placeholder in it.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text, to which `put` appends what stands for each name.
    pub(crate) fn fill<E>(
        &self,
        mut put: impl FnMut(&mut String, &str) -> Result<(), E>,
    ) -> Result<String, E> {
        let mut text = String::with_capacity(128);
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Placeholder(name) => put(&mut text, name)?,
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_placeholders() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let filled = TextTemplate::parse(text)
                .map_err(|error| error.split(';').next().unwrap_or_default().to_owned())
                .and_then(|template| {
                    template.fill(|text, name| {
                        encode_into(text, &format!("<{name}/ü>"));
                        Ok(())
                    })
                });
            assert_eq!(filled, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        check("plain", Ok("plain"));
        check("", Ok(""));
        check("/a/{x}/b?c={ y }", Ok("/a/%3Cx%2F%C3%BC%3E/b?c=%3Cy%2F%C3%BC%3E"));
        check("{{x}}", Ok("{x}"));
        check("/{x", Err("`/{x` has a `{` that belongs to no placeholder"));
        check("/x}", Err("`/x}` has a `}` that belongs to no placeholder"));
        check("/{}", Err("`/{}` has a `{` that belongs to no placeholder"));
        check("/{a{b}", Err("`/{a{b}` has a `{` that belongs to no placeholder"));
    }
}
