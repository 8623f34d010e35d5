//! Times and durations of templates: what `toTime` and `toDuration` yield, and the methods that people call on them.

use super::go_value::{DURATION, TIME, string};
use gotmpl::Value;
use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

const NS: i64 = 1_000_000_000;

fn utc(nanoseconds: i64) -> DateTime {
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .unwrap_or_default()
        .to_zoned(TimeZone::UTC)
        .datetime()
}

/// As Go's `%v` prints them.
pub(super) fn print(kind: &str, nanoseconds: i64) -> String {
    match kind {
        TIME => print_time(nanoseconds),
        _ => print_duration(nanoseconds),
    }
}

/// `2015-07-01 20:10:51.781 +0000 UTC`
pub(super) fn print_time(nanoseconds: i64) -> String {
    let time = utc(nanoseconds);
    let fraction = fraction(time.subsec_nanosecond().unsigned_abs());
    format!(
        "{} {:02}:{:02}:{:02}{fraction} +0000 UTC",
        time.date(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The digits of a second's fraction with the point, without zeros at the end.
fn fraction(nanoseconds: u32) -> String {
    match nanoseconds {
        0 => String::new(),
        ns => format!(".{ns:09}").trim_end_matches('0').to_owned(),
    }
}

/// `1h2m3.5s`, as Go writes a duration.
pub(super) fn print_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let ns = nanoseconds.unsigned_abs();
    let small = |unit: u64, name: &str| {
        let mut text = format!("{sign}{}", ns / unit);
        let rest = ns % unit;
        if rest > 0 {
            let digits = (unit.ilog10()) as usize;
            let decimals = format!("{rest:0digits$}");
            text.push('.');
            text.push_str(decimals.trim_end_matches('0'));
        }
        text + name
    };
    match ns {
        0 => return "0s".to_owned(),
        1..1_000 => return small(1, "ns"),
        1_000..1_000_000 => return small(1_000, "µs"),
        1_000_000..1_000_000_000 => return small(1_000_000, "ms"),
        _ => {}
    }
    let seconds = ns / NS as u64;
    let fraction = fraction((ns % NS as u64) as u32);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = sign.to_owned();
    if hours > 0 {
        out.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        out.push_str(&format!("{minutes}m"));
    }
    out + &format!("{rest}{fraction}s")
}

/// What a method yields; `None` when there is no such method here.
pub(super) fn method(
    kind: &str,
    nanoseconds: i64,
    name: &str,
    args: &[Value],
) -> Option<Result<Value, String>> {
    let wanted = usize::from(kind == TIME && name == "Format");
    let value = match kind {
        TIME => time_method(nanoseconds, name, args)?,
        DURATION => duration_method(nanoseconds, name)?,
        _ => return None,
    };
    if args.len() != wanted {
        return Some(Err(format!(
            "wrong number of args for {name}: want {wanted} got {}",
            args.len()
        )));
    }
    Some(Ok(value))
}

fn duration_method(nanoseconds: i64, name: &str) -> Option<Value> {
    Some(match name {
        "Hours" => Value::Float(nanoseconds as f64 / (3600 * NS) as f64),
        "Minutes" => Value::Float(nanoseconds as f64 / (60 * NS) as f64),
        "Seconds" => Value::Float(nanoseconds as f64 / NS as f64),
        "Milliseconds" => Value::Int(nanoseconds / 1_000_000),
        "Microseconds" => Value::Int(nanoseconds / 1_000),
        "Nanoseconds" => Value::Int(nanoseconds),
        "String" => string(print_duration(nanoseconds)),
        "Abs" => super::go_value::instant(DURATION, nanoseconds.saturating_abs()),
        _ => return None,
    })
}

fn time_method(nanoseconds: i64, name: &str, args: &[Value]) -> Option<Value> {
    let time = utc(nanoseconds);
    let whole = |n: i64| Value::Int(n);
    Some(match name {
        "Year" => whole(time.year().into()),
        // A month prints as its name and compares as its number; its name is what people want of it.
        "Month" => string(month(time)),
        "Day" => whole(time.day().into()),
        "Hour" => whole(time.hour().into()),
        "Minute" => whole(time.minute().into()),
        "Second" => whole(time.second().into()),
        "Nanosecond" => whole(time.subsec_nanosecond().into()),
        "YearDay" => whole(time.date().day_of_year().into()),
        "Weekday" => string(weekday(time)),
        "Unix" => whole(nanoseconds.div_euclid(NS)),
        "UnixMilli" => whole(nanoseconds.div_euclid(1_000_000)),
        "UnixMicro" => whole(nanoseconds.div_euclid(1_000)),
        "UnixNano" => whole(nanoseconds),
        "UTC" | "Local" => super::go_value::instant(TIME, nanoseconds),
        "String" => string(print_time(nanoseconds)),
        "Format" => string(format(time, args.first().and_then(Value::as_str)?)),
        _ => return None,
    })
}

fn month(time: DateTime) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let index = usize::try_from(time.month() - 1).unwrap_or_default();
    NAMES.get(index).copied().unwrap_or_default()
}

fn weekday(time: DateTime) -> &'static str {
    match time.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// Go's `time.Format` in UTC: the parts of the reference time `Mon Jan 2 15:04:05 MST 2006` are replaced.
fn format(time: DateTime, layout: &str) -> String {
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let pm = time.hour() >= 12;
    let parts: [(&str, String); 26] = [
        ("January", month(time).to_owned()),
        ("Jan", month(time).chars().take(3).collect()),
        ("Monday", weekday(time).to_owned()),
        ("Mon", weekday(time).chars().take(3).collect()),
        ("MST", "UTC".to_owned()),
        ("2006", format!("{:04}", time.year())),
        ("002", format!("{:03}", time.date().day_of_year())),
        ("01", format!("{:02}", time.month())),
        ("02", format!("{:02}", time.day())),
        ("03", format!("{hour12:02}")),
        ("04", format!("{:02}", time.minute())),
        ("05", format!("{:02}", time.second())),
        ("06", format!("{:02}", time.year().rem_euclid(100))),
        ("15", format!("{:02}", time.hour())),
        ("Z07:00", "Z".to_owned()),
        ("Z0700", "Z".to_owned()),
        ("-07:00", "+00:00".to_owned()),
        ("-0700", "+0000".to_owned()),
        ("-07", "+00".to_owned()),
        ("PM", if pm { "PM" } else { "AM" }.to_owned()),
        ("pm", if pm { "pm" } else { "am" }.to_owned()),
        ("_2", format!("{:2}", time.day())),
        ("1", time.month().to_string()),
        ("2", time.day().to_string()),
        ("3", hour12.to_string()),
        ("4", time.minute().to_string()),
    ];
    let mut out = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        if let Some(digits) = fraction_digits(rest) {
            let ns = format!("{:09}", time.subsec_nanosecond());
            let kept = ns.get(..digits).unwrap_or(&ns);
            let trimmed = rest[1..].starts_with('9');
            let kept = if trimmed {
                kept.trim_end_matches('0')
            } else {
                kept
            };
            if !(trimmed && kept.is_empty()) {
                out.push(c);
                out.push_str(kept);
            }
            rest = &rest[1 + digits..];
        } else if let Some((part, text)) = parts.iter().find(|(part, _)| rest.starts_with(part)) {
            out.push_str(text);
            rest = &rest[part.len()..];
        } else if let Some(after) = rest.strip_prefix('5') {
            out.push_str(&time.second().to_string());
            rest = after;
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// `.000` or `,999` and no further digit: how many.
fn fraction_digits(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix(['.', ','])?;
    let digit = tail.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = tail.chars().take_while(|c| *c == digit).count();
    let after = tail[count..].chars().next();
    (count <= 9 && !after.is_some_and(|c| c.is_ascii_digit())).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_050_000_000, "1.05s"),
            (3_600 * NS, "1h0m0s"),
            (90 * NS, "1m30s"),
            (-5_025 * NS, "-1h23m45s"),
        ] {
            assert_eq!(print_duration(ns), text);
        }
    }

    #[test]
    fn times_are_printed_and_formatted_as_go_does() {
        let ns = 1_435_781_451_781 * 1_000_000;
        assert_eq!(print_time(ns), "2015-07-01 20:10:51.781 +0000 UTC");
        assert_eq!(print_time(0), "1970-01-01 00:00:00 +0000 UTC");
        let time = utc(ns);
        for (layout, text) in [
            ("2006-01-02T15:04:05Z07:00", "2015-07-01T20:10:51Z"),
            (
                "Mon, 02 Jan 2006 15:04:05 MST",
                "Wed, 01 Jul 2015 20:10:51 UTC",
            ),
            ("3:04PM", "8:10PM"),
            ("Jan _2 15:04:05.000", "Jul  1 20:10:51.781"),
            ("15:04:05.999999999", "20:10:51.781"),
        ] {
            assert_eq!(format(time, layout), text);
        }
    }
}
