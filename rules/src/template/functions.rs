//! Prometheus's functions for templates, all 29 of them.
//!
//! Promise: texts and errors are Prometheus's. A function gets its arguments as values and says in words what is wrong with them; where it was
//! called is added by `tree`.

use super::go_value::{
    ARGS, DURATION, TIME, instant, kind, print, sample, string, type_name, typed,
};
use super::{Moment, Slot, builtins, go_value, times};
use crate::link::{graph_link, query_escape, table_link};
use crate::source::Query;
use gotmpl::Value;
use query_engine::eval::text::{go_g, go_quote};
use regex::Regex;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use storage_engine::model::{parse_duration_ms, translate_re2_unanchored};

/// The call that a field access has become.
pub(super) const GET: &str = "\0get";
/// The call that prints.
pub(super) const PRINT: &str = "\0print";

/// Every function that is ours, and [`GET`].
pub(super) const FUNCTIONS: [&str; 30] = [
    "args",
    "externalURL",
    "first",
    "graphLink",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "label",
    "match",
    "now",
    "parseDuration",
    "pathPrefix",
    "query",
    "reReplaceAll",
    "safeHtml",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "value",
    GET,
];

type Outcome = Result<Value, String>;

/// Calls a function by its name.
pub(super) fn call(function: &str, args: &[Value], slot: &Slot) -> Outcome {
    if function == GET {
        return get(args);
    }
    // What the function itself says is told apart from wrong arguments: Go words them differently.
    let calling = |reason: String| format!("error calling {function}: {reason}");
    match function {
        "args" => {
            let names: Vec<String> = (0..args.len()).map(|i| format!("arg{i}")).collect();
            let pairs = names.iter().map(String::as_str).zip(args.iter().cloned());
            Ok(typed(ARGS, pairs))
        }
        "safeHtml" => one_text(function, args).map(string),
        "toUpper" => one_text(function, args).map(|text| string(text.to_uppercase())),
        "toLower" => one_text(function, args).map(|text| string(text.to_lowercase())),
        "title" => one_text(function, args).map(|text| string(title(text))),
        "graphLink" => one_text(function, args).map(|text| string(graph_link(text))),
        "tableLink" => one_text(function, args).map(|text| string(table_link(text))),
        "urlQueryEscape" => one_text(function, args).map(|text| string(query_escape(text))),
        "stripPort" => one_text(function, args).map(|text| string(strip_port(text))),
        "stripDomain" => one_text(function, args).map(|text| string(strip_domain(text))),
        "parseDuration" => {
            let ms = parse_duration_ms(one_text(function, args)?);
            let ms = ms.map_err(|error| calling(error.to_string()))?;
            Ok(Value::Float(ms as f64 / 1000.0))
        }
        "humanize" => number(function, args).map(|v| string(humanize(v))),
        "humanize1024" => number(function, args).map(|v| string(humanize1024(v))),
        "humanizeDuration" => number(function, args).map(|v| string(humanize_duration(v))),
        "humanizePercentage" => {
            number(function, args).map(|v| string(format!("{}%", go_g_within(v * 100.0, 4))))
        }
        "humanizeTimestamp" => match number(function, args)? {
            v if !v.is_finite() => Ok(string(go_g_within(v, 4))),
            v => Ok(string(times::print_time(time_ns(v).map_err(calling)?))),
        },
        "toTime" => {
            let seconds = number(function, args)?;
            if !seconds.is_finite() {
                return Err(calling("value is NaN or Inf".to_owned()));
            }
            Ok(instant(TIME, time_ns(seconds).map_err(calling)?))
        }
        "toDuration" => {
            let seconds = number(function, args)?;
            Ok(instant(DURATION, (seconds * 1e9) as i64))
        }
        "match" => {
            let [pattern, text] = texts(function, args)?;
            let pattern = expression(pattern).map_err(calling)?;
            Ok(Value::Bool(pattern.is_match(text)))
        }
        "reReplaceAll" => {
            let [pattern, replacement, text] = texts(function, args)?;
            let compiled = expression(pattern)
                .map_err(|error| calling(format!("regexp: Compile(`{pattern}`): {error}")))?;
            Ok(string(compiled.replace_all(text, replacement)))
        }
        "first" => {
            let [list] = count(function, args)?;
            let items = list_of(list)?;
            let found = items.first().cloned();
            found.ok_or_else(|| calling("first() called on vector with no elements".to_owned()))
        }
        "value" => {
            let [of] = count(function, args)?;
            go_value::field(sample_of(of)?, "Value", &[])
        }
        "strvalue" => {
            let [of] = count(function, args)?;
            label_of(of, "__value__")
        }
        "label" => {
            let [name, of] = count(function, args)?;
            label_of(of, text(name)?)
        }
        "sortByLabel" => {
            let [name, list] = count(function, args)?;
            let name = text(name)?;
            let mut items = list_of(list)?.to_vec();
            let key = |item: &Value| label_of(item, name).map(|v| print(&v)).unwrap_or_default();
            items.sort_by_cached_key(key);
            Ok(Value::List(Arc::from(items)))
        }
        _ if builtins::OWN.contains(&function) => builtins::call(function, args),
        _ => at_the_moment(function, args, slot),
    }
}

