//! Writer of the text exposition format 0.0.4.

use super::instruments::{Histogram, Summary};
use std::fmt::Write;

/// One page of metrics under construction.
#[derive(Default)]
pub struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// The finished page.
    pub fn finish(self) -> String {
        self.text
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Starts a counter family.
    pub fn counter(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.family(name, "counter", help);
        self
    }

    /// Starts a gauge family.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.family(name, "gauge", help);
        self
    }

    /// One sample of the family begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        extra: Option<(&str, &str)>,
        value: f64,
    ) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        if !labels.is_empty() || extra.is_some() {
            self.text.push('{');
            for (i, (n, v)) in labels.iter().copied().chain(extra).enumerate() {
                if i > 0 {
                    self.text.push(',');
                }
                let v = v
                    .replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n");
                let _ = write!(self.text, "{n}=\"{v}\"");
            }
            self.text.push('}');
        }
        self.text.push(' ');
        push_float(&mut self.text, value);
        self.text.push('\n');
    }

    /// A family with one sample.
    pub fn one_counter(&mut self, name: &'static str, help: &str, value: f64) {
        self.counter(name, help).sample(&[], value);
    }

    /// A family with one sample.
    pub fn one_gauge(&mut self, name: &'static str, help: &str, value: f64) {
        self.gauge(name, help).sample(&[], value);
    }

    /// A summary family: quantiles, sum and count of each labelled summary.
    pub fn summaries<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        all: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, &'a Summary)>,
    ) {
        self.family(name, "summary", help);
        for (labels, summary) in all {
            let view = summary.view();
            for (quantile, value) in &view.quantiles {
                let q = format!("{quantile}");
                self.line("", &labels, Some(("quantile", &q)), *value);
            }
            self.line("_sum", &labels, None, view.sum);
            self.line("_count", &labels, None, view.count as f64);
        }
    }

    /// A summary family of sums and counts alone.
    pub fn totals<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        all: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64, u64)>,
    ) {
        self.family(name, "summary", help);
        for (labels, sum, count) in all {
            self.line("_sum", &labels, None, sum);
            self.line("_count", &labels, None, count as f64);
        }
    }

    /// A histogram family with one histogram, whose counts are cumulative.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &str,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) {
        self.family(name, "histogram", help);
        for (bound, below) in buckets {
            let mut le = String::new();
            push_float(&mut le, bound);
            self.line("_bucket", &[], Some(("le", &le)), below as f64);
        }
        self.line("_bucket", &[], Some(("le", "+Inf")), count as f64);
        self.line("_sum", &[], None, sum);
        self.line("_count", &[], None, count as f64);
    }

    /// A histogram family.
    pub fn histograms<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        all: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, &'a Histogram)>,
    ) {
        self.family(name, "histogram", help);
        for (labels, histogram) in all {
            let view = histogram.view();
            for (bound, count) in &view.buckets {
                let mut le = String::new();
                push_float(&mut le, *bound);
                self.line("_bucket", &labels, Some(("le", &le)), *count as f64);
            }
            self.line("_bucket", &labels, Some(("le", "+Inf")), view.count as f64);
            self.line("_sum", &labels, None, view.sum);
            self.line("_count", &labels, None, view.count as f64);
        }
    }
}

/// A float as the exposition format wants it; large integers without exponent are fine for every reader.
fn push_float(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_escapes() {
        let mut page = Exposition::default();
        page.one_gauge("up", "a\nb", 1.0);
        page.counter("c_total", "c").sample(&[("a", "x\"y")], 2.5);
        assert_eq!(
            page.finish(),
            "# HELP up a\\nb\n# TYPE up gauge\nup 1\n# HELP c_total c\n# TYPE c_total counter\nc_total{a=\"x\\\"y\"} 2.5\n"
        );
    }
}
