//! Text that must never be shown, and what takes it out of everything that is.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// A password, key or token. Printing or serialising it gives `***`; only [`Secret::expose`]
/// gives the text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the wire and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::from)
    }
}

/// Takes known secrets out of text, in each of the forms they travel in.
#[derive(Debug, Default)]
pub(crate) struct Masker {
    matcher: Option<AhoCorasick>,
}

impl Masker {
    /// Built where something failed, so its cost is not on the way of a call that succeeds.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> = Vec::new();
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            let url = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
            let json = Value::from(secret).to_string();
            let json = json.trim_start_matches('"').trim_end_matches('"').to_owned();
            for form in [secret.to_owned(), crate::template::encode(secret), url, json] {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        if forms.is_empty() {
            return Masker::default();
        }
        let matcher = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms);
        Masker { matcher: matcher.ok() }
    }

    pub(crate) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.matcher {
            Some(matcher) if matcher.is_match(text) => {
                let masks = vec![MASK; matcher.patterns_len()];
                Cow::Owned(matcher.replace_all(text, &masks))
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// The text of a body without known secrets and, when it is JSON, without the values of
    /// members whose name says that they hold one.
    pub(crate) fn mask_body(&self, text: &str) -> String {
        if let Ok(mut value) = serde_json::from_str::<Value>(text)
            && hide_members(&mut value)
        {
            return self.mask(&value.to_string()).into_owned();
        }
        self.mask(text).into_owned()
    }
}

/// Whether a header or a member of that name is shown masked whatever it holds.
pub(crate) fn is_sensitive_name(name: &str) -> bool {
    const EXACT: [&str; 5] =
        ["authorization", "proxy-authorization", "cookie", "set-cookie", "authentication"];
    const PARTS: [&str; 6] = ["token", "secret", "password", "api-key", "api_key", "apikey"];
    let name = name.to_ascii_lowercase();
    EXACT.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// Whether anything was hidden.
fn hide_members(value: &mut Value) -> bool {
    let mut hidden = false;
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if member.is_string() && is_sensitive_name(name) {
                    *member = Value::from(MASK);
                    hidden = true;
                } else {
                    hidden |= hide_members(member);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                hidden |= hide_members(item);
            }
        }
        _ => {}
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::from("s3cr3t");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
    }

    #[test]
    fn masks_each_form() {
        let check = |text: &str, expected: &str| {
            let masker = Masker::new(["pa ss/\"w", "t0k"]);
            assert_eq!(masker.mask_body(text), expected);
        };
        check("plain pa ss/\"w here", "plain *** here");
        check("https://x/?key=pa%20ss%2F%22w&y=1", "https://x/?key=***&y=1");
        check(r#"{"said":"pa ss/\"w"}"#, r#"{"said":"***"}"#);
        check(
            r#"{"list":[{"access_token":"new","n":1}]}"#,
            r#"{"list":[{"access_token":"***","n":1}]}"#,
        );
        check("nothing", "nothing");
    }
}