/// Functions that ask for time, server or data.
fn at_the_moment(function: &str, args: &[Value], slot: &Slot) -> Outcome {
    let moment = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(moment) = moment else {
        return Err(format!("{function} is called outside of an expansion"));
    };
    match function {
        "now" => {
            let [] = count(function, args)?;
            Ok(Value::Float(moment.at_ms as f64 / 1000.0))
        }
        "externalURL" => {
            let [] = count(function, args)?;
            Ok(string(&moment.external.url))
        }
        "pathPrefix" => {
            let [] = count(function, args)?;
            Ok(string(path_of(&moment.external.url)))
        }
        "query" => query(one_text(function, args)?, &moment)
            .map_err(|reason| format!("error calling query: {reason}")),
        _ => Err(format!("function {function:?} not defined")),
    }
}

fn query(text: &str, moment: &Moment) -> Outcome {
    let query = Query {
        text,
        expr: None,
        at_ms: moment.at_ms,
        lookback_ms: None,
    };
    let answer = moment
        .source
        .query(query)
        .map_err(|fault| fault.to_string())?;
    let items: Vec<Value> = answer.iter().map(sample).collect();
    Ok(Value::List(Arc::from(items)))
}

/// The path of a URL without a slash at its end.
fn path_of(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = behind.find('/').and_then(|at| behind.get(at..));
    path.unwrap_or_default().trim_end_matches('/')
}

/// `GET value "a.b" arguments…`
fn get(args: &[Value]) -> Outcome {
    let [value, path, rest @ ..] = args else {
        return Err("a field is taken of nothing".to_owned());
    };
    let mut value = value.clone();
    let mut names = text(path)?.split('.').peekable();
    while let Some(name) = names.next() {
        let args = if names.peek().is_none() { rest } else { &[] };
        value = go_value::field(&value, name, args)?;
    }
    Ok(value)
}

fn count<'a, const N: usize>(function: &str, args: &'a [Value]) -> Result<[&'a Value; N], String> {
    let given: Vec<&Value> = args.iter().collect();
    given.try_into().map_err(|given: Vec<&Value>| {
        format!(
            "wrong number of args for {function}: want {N} got {}",
            given.len()
        )
    })
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| wrong_type("string", value))
}

fn wrong_type(expected: &str, value: &Value) -> String {
    format!(
        "wrong type for value; expected {expected}; got {}",
        type_name(value)
    )
}

fn one_text<'a>(function: &str, args: &'a [Value]) -> Result<&'a str, String> {
    let [value] = count(function, args)?;
    text(value)
}

fn texts<'a, const N: usize>(function: &str, args: &'a [Value]) -> Result<[&'a str; N], String> {
    let values: [&Value; N] = count(function, args)?;
    for value in values {
        text(value)?;
    }
    Ok(values.map(|value| value.as_str().unwrap_or_default()))
}

