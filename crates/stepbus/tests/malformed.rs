//! Malformed events, patterns, transformers and schedules, made from sound ones by a seeded hand:
//! each is refused with a reason, nothing panics, and nothing is published in part.

mod common;

use std::path::Path;

use common::Server;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use stepbus_expr::Jsonata;
use stepbus_expr::transformer::RuleContext;
use stepbus_model::Timestamp;
use stepbus_pattern::Pattern;
use stepbus_runtime::{InputSpec, Timing, time_zone};

/// Refusals that each kind of input must come to.
const REFUSALS: usize = 1_000;
/// Mutants looked at for that; most are malformed.
const MUTANTS: usize = 20_000;

/// Splitmix64: the same mutants in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const HOSTILE: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\"",
    b",",
    b":",
    b"\\",
    b"<",
    b"\x00",
    b"\x1b",
    b"\xff",
    "é".as_bytes(),
    b"\\ud800",
];
const OTHER_TYPES: [&[u8]; 7] = [b"7", b"true", b"null", b"{}", b"[]", b"\"\"", b"[[null]]"];
const HUGE: [&[u8]; 4] =
    [b"1e999", b"-1e400", b"99999999999999999999999999", b"0000000000000000001"];

/// A sound text with one to three things done to it.
fn mutant(random: &mut Random, sound: &str) -> Vec<u8> {
    let mut text = sound.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        text = changed(random, text);
    }
    text
}

fn changed(random: &mut Random, mut text: Vec<u8>) -> Vec<u8> {
    let at = random.below(text.len());
    match random.below(9) {
        0 => text.truncate(at),
        1 if !text.is_empty() => drop(text.remove(at)),
        2 => drop(text.splice(at..at, random.pick(&HOSTILE).iter().copied())),
        3 => replace(random, &mut text, &OTHER_TYPES, |byte| byte == b'"'),
        4 => replace(random, &mut text, &OTHER_TYPES, |byte| byte.is_ascii_digit()),
        5 => replace(random, &mut text, &HUGE, |byte| byte.is_ascii_digit()),
        6 => replace(random, &mut text, &[b"x", b"Source", b"_"], |b| b.is_ascii_alphabetic()),
        7 => {
            let (open, close) = random.pick(&[&(b'[', b']'), &(b'{', b'}'), &(b'(', b')')]);
            // Seldom as deep as hurts: what is deep takes long.
            let most = if random.below(8) == 0 { 1_500 } else { 50 };
            let (deep, closed) = (random.below(most), random.below(2) == 0);
            text.splice(at..at, std::iter::repeat_n(*open, deep));
            if closed {
                text.splice(at + deep..at + deep, std::iter::repeat_n(*close, deep));
            }
        }
        // A member twice, or what looks like one.
        _ => {
            let comma = text.iter().skip(at).position(|byte| *byte == b',').map(|n| at + n);
            let end = comma.unwrap_or(text.len());
            let copy = text[at.min(end)..end].to_vec();
            text.splice(end..end, std::iter::once(b',').chain(copy));
        }
    }
    text
}

/// Puts something else in the place of a run of such bytes; of a text in quotes with them.
fn replace(random: &mut Random, text: &mut Vec<u8>, by: &[&[u8]], is: impl Fn(u8) -> bool) {
    let places: Vec<usize> = (0..text.len()).filter(|at| is(text[*at])).collect();
    let Some(&start) = places.get(random.below(places.len())) else { return };
    let end = if text[start] == b'"' {
        let close = text.iter().skip(start + 1).position(|byte| *byte == b'"');
        close.map_or(text.len(), |length| start + length + 2)
    } else {
        let run = text.iter().skip(start).take_while(|byte| is(**byte)).count();
        start + run
    };
    text.splice(start..end, random.pick(by).iter().copied());
}

/// Has mutants judged until enough were refused; `judge` gives the refusal's words.
fn refusals(seed: u64, sound: &[&str], mut judge: impl FnMut(&[u8]) -> Option<String>) {
    let mut random = Random(seed);
    let mut refused = 0;
    for _ in 0..MUTANTS {
        let original = random.pick(sound);
        let mutant = mutant(&mut random, original);
        let Some(words) = judge(&mutant) else { continue };
        let shown = String::from_utf8_lossy(&mutant);
        assert!(words.trim().len() > 10, "`{words}` says too little of {shown}");
        assert!(words.len() < 20_000, "{} bytes about {shown}", words.len());
        refused += 1;
        if refused == REFUSALS {
            return;
        }
    }
    panic!("only {refused} of {MUTANTS} mutants are refused");
}

fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

const EVENT: &str = r#"{"version":"0","source":"shop","detail-type":"price changed",
    "resources":["a"],"detail":{"sku":"X-1","price":12.5,"tags":["a","b"],"deep":{"n":[1,2]}}}"#;

