use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The next times after `after`, each in RFC 3339 without its milliseconds.
fn next(text: &str, in_zone: &str, after: &str, count: usize) -> Vec<String> {
    let timing = Timing::parse(text, zone(in_zone), None, None).unwrap();
    let (mut after, anchor) = (at(after), at(after));
    let mut found = Vec::new();
    while found.len() < count
        && let Some(at) = timing.next(after, anchor)
    {
        found.push(at.to_rfc3339_seconds());
        after = at;
    }
    found
}

fn check(text: &str, in_zone: &str, after: &str, expected: &[&str]) {
    assert_eq!(next(text, in_zone, after, expected.len()), expected, "{text} in {in_zone}");
}

#[test]
fn cron_in_utc() {
    let from = "2026-01-30T10:07:30Z";
    check(
        "cron(0/15 * * * ? *)",
        "UTC",
        from,
        &[
            "2026-01-30T10:15:00Z",
            "2026-01-30T10:30:00Z",
            "2026-01-30T10:45:00Z",
            "2026-01-30T11:00:00Z",
        ],
    );
    check(
        "cron(5,35 8-17/3 ? * MON-FRI *)",
        "UTC",
        from,
        &[
            "2026-01-30T11:05:00Z",
            "2026-01-30T11:35:00Z",
            "2026-01-30T14:05:00Z",
            "2026-01-30T14:35:00Z",
            "2026-01-30T17:05:00Z",
            "2026-01-30T17:35:00Z",
            "2026-02-02T08:05:00Z",
        ],
    );
    check("cron(0 12 31 * ? *)", "UTC", from, &["2026-01-31T12:00:00Z", "2026-03-31T12:00:00Z"]);
    check(
        "cron(0 0 1 jan ? 2027-2030/3)",
        "UTC",
        from,
        &["2027-01-01T00:00:00Z", "2030-01-01T00:00:00Z"],
    );
    assert_eq!(next("cron(0 0 1 1 ? 2027)", "UTC", from, 9).len(), 1, "then never again");
    assert!(next("cron(0 0 30 2 ? *)", "UTC", from, 1).is_empty(), "there is no such day");
    assert!(next("cron(0 0 1 1 ? 2020)", "UTC", from, 1).is_empty());
}

