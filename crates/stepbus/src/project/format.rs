//! The small languages of the project file: names, spans of time, sizes, routes, URLs.

use std::time::Duration;
use stepbus_model::Timestamp;
use stepbus_runtime::StartAt;

use stepbus_connect::Rate;

/// A check of one text; the error says what to write instead.
pub(super) type Check = fn(&str) -> Result<(), String>;

const LONGEST_NAME: usize = 64;
/// What [`name`] accepts, as a regular expression for the schema.
pub(super) const NAME_PATTERN: &str = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}";
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(super) fn any(_: &str) -> Result<(), String> {
    Ok(())
}

pub(super) fn some(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(()) }
}

pub(super) fn name(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(fits)
        && text.len() <= LONGEST_NAME
    {
        return Ok(());
    }
    Err(format!(
        "`{text}` is no name: up to {LONGEST_NAME} letters, digits, `-`, `_` and `.`, the first a \
         letter or digit"
    ))
}

/// `30d`, `24h`, `5s`, `250ms`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no span of time; write for example 250ms, 5s, 24h or 30d");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "d" => Duration::from_secs(86_400),
            "w" => Duration::from_secs(7 * 86_400),
            _ => return Err(wrong()),
        };
        rest = rest[letters..].trim_start();
        let part = u32::try_from(count).ok().and_then(|count| unit.checked_mul(count));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    }
    if total.is_zero() { Err(format!("`{text}` must be above zero")) } else { Ok(total) }
}

pub(super) fn is_duration(text: &str) -> Result<(), String> {
    duration(text).map(drop)
}

/// A span that is kept in whole seconds.
pub(super) fn is_seconds(text: &str) -> Result<(), String> {
    match duration(text)? {
        span if span.subsec_nanos() == 0 => Ok(()),
        _ => Err(format!("`{text}` must be whole seconds")),
    }
}

pub(super) fn is_place(text: &str) -> Result<(), String> {
    stepbus_runtime::comparison_place(text).map(drop)
}

pub(super) fn is_rate(text: &str) -> Result<(), String> {
    text.parse::<Rate>().map(drop).map_err(|error| error.to_string())
}

/// `64KiB`, `1MiB`, `500B`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is no size; write for example 64KiB or 1MiB");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: usize = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match text[digits..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// A size as the file writes it: a number, or text with a unit.
pub(super) fn bytes(value: &serde_json::Value) -> Option<u64> {
    let text = || u64::try_from(size(value.as_str()?).ok()?).ok();
    value.as_u64().or_else(text)
}

/// As [`size`], with larger units.
pub(super) fn amount(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write for example 500MiB or 20GiB");
    let (count, unit) =
        match text.trim().strip_suffix("iB").map(|rest| rest.split_at(rest.len() - 1)) {
            Some((count, "G")) => (count, 1 << 30),
            Some((count, "T")) => (count, 1 << 40),
            _ => return size(text).map(|bytes| bytes as u64).map_err(|_| wrong()),
        };
    let count: u64 = count.trim().parse().map_err(|_| wrong())?;
    count.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

pub(super) fn is_amount(text: &str) -> Result<(), String> {
    amount(text).map(drop)
}

/// `now` is none.
pub(super) fn start(text: &str) -> Result<Option<StartAt>, String> {
    let text = text.trim();
    match text {
        "now" => return Ok(None),
        "earliest" => return Ok(Some(StartAt::Earliest)),
        _ => {}
    }
    if let Ok(time) = Timestamp::parse(text) {
        return Ok(Some(StartAt::At(time)));
    }
    let ago = duration(text).map(|span| Some(StartAt::SecondsAgo(span.as_secs())));
    ago.map_err(|_| {
        format!("`{text}` is none of now, earliest, a time as 2026-01-31T08:00:00Z, or 24h")
    })
}

pub(super) fn is_start(text: &str) -> Result<(), String> {
    start(text).map(drop)
}

pub(super) fn mailbox(text: &str) -> Result<(), String> {
    stepbus_connect::check_mailboxes(text)
}

pub(super) fn is_size(text: &str) -> Result<(), String> {
    size(text).map(drop)
}

pub(super) fn method(text: &str) -> Result<(), String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase());
    if fits { Ok(()) } else { Err(format!("`{text}` is no HTTP method; write for example PUT")) }
}

