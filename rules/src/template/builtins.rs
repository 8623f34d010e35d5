//! Go's own functions where `gotmpl`'s do something else: printing of floats, comparing with NaN, maps without the key asked for.
//!
//! Not here: those that are the same (`and`, `html` and so on), which stay `gotmpl`'s.

use super::functions::PRINT;
use super::go_value::{kind, print, string, type_name};
use gotmpl::{FuncMap, TemplateError, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Functions of Go's that stay `gotmpl`'s, and [`PRINT`].
pub(super) const PLAIN: [&str; 9] = [
    "and", "call", "html", "js", "not", "or", "slice", "urlquery", PRINT,
];

/// Functions of Go's that are ours.
pub(super) const OWN: [&str; 11] = [
    "eq", "ge", "gt", "index", "le", "len", "lt", "ne", "print", "printf", "println",
];

/// Most arguments of `printf`.
const PRINTF_ARGS_MAX: usize = 32;

/// Adds what prints.
pub(super) fn add(functions: &mut FuncMap) {
    let print_one = |args: &[Value]| match args {
        [Value::Nil] => Ok(Value::Nil),
        [value] => Ok(string(print(value))),
        _ => Err(TemplateError::Exec("can't print several values".to_owned())),
    };
    functions.insert(PRINT.to_owned(), Arc::new(print_one));
}

/// Calls one of [`OWN`]; the error is what Go says behind the place.
pub(super) fn call(function: &str, args: &[Value]) -> Result<Value, String> {
    let calling = |reason: String| format!("error calling {function}: {reason}");
    let too_few = |want: usize| {
        let got = args.len();
        Err(format!(
            "wrong number of args for {function}: want at least {want} got {got}"
        ))
    };
    let holds: fn(Option<Ordering>) -> bool = match function {
        "lt" => |o| o == Some(Ordering::Less),
        "le" => |o| matches!(o, Some(Ordering::Less | Ordering::Equal)),
        // Go turns the two around, so that NaN is greater than everything.
        "gt" => |o| !matches!(o, Some(Ordering::Less | Ordering::Equal)),
        "ge" => |o| o != Some(Ordering::Less),
        "eq" | "ne" => {
            let [first, others @ ..] = args else {
                return too_few(1);
            };
            if others.is_empty() {
                return Err(calling("missing argument for comparison".to_owned()));
            }
            for other in others {
                if is_equal(first, other).map_err(calling)? {
                    return Ok(Value::Bool(function == "eq"));
                }
            }
            return Ok(Value::Bool(function == "ne"));
        }
        "print" => return Ok(string(sprint(args))),
        "println" => {
            let words: Vec<String> = args.iter().map(print).collect();
            return Ok(string(words.join(" ") + "\n"));
        }
        "printf" => {
            let [format, values @ ..] = args else {
                return too_few(1);
            };
            return printf(format, values);
        }
        "index" => {
            let [first, keys @ ..] = args else {
                return too_few(1);
            };
            return index(first, keys).map_err(calling);
        }
        _ => {
            let [value] = args else {
                let got = args.len();
                return Err(format!(
                    "wrong number of args for {function}: want 1 got {got}"
                ));
            };
            let length = match kind(value) {
                Some(_) => None,
                None => value.len(),
            };
            let length = length.ok_or_else(|| calling(format!("len of type {}", type_name(value))));
            return Ok(Value::Int(i64::try_from(length?).unwrap_or(i64::MAX)));
        }
    };
    let [left, right] = args else {
        let got = args.len();
        return Err(format!(
            "wrong number of args for {function}: want 2 got {got}"
        ));
    };
    Ok(Value::Bool(holds(compare(left, right).map_err(calling)?)))
}

fn incompatible(left: &Value, right: &Value) -> String {
    let (left, right) = (type_name(left), type_name(right));
    format!("incompatible types for comparison: {left} and {right}")
}

fn is_equal(left: &Value, right: &Value) -> Result<bool, String> {
    Ok(match (left, right) {
        (Value::Nil, _) | (_, Value::Nil) => matches!((left, right), (Value::Nil, Value::Nil)),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Int(_) | Value::Uint(_), Value::Int(_) | Value::Uint(_)) => {
            compare(left, right)? == Some(Ordering::Equal)
        }
        (Value::Map(_) | Value::List(_), _) => {
            return Err(format!(
                "non-comparable type {}: {}",
                print(left),
                type_name(left)
            ));
        }
        _ => return Err(incompatible(left, right)),
    })
}

/// The order of two values of one kind; none with NaN.
fn compare(left: &Value, right: &Value) -> Result<Option<Ordering>, String> {
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(_), Value::Bool(_)) | (Value::Map(_), _) | (Value::List(_), _) => {
            return Err("invalid type for comparison".to_owned());
        }
        _ => return Err(incompatible(left, right)),
    })
}

