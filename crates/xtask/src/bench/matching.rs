//! Matching events on one thread: five patterns of each kind over parcel records, beside the
//! `quamina` crate on the same events in the same run; then ten rules beside ten thousand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use stepbus_pattern::{Matcher, Pattern, Scratch};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder with gen_citylots2.py and matcher-rules.json.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/bench"))]
    data: PathBuf,
    /// Where the records are kept between runs.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench-match"))]
    cache: PathBuf,
    /// Runs of each; the fastest counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Rules of the large set.
    #[arg(long, default_value_t = 10_000)]
    rules: usize,
}

/// Thousands of events a second of aws/event-ruler, from the README beside the data.
const RULER: [(&str, f64); 14] = [
    ("EXACT", 214.0),
    ("WILDCARD", 227.0),
    ("PREFIX", 332.0),
    ("PREFIX_EQUALS_IGNORE_CASE", 270.0),
    ("SUFFIX", 289.0),
    ("SUFFIX_EQUALS_IGNORE_CASE", 265.0),
    ("EQUALS_IGNORE_CASE", 306.0),
    ("COMPLEX_ARRAYS", 43.0),
    ("NUMERIC", 176.0),
    ("ANYTHING_BUT", 169.0),
    ("ANYTHING_BUT_IGNORE_CASE", 178.0),
    ("ANYTHING_BUT_PREFIX", 197.0),
    ("ANYTHING_BUT_SUFFIX", 188.0),
    ("ANYTHING_BUT_WILDCARD", 195.0),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if cfg!(debug_assertions) {
        bail!("built for debugging; use cargo xtask bench match");
    }
    let text = records(arguments)?;
    let events: Vec<&[u8]> = text.split(|&b| b == b'\n').filter(|line| !line.is_empty()).collect();
    operators(arguments, &events)?;
    scale(arguments, &events)
}

fn records(arguments: &Arguments) -> Result<Vec<u8>> {
    std::fs::create_dir_all(&arguments.cache)?;
    let plain = arguments.cache.join("citylots2.json");
    if !plain.exists() {
        eprintln!("making the records (half a minute)");
        let packed = arguments.cache.join("citylots2.json.gz");
        python(&[arguments.data.join("gen_citylots2.py").as_path(), &packed])?;
        let unpacking = arguments.cache.join("citylots2.json.part");
        let script = "import gzip, shutil, sys; \
                      shutil.copyfileobj(gzip.open(sys.argv[1]), open(sys.argv[2], 'wb'))";
        python(&[Path::new("-c"), Path::new(script), &packed, &unpacking])?;
        std::fs::rename(&unpacking, &plain)?;
    }
    std::fs::read(&plain).with_context(|| format!("cannot read {}", plain.display()))
}

fn python(arguments: &[&Path]) -> Result<()> {
    let status = Command::new("python3").args(arguments).status().context("cannot run python3")?;
    ensure!(status.success(), "python3 failed: {status}");
    Ok(())
}

