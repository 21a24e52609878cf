use expect_test::{Expect, expect};

use super::check as check_section;

/// A schedule with these fields beside what it must have.
#[track_caller]
fn check(fields: &str, expected: Expect) {
    let must = [
        ("schedule", "schedule: rate(5 minutes)"),
        ("target", "target: { event: { bus: catalog, detail-type: tick } }"),
    ];
    let mut text = format!("schedules:\n  s:\n    {}", fields.replace('\n', "\n    "));
    for (name, line) in must {
        if !fields.lines().any(|line| line.starts_with(name)) {
            text.push_str(&format!("\n    {line}"));
        }
    }
    check_section(&text, expected);
}

#[test]
fn what_is_right_is_silent() {
    check(
        "schedule: cron(0 2 L * ? *)\ntimezone: Europe/Berlin\nflexible_window: 10m\nstart: \
         2026-01-01T00:00:00Z\nend: 2027-01-01T00:00:00+01:00\nmissed: skip\nretry: { max_age: 1h \
         }\ndead_letter: late\nenabled: false\nafter_completion: delete\nforce: true\ninput: { at: \
         \"{% $schedule.scheduled_time %}\" }",
        expect![[""]],
    );
}

#[test]
fn what_must_be_there() {
    check_section(
        "schedules: { s: }",
        expect![[r#"
        stepbus.yaml:1:14: error: `schedule` is missing
          1 | schedules: { s: }
            |              ^
          hint: When: rate(5 minutes), cron(0 2 * * ? *) or at(2026-12-01T10:00:00).
        stepbus.yaml:1:14: error: `target` is missing
          1 | schedules: { s: }
            |              ^
          hint: What it brings about.
    "#]],
    );
    check(
        "target: {}",
        expect![[r#"
        stepbus.yaml:3:5: error: one of `event`, `workflow`, `queue` is missing
          3 |     target: {}
            |     ^
          hint: give exactly one
    "#]],
    );
    check(
        "target: { event: { detail-type: tick }, queue: q }",
        expect![[r#"
        stepbus.yaml:3:15: error: `bus` is missing
          3 |     target: { event: { detail-type: tick }, queue: q }
            |               ^
          hint: The bus.
        stepbus.yaml:3:45: error: only one of `event`, `workflow`, `queue` may be given
          3 |     target: { event: { detail-type: tick }, queue: q }
            |                                             ^
    "#]],
    );
    check(
        "target: { event: { bus: catalogue, detail-type: tick } }",
        expect![[r#"
        stepbus.yaml:3:29: error: no bus is named `catalogue`
          3 |     target: { event: { bus: catalogue, detail-type: tick } }
            |                             ^
          hint: did you mean `catalog`?
    "#]],
    );
    check(
        "target: { workflow: synch }",
        expect![[r#"
        stepbus.yaml:3:25: error: no workflow is named `synch`
          3 |     target: { workflow: synch }
            |                         ^
          hint: did you mean `sync`?
    "#]],
    );
    check(
        "target: { destination: crm }",
        expect![[r#"
        stepbus.yaml:3:15: error: unknown field `destination`
          3 |     target: { destination: crm }
            |               ^
          hint: known: event, workflow, queue
    "#]],
    );
}

#[test]
fn rates() {
    check(
        "schedule: every 5 minutes",
        expect![[r#"
        stepbus.yaml:3:15: error: Invalid Schedule Expression every 5 minutes. Reason: write rate(5 minutes), cron(0 2 * * ? *) or at(2026-12-01T10:00:00) (at character 1)
          3 |     schedule: every 5 minutes
            |               ^
    "#]],
    );
    check(
        "schedule: rate(5)",
        expect![[r#"
        stepbus.yaml:3:20: error: Invalid Schedule Expression rate(5). Reason: a rate is a number and a unit, as in rate(5 minutes) (at character 6)
          3 |     schedule: rate(5)
            |                    ^
    "#]],
    );
    check(
        "schedule: rate(0 minutes)",
        expect![[r#"
        stepbus.yaml:3:20: error: Invalid Schedule Expression rate(0 minutes). Reason: `0` is no whole number above 0 (at character 6)
          3 |     schedule: rate(0 minutes)
            |                    ^
    "#]],
    );
    check(
        "schedule: rate(1 minutes)",
        expect![[r#"
        stepbus.yaml:3:22: error: Invalid Schedule Expression rate(1 minutes). Reason: for 1 it is `minute` (at character 8)
          3 |     schedule: rate(1 minutes)
            |                      ^
    "#]],
    );
    check(
        "schedule: rate(5 seconds)",
        expect![[r#"
        stepbus.yaml:3:22: error: Invalid Schedule Expression rate(5 seconds). Reason: `seconds` is no unit: minutes, hours or days (at character 8)
          3 |     schedule: rate(5 seconds)
            |                      ^
    "#]],
    );
    check(
        "schedule: rate(5 minutes",
        expect![[r#"
        stepbus.yaml:3:29: error: Invalid Schedule Expression rate(5 minutes. Reason: it does not end with `)` (at character 15)
          3 |     schedule: rate(5 minutes
            |                             ^
    "#]],
    );
}

#[test]
fn crons() {
    check(
        "schedule: cron(0 2 * * *)",
        expect![[r#"
        stepbus.yaml:3:20: error: Invalid Schedule Expression cron(0 2 * * *). Reason: expected six fields (minutes, hours, day of month, month, day of week, year), found 5 (at character 6)
          3 |     schedule: cron(0 2 * * *)
            |                    ^
    "#]],
    );
    check(
        "schedule: cron(0 2 * * * *)",
        expect![[r#"
        stepbus.yaml:3:28: error: Invalid Schedule Expression cron(0 2 * * * *). Reason: day of month and day of week cannot both be given: one of them must be `?` (at character 14)
          3 |     schedule: cron(0 2 * * * *)
            |                            ^
    "#]],
    );
    check(
        "schedule: cron(0 2 ? * ? *)",
        expect![[r#"
        stepbus.yaml:3:28: error: Invalid Schedule Expression cron(0 2 ? * ? *). Reason: day of month and day of week cannot both be `?`: one of them says the day (at character 14)
          3 |     schedule: cron(0 2 ? * ? *)
            |                            ^
    "#]],
    );
    check(
        "schedule: cron(60 2 * * ? *)",
        expect![[r#"
        stepbus.yaml:3:20: error: Invalid Schedule Expression cron(60 2 * * ? *). Reason: minutes: `60` is not 0 to 59 (at character 6)
          3 |     schedule: cron(60 2 * * ? *)
            |                    ^
    "#]],
    );
    check(
        "schedule: cron(0 2 ? * 8 *)",
        expect![[r#"
        stepbus.yaml:3:28: error: Invalid Schedule Expression cron(0 2 ? * 8 *). Reason: day of week: `8` is not 1 to 7 or SUN to SAT (at character 14)
          3 |     schedule: cron(0 2 ? * 8 *)
            |                            ^
    "#]],
    );
    check(
        "schedule: cron(0 2 ? FEBRUARY MON *)",
        expect![[r#"
        stepbus.yaml:3:26: error: Invalid Schedule Expression cron(0 2 ? FEBRUARY MON *). Reason: month: `FEBRUARY` is not 1 to 12 or JAN to DEC (at character 12)
          3 |     schedule: cron(0 2 ? FEBRUARY MON *)
            |                          ^
    "#]],
    );
    check(
        "schedule: cron(0 2 ? * MON 2200)",
        expect![[r#"
        stepbus.yaml:3:32: error: Invalid Schedule Expression cron(0 2 ? * MON 2200). Reason: year: `2200` is not 1970 to 2199 (at character 18)
          3 |     schedule: cron(0 2 ? * MON 2200)
            |                                ^
    "#]],
    );
}

#[test]
fn moments() {
    check(
        "schedule: at(2026-12-01)",
        expect![[r#"
        stepbus.yaml:3:18: error: Invalid Schedule Expression at(2026-12-01). Reason: a time is yyyy-mm-ddThh:mm:ss, without an offset: the time zone stands beside it (at character 4)
          3 |     schedule: at(2026-12-01)
            |                  ^
    "#]],
    );
    check(
        "schedule: at(2026-02-30T10:00:00)",
        expect![[r#"
        stepbus.yaml:3:18: error: Invalid Schedule Expression at(2026-02-30T10:00:00). Reason: parsed date is not valid: parameter 'day' for `2026-02` is invalid, must be in range `1..=28` (at character 4)
          3 |     schedule: at(2026-02-30T10:00:00)
            |                  ^
    "#]],
    );
    check(
        "start: yesterday\nend: 2026-12-01",
        expect![[r#"
        stepbus.yaml:3:12: error: this is no moment
          3 |     start: yesterday
            |            ^
          hint: for example 2026-12-01T10:00:00Z
          also at stepbus.yaml:4:10
    "#]],
    );
    check(
        "start: 2027-01-01T00:00:00Z\nend: 2026-01-01T00:00:00Z",
        expect![[r#"
        stepbus.yaml:4:10: error: it ends before it starts
          4 |     end: 2026-01-01T00:00:00Z
            |          ^
          hint: give an `end` after `start`, or leave one of the two out
    "#]],
    );
}

#[test]
fn options() {
    check(
        "timezone: Europe/Berln",
        expect![[r#"
        stepbus.yaml:3:15: error: `Europe/Berln` is no time zone; write one of IANA's, as Europe/Berlin or UTC
          3 |     timezone: Europe/Berln
            |               ^
    "#]],
    );
    check(
        "flexible_window: a while",
        expect![[r#"
        stepbus.yaml:3:22: error: `a while` is no span of time; write for example 250ms, 5s, 24h or 30d
          3 |     flexible_window: a while
            |                      ^
    "#]],
    );
    check(
        "flexible_window: 500ms",
        expect![[r#"
        stepbus.yaml:3:22: error: `500ms` must be whole seconds
          3 |     flexible_window: 500ms
            |                      ^
          hint: for example 30d
    "#]],
    );
    check(
        "missed: never",
        expect![[r#"
        stepbus.yaml:3:13: error: `never` is not known here
          3 |     missed: never
            |             ^
          hint: known: fire_once, skip
    "#]],
    );
    check(
        "input: { at: \"{% $event.time %}\" }",
        expect![[r#"
        stepbus.yaml:3:22: error: `$event` has no value here
          3 |     input: { at: "{% $event.time %}" }
            |                      ^
          hint: known: $schedule
    "#]],
    );
}

#[test]
fn policies() {
    check(
        "target: { queue: q }\nforce: true",
        expect![[r#"
        stepbus.yaml:4:12: error: a queue gets every message, changed or not
          4 |     force: true
            |            ^
          hint: leave it out
    "#]],
    );
    check(
        "retry: { max_age: 10s, attempts: 3 }",
        expect![[r#"
        stepbus.yaml:3:28: error: unknown field `attempts`
          3 |     retry: { max_age: 10s, attempts: 3 }
            |                            ^
          hint: did you mean `max_attempts`?
    "#]],
    );
    check(
        "force: yes\nafter_completion: remove\ndead_letter: my queue",
        expect![[r#"
        stepbus.yaml:3:12: error: expected true or false, found a text
          3 |     force: yes
            |            ^
          hint: true or false, without quotes
        stepbus.yaml:4:23: error: `remove` is not known here
          4 |     after_completion: remove
            |                       ^
          hint: known: keep, delete
        stepbus.yaml:5:18: error: `my queue` is no name: up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit
          5 |     dead_letter: my queue
            |                  ^
    "#]],
    );
    check(
        "cron: 0 2 * * ? *",
        expect![[r#"
        stepbus.yaml:3:5: error: unknown field `cron`
          3 |     cron: 0 2 * * ? *
            |     ^
          hint: known: schedule, timezone, flexible_window, start, end, missed, target, input, retry, dead_letter, enabled, after_completion, force
    "#]],
    );
}