#[test]
fn patterns() {
    const SOUND: [&str; 3] = [
        r#"{"source":["shop"],"detail":{"price":[{"numeric":[">",0,"<=",5.5]}],"sku":[{"prefix":"X"}]}}"#,
        r#"{"detail":{"sku":[{"anything-but":["a",7]},{"exists":false}],"tags":[{"wildcard":"a*b"}]}}"#,
        r#"{"$or":[{"source":[{"equals-ignore-case":"SHOP"}]},{"detail":{"ip":[{"cidr":"10.0.0.0/8"}]}}]}"#,
    ];
    refusals(1, &SOUND, |text| match Pattern::parse(text) {
        Ok(pattern) => {
            assert!(is_json(text), "taken: {}", String::from_utf8_lossy(text));
            let explained = pattern.explain(EVENT.as_bytes()).unwrap().matched;
            assert_eq!(explained, pattern.matches(EVENT.as_bytes()).unwrap());
            None
        }
        Err(error) => {
            let words = error.to_string();
            let reason = words.strip_prefix("Event pattern is not valid. Reason: ");
            Some(reason.expect("AWS's opening").to_owned())
        }
    });
}

#[test]
fn events_that_are_held_against_a_pattern() {
    let pattern = Pattern::parse(r#"{"detail":{"deep":{"n":[2]},"tags":["b"]}}"#).unwrap();
    refusals(2, &[EVENT], |text| match (pattern.matches(text), pattern.explain(text)) {
        (Ok(matches), Ok(explanation)) => {
            assert_eq!(matches, explanation.matched);
            None
        }
        (Err(error), Err(same)) => {
            assert_eq!(error, same);
            assert!(error.line() > 0 && error.column() > 0);
            Some(error.to_string())
        }
        (matches, explanation) => panic!("{matches:?} but {explanation:?}"),
    });
}

#[test]
fn input_transformers() {
    const SOUND: [&str; 3] = [
        r#"{"paths":{"sku":"$.detail.sku","n":"$.detail.deep.n[0]"},"template":"{\"sku\": <sku>, \"n\": [<n>, 1], \"e\": <aws.events.event.json>}"}"#,
        r#"{"paths":{"tags":"$.detail.tags"},"template":"\"tags are <tags>\"\n\"of <aws.events.rule-name>\""}"#,
        r#"{"paths":{},"template":"{\"at\": \"<aws.events.event.ingestion-time>\"}"}"#,
    ];
    let event: Value = serde_json::from_str(EVENT).unwrap();
    let context = RuleContext { rule_arn: "arn", rule_name: "rule", ingestion_time: Timestamp(0) };
    refusals(3, &SOUND, |text| {
        // What is no JSON is no concern of the transformer: its template and paths are.
        let value: Value = serde_json::from_slice(text).ok()?;
        let paths = value.get("paths")?.as_object()?.clone();
        let template = value.get("template")?.as_str()?.to_owned();
        match (InputSpec::Transformer { paths, template }).compile() {
            Ok(input) => {
                if let Err(error) = input.render(&event, &context, 1_000_000) {
                    assert!(!error.to_string().is_empty());
                }
                None
            }
            Err(error) => {
                let words = error.message("load-erp");
                let names =
                    ["load-erp", "targets.1.member"].iter().any(|name| words.contains(name));
                assert!(names, "{words}");
                Some(words)
            }
        }
    });
}

#[test]
fn transforms() {
    const SOUND: [&str; 3] = [
        "{ 'sku': $event.detail.sku, 'price': $round($event.detail.price * 1.19, 2) }",
        "$event.detail.tags[$ != 'a'].{ 'tag': $uppercase($), 'n': 1 }",
        "($f := function($x) { $x > 1 ? 'many' : 'one' }; $map($event.detail.deep.n, $f))",
    ];
    refusals(4, &SOUND, |text| {
        let text = std::str::from_utf8(text).ok()?;
        let error = Jsonata::compile(text).err()?;
        let within = error.position.is_none_or(|at| at <= text.chars().count());
        assert!(within, "{:?} is beyond {text}", error.position);
        Some(error.to_string())
    });
}

#[test]
fn schedules() {
    const SOUND: [&str; 5] = [
        "rate(5 minutes)",
        "rate(1 day)",
        "cron(0/15 8-17 ? * MON-FRI *)",
        "cron(30 2 L,15W 1,6 ? 2026-2030)",
        "at(2026-12-01T10:00:00)",
    ];
    let zone = time_zone("Europe/Berlin").unwrap();
    refusals(5, &SOUND, |text| {
        let text = std::str::from_utf8(text).ok()?;
        match Timing::parse(text, zone.clone(), None, None) {
            Ok(timing) => {
                let next = timing.next(Timestamp(1_000), Timestamp(0));
                assert!(next.is_none_or(|next| next > Timestamp(1_000)), "{text}: {next:?}");
                None
            }
            Err(error) => {
                assert!(error.at <= text.chars().count(), "{error}");
                assert!(!error.reason.is_empty());
                let words = error.to_string();
                assert!(words.starts_with("Invalid Schedule Expression"), "{words}");
                Some(words)
            }
        }
    });
}

/// Mutants of one kind that are refused, by the same measure as above.
fn refused(seed: u64, sound: &[&str], is_sound: impl Fn(&str) -> bool) -> Vec<String> {
    let mut random = Random(seed);
    let mut found = Vec::new();
    while found.len() < 60 {
        let original = random.pick(sound);
        let Ok(text) = String::from_utf8(mutant(&mut random, original)) else { continue };
        // What an operator could have written, and no nesting that YAML itself refuses.
        if !is_sound(&text) && text.len() < 2_000 && !text.contains('\0') {
            found.push(text);
        }
    }
    found
}

/// What `stepbus validate` says of a folder: its problems, which make it fail.
fn validated(folder: &Path) -> Vec<Value> {
    let output = common::stepbus(&["--json", "validate", folder.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    let problems: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!problems.is_empty())), "{problems:?}");
    for problem in &problems {
        let words = problem["message"].as_str().unwrap();
        assert!(words.trim().len() > 5, "{problem}");
    }
    problems
}