fn list_of(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::List(items) => Ok(items),
        other => Err(wrong_type("template.queryResult", other)),
    }
}

fn sample_of(value: &Value) -> Result<&Value, String> {
    match kind(value) {
        Some(go_value::SAMPLE) => Ok(value),
        _ => Err(wrong_type(go_value::SAMPLE, value)),
    }
}

fn label_of(value: &Value, name: &str) -> Outcome {
    let labels = go_value::field(sample_of(value)?, "Labels", &[])?;
    // A label may have a dot in its name: it is taken whole.
    go_value::field(&labels, name, &[])
}

/// A number, or a text that is one.
fn number(function: &str, args: &[Value]) -> Result<f64, String> {
    let [value] = count(function, args)?;
    let calling = |reason: String| format!("error calling {function}: {reason}");
    match value {
        Value::Float(v) => Ok(*v),
        Value::Int(v) => Ok(*v as f64),
        Value::Uint(v) => Ok(*v as f64),
        Value::String(text) => parse_float(text).map_err(calling),
        other => Err(calling(format!(
            "can't convert {} to float",
            type_name(other)
        ))),
    }
}

/// Go's `strconv.ParseFloat`.
fn parse_float(text: &str) -> Result<f64, String> {
    let refuse = |reason: &str| {
        let quoted = go_quote(text.as_bytes());
        Err(format!("strconv.ParseFloat: parsing {quoted}: {reason}"))
    };
    let plain = text.trim_start_matches(['+', '-']);
    let is_word = plain.eq_ignore_ascii_case("inf")
        || plain.eq_ignore_ascii_case("infinity")
        || plain.eq_ignore_ascii_case("nan");
    match text.parse::<f64>() {
        Ok(value) if is_word || value.is_finite() => Ok(value),
        Ok(_) => refuse("value out of range"),
        Err(_) => refuse("invalid syntax"),
    }
}

/// A regular expression of Go's.
fn expression(pattern: &str) -> Result<Regex, String> {
    let refuse = |reason: String| match reason.starts_with("error parsing regexp") {
        true => reason,
        false => format!("error parsing regexp: {reason}"),
    };
    translate_re2_unanchored(pattern).map_err(|e| refuse(e.to_string()))
}

/// Nanoseconds of a time in seconds, whole milliseconds.
fn time_ns(seconds: f64) -> Result<i64, String> {
    let nanoseconds = seconds * 1e9;
    if nanoseconds > i64::MAX as f64 || nanoseconds < i64::MIN as f64 {
        return Err(format!(
            "{} cannot be represented as a nanoseconds timestamp since it overflows int64",
            go_g(seconds)
        ));
    }
    Ok(nanoseconds as i64 / 1_000_000 * 1_000_000)
}

/// Go's `%.4g` and the like: so many digits at most, no zeros at the end, an exponent below -4 or from the number of digits on.
pub(super) fn go_g_within(value: f64, digits: usize) -> String {
    if !value.is_finite() || value == 0.0 {
        return go_g(value);
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let kept = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    let decimals = usize::try_from(kept - 1 - exponent).unwrap_or(0);
    // The digits are rounded already: from them, not from the value, which might round another way.
    let rounded: f64 = scientific.parse().unwrap_or(value);
    format!("{rounded:.decimals$}")
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// Makes a number below 1 larger by thousands; gives its prefix.
fn scale_up(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

fn scale_down(mut value: f64, unit: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < unit {
            break;
        }
        prefix = next;
        value /= unit;
    }
    (value, prefix)
}

fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return go_g_within(value, 4);
    }
    let (value, prefix) = match value.abs() >= 1.0 {
        true => scale_down(value, 1000.0, ["k", "M", "G", "T", "P", "E", "Z", "Y"]),
        false => scale_up(value),
    };
    format!("{}{prefix}", go_g_within(value, 4))
}

fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return go_g_within(value, 4);
    }
    let prefixes = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
    let (value, prefix) = scale_down(value, 1024.0, prefixes);
    format!("{}{prefix}", go_g_within(value, 4))
}

fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return go_g_within(value, 4);
    }
    if value == 0.0 {
        return format!("{}s", go_g_within(value, 4));
    }
    if value.abs() < 1.0 {
        let (value, prefix) = scale_up(value);
        return format!("{}{prefix}s", go_g_within(value, 4));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = value as i64;
    let (seconds, minutes) = (whole % 60, whole / 60 % 60);
    let (hours, days) = (whole / 3600 % 24, whole / 86_400);
    if days != 0 {
        return format!("{sign}{days}d {hours}h {minutes}m {seconds}s");
    }
    if hours != 0 {
        return format!("{sign}{hours}h {minutes}m {seconds}s");
    }
    if minutes != 0 {
        return format!("{sign}{minutes}m {seconds}s");
    }
    format!("{sign}{}s", go_g_within(value, 4))
}

/// Go's `strings.Title`: the first letter of every word, words being what is between characters that are no letter, digit or underscore.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        match inside {
            true => out.push(c),
            false => out.extend(c.to_uppercase()),
        }
        // Above ASCII, only spaces separate.
        inside = match c.is_ascii() {
            true => c.is_ascii_alphanumeric() || c == '_',
            false => !c.is_whitespace(),
        };
    }
    out
}

/// Host and port, as Go's `net.SplitHostPort` tells them apart.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']')?;
            (!inner.contains(['[', ']'])).then_some((inner, port))
        }
        None => {
            (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
        }
    }
}

fn strip_port(text: &str) -> &str {
    split_host_port(text).map_or(text, |(host, _)| host)
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let name = host.split('.').next().unwrap_or_default();
    match port {
        "" => name.to_owned(),
        port if name.contains(':') => format!("[{name}]:{port}"),
        port => format!("{name}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1234.5, "1234"),
            (1235.5, "1236"),
            (12345.0, "1.234e+04"),
            (9999.6, "1e+04"),
            (999.96, "1000"),
            (0.00012345, "0.0001234"),
            (0.000012345, "1.234e-05"),
            (100.0, "100"),
            (0.1, "0.1"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(go_g_within(value, 4), text, "{value}");
        }
    }

    #[test]
    fn people_read_prefixes() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1_234_567.0, "1.235M"),
            (0.00012, "120u"),
            (-2000.0, "-2k"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(humanize(value), text);
        }
        assert_eq!(humanize1024(1_048_576.0), "1Mi");
        assert_eq!(humanize1024(0.5), "0.5");
        for (value, text) in [
            (0.0, "0s"),
            (0.0123, "12.3ms"),
            (-59.5, "-59.5s"),
            (61.9, "1m 1s"),
            (3_600.0, "1h 0m 0s"),
            (90_061.0, "1d 1h 1m 1s"),
        ] {
            assert_eq!(humanize_duration(value), text);
        }
    }

    #[test]
    fn hosts_lose_ports_and_domains() {
        for (text, port, domain) in [
            ("host.example:9100", "host.example", "host:9100"),
            ("host", "host", "host"),
            ("10.0.0.1:80", "10.0.0.1", "10.0.0.1:80"),
            ("[::1]:80", "::1", "[::1]:80"),
            ("a:b:c", "a:b:c", "a:b:c"),
        ] {
            assert_eq!((strip_port(text), &*strip_domain(text)), (port, domain));
        }
        assert_eq!(
            title("hello big-world o'neil 9a"),
            "Hello Big-World O'Neil 9a"
        );
        assert_eq!(path_of("http://h:1/a/b/"), "/a/b");
        assert_eq!(path_of("http://h:1"), "");
    }

    #[test]
    fn every_function_has_one_name() {
        let unique = super::super::tree::all_names();
        assert_eq!(
            unique.len(),
            FUNCTIONS.len() + builtins::OWN.len() + builtins::PLAIN.len()
        );
    }
}
