//! Log lines as Prometheus 3 writes them: `time=… level=INFO source=… msg="…" key=value`, or the same keys as JSON, on standard error.
//!
//! Promise: one line per event, written with one call, so that lines of threads do not mix. Not here: what is worth a line.

use crate::cli::{LogFormat, LogLevel};
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Sends all events to standard error from now on. The first call of the process wins.
pub fn init(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    // A second call finds the subscriber of the first; both write the same way.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .event_format(Line { format })
        .try_init();
}

struct Line {
    format: LogFormat,
}

/// Fields of one event, in order, as text.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    /// Numbers and booleans, which JSON writes bare.
    Bare(String),
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Bare(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bare(value.to_string()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Bare(value.to_string()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Bare(value.to_string()));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        let value = match value.is_finite() {
            true => Value::Bare(value.to_string()),
            false => Value::Text(value.to_string()),
        };
        self.push(field, value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, Value::Text(value.to_string()));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, Value::Text(format!("{value:?}")));
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let file = meta.file().unwrap_or("");
        let file = file.rsplit('/').next().unwrap_or(file);
        let source = format!("{file}:{}", meta.line().unwrap_or(0));
        let time = jiff::Timestamp::now();
        let line = line(
            self.format,
            &timestamp(time),
            *meta.level(),
            &source,
            &fields,
        );
        writer.write_str(&line)
    }
}

fn timestamp(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}

fn line(format: LogFormat, time: &str, level: Level, source: &str, fields: &Fields) -> String {
    // slog's word for a warning is WARN, as tracing's.
    let mut out = String::with_capacity(160);
    match format {
        LogFormat::Logfmt => {
            let _ = write!(out, "time={time} level={level} source={source} msg=");
            put_logfmt(&mut out, &fields.message);
            for (name, value) in &fields.others {
                let (Value::Text(text) | Value::Bare(text)) = value;
                let _ = write!(out, " {name}=");
                put_logfmt(&mut out, text);
            }
        }
        LogFormat::Json => {
            let _ = write!(
                out,
                "{{\"time\":\"{time}\",\"level\":\"{level}\",\"source\":"
            );
            put_json(&mut out, source);
            out.push_str(",\"msg\":");
            put_json(&mut out, &fields.message);
            for (name, value) in &fields.others {
                let _ = write!(out, ",\"{name}\":");
                match value {
                    Value::Bare(text) => out.push_str(text),
                    Value::Text(text) => put_json(&mut out, text),
                }
            }
            out.push('}');
        }
    }
    out.push('\n');
    out
}

/// A bare word where that is unambiguous, else quoted as Go's `strconv.Quote`.
fn put_logfmt(out: &mut String, text: &str) {
    let bare = !text.is_empty()
        && text
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '=' | '"' | '\\'));
    if bare {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn put_json(out: &mut String, text: &str) {
    match serde_json::to_string(text) {
        Ok(quoted) => out.push_str(&quoted),
        // Cannot happen for a string; an empty text keeps the line valid.
        Err(_) => out.push_str("\"\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields {
            message: "Completed loading of configuration file".to_owned(),
            others: vec![
                ("component", Value::Text("rule manager".to_owned())),
                ("shards", Value::Bare("2".to_owned())),
                ("err", Value::Text("a \"b\"\nc".to_owned())),
            ],
        }
    }

    #[test]
    fn logfmt_line() {
        assert_eq!(
            line(LogFormat::Logfmt, "T", Level::INFO, "main.rs:7", &fields()),
            "time=T level=INFO source=main.rs:7 msg=\"Completed loading of configuration file\" component=\"rule manager\" shards=2 err=\"a \\\"b\\\"\\nc\"\n"
        );
    }

    #[test]
    fn json_line() {
        let text = line(LogFormat::Json, "T", Level::WARN, "main.rs:7", &fields());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["shards"], 2);
        assert_eq!(value["err"], "a \"b\"\nc");
    }

    #[test]
    fn time_has_milliseconds() {
        let time = jiff::Timestamp::from_millisecond(1_795_224_583_700).unwrap();
        assert_eq!(timestamp(time), "2026-11-21T01:29:43.700Z");
    }
}