/// Go's `fmt.Sprint`: a space between two values of which neither is a text.
fn sprint(args: &[Value]) -> String {
    let is_text = |value: Option<&Value>| matches!(value, Some(Value::String(_)));
    let mut out = String::new();
    for (i, value) in args.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|k| args.get(k));
        if i > 0 && !is_text(Some(value)) && !is_text(before) {
            out.push(' ');
        }
        out.push_str(&print(value));
    }
    out
}

/// As Go's; a label that is not there is the empty text.
fn index(first: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut value = first.clone();
    for key in keys {
        let is_labels = matches!(value, Value::Map(_)) && kind(&value).is_none();
        let found = value.index(key).map_err(|error| match error {
            TemplateError::Exec(text) => text,
            other => other.to_string(),
        });
        value = match found? {
            Value::Nil if is_labels => string(""),
            found => found,
        };
    }
    Ok(value)
}

/// Go's `printf`: `gotmpl`'s, after what it writes differently has been written already.
fn printf(format: &Value, values: &[Value]) -> Result<Value, String> {
    let Value::String(format) = format else {
        let got = type_name(format);
        return Err(format!("wrong type for value; expected string; got {got}"));
    };
    if values.len() > PRINTF_ARGS_MAX {
        return Err(format!(
            "error calling printf: more than {PRINTF_ARGS_MAX} values"
        ));
    }
    let (format, values) = prepared(format, values);
    // `gotmpl` has no door to its formatter but a template.
    let mut source = String::from("{{printf .f");
    let mut data = std::collections::BTreeMap::<Arc<str>, Value>::new();
    data.insert("f".into(), string(format));
    for (i, value) in values.into_iter().enumerate() {
        source.push_str(&format!(" .a{i}"));
        data.insert(format!("a{i}").into(), value);
    }
    source.push_str("}}");
    gotmpl::execute(&source, &Value::Map(Arc::new(data)))
        .map(string)
        .map_err(|error| format!("error calling printf: {error}"))
}

/// The format and its values, with everything that only we print right turned into text.
fn prepared(format: &str, values: &[Value]) -> (String, Vec<Value>) {
    let mut out = String::with_capacity(format.len());
    let mut values = values.to_vec();
    let mut next = 0;
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let spec = rest[1..]
            .find(|c: char| !matches!(c, '+' | '-' | '#' | ' ' | '.' | '*' | '0'..='9' | '[' | ']'))
            .map_or(rest.len(), |end| end + 1);
        let Some(verb) = rest[spec..].chars().next() else {
            break;
        };
        let (flags, after) = (&rest[1..spec], &rest[spec + verb.len_utf8()..]);
        rest = after;
        if verb == '%' {
            out.push_str(&format!("%{flags}%"));
            continue;
        }
        if flags.contains(['*', '[']) {
            // Values are named by number or taken for widths: left as it is.
            return (format.to_owned(), values);
        }
        let (mut flags, mut verb) = (flags.to_owned(), verb);
        if let Some(value) = values.get_mut(next) {
            let plain = !flags.contains(['+', '#', ' ']);
            match value {
                _ if verb == 'T' => {
                    *value = string(type_name(value));
                    verb = 's';
                }
                Value::Float(v) if verb == 'v' && plain && v.is_finite() => {
                    flags = without_precision(&flags, &mut verb, *v, value);
                }
                Value::Float(v)
                    if !v.is_finite()
                        && matches!(verb, 'v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G') =>
                {
                    let positive = *v > 0.0 && (flags.contains('+') || !flags.contains(' '));
                    let text = match () {
                        () if v.is_nan() => "NaN".to_owned(),
                        () if positive => "+Inf".to_owned(),
                        () if *v > 0.0 => " Inf".to_owned(),
                        () => "-Inf".to_owned(),
                    };
                    // Not padded with zeros, and no digits to cut.
                    let width = flags.split('.').next().unwrap_or_default();
                    flags = width.trim_start_matches(['0', '+', ' ']).to_owned();
                    *value = string(text);
                    verb = 's';
                }
                Value::Map(_) | Value::List(_) if matches!(verb, 'v' | 's') => {
                    *value = string(print(value));
                    verb = 's';
                }
                _ => {}
            }
        }
        next += 1;
        out.push_str(&format!("%{flags}{verb}"));
    }
    out.push_str(rest);
    (out, values)
}

/// `%v` of a float: the shortest digits, or so many of them.
fn without_precision(flags: &str, verb: &mut char, number: f64, value: &mut Value) -> String {
    let (width, precision) = match flags.split_once('.') {
        Some((width, precision)) => (width, precision.parse().ok()),
        None => (flags, None),
    };
    let text = match precision {
        Some(digits) => super::functions::go_g_within(number, digits),
        None => query_engine::eval::text::go_g(number),
    };
    if width.starts_with('0') {
        // Zeros go between sign and digits: left to `gotmpl`.
        *verb = 'g';
        return flags.to_owned();
    }
    *value = string(text);
    *verb = 's';
    width.to_owned()
}