#[test]
fn last_days_weekdays_and_the_nth() {
    let from = "2027-12-15T00:00:00Z";
    check(
        "cron(0 6 L * ? *)",
        "UTC",
        from,
        &["2027-12-31T06:00:00Z", "2028-01-31T06:00:00Z", "2028-02-29T06:00:00Z"],
    );
    // 1 January 2028 is a Saturday, 30 April 2028 a Sunday.
    check("cron(0 6 1W * ? 2028)", "UTC", from, &["2028-01-03T06:00:00Z", "2028-02-01T06:00:00Z"]);
    check(
        "cron(0 6 15W 1,4 ? 2028)",
        "UTC",
        from,
        &["2028-01-14T06:00:00Z", "2028-04-14T06:00:00Z"],
    );
    check("cron(0 6 30W 4 ? *)", "UTC", from, &["2028-04-28T06:00:00Z"]);
    check("cron(0 6 LW 4 ? *)", "UTC", from, &["2028-04-28T06:00:00Z"]);
    check("cron(0 6 ? * 6L *)", "UTC", from, &["2027-12-31T06:00:00Z", "2028-01-28T06:00:00Z"]);
    check("cron(0 6 ? * FRIL *)", "UTC", from, &["2027-12-31T06:00:00Z"]);
    check("cron(0 6 ? * L *)", "UTC", from, &["2027-12-18T06:00:00Z"]);
    check("cron(0 6 ? * 3#2 *)", "UTC", from, &["2028-01-11T06:00:00Z", "2028-02-08T06:00:00Z"]);
    check("cron(0 6 ? * TUE#5 *)", "UTC", from, &["2028-02-29T06:00:00Z", "2028-05-30T06:00:00Z"]);
    check("cron(0 0 29 2 ? *)", "UTC", from, &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    check("cron(0 0 29 2 ? 2100/100)", "UTC", from, &[]);
}

#[test]
fn skipped_local_times_do_not_fire_and_repeated_ones_fire_once() {
    // Berlin: 02:00 to 03:00 is left out on 29 March 2026 and comes twice on 25 October.
    check(
        "cron(30 2 * * ? *)",
        "Europe/Berlin",
        "2026-03-27T12:00:00Z",
        &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"],
    );
    check(
        "cron(30 2 * * ? *)",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    );
    check(
        "cron(0/30 2-3 * * ? *)",
        "Europe/Berlin",
        "2026-10-24T23:00:00Z",
        &[
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T02:00:00Z",
            "2026-10-25T02:30:00Z",
            "2026-10-26T01:00:00Z",
        ],
    );
    check(
        "cron(30 2 * * ? *)",
        "America/New_York",
        "2026-03-07T12:00:00Z",
        &["2026-03-09T06:30:00Z"],
    );
    check(
        "cron(30 1 * * ? *)",
        "America/New_York",
        "2026-10-31T12:00:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    );
    // Half an hour of daylight saving, and zones that are far from Greenwich.
    check(
        "cron(15 2 * * ? *)",
        "Australia/Lord_Howe",
        "2026-10-02T20:00:00Z",
        &["2026-10-04T15:15:00Z"],
    );
    check(
        "cron(0 0 1 * ? *)",
        "Pacific/Kiritimati",
        "2026-05-30T00:00:00Z",
        &["2026-05-31T10:00:00Z"],
    );
    check(
        "cron(0 0 1 * ? *)",
        "Pacific/Pago_Pago",
        "2026-05-30T00:00:00Z",
        &["2026-06-01T11:00:00Z"],
    );
    check(
        "cron(30 9 ? * MON *)",
        "Asia/Kolkata",
        "2026-06-01T03:59:59Z",
        &["2026-06-01T04:00:00Z"],
    );
}

#[test]
fn rates_count_from_their_start() {
    check(
        "rate(5 minutes)",
        "UTC",
        "2026-01-01T00:02:00Z",
        &["2026-01-01T00:07:00Z", "2026-01-01T00:12:00Z"],
    );
    check("rate(1 day)", "Europe/Berlin", "2026-03-28T10:00:00Z", &["2026-03-29T10:00:00Z"]);
    let bounds = (Some(at("2026-01-01T00:00:00Z")), Some(at("2026-01-01T02:00:00Z")));
    let timing = Timing::parse("rate(1 hour)", zone("UTC"), bounds.0, bounds.1).unwrap();
    let next = |after: &str| timing.next(at(after), at("2025-06-01T00:00:00Z"));
    assert_eq!(next("2025-12-01T00:00:00Z"), bounds.0);
    assert_eq!(next("2026-01-01T00:00:00Z"), Some(at("2026-01-01T01:00:00Z")));
    assert_eq!(next("2026-01-01T01:00:00Z"), bounds.1);
    assert_eq!(next("2026-01-01T02:00:00Z"), None, "its end is past");
}

#[test]
fn once_and_never_again() {
    check(
        "at(2026-12-01T10:00:00)",
        "Europe/Berlin",
        "2026-11-24T00:00:00Z",
        &["2026-12-01T09:00:00Z"],
    );
    assert!(next("at(2026-12-01T10:00:00)", "UTC", "2026-12-01T10:00:00Z", 1).is_empty());
    // A time that is left out comes an hour later; one that comes twice, the first time.
    check(
        "at(2026-03-29T02:30:00)",
        "Europe/Berlin",
        "2026-01-01T00:00:00Z",
        &["2026-03-29T01:30:00Z"],
    );
    check(
        "at(2026-10-25T02:30:00)",
        "Europe/Berlin",
        "2026-01-01T00:00:00Z",
        &["2026-10-25T00:30:00Z"],
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let check = |text: &str, reason: &str, at: usize| {
        let error = Timing::parse(text, TimeZone::UTC, None, None).unwrap_err();
        assert!(error.reason.contains(reason), "{text}: {}", error.reason);
        assert_eq!(error.at, at, "{text}: {}", error.reason);
        assert!(error.to_string().starts_with("Invalid Schedule Expression "));
    };
    check("", "write rate(5 minutes)", 0);
    check("every(5 minutes)", "write rate(5 minutes)", 0);
    check("rate(5 minutes", "does not end", 14);
    check("raté(5 minutes", "does not end", 14);
    check("rate(5)", "a number and a unit", 5);
    check("rate(0 minutes)", "`0` is no whole number above 0", 5);
    check("rate(-5 minutes)", "no whole number", 5);
    check("rate(99999999999 days)", "no whole number", 5);
    check("rate(1 minutes)", "for 1 it is `minute`", 7);
    check("rate(5 minute)", "for 5 it is `minutes`", 7);
    check("rate(5 weeks)", "`weeks` is no unit", 7);
    check("cron(* * * * *)", "expected six fields", 5);
    check("cron(0 50 * * ? *)", "hours: `50` is not 0 to 23", 7);
    check("cron(*/60 * * * ? *)", "`60` is no step", 5);
    check("cron(0 0 1 * 2 *)", "cannot both be given", 13);
    check("cron(0 0 ? * ? *)", "cannot both be `?`", 13);
    check("cron(0 0 ? * FOO *)", "day of week: `FOO` is not 1 to 7 or SUN to SAT", 13);
    check("cron(0 0 ? * 2#6 *)", "1 to 5", 13);
    check("cron(0 0 1,32 * ? *)", "day of month: `32`", 11);
    check("cron(0 0 40W * ? *)", "day of month: `40`", 9);
    check("cron(0 0 9-3 * ? *)", "runs backwards", 9);
    check("cron(0 0 1 13 ? *)", "month: `13` is not 1 to 12 or JAN to DEC", 11);
    check("cron(0 0 1 1 ? 1969)", "year: `1969` is not 1970 to 2199", 15);
    check("cron(+5 0 1 1 ? *)", "minutes: `+5`", 5);
    check("cron(0 0 , 1 ? *)", "day of month: ``", 9);
    check("at(2026-12-01)", "yyyy-mm-ddThh:mm:ss", 3);
    check("at(2026-12-01T10:00:00Z)", "without an offset", 3);
    check("at(2026-02-30T10:00:00)", "", 3);
}
