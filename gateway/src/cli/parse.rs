//! Reads an argument list against the table, the way kingpin does.
//!
//! Promise: `--flag=value`, `--flag value`, `--x` and `--no-x`, repeated flags, `-flag` for `--flag`, `@file`, `--` are understood; a value
//! of the wrong kind is refused with a text that names the flag. Not here: what the values mean (`flags`).

use super::table::{FLAGS, FlagSpec, Kind, find};
use crate::config::{parse_bytes, parse_duration_ms};
use crate::limits::{ARGS_FILE_BYTES_MAX, ARGS_FILE_NESTING_MAX};
use std::collections::BTreeMap;

/// Why an argument list is refused; the process exits with 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// No such `--name`.
    #[error("unknown long flag '{0}'")]
    UnknownFlag(String),
    /// No such `-n`.
    #[error("unknown short flag '{0}'")]
    UnknownShortFlag(String),
    /// A word that is no flag.
    #[error("unexpected {0}")]
    Unexpected(String),
    /// The list ends where a value should be.
    #[error("expected argument for flag '{0}'")]
    NoValue(String),
    /// `--x=value` for a flag that is only on or off, with a value that is neither.
    #[error(
        "invalid value for flag '--{name}': strconv.ParseBool: parsing {value:?}: invalid syntax"
    )]
    NotBool {
        /// The flag.
        name: &'static str,
        /// What was given.
        value: String,
    },
    /// Given twice.
    #[error("flag '{0}' cannot be repeated")]
    Repeated(&'static str),
    /// A value that its kind refuses.
    #[error("invalid value for flag '--{name}': {reason}")]
    Value {
        /// The flag.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// An `@file` cannot be read.
    #[error("cannot read arguments from {path:?}: {reason}")]
    ArgsFile {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// What the user asked for instead of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// `-h`, `--help`.
    Help,
    /// `--help-long`, `--help-man`: hidden flags too.
    HelpLong,
    /// `--version`.
    Version,
    /// `--write-documentation`.
    Documentation,
}

/// Values as texts, by flag name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Only flags that were on the command line.
    pub values: BTreeMap<&'static str, Vec<String>>,
    /// Something else than a start.
    pub ask: Option<Ask>,
}

/// Reads the arguments (without the program's name).
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Given, UsageError> {
    let mut given = Given::default();
    let mut words = Vec::new();
    for arg in args {
        expand_file(arg, 0, &mut words)?;
    }
    let mut words = words.into_iter();
    let mut flags_ended = false;
    while let Some(word) = words.next() {
        if flags_ended || !word.starts_with('-') || word == "-" {
            return Err(UsageError::Unexpected(word));
        }
        if word == "--" {
            flags_ended = true;
            continue;
        }
        let body = word
            .strip_prefix("--")
            .or_else(|| word.strip_prefix('-'))
            .unwrap_or("");
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        if let Some(ask) = ask_of(name) {
            // The first question wins, as kingpin acts on it at once.
            given.ask.get_or_insert(ask);
            continue;
        }
        let Some((spec, negated)) = lookup(name) else {
            return Err(if word.starts_with("--") || name.len() > 1 {
                UsageError::UnknownFlag(format!("--{name}"))
            } else {
                UsageError::UnknownShortFlag(word)
            });
        };
        let value = value_of(spec, negated, inline, &mut words)?;
        let values = given.values.entry(spec.name).or_default();
        if !values.is_empty() && spec.kind != Kind::List {
            return Err(UsageError::Repeated(spec.name));
        }
        values.push(value);
    }
    Ok(given)
}

fn ask_of(name: &str) -> Option<Ask> {
    match name {
        "h" | "help" => Some(Ask::Help),
        "help-long" | "help-man" => Some(Ask::HelpLong),
        "version" => Some(Ask::Version),
        "write-documentation" => Some(Ask::Documentation),
        _ => None,
    }
}

/// The flag, and whether it was named as `no-…`.
fn lookup(name: &str) -> Option<(&'static FlagSpec, bool)> {
    // `--shards` is the short spelling of `--storage.shards`.
    let name = if name == "shards" {
        "storage.shards"
    } else {
        name
    };
    if let Some(spec) = find(name) {
        return Some((spec, false));
    }
    let spec = find(name.strip_prefix("no-")?)?;
    (spec.kind == Kind::Bool).then_some((spec, true))
}

fn value_of(
    spec: &'static FlagSpec,
    negated: bool,
    inline: Option<String>,
    words: &mut impl Iterator<Item = String>,
) -> Result<String, UsageError> {
    if spec.kind == Kind::Bool {
        let value = match inline.as_deref() {
            None => true,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(other) => {
                return Err(UsageError::NotBool {
                    name: spec.name,
                    value: other.to_owned(),
                });
            }
        };
        return Ok((value != negated).to_string());
    }
    let value = match inline {
        Some(value) => value,
        None => match words.next() {
            // As in kingpin, a word with a dash cannot be a value, save a negative number.
            Some(next) if !next.starts_with('-') || next.parse::<f64>().is_ok() => next,
            _ => return Err(UsageError::NoValue(format!("--{}", spec.name))),
        },
    };
    check(spec, &value).map_err(|reason| UsageError::Value {
        name: spec.name,
        reason,
    })?;
    Ok(value)
}

fn check(spec: &FlagSpec, value: &str) -> Result<(), String> {
    match spec.kind {
        Kind::Bool | Kind::Text | Kind::List => Ok(()),
        Kind::Enum(words) if words.contains(&value) => Ok(()),
        Kind::Enum(words) => Err(format!(
            "enum value must be one of {}, got '{value}'",
            words.join(",")
        )),
        Kind::Duration => parse_duration_ms(value)
            .map(|_| ())
            .map_err(|e| e.to_string()),
        Kind::GoDuration if value == "0" => Ok(()),
        Kind::GoDuration => parse_go_duration(value)
            .map(|_| ())
            .ok_or_else(|| format!("time: invalid duration {value:?}")),
        Kind::Bytes => parse_bytes(value).map(|_| ()).map_err(|e| e.to_string()),
        Kind::Int => value
            .parse::<i64>()
            .map(|_| ())
            .map_err(|_| format!("strconv.ParseInt: parsing {value:?}: invalid syntax")),
        Kind::Uint => value
            .parse::<u64>()
            .map(|_| ())
            .map_err(|_| format!("strconv.ParseUint: parsing {value:?}: invalid syntax")),
        Kind::Float => value
            .parse::<f64>()
            .map(|_| ())
            .map_err(|_| format!("strconv.ParseFloat: parsing {value:?}: invalid syntax")),
    }
}

/// Go's own duration notation, in seconds: decimal numbers, each with a unit (`1.5h`, `2h45m`).
pub(crate) fn parse_go_duration(text: &str) -> Option<f64> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = tail;
    }
    Some(seconds)
}

