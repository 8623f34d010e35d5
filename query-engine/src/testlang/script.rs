//! From the text of a `.test` file to its commands.
//!
//! Promise: lines, blocks and words as Prometheus's runner reads them. A file that breaks the language is refused with the line; an
//! expression that does not parse is kept, because it is that case alone that fails.

use super::expectation::{ExpectKind, Expectations, TextMatch, search};
use super::series::{Point, SeriesLine, parse_series_line, parse_start_times};
use super::words::{duration_ms, first_word, number, unquote};
use storage_engine::model::{Labels, TimestampMs};

/// A file that cannot be read as test language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScriptError {
    /// Line number from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// A whole file.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Its commands in order.
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Debug, Clone)]
pub enum Command {
    /// Forget all samples.
    Clear,
    /// Add samples.
    Load(LoadBlock),
    /// Evaluate and compare.
    Eval(Box<EvalCase>),
}

/// The samples of one `load` command.
#[derive(Debug, Clone, Default)]
pub struct LoadBlock {
    /// Distance of samples, milliseconds; sample `i` is at `i * step`.
    pub step: i64,
    /// Classic histograms are to be loaded as native ones too.
    pub with_nhcb: bool,
    pub(super) series: Vec<LoadSeries>,
}

/// One series of a load.
#[derive(Debug, Clone)]
pub(super) struct LoadSeries {
    pub(super) labels: Labels,
    pub(super) points: Vec<Point>,
    /// Of each point how far its start timestamp is from its time, milliseconds; empty when nothing is said of them.
    pub(super) start_times: Vec<Option<i64>>,
}

/// When a case is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalTime {
    /// At one time.
    Instant(TimestampMs),
    /// At `start`, `start + step`, … up to `end`.
    Range {
        /// First.
        start: TimestampMs,
        /// Last, perhaps not reached.
        end: TimestampMs,
        /// Distance.
        step: i64,
    },
}

/// One `eval` command.
#[derive(Debug, Clone)]
pub struct EvalCase {
    /// Line number from 1.
    pub line: usize,
    /// The expression as written.
    pub expr: String,
    /// When.
    pub time: EvalTime,
    pub(super) expectations: Expectations,
    pub(super) value: ExpectedValue,
    /// Time grid of an expected range vector: start, end, step.
    pub(super) window: Option<(TimestampMs, TimestampMs, i64)>,
}

/// The value that must come out.
#[derive(Debug, Clone, Default)]
pub(super) struct ExpectedValue {
    pub(super) scalar: Option<f64>,
    pub(super) string: Option<Vec<u8>>,
    pub(super) series: Vec<SeriesLine>,
}

impl Script {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let lines: Vec<&str> = text
            .split('\n')
            .map(str::trim)
            .map(|l| if l.starts_with('#') { "" } else { l })
            .collect();
        let mut script = Script::default();
        let mut at = 0;
        while let Some(&line) = lines.get(at) {
            at += 1;
            if line.is_empty() {
                continue;
            }
            let (word, rest) = first_word(line);
            let word = word.to_ascii_lowercase();
            let block = Block { lines: &lines, at };
            let (command, next) = if word == "clear" {
                (Command::Clear, at)
            } else if word.starts_with("load") {
                block.load(&word, rest)?
            } else if word.starts_with("eval") {
                block.eval(&word, rest)?
            } else {
                return Err(block.error_at(at, format!("invalid command {line:?}")));
            };
            script.commands.push(command);
            at = next;
        }
        Ok(script)
    }
}

/// The lines of a file and the index behind a command's first line (which is that line's number).
#[derive(Clone, Copy)]
struct Block<'a> {
    lines: &'a [&'a str],
    at: usize,
}

impl<'a> Block<'a> {
    fn error_at(&self, line: usize, reason: impl Into<String>) -> ScriptError {
        ScriptError {
            line,
            reason: reason.into(),
        }
    }

    fn error(&self, reason: impl Into<String>) -> ScriptError {
        self.error_at(self.at, reason)
    }

