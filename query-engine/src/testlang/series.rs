//! Series lines: a metric and the values it has or must have, `name{a="b"} 1 2+3x4 _ stale`.
//!
//! Promise: the grammar of Prometheus's series descriptions. Not here: histogram literals (`native`).

use super::native::{self, Literal};
use super::words::{duration_ms, signed_duration_ms, unquote};
use storage_engine::model::{Labels, METRIC_NAME, STALE_NAN_BITS};

/// One point of a series line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Point {
    /// `_`
    Omitted,
    /// A number.
    Float(f64),
    /// `{{…}}`
    Histogram(Literal),
}

/// A metric and its points.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeriesLine {
    pub(super) labels: Labels,
    pub(super) points: Vec<Point>,
}

/// Most points that one item may stand for.
const REPEAT_MAX: u64 = 1_000_000;

/// Reads a whole line.
pub(super) fn parse_series_line(line: &str) -> Result<SeriesLine, String> {
    let (labels, rest) = metric(line)?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(format!("unexpected {rest:?} behind the metric"));
    }
    let mut points = Vec::new();
    let mut rest = rest.trim_start();
    while !rest.is_empty() {
        let after = item(rest, &mut points).ok_or_else(|| format!("invalid value at {rest:?}"))?;
        if !after.is_empty() && !after.starts_with([' ', '\t']) {
            return Err(format!("values must be separated by a space: {after:?}"));
        }
        rest = after.trim_start();
    }
    Ok(SeriesLine { labels, points })
}

/// The labels at the start of `text`, and what follows them.
fn metric(text: &str) -> Result<(Labels, &str), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut pairs: Vec<(String, String)> = Vec::new();
    if !name.is_empty() {
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            inside = inside.trim_start();
            if let Some(after) = inside.strip_prefix('}') {
                rest = after;
                break;
            }
            inside = pair(inside, &mut pairs)
                .ok_or_else(|| format!("invalid labels at {inside:?}"))?
                .trim_start();
            match inside.strip_prefix(',') {
                Some(after) => inside = after,
                None if inside.starts_with('}') => {}
                None => return Err(format!("invalid labels at {inside:?}")),
            }
        }
    } else if name.is_empty() {
        return Err(format!("no metric at {text:?}"));
    }
    let labels = Labels::from_pairs(pairs).map_err(|e| e.to_string())?;
    Ok((labels, rest))
}

/// One `label="value"`, or a quoted metric name.
fn pair<'a>(text: &'a str, pairs: &mut Vec<(String, String)>) -> Option<&'a str> {
    let (label, rest) = if text.starts_with(['"', '\'', '`']) {
        quoted(text)?
    } else {
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = text.find(|c| !is_label(c))?;
        let (label, rest) = text.split_at(end);
        (label.to_owned(), rest)
    };
    let Some(rest) = rest.trim_start().strip_prefix('=') else {
        pairs.push((METRIC_NAME.to_owned(), label));
        return Some(rest);
    };
    let (value, rest) = quoted(rest.trim_start())?;
    pairs.push((label, value));
    Some(rest)
}

/// A quoted string at the start of `text`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped && quote != '`';
        ends
    });
    let (literal, rest) = text.split_at(end?.0 + 1);
    Some((String::from_utf8(unquote(literal)?).ok()?, rest))
}

/// Appends the points of the item at the start of `text`; what follows it is given back.
fn item<'a>(text: &'a str, points: &mut Vec<Point>) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix('_') {
        let (count, rest) = repeat(rest)?;
        push(points, Point::Omitted, count.unwrap_or(1));
        return Some(rest);
    }
    if text.starts_with("{{") {
        let (base, rest) = native::parse(text)?;
        if let Some(step) = rest.strip_prefix(['+', '-']) {
            let (increment, after) = native::parse(step)?;
            let (count, after) = repeat(after)?;
            let all = native::series(base, &increment, rest.starts_with('-'), count?)?;
            points.extend(all.into_iter().map(Point::Histogram));
            return Some(after);
        }
        let (count, rest) = repeat(rest)?;
        push(points, Point::Histogram(base), count.map_or(1, |n| n + 1));
        return Some(rest);
    }
    if let Some(rest) = text.strip_prefix("stale") {
        let (count, rest) = repeat(rest)?;
        let stale = Point::Float(f64::from_bits(STALE_NAN_BITS));
        push(points, stale, count.map_or(1, |n| n + 1));
        return Some(rest);
    }
    let (mut value, rest) = signed_number(text)?;
    let (step, rest) = match rest.starts_with(['+', '-']) {
        true => {
            let (step, rest) = signed_number(rest)?;
            (Some(step), rest)
        }
        false => (None, rest),
    };
    let (count, rest) = repeat(rest)?;
    match (step, count) {
        (Some(step), Some(count)) => {
            // Repeated addition, not multiplication: the last bits are part of the format.
            for _ in 0..=count {
                points.push(Point::Float(value));
                value += step;
            }
        }
        (Some(_), None) => return None,
        (None, count) => push(points, Point::Float(value), count.map_or(1, |n| n + 1)),
    }
    Some(rest)
}

fn push(points: &mut Vec<Point>, point: Point, count: u64) {
    points.extend((0..count).map(|_| point.clone()));
}