/// Each of a folder's broken parts is told of, with its line and column.
fn expect_each_told(
    count: usize,
    whole: &str,
    files: &[(String, String)],
    place: impl Fn(usize) -> String,
) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stepbus.yaml"), whole).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let problems = validated(folder.path());
    for number in 0..count {
        let place = place(number);
        let told = problems.iter().any(|problem| {
            let (file, location) =
                (problem["file"].as_str().unwrap(), problem["location"].as_str().unwrap());
            let stands = |name: &str| problem[name].as_u64().is_some_and(|at| at > 0);
            let here = file.ends_with(&place) || format!("{location}/").contains(&place);
            here && stands("line") && stands("column")
        });
        let text = files.get(number).map(|(_, text)| text.as_str()).unwrap_or_default();
        assert!(told, "nothing is said of {place}: {text}\n{problems:#?}");
    }
}

#[test]
fn a_project_with_them_is_refused_with_line_and_column() {
    let head = "name: broken\nbuses: { b: {} }\n";
    let subscriptions = |line: &dyn Fn(usize) -> String, count: usize| {
        let mut text = format!("{head}subscriptions:\n");
        for number in 0..count {
            let fields = line(number);
            text.push_str(&format!(
                "  s{number}: {{ bus: b, target: {{ queue: q }}, {fields} }}\n"
            ));
        }
        text
    };
    let named = |texts: Vec<String>, suffix: &str| -> Vec<(String, String)> {
        let names = (0..texts.len()).map(|number| format!("f{number}.{suffix}"));
        names.zip(texts).collect()
    };
    let pattern = r#"{"source":["shop"],"detail":{"price":[{"numeric":[">",0,"<=",5.5]}]}}"#;
    let files = named(refused(21, &[pattern], |text| Pattern::parse(text).is_ok()), "json");
    let whole = subscriptions(&|number| format!("pattern: f{number}.json"), files.len());
    expect_each_told(files.len(), &whole, &files, |number| format!("/f{number}.json"));

    let mapping = "{ 'sku': $event.detail.sku, 'price': $round($event.detail.price * 1.19, 2) }";
    let files = named(refused(22, &[mapping], |text| Jsonata::compile(text).is_ok()), "jsonata");
    let line = |number| format!("pattern: {{ source: [a] }}, transform: f{number}.jsonata");
    let whole = subscriptions(&line, files.len());
    expect_each_told(files.len(), &whole, &files, |number| format!("/f{number}.jsonata"));

    let template = r#"{"sku": <sku>, "e": <aws.events.event.json>, "n": "<n> of <sku>"}"#;
    let paths = json!({ "sku": "$.detail.sku", "n": "$.detail.n" });
    let templates = refused(23, &[template], |template| {
        let (paths, template) = (paths.as_object().unwrap().clone(), template.to_owned());
        template.is_empty() || (InputSpec::Transformer { paths, template }).compile().is_ok()
    });
    let line = |number: usize| {
        let transformer = json!({ "paths": paths, "template": templates[number] });
        format!("pattern: {{ source: [a] }}, input_transformer: {transformer}")
    };
    let whole = subscriptions(&line, templates.len());
    expect_each_told(templates.len(), &whole, &[], |number| format!("/s{number}/"));

    let zone = time_zone("UTC").unwrap();
    let sound = ["rate(5 minutes)", "cron(0/15 8-17 ? * MON-FRI *)", "at(2026-12-01T10:00:00)"];
    let is_sound = |text: &str| Timing::parse(text, zone.clone(), None, None).is_ok();
    let expressions = refused(24, &sound, is_sound);
    let mut whole = format!("{head}schedules:\n");
    for (number, text) in expressions.iter().enumerate() {
        let text = json!(text);
        whole.push_str(&format!("  s{number}: {{ schedule: {text}, target: {{ queue: q }} }}\n"));
    }
    expect_each_told(expressions.len(), &whole, &[], |number| format!("/s{number}/"));
}