pub(super) fn url(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Err(format!("`{text}` is no URL: it must start with http:// or https://"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.is_empty() {
        return Err(format!("`{text}` names no host"));
    }
    if authority.contains('@') {
        return Err("credentials do not belong in a URL; put them in the connection's auth".into());
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&') {
        let name = pair.split('=').next().unwrap_or("");
        if names_a_secret(name) {
            return Err(format!(
                "the URL carries `{name}`; put it in the connection's auth, as api_key: {{ query: \
                 {name}, value: … }}"
            ));
        }
    }
    Ok(())
}

/// Whether a header or parameter of that name holds something nobody should read.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    matches!(name.as_str(), "authorization" | "proxy-authorization" | "cookie")
        || ["api-key", "apikey", "password", "secret"].iter().any(|part| name.contains(part))
        || name.ends_with("token")
}

/// An endpoint's method and path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) params: Vec<&'a str>,
}

/// `POST /sync/{container}`.
pub(super) fn route(text: &str) -> Result<Route<'_>, String> {
    let example = "write for example POST /sync/{container}";
    let Some((method, path)) = text.trim().split_once(' ') else {
        return Err(format!("`{text}` is no route: a method and a path; {example}"));
    };
    let path = path.trim();
    if !METHODS.contains(&method) {
        return Err(format!("`{method}` is no method of a route; use {}", METHODS.join(", ")));
    }
    if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
        return Err(format!("`{path}` is no path of a route; {example}"));
    }
    let mut params = Vec::new();
    for segment in path.split('/') {
        if !segment.contains(['{', '}']) {
            continue;
        }
        let inside = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        match inside {
            Some(name) if super::vars::is_name(name) && !params.contains(&name) => {
                params.push(name);
            }
            Some(name) if params.contains(&name) => {
                return Err(format!("the parameter `{{{name}}}` stands twice in the route"));
            }
            _ => {
                return Err(format!(
                    "`{segment}` is no part of a route: a parameter fills a part, as in {{name}}"
                ));
            }
        }
    }
    Ok(Route { method, path, params })
}

pub(super) fn is_route(text: &str) -> Result<(), String> {
    route(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        let check = |text: &str, expected: Option<u64>| {
            let found = duration(text).ok().map(|span| span.as_millis());
            assert_eq!(found, expected.map(u128::from), "{text}");
        };
        check("250ms", Some(250));
        check("5s", Some(5_000));
        check("1h30m", Some(5_400_000));
        check(" 1 h 30 min ", Some(5_400_000));
        check("30d", Some(30 * 86_400_000));
        check("2w", Some(14 * 86_400_000));
        check("0s", None);
        check("", None);
        check("5", None);
        check("s", None);
        check("-5s", None);
        check("1.5h", None);
        check("5 years", None);
        check("99999999999999999999s", None);
        check("4294967295w4294967295w", Some(2 * 4_294_967_295 * 604_800_000));
        assert!(is_seconds("1500ms").is_err());
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(size(text).ok(), expected, "{text}");
        };
        check("500", Some(500));
        check("500B", Some(500));
        check("64 KiB", Some(65_536));
        check("1MiB", Some(1_048_576));
        check("0", None);
        check("1MB", None);
        check("MiB", None);
        check("99999999999999999999", None);
    }

    #[test]
    fn routes() {
        let check = |text: &str, expected: &str| {
            let found = match route(text) {
                Ok(route) => format!("{} {} {}", route.method, route.path, route.params.join(",")),
                Err(error) => error,
            };
            assert_eq!(found, expected, "{text}");
        };
        check("POST /sync/{container}", "POST /sync/{container} container");
        check("PUT  /a/{x}/b/{y_2}", "PUT /a/{x}/b/{y_2} x,y_2");
        check("GET /", "GET / ");
        check(
            "/x",
            "`/x` is no route: a method and a path; write for example POST /sync/{container}",
        );
        check("post /x", "`post` is no method of a route; use GET, POST, PUT, PATCH, DELETE");
        check("POST x", "`x` is no path of a route; write for example POST /sync/{container}");
        check(
            "POST /a?b",
            "`/a?b` is no path of a route; write for example POST /sync/{container}",
        );
        check(
            "POST /a-{x}",
            "`a-{x}` is no part of a route: a parameter fills a part, as in {name}",
        );
        check("POST /{}", "`{}` is no part of a route: a parameter fills a part, as in {name}");
        check("POST /{a}/{a}", "the parameter `{a}` stands twice in the route");
    }

    #[test]
    fn urls_carry_no_credentials() {
        let check = |text: &str, good: bool| assert_eq!(url(text).is_ok(), good, "{text}");
        check("https://crm.example/products/{sku}?lang=en", true);
        check("http://127.0.0.1:8080", true);
        check("ftp://x", false);
        check("http:///x", false);
        check("https://user:pass@crm.example/", false);
        check("https://crm.example/?api_key=1", false);
        check("https://crm.example/?access_token=1", false);
    }
}