fn operators(arguments: &Arguments, events: &[&[u8]]) -> Result<()> {
    let file = arguments.data.join("matcher-rules.json");
    let sets: Value = serde_json::from_slice(
        &std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?,
    )?;
    println!("{} events, one thread, five patterns each; events a second", events.len());
    println!(
        "{:28}{:>11}{:>11}{:>9}{:>14}",
        "operator", "stepbus", "quamina", "ratio", "x event-ruler"
    );
    for (name, set) in sets.as_object().context("the rules are no object")? {
        let texts: Vec<String> =
            set["patterns"].as_array().into_iter().flatten().map(Value::to_string).collect();
        let counts: Vec<u64> =
            set["matches"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        let (own, other) = operator(arguments.rounds, events, &texts, &counts)
            .with_context(|| format!("operator {name}"))?;
        let ruler = RULER.iter().find(|(ruler, _)| ruler == name);
        let ruler = ruler.map_or("-".to_owned(), |(_, k)| format!("{:.1}", own / k / 1e3));
        let (quamina, ratio) = match other {
            Some(other) => (format!("{other:.0}"), format!("{:.2}", own / other)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        println!("{name:28}{own:>11.0}{quamina:>11}{ratio:>9}{ruler:>14}");
    }
    Ok(())
}

/// Events a second of both; nothing for quamina where it lacks the operator.
fn operator(
    rounds: usize,
    events: &[&[u8]],
    texts: &[String],
    counts: &[u64],
) -> Result<(f64, Option<f64>)> {
    let matcher = matcher(texts)?;
    let mut scratch = Scratch::new();
    let mut quamina = quamina::Quamina::new();
    let supported = (0..).zip(texts).all(|(i, text)| quamina.add_pattern(i, text).is_ok());
    let (mut own, mut other) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds {
        own = own.min(timed(counts, |found| {
            for event in events {
                for &key in matcher.matches(event, &mut scratch)? {
                    found[key] += 1;
                }
            }
            Ok(())
        })?);
        if supported {
            other = other.min(timed(counts, |found| {
                for event in events {
                    for key in quamina.matches_for_event(event)? {
                        found[key] += 1;
                    }
                }
                Ok(())
            })?);
        }
    }
    let events = events.len() as f64;
    Ok((events / own, supported.then_some(events / other)))
}

fn timed(counts: &[u64], run: impl FnOnce(&mut [u64]) -> Result<()>) -> Result<f64> {
    let mut found = vec![0; counts.len()];
    let start = Clock::start();
    run(&mut found)?;
    let seconds = start.seconds();
    ensure!(found == counts, "matched {found:?} where {counts:?} are right");
    Ok(seconds)
}

fn matcher(texts: &[String]) -> Result<Matcher<usize>> {
    let patterns = texts.iter().map(Pattern::parse).collect::<Result<Vec<_>, _>>()?;
    let matcher = Matcher::new();
    matcher.add_all(patterns.iter().enumerate());
    Ok(matcher)
}

/// Ten rules beside many, of the same kinds over the same fields.
fn scale(arguments: &Arguments, events: &[&[u8]]) -> Result<()> {
    println!("\nrules of mixed kinds over the same fields");
    let mut speeds = Vec::new();
    for count in [10, arguments.rules] {
        let texts: Vec<String> = (0..count).map(|i| mixed_rule(i, count)).collect();
        let matcher = matcher(&texts)?;
        agree_with_plain_way(&matcher, &texts, &events[..20.min(events.len())])?;
        let mut scratch = Scratch::new();
        let mut first = None;
        let mut best = f64::INFINITY;
        for _ in 0..arguments.rounds {
            let start = Clock::start();
            let mut matched = 0;
            for event in events {
                matched += matcher.matches(event, &mut scratch)?.len();
            }
            best = best.min(start.seconds());
            ensure!(*first.get_or_insert(matched) == matched, "the matches differ between runs");
        }
        let speed = events.len() as f64 / best;
        println!("{count:>8} rules{speed:>14.0} events/s, {} matches", first.unwrap_or(0));
        speeds.push(speed);
        if count > 10 {
            time_changes(&matcher, count)?;
        }
    }
    println!("   ratio {:>17.2}", speeds[1] / speeds[0]);
    Ok(())
}

/// Rule `i` of `count`; spread so that about as many match an event whatever the count.
fn mixed_rule(i: usize, count: usize) -> String {
    let n = i / 10;
    let spread = 100_000 / count.max(10) * n;
    let x = -122.515 + 0.155 * n as f64 / (count as f64 / 10.0);
    let fields = match i % 10 {
        0 => format!(r#"{{"MAPBLKLOT": ["{:07}"]}}"#, 1_000_000 + spread),
        1 => format!(r#"{{"BLKLOT": [{{"prefix": "{spread:05}"}}]}}"#),
        2 => format!(r#"{{"BLKLOT": [{{"suffix": "{spread:05}"}}]}}"#),
        3 => format!(r#"{{"MAPBLKLOT": [{{"wildcard": "{:04}*{}*"}}]}}"#, n, n % 10),
        4 => format!(r#"{{"STREET": [{{"equals-ignore-case": "Street {n}"}}]}}"#),
        5 => {
            return format!(
                r#"{{"geometry": {{"firstCoordinates": {{"x": [{{"numeric": [">", {x}, "<", {}]}}]}}}}}}"#,
                x + 1e-6
            );
        }
        6 => format!(
            r#"{{"STREET": [{{"anything-but": ["MASON", "S{n}"]}}], "FROM_ST": ["{}"]}}"#,
            10_000 + n
        ),
        7 => format!(
            r#"{{"TO_ST": [{{"exists": true}}], "STREET": [{{"prefix": {{"equals-ignore-case": "a{n}"}}}}]}}"#
        ),
        8 => format!(r#"{{"$or": [{{"STREET": ["X{n}"]}}, {{"FROM_ST": ["{}"]}}]}}"#, 20_000 + n),
        _ => {
            return format!(
                r#"{{"properties": {{"LOT_NUM": ["A{n:03}"]}}, "geometry": {{"type": [{{"anything-but": "Point"}}]}}}}"#
            );
        }
    };
    format!(r#"{{"properties": {fields}}}"#)
}

fn agree_with_plain_way(
    matcher: &Matcher<usize>,
    texts: &[String],
    events: &[&[u8]],
) -> Result<()> {
    let patterns = texts.iter().map(Pattern::parse).collect::<Result<Vec<_>, _>>()?;
    let mut scratch = Scratch::new();
    for event in events {
        let mut found = matcher.matches(event, &mut scratch)?.to_vec();
        found.sort_unstable();
        let mut expected = Vec::new();
        for (i, pattern) in patterns.iter().enumerate() {
            if pattern.matches(event)? {
                expected.push(i);
            }
        }
        ensure!(found == expected, "matched {found:?} where {expected:?} are right");
    }
    Ok(())
}

fn time_changes(matcher: &Matcher<usize>, count: usize) -> Result<()> {
    const CHANGES: usize = 1_000;
    let pattern = Pattern::parse(r#"{"properties": {"STREET": ["new"]}}"#)?;
    let (mut all, mut longest) = (0.0_f64, 0.0_f64);
    for i in 0..CHANGES {
        let start = Clock::start();
        matcher.add(count + i, &pattern);
        all += start.seconds();
        longest = longest.max(start.seconds());
    }
    println!(
        "   adding one rule: {:.2} ms on average, {:.1} ms at most",
        all * 1e3 / CHANGES as f64,
        longest * 1e3
    );
    Ok(())
}

/// The time this thread spends computing, so that other work on the machine counts less; the time
/// that passes where the system does not tell.
struct Clock {
    cpu: Option<u64>,
    wall: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock { cpu: cpu_nanoseconds(), wall: Instant::now() }
    }

    fn seconds(&self) -> f64 {
        match (self.cpu, cpu_nanoseconds()) {
            (Some(start), Some(end)) => (end - start) as f64 / 1e9,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn cpu_nanoseconds() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}