/// The project file itself: whatever is wrong is told with a place, and nothing panics.
#[test]
fn a_broken_project_file_is_refused_with_line_and_column() {
    let mut random = Random(25);
    let mut refused = 0;
    for _ in 0..80 {
        let folder = tempfile::tempdir().unwrap();
        let text = mutant(&mut random, PROJECT);
        std::fs::write(folder.path().join("stepbus.yaml"), &text).unwrap();
        let problems = validated(folder.path());
        let utf8 = std::str::from_utf8(&text).is_ok();
        for problem in &problems {
            assert!(problem["line"].is_u64() || !utf8, "{problem} of {text:?}");
        }
        refused += usize::from(!problems.is_empty());
    }
    assert!(refused > 30, "only {refused}");
}

/// An event that cannot be read is no event that does not match.
#[test]
fn a_broken_event_is_told_apart_from_one_that_does_not_match() {
    for text in refused(26, &[EVENT], |text| is_json(text.as_bytes())).iter().take(30) {
        let output = common::stepbus(&["events", "explain", "--pattern", "{}", "--event", text]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert!(!said.contains("panicked") && said.len() > 10, "{said}");
    }
}

const PROJECT: &str = "
name: malformed
buses:
  prices: {}
subscriptions:
  all:
    bus: prices
    pattern: { source: [ { exists: true } ] }
    target: { queue: all }
";

fn entry(source: &str) -> String {
    let detail = json!({ "sku": "X-1", "price": 12.5, "tags": ["a", "b"], "deep": { "n": [1] } });
    json!({
        "bus": "prices", "source": source, "detail-type": "price changed", "detail": detail,
        "resources": ["r"], "priority": "high", "force": false,
    })
    .to_string()
}

/// The status and the answer of a call as it is written.
fn send(agent: &ureq::Agent, server: &Server, entries: &[&[u8]]) -> (u16, Value) {
    let mut body = br#"{"entries":["#.to_vec();
    body.extend(entries.join(&b','));
    body.extend(b"]}");
    let request = agent.post(format!("{}/admin/events", server.operators));
    let mut answer = request.header("content-type", "application/json").send(&body).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
}

/// What is no JSON takes its whole call with it, anything else only itself.
#[test]
fn entries_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("stepbus.yaml");
    std::fs::write(&project, PROJECT).unwrap();
    let data = folder.path().join("data");
    let server = Server::start_with(&project, &data, []);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (sound, never) = (entry("sound"), entry("never"));
    let (mut published, mut random) = (0, Random(6));
    refusals(7, &[&entry("mutant")], |text| {
        let place = random.below(3);
        let beside = if is_json(text) { &sound } else { &never };
        let mut entries = vec![beside.as_bytes(); 2];
        entries.insert(place, text);
        let (status, answer) = send(&agent, &server, &entries);
        let shown = String::from_utf8_lossy(text);
        if !is_json(text) {
            assert!((400..500).contains(&status), "{status} {answer} for {shown}");
            assert_eq!(answer["error"], "ValidationException", "{answer} for {shown}");
            return Some(answer["message"].as_str().unwrap().to_owned());
        }
        assert_eq!(status, 200, "{answer} for {shown}");
        let results = answer["entries"].as_array().unwrap();
        let accepted = results.iter().filter(|result| result["event"].is_string()).count();
        published += accepted;
        assert_eq!(
            (results.len(), answer["failed"].as_u64()),
            (3, u64::try_from(3 - accepted).ok())
        );
        for (_, beside) in results.iter().enumerate().filter(|(at, _)| *at != place) {
            assert!(beside["event"].is_string(), "{answer} for {shown}");
        }
        let refused = &results[place];
        let code = refused["error"].as_str()?;
        Some(format!("{code}: {}", refused["message"].as_str().unwrap()))
    });
    let (mut seen, mut after) = (0, String::new());
    loop {
        let page = server.get(&format!("/admin/events?limit=500{after}"));
        let page = page.as_array().unwrap();
        let Some(last) = page.last() else { break };
        for row in page {
            assert!(row["event"]["detail"].is_object(), "{row}");
            assert_ne!(row["event"]["source"], "never", "{row}");
        }
        seen += page.len();
        after = format!("&after={}", last["id"].as_str().unwrap());
    }
    assert_eq!(seen, published);
    server.kill();
    common::assert_audit_finds_nothing(&data);
}