    /// The lines up to the next empty one, with their numbers.
    fn body(&self) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let first = self.at + 1;
        let lines = self.lines.get(self.at..).unwrap_or_default();
        lines
            .iter()
            .enumerate()
            .map(move |(i, l)| (first + i, *l))
            .take_while(|(_, l)| !l.is_empty())
    }

    fn load(self, word: &str, rest: &str) -> Result<(Command, usize), ScriptError> {
        let with_nhcb = match word {
            "load" => false,
            "load_with_nhcb" => true,
            _ => {
                let reason = "invalid load command. (load[_with_nhcb] <step:duration>)";
                return Err(self.error(reason));
            }
        };
        let step = duration_ms(rest)
            .ok_or_else(|| self.error(format!("invalid step definition {rest:?}")))?;
        let mut block = LoadBlock {
            step,
            with_nhcb,
            series: Vec::new(),
        };
        let mut last = self.at;
        let mut pending: Option<(usize, Labels, Vec<Option<i64>>)> = None;
        let mut default_start_times = Vec::new();
        for (number, line) in self.body() {
            last = number;
            let (head, items) = first_word(line);
            if let Some(metric) = head.strip_suffix("@st") {
                let start_times = parse_start_times(items)
                    .map_err(|reason| self.error_at(number, format!("invalid @st: {reason}")))?;
                if metric.is_empty() {
                    default_start_times = start_times;
                    continue;
                }
                if let Some((line, ..)) = pending {
                    return Err(self.error_at(line, "@st line has no following sample line"));
                }
                let series = parse_series_line(&format!("{metric} _"))
                    .map_err(|reason| self.error_at(number, reason))?;
                pending = Some((number, series.labels, start_times));
                continue;
            }
            let series = parse_series_line(line).map_err(|reason| self.error_at(number, reason))?;
            if let Some((line, labels, start_times)) = &pending {
                if *labels != series.labels {
                    let reason = "@st metric does not match the following sample line metric";
                    return Err(self.error_at(*line, reason));
                }
                let count = start_times.len();
                if count != series.points.len() {
                    let have = series.points.len();
                    let reason = format!("@st line has {count} values but sample line has {have}");
                    return Err(self.error_at(*line, reason));
                }
            }
            let start_times = match pending.take() {
                Some((_, _, start_times)) => start_times,
                None => default_start_times.clone(),
            };
            // The same metric twice in one load: the last wins.
            block.series.retain(|s| s.labels != series.labels);
            block.series.push(LoadSeries {
                labels: series.labels,
                points: series.points,
                start_times,
            });
        }
        match pending {
            Some((line, ..)) => Err(self.error_at(line, "@st line has no following sample line")),
            None => Ok((Command::Load(block), last)),
        }
    }

    fn eval(self, word: &str, rest: &str) -> Result<(Command, usize), ScriptError> {
        let (kind, rest) = first_word(rest);
        let (time, expr) = match kind {
            "instant" => self.instant(rest)?,
            "range" => self.range(rest)?,
            _ => return Err(self.error("eval must be followed by instant or range")),
        };
        let mut case = EvalCase {
            line: self.at,
            expr: expr.to_owned(),
            time,
            expectations: Expectations::default(),
            value: ExpectedValue::default(),
            window: None,
        };
        let old_form = match word.strip_prefix("eval").unwrap_or_default() {
            "" => None,
            "_fail" => Some(ExpectKind::Fail),
            "_warn" => Some(ExpectKind::Warn),
            "_info" => Some(ExpectKind::Info),
            "_ordered" if kind == "instant" => Some(ExpectKind::Ordered),
            _ => return Err(self.error(format!("invalid evaluation command {word:?}"))),
        };
        if let Some(kind) = old_form {
            case.expectations.add(kind, TextMatch::Any);
        }
        let last = self.expectations(&mut case, old_form == Some(ExpectKind::Fail))?;
        Ok((Command::Eval(Box::new(case)), last))
    }

    fn expectations(self, case: &mut EvalCase, old_fail: bool) -> Result<usize, ScriptError> {
        let mut last = self.at;
        for (line_number, line) in self.body() {
            last = line_number;
            let fail = |reason: String| self.error_at(line_number, reason);
            if old_fail && let Some(text) = line.strip_prefix("expected_fail_message") {
                let text = TextMatch::Exact(text.trim().to_owned());
                case.expectations.fail = vec![text];
                return Ok(last);
            }
            if old_fail && let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
                case.expectations.fail = vec![TextMatch::Search(search(pattern).map_err(fail)?)];
                return Ok(last);
            }
            let (first, rest) = first_word(line);
            if first == "expect" {
                if let Some(window) = rest.strip_prefix("range vector") {
                    let (time, after) = self.range(window)?;
                    let EvalTime::Range { start, end, step } = time else {
                        return Err(fail("invalid range vector definition".to_owned()));
                    };
                    if !after.is_empty() {
                        return Err(fail(format!("unexpected {after:?}")));
                    }
                    case.window = Some((start, end, step));
                    // The window's end is when the query is evaluated.
                    case.time = EvalTime::Instant(end);
                } else if let Some(text) = rest.strip_prefix("string") {
                    let text = unquote(text.trim_start())
                        .ok_or_else(|| fail("a quoted string literal is required".to_owned()))?;
                    case.value.string = Some(text);
                } else {
                    case.expectations.add_line(rest).map_err(fail)?;
                }
                continue;
            }
            if let Some(value) = number(line) {
                case.value.scalar = Some(value);
                return Ok(last);
            }
            let series = parse_series_line(line).map_err(fail)?;
            let single = matches!(case.time, EvalTime::Instant(_)) && case.window.is_none();
            if single && series.points.len() > 1 {
                let reason = "several values in an instant evaluation need 'expect range vector'";
                return Err(fail(reason.to_owned()));
            }
            case.value.series.push(series);
        }
        Ok(last)
    }

    fn instant(&self, rest: &'a str) -> Result<(EvalTime, &'a str), ScriptError> {
        let ("at", rest) = first_word(rest) else {
            return Err(self.error("eval instant needs 'at <duration>'"));
        };
        let (at, expr) = first_word(rest);
        let time = self.duration(at)?;
        if expr.is_empty() {
            return Err(self.error("no expression"));
        }
        Ok((EvalTime::Instant(time), expr))
    }

    /// `from <dur> to <dur> step <dur>` and the rest of the line.
    fn range(&self, rest: &'a str) -> Result<(EvalTime, &'a str), ScriptError> {
        let mut values = [0; 3];
        let mut rest = rest;
        for (name, value) in ["from", "to", "step"].into_iter().zip(&mut values) {
            let (word, after) = first_word(rest);
            if word != name {
                return Err(self.error(format!("expected {name:?}, found {word:?}")));
            }
            let (text, after) = first_word(after);
            *value = self.duration(text)?;
            rest = after;
        }
        let [start, end, step] = values;
        if end < start {
            return Err(self.error("end timestamp is before start timestamp"));
        }
        Ok((EvalTime::Range { start, end, step }, rest))
    }

    fn duration(&self, text: &str) -> Result<i64, ScriptError> {
        duration_ms(text).ok_or_else(|| self.error(format!("invalid duration {text:?}")))
    }
}
