//! AWS's dialect of cron: six fields (minutes, hours, day of month, month, day of week, year), `?`
//! in one of the two days, `L`, `W` and `#`.
//!
//! Of our own: the cron crates read five or seven fields, count the week from 0 or take both days
//! at once, so what AWS refuses would pass, and their errors name no place in the expression.

use jiff::civil::{Date, DateTime, date};

/// Years that AWS accepts.
const YEARS: (i16, i16) = (1970, 2199);
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// What is wrong with a field, and at which character of the fields' text.
pub(super) type Wrong = (usize, String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: Set,
    hours: Set,
    months: Set,
    years: Option<Vec<Range>>,
    days: Days,
}

/// From, to, and the step between.
type Range = (i16, i16, i16);

/// Which of up to 64 numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set(u64);

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| number < 64 && self.0 >> number & 1 == 1)
    }
}

/// Which days of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth { days: Set, last: bool, last_weekday: bool, weekdays: Vec<i8> },
    OfWeek { days: Set, last: Vec<i8>, nth: Vec<(i8, i8)> },
}

struct Field<'t> {
    name: &'static str,
    text: &'t str,
    at: usize,
    least: i16,
    most: i16,
    names: &'static [&'static str],
}

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Cron, Wrong> {
        let mut fields = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            let at = text.len() - rest.len() + start;
            let word = &text[at..];
            let end = word.find(char::is_whitespace).unwrap_or(word.len());
            fields.push((at, &word[..end]));
            rest = &word[end..];
        }
        let [minutes, hours, day, month, weekday, year] = fields[..] else {
            let count = fields.len();
            let message = format!(
                "expected six fields (minutes, hours, day of month, month, day of week, year), \
                 found {count}"
            );
            return Err((0, message));
        };
        let field =
            |name, (at, text), least, most, names| Field { name, text, at, least, most, names };
        let day = field("day of month", day, 1, 31, &[]);
        let weekday = field("day of week", weekday, 1, 7, &DAYS);
        Ok(Cron {
            minutes: field("minutes", minutes, 0, 59, &[]).set()?,
            hours: field("hours", hours, 0, 23, &[]).set()?,
            days: days(&day, &weekday)?,
            months: field("month", month, 1, 12, &MONTHS).set()?,
            years: field("year", year, YEARS.0, YEARS.1, &[]).ranges()?,
        })
    }

    /// Local times at which it fires, from the beginning of a day on.
    pub(super) fn from(&self, first: Date) -> impl Iterator<Item = DateTime> + '_ {
        self.days_from(first).flat_map(move |day| {
            (0..24).filter(|hour| self.hours.has(*hour)).flat_map(move |hour| {
                (0..60)
                    .filter(|minute| self.minutes.has(*minute))
                    .map(move |minute| day.at(hour, minute, 0, 0))
            })
        })
    }

    fn days_from(&self, first: Date) -> impl Iterator<Item = Date> + '_ {
        let start = (i32::from(first.year()) * 12 + i32::from(first.month()) - 1).max(0);
        let end = (i32::from(YEARS.1) + 1) * 12;
        (start..end)
            .filter_map(|index| {
                let year = i16::try_from(index / 12).ok()?;
                let month = i8::try_from(index % 12 + 1).ok()?;
                (self.in_year(year) && self.months.has(month)).then(|| date(year, month, 1))
            })
            .flat_map(move |month| {
                (1..=month.days_in_month())
                    .filter(move |day| self.days.has(month, *day))
                    .map(move |day| date(month.year(), month.month(), day))
            })
            .filter(move |day| *day >= first)
    }

    fn in_year(&self, year: i16) -> bool {
        self.years.as_ref().is_none_or(|ranges| {
            ranges
                .iter()
                .any(|(from, to, step)| (*from..=*to).contains(&year) && (year - from) % step == 0)
        })
    }
}

impl Days {
    fn has(&self, month: Date, day: i8) -> bool {
        let length = month.days_in_month();
        let weekday =
            |day: i8| date(month.year(), month.month(), day).weekday().to_sunday_one_offset();
        match self {
            Days::OfMonth { days, last, last_weekday, weekdays } => {
                days.has(day)
                    || (*last && day == length)
                    || (*last_weekday && day == nearest_weekday(length, length, weekday))
                    || weekdays.iter().any(|wanted| {
                        *wanted <= length && day == nearest_weekday(*wanted, length, weekday)
                    })
            }
            Days::OfWeek { days, last, nth } => {
                let of_week = weekday(day);
                days.has(of_week)
                    || (last.contains(&of_week) && day + 7 > length)
                    || nth.iter().any(|(wanted, n)| *wanted == of_week && (day - 1) / 7 + 1 == *n)
            }
        }
    }
}

/// The weekday nearest to a day, within its month.
fn nearest_weekday(day: i8, length: i8, weekday: impl Fn(i8) -> i8) -> i8 {
    match weekday(day) {
        7 if day == 1 => 3,
        7 => day - 1,
        1 if day == length => day - 2,
        1 => day + 1,
        _ => day,
    }
}