/// `xN`, if it is there.
fn repeat(text: &str) -> Option<(Option<u64>, &str)> {
    let Some(rest) = text.strip_prefix('x') else {
        return Some((None, text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let count = digits.parse().ok().filter(|n| *n <= REPEAT_MAX)?;
    Some((Some(count), rest))
}

fn signed_number(text: &str) -> Option<(f64, &str)> {
    match text.strip_prefix('-') {
        Some(rest) => unsigned_number(rest).map(|(v, rest)| (-v, rest)),
        None => unsigned_number(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// A decimal number, `Inf`, `NaN` or a duration in seconds. No hexadecimal: its `x` would be the repeat sign.
fn unsigned_number(text: &str) -> Option<(f64, &str)> {
    let word_end = |chars: fn(char) -> bool| text.find(|c| !chars(c)).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let (word, rest) = text.split_at(word_end(|c| c.is_ascii_alphabetic() && c != 'x'));
        return match word.to_ascii_lowercase().as_str() {
            "inf" => Some((f64::INFINITY, rest)),
            "nan" => Some((f64::NAN, rest)),
            _ => None,
        };
    }
    let (word, rest) = text.split_at(word_end(|c| {
        c.is_ascii_digit() || (c.is_ascii_lowercase() && c != 'x' && c != 'e')
    }));
    if word.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return Some((duration_ms(word)? as f64 / 1000.0, rest));
    }
    let digits = |from: usize| {
        let tail = text.get(from..).unwrap_or_default();
        let other = tail.find(|c: char| !c.is_ascii_digit() && c != '_');
        from + other.unwrap_or(tail.len())
    };
    let mut end = digits(0);
    if text.get(end..)?.starts_with('.') {
        end = digits(end + 1);
    }
    if let Some(exponent) = text.get(end..)?.strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let from = end + 1 + sign;
        if digits(from) > from {
            end = digits(from);
        }
    }
    let (number, rest) = text.split_at(end);
    Some((number.replace('_', "").parse().ok()?, rest))
}

/// Reads an `@st` line: of each point how far its start timestamp is from its time, milliseconds; `None` for none.
pub(super) fn parse_start_times(items: &str) -> Result<Vec<Option<i64>>, String> {
    let mut all = Vec::new();
    for item in items.split_whitespace() {
        start_times(item, &mut all).ok_or_else(|| format!("invalid item {item:?}"))?;
    }
    Ok(all)
}

fn start_times(item: &str, all: &mut Vec<Option<i64>>) -> Option<()> {
    let (body, count) = match item.split_once('x') {
        Some((body, digits)) => {
            let count: u64 = digits.parse().ok().filter(|n| *n <= REPEAT_MAX)?;
            (body, Some(count))
        }
        None => (item, None),
    };
    match body {
        "_" => {
            all.extend((0..count.unwrap_or(1)).map(|_| None));
            return Some(());
        }
        "*" => {
            all.extend((0..count.map_or(1, |n| n + 1)).map(|_| None));
            return Some(());
        }
        _ => {}
    }
    let step_at = body
        .char_indices()
        .skip(1)
        .find(|(_, c)| matches!(c, '+' | '-'));
    let (base, step) = match step_at {
        Some((at, _)) => body.split_at(at),
        None => (body, ""),
    };
    let mut distance = signed_duration_ms(base)?;
    let step = match step {
        "" => 0,
        step => {
            count?;
            signed_duration_ms(step)?
        }
    };
    for _ in 0..count.map_or(1, |n| n + 1) {
        all.push(Some(distance));
        distance += step;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(line: &str) -> Vec<f64> {
        let series = parse_series_line(line).unwrap();
        let float = |p: &Point| match p {
            Point::Float(v) => *v,
            other => panic!("{other:?}"),
        };
        series.points.iter().map(float).collect()
    }

    #[test]
    fn values_repeat_and_step() {
        assert_eq!(
            floats("m 1 2x2 0+10x3"),
            [1.0, 2.0, 2.0, 2.0, 0.0, 10.0, 20.0, 30.0]
        );
        assert_eq!(floats("m -2-3x2 1.5e1x0"), [-2.0, -5.0, -8.0, 15.0]);
        assert_eq!(
            floats("m 1m Inf -Inf"),
            [60.0, f64::INFINITY, f64::NEG_INFINITY]
        );
        assert_eq!(floats("m 1e-3-1e-3x1"), [0.001, 0.0]);
    }

    #[test]
    fn other_points() {
        let line = "m _ _x2 stale {{schema:0 sum:1}}+{{sum:1}}x1 {{}}";
        let points = parse_series_line(line).unwrap().points;
        assert_eq!(points.len(), 7);
        assert_eq!(points[..3], [const { Point::Omitted }; 3]);
        assert!(matches!(points[3], Point::Float(v) if v.to_bits() == STALE_NAN_BITS));
        let sums = points[4..].iter().map(|p| match p {
            Point::Histogram(literal) => literal.histogram.sum,
            other => panic!("{other:?}"),
        });
        assert_eq!(sums.collect::<Vec<_>>(), [1.0, 2.0, 0.0]);
    }

    #[test]
    fn metrics() {
        let labels = |line: &str| parse_series_line(line).unwrap().labels.to_string();
        assert_eq!(labels("{} 1"), "{}");
        assert_eq!(
            labels("a:b{ x = \"y z\" , } 1"),
            "{__name__=\"a:b\", x=\"y z\"}"
        );
        assert_eq!(
            labels(r#"{"utf8.n", 'l.x'="a\"}"} 1"#),
            r#"{__name__="utf8.n", "l.x"="a\"}"}"#
        );
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [
            "m 1,2",
            "m{a} 1 x",
            "m{a=\"b\" 1",
            "m 1+1",
            "m{a=\"b\"}1",
            "",
            "m abc",
        ] {
            assert!(parse_series_line(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn start_times_repeat_and_step() {
        let some = |ms| Some(ms);
        assert_eq!(
            parse_start_times("-1m _x2 0s+1mx2 1ms-1sx1 *"),
            Ok(vec![
                some(-60_000),
                None,
                None,
                some(0),
                some(60_000),
                some(120_000),
                some(1),
                some(-999),
                None
            ])
        );
        assert!(parse_start_times("5").is_err());
    }
}
