//! `tsdb dump` and `tsdb dump-openmetrics`: every sample as a line.
//!
//! Where promtool drops the histograms of a series that has floats too, all samples are printed here, in the order of time.

use super::arguments::{matchers, path, range};
use super::source::{Damage, Source};
use super::{Failure, Output};
use clap::ArgMatches;
use query_engine::eval::text::go_g;
use query_engine::histogram::go_text;
use std::fmt::Write;
use storage_engine::model::{Labels, METRIC_NAME, SeriesSamples, is_stale_nan};

/// How a sample looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `{__name__="up", job="x"} 1 1699999800000`
    Prometheus,
    /// `up{job="x"} 1 1699999800.000`
    OpenMetrics,
    /// `{"__name__":"up","job":"x"}`, once for each series
    SeriesJson,
}

/// Prints all samples that are wanted.
pub(super) fn run(matches: &ArgMatches, format: Format) -> Result<(), Failure> {
    let (matchers, range) = (matchers(matches)?, range(matches)?);
    let mut damage = Damage::default();
    let source = Source::open(&path(matches, "db path"), &mut damage)?;
    let mut out = Output::new();
    source.visit(
        &matchers,
        range,
        &mut damage,
        &mut |labels, samples| match format {
            Format::Prometheus => put_all(labels, samples, &mut out),
            Format::OpenMetrics => put_floats(labels, samples, &mut out),
            Format::SeriesJson => {
                let all: serde_json::Map<String, serde_json::Value> = labels
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect();
                out.line(serde_json::Value::Object(all))
            }
        },
    )?;
    if format == Format::OpenMetrics {
        out.line("# EOF")?;
    }
    out.finish()?;
    damage.result()
}

fn put_all(labels: &Labels, samples: &SeriesSamples, out: &mut Output) -> Result<(), Failure> {
    let mut histograms = samples.histograms.iter().peekable();
    let floats = samples.floats.timestamps.iter().zip(&samples.floats.values);
    for (t, value) in floats {
        while let Some((at, histogram)) = histograms.next_if(|(at, _)| at < t) {
            out.line(format_args!("{labels} {} {at}", go_text(histogram)))?;
        }
        out.line(format_args!("{labels} {} {t}", go_g(*value)))?;
    }
    for (at, histogram) in histograms {
        out.line(format_args!("{labels} {} {at}", go_text(histogram)))?;
    }
    Ok(())
}

fn put_floats(labels: &Labels, samples: &SeriesSamples, out: &mut Output) -> Result<(), Failure> {
    let series = open_metrics_series(labels);
    let floats = samples.floats.timestamps.iter().zip(&samples.floats.values);
    for (&t, &value) in floats.filter(|(_, value)| !is_stale_nan(**value)) {
        let sign = if t < 0 { "-" } else { "" };
        let t = t.unsigned_abs();
        let (seconds, part) = (t / 1000, t % 1000);
        out.line(format_args!(
            "{series} {} {sign}{seconds}.{part:03}",
            go_g(value)
        ))?;
    }
    Ok(())
}

/// `name{label="value"}`.
fn open_metrics_series(labels: &Labels) -> String {
    let mut text = labels.metric_name().unwrap_or("").to_owned();
    text.push('{');
    let mut first = true;
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        if !first {
            text.push(',');
        }
        first = false;
        // The escapes of OpenMetrics.
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let _ = write!(text, "{name}=\"{value}\"");
    }
    text.push('}');
    text
}