fn days(day: &Field<'_>, weekday: &Field<'_>) -> Result<Days, Wrong> {
    match (day.text == "?", weekday.text == "?") {
        (true, true) => Err((
            weekday.at,
            "day of month and day of week cannot both be `?`: one of them says the day".to_owned(),
        )),
        (false, false) => Err((
            weekday.at,
            "day of month and day of week cannot both be given: one of them must be `?`".to_owned(),
        )),
        (false, true) => of_month(day),
        (true, false) => of_week(weekday),
    }
}

fn of_month(field: &Field<'_>) -> Result<Days, Wrong> {
    let (mut plain, mut last, mut last_weekday, mut weekdays) =
        (Vec::new(), false, false, Vec::new());
    for (at, item) in field.items() {
        match item.to_ascii_uppercase().as_str() {
            "L" => last = true,
            "LW" => last_weekday = true,
            upper => match upper.strip_suffix('W') {
                Some(day) => weekdays.push(small(field.number(at, day)?)),
                None => plain.push(field.range(at, item)?),
            },
        }
    }
    Ok(Days::OfMonth { days: set(&plain), last, last_weekday, weekdays })
}

fn of_week(field: &Field<'_>) -> Result<Days, Wrong> {
    let (mut plain, mut last, mut nth) = (Vec::new(), Vec::new(), Vec::new());
    for (at, item) in field.items() {
        let upper = item.to_ascii_uppercase();
        if upper == "L" {
            plain.push((7, 7, 1));
        } else if let Some(day) = upper.strip_suffix('L') {
            last.push(small(field.number(at, day)?));
        } else if let Some((day, n)) = upper.split_once('#') {
            let which = n.parse::<i8>().ok().filter(|n| (1..=5).contains(n));
            let which = which
                .ok_or_else(|| (at, format!("`{item}`: what stands after `#` must be 1 to 5")))?;
            nth.push((small(field.number(at, day)?), which));
        } else {
            plain.push(field.range(at, item)?);
        }
    }
    Ok(Days::OfWeek { days: set(&plain), last, nth })
}

fn small(number: i16) -> i8 {
    i8::try_from(number).unwrap_or(i8::MAX)
}

fn set(ranges: &[Range]) -> Set {
    let mut bits = 0;
    for (from, to, step) in ranges {
        let mut number = *from;
        while number <= *to {
            bits |= 1 << number;
            number += step;
        }
    }
    Set(bits)
}

impl<'t> Field<'t> {
    fn items(&self) -> impl Iterator<Item = (usize, &'t str)> {
        let (base, at) = (self.text.as_ptr() as usize, self.at);
        self.text.split(',').map(move |item| (at + item.as_ptr() as usize - base, item))
    }

    fn set(&self) -> Result<Set, Wrong> {
        let ranges: Result<Vec<_>, _> =
            self.items().map(|(at, item)| self.range(at, item)).collect();
        Ok(set(&ranges?))
    }

    fn ranges(&self) -> Result<Option<Vec<Range>>, Wrong> {
        if self.text == "*" {
            return Ok(None);
        }
        self.items().map(|(at, item)| self.range(at, item)).collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// `*`, `7`, `7-9`, `*/5`, `7/5` or `7-9/2`.
    fn range(&self, at: usize, item: &str) -> Result<Range, Wrong> {
        let wrong = |message: String| Err((at, format!("{}: {message}", self.name)));
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => match step.parse::<i16>() {
                Ok(step) if step >= 1 && step <= self.most => (range, Some(step)),
                _ => return wrong(format!("`{step}` is no step; it must be 1 to {}", self.most)),
            },
        };
        let (from, to) = match range.split_once('-') {
            None if range == "*" => (self.least, self.most),
            None => {
                let from = self.number(at, range)?;
                (from, if step.is_some() { self.most } else { from })
            }
            Some((from, to)) => (self.number(at, from)?, self.number(at, to)?),
        };
        if from > to {
            return wrong(format!("the range `{range}` runs backwards"));
        }
        Ok((from, to, step.unwrap_or(1)))
    }

    fn number(&self, at: usize, text: &str) -> Result<i16, Wrong> {
        let upper = text.to_ascii_uppercase();
        if let Some(index) = self.names.iter().position(|name| *name == upper) {
            return Ok(self.least + i16::try_from(index).unwrap_or_default());
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<i16>() {
            Ok(number) if digits && (self.least..=self.most).contains(&number) => Ok(number),
            _ => {
                let names = match self.names {
                    [] => String::new(),
                    names => format!(" or {} to {}", names[0], names[names.len() - 1]),
                };
                let (least, most) = (self.least, self.most);
                let message = format!("{}: `{text}` is not {least} to {most}{names}", self.name);
                Err((at, message))
            }
        }
    }
}