/// `@file` stands for the file's lines, one argument each; empty lines and lines that begin with `#` are left out.
fn expand_file(arg: String, depth: usize, out: &mut Vec<String>) -> Result<(), UsageError> {
    let Some(path) = arg.strip_prefix('@') else {
        out.push(arg);
        return Ok(());
    };
    let refuse = |reason: String| UsageError::ArgsFile {
        path: path.to_owned(),
        reason,
    };
    if depth == ARGS_FILE_NESTING_MAX {
        return Err(refuse(
            "too many argument files inside one another".to_owned(),
        ));
    }
    let bytes = std::fs::metadata(path)
        .map_err(|e| refuse(e.to_string()))?
        .len();
    if bytes > ARGS_FILE_BYTES_MAX {
        return Err(refuse(format!("longer than {ARGS_FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
    for line in text.lines() {
        if !line.is_empty() && !line.starts_with('#') {
            expand_file(line.to_owned(), depth + 1, out)?;
        }
    }
    Ok(())
}

/// Value texts of every flag, given or default, as `/api/v1/status/flags` shows them.
pub fn flags_map(given: &Given) -> BTreeMap<String, String> {
    FLAGS
        .iter()
        .map(|spec| {
            let value = match given.values.get(spec.name) {
                Some(values) => values.join(","),
                None => spec.default.to_owned(),
            };
            (spec.name.to_owned(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(args: &[&str]) -> Result<Given, UsageError> {
        parse(args.iter().map(|a| (*a).to_owned()))
    }

    fn one(args: &[&str], name: &str) -> Vec<String> {
        read(args)
            .unwrap()
            .values
            .get(name)
            .cloned()
            .unwrap_or_default()
    }

    fn refused(args: &[&str]) -> String {
        read(args).unwrap_err().to_string()
    }

    #[test]
    fn spellings_of_a_value() {
        for args in [
            &["--log.level=warn"][..],
            &["--log.level", "warn"],
            &["-log.level=warn"],
            &["-log.level", "warn"],
        ] {
            assert_eq!(one(args, "log.level"), ["warn"], "{args:?}");
        }
        assert_eq!(
            one(&["--storage.tsdb.path=a=b"], "storage.tsdb.path"),
            ["a=b"]
        );
        assert_eq!(one(&["--shards", "3"], "storage.shards"), ["3"]);
    }

    #[test]
    fn switches() {
        assert_eq!(
            one(&["--web.enable-lifecycle"], "web.enable-lifecycle"),
            ["true"]
        );
        assert_eq!(
            one(&["--no-web.enable-lifecycle"], "web.enable-lifecycle"),
            ["false"]
        );
        assert_eq!(
            one(&["--web.enable-lifecycle=false"], "web.enable-lifecycle"),
            ["false"]
        );
        assert_eq!(
            one(
                &["--no-storage.tsdb.wal-compression"],
                "storage.tsdb.wal-compression"
            ),
            ["false"]
        );
        assert!(refused(&["--web.enable-lifecycle=maybe"]).contains("ParseBool"));
        assert_eq!(
            refused(&["--no-log.level"]),
            "unknown long flag '--no-log.level'"
        );
    }

    #[test]
    fn repetition() {
        assert_eq!(
            one(
                &["--web.listen-address=:1", "--web.listen-address", ":2"],
                "web.listen-address"
            ),
            [":1", ":2"]
        );
        assert_eq!(
            refused(&["--log.level=info", "--log.level=info"]),
            "flag 'log.level' cannot be repeated"
        );
    }

    #[test]
    fn refusals() {
        assert_eq!(refused(&["--foo"]), "unknown long flag '--foo'");
        assert_eq!(refused(&["--foo=1"]), "unknown long flag '--foo'");
        assert_eq!(refused(&["-z"]), "unknown short flag '-z'");
        assert_eq!(refused(&["serve"]), "unexpected serve");
        assert_eq!(
            refused(&["--log.level"]),
            "expected argument for flag '--log.level'"
        );
        assert_eq!(
            refused(&["--log.level", "--agent"]),
            "expected argument for flag '--log.level'"
        );
        assert_eq!(
            refused(&["--log.level=loud"]),
            "invalid value for flag '--log.level': enum value must be one of debug,info,warn,error, got 'loud'"
        );
        assert_eq!(
            refused(&["--query.timeout=2x"]),
            "invalid value for flag '--query.timeout': unknown unit \"x\" in duration \"2x\""
        );
        assert!(refused(&["--query.max-samples=-1"]).contains("ParseUint"));
        assert!(refused(&["--storage.tsdb.retention.size=12XB"]).contains("12XB"));
    }

    #[test]
    fn questions() {
        assert_eq!(read(&["--version"]).unwrap().ask, Some(Ask::Version));
        assert_eq!(read(&["-h"]).unwrap().ask, Some(Ask::Help));
        assert_eq!(read(&["--help", "--version"]).unwrap().ask, Some(Ask::Help));
    }

    #[test]
    fn argument_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# comment\n--log.level=debug\n\n--web.workers\n2").unwrap();
        let arg = format!("@{}", file.path().display());
        let given = read(&[&arg]).unwrap();
        assert_eq!(given.values["log.level"], ["debug"]);
        assert_eq!(given.values["web.workers"], ["2"]);
        writeln!(file, "{arg}").unwrap();
        assert!(refused(&[&arg]).contains("inside one another"));
        assert!(refused(&["@/no/such/file"]).contains("/no/such/file"));
    }

    #[test]
    fn go_durations() {
        assert_eq!(parse_go_duration("1.5s"), Some(1.5));
        assert_eq!(parse_go_duration("2h45m"), Some(9900.0));
        assert_eq!(parse_go_duration("2ms"), Some(0.002));
        assert_eq!(parse_go_duration("2"), None);
        assert_eq!(parse_go_duration(""), None);
    }

    #[test]
    fn every_default_has_its_kind() {
        for spec in FLAGS {
            if !spec.default.is_empty() && spec.kind != Kind::Bool {
                assert_eq!(check(spec, spec.default), Ok(()), "{}", spec.name);
            }
            assert_eq!(
                FLAGS.iter().filter(|f| f.name == spec.name).count(),
                1,
                "{}",
                spec.name
            );
        }
        let map =
            flags_map(&read(&["--web.listen-address=:1", "--web.listen-address=:2"]).unwrap());
        assert_eq!(map["web.listen-address"], ":1,:2");
        assert_eq!(map["storage.tsdb.min-block-duration"], "2h");
        assert_eq!(map.len(), FLAGS.len());
    }
}
