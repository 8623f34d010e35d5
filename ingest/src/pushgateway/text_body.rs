//! A body in the text format 0.0.4, read into whole families as Go's `expfmt` does.
//!
//! The scrape reads pages too (`crate::text`), sample by sample. A push needs families: which lines make one summary or histogram, what
//! a second `# TYPE` means, and the texts of Go's errors, with their lines.

use super::body::BodyError;
use super::family::{Family, HistogramValue, Kind, Label, Metric, Parsed, SummaryValue, Value};
use crate::limits::PUSH_METRICS_MAX;
use crate::text::{go_quote, parse_float};
use crate::validate::{is_legacy_label_name, is_legacy_metric_name};
use hashbrown::HashMap;
use std::borrow::Cow;

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Result<Parsed<'_>, BodyError> {
    let mut parser = Parser {
        body,
        at: 0,
        byte: 0,
        line: 0,
        out: Parsed::default(),
        by_name: HashMap::new(),
        merged: HashMap::new(),
        metrics: 0,
    };
    while parser.next_line()? {}
    let mut parsed = parser.out;
    parsed.families.retain(|family| !family.metrics.is_empty());
    Ok(parsed)
}

/// What a line of a summary or histogram carries.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Plain,
    Count,
    Sum,
}

/// The family of a line, and the line's part in it.
#[derive(Debug, Clone, Copy)]
struct Current {
    family: usize,
    part: Part,
}

struct Parser<'a> {
    body: &'a [u8],
    /// Behind the byte last read.
    at: usize,
    /// The byte last read.
    byte: u8,
    /// From 1.
    line: usize,
    out: Parsed<'a>,
    by_name: HashMap<Cow<'a, str>, usize>,
    /// Metrics of summaries and histograms by family and labels, in a form that is equal for equal labels.
    merged: HashMap<(usize, Vec<u8>), usize>,
    metrics: usize,
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn is_label_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'"'
}

/// A byte as Go's `%q` shows it.
fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let quoted = go_quote(char::from(byte).to_string().as_bytes());
            format!("'{}'", quoted.trim_start_matches('"').trim_end_matches('"'))
        }
    }
}

impl<'a> Parser<'a> {
    fn fault(&self, text: impl AsRef<str>) -> BodyError {
        BodyError::Format(format!(
            "text format parsing error in line {}: {}",
            self.line,
            text.as_ref()
        ))
    }

    fn next(&mut self) -> Result<(), BodyError> {
        match self.body.get(self.at) {
            Some(byte) => {
                self.byte = *byte;
                self.at += 1;
                Ok(())
            }
            None => Err(self.fault("unexpected end of input stream")),
        }
    }

    /// Reads on to a byte that is no blank.
    fn skip_blanks(&mut self) -> Result<(), BodyError> {
        loop {
            self.next()?;
            if !is_blank(self.byte) {
                return Ok(());
            }
        }
    }

    fn skip_blanks_here(&mut self) -> Result<(), BodyError> {
        if is_blank(self.byte) {
            self.skip_blanks()?;
        }
        Ok(())
    }

    /// Reads one line; false at the end.
    fn next_line(&mut self) -> Result<bool, BodyError> {
        self.line += 1;
        loop {
            match self.body.get(self.at) {
                None => return Ok(false),
                Some(byte) => self.byte = *byte,
            }
            self.at += 1;
            if !is_blank(self.byte) {
                break;
            }
        }
        match self.byte {
            b'#' => self.comment()?,
            b'\n' => {}
            b'{' => self.metric_in_braces()?,
            _ => self.metric()?,
        }
        Ok(true)
    }

    fn comment(&mut self) -> Result<(), BodyError> {
        self.skip_blanks()?;
        if self.byte == b'\n' {
            return Ok(());
        }
        let keyword = self.until_blank()?;
        if self.byte == b'\n' {
            return Ok(());
        }
        if keyword != b"HELP" && keyword != b"TYPE" {
            while self.byte != b'\n' {
                self.next()?;
            }
            return Ok(());
        }
        self.skip_blanks()?;
        let name = self.metric_name()?;
        if self.byte == b'\n' {
            return Ok(());
        }
        if !is_blank(self.byte) {
            return Err(self.fault("invalid metric name in comment"));
        }
        let current = self.family(name)?;
        self.skip_blanks()?;
        if self.byte == b'\n' {
            return Ok(());
        }
        match keyword == b"HELP" {
            true => self.help(current.family),
            false => self.kind(current.family),
        }
    }

    fn help(&mut self, family: usize) -> Result<(), BodyError> {
        if self.out.families[family].help.is_some() {
            let name = go_quote(self.out.families[family].name.as_bytes());
            return Err(self.fault(format!("second HELP line for metric name {name}")));
        }
        let help = self.rest_of_line(true)?;
        // A help that is not UTF-8 could not be written on any page.
        let help = match help {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        };
        self.out.families[family].help = Some(help);
        Ok(())
    }

    fn kind(&mut self, family: usize) -> Result<(), BodyError> {
        if self.out.families[family].kind.is_some() {
            let name = go_quote(self.out.families[family].name.as_bytes());
            return Err(self.fault(format!(
                "second TYPE line for metric name {name}, or TYPE reported after samples"
            )));
        }
        let word = self.rest_of_line(false)?;
        let unknown = || self.fault(format!("unknown metric type {}", go_quote(&word)));
        let kind = Kind::from_name(&word).ok_or_else(unknown)?;
        self.out.families[family].kind = Some(kind);
        Ok(())
    }

    fn metric(&mut self) -> Result<(), BodyError> {
        let name = self.metric_name()?;
        if name.is_empty() {
            return Err(self.fault("invalid metric name"));
        }
        let current = self.family(name)?;
        self.out.families[current.family]
            .kind
            .get_or_insert(Kind::Untyped);
        self.skip_blanks_here()?;
        let mut labels = Labels::new(self.out.labels.len());
        if self.byte == b'{' {
            self.labels(&mut Some(current), &mut labels, false)?;
        }
        self.value(current, labels)
    }

    /// A line whose name stands in quotes among its labels.
    fn metric_in_braces(&mut self) -> Result<(), BodyError> {
        let mut labels = Labels::new(self.out.labels.len());
        let mut current = None;
        self.labels(&mut current, &mut labels, true)?;
        match current {
            Some(current) => self.value(current, labels),
            None => Err(self.fault("invalid metric name")),
        }
    }

    /// Reads labels behind the opening brace, up to the first byte of the value.
    fn labels(
        &mut self,
        current: &mut Option<Current>,
        labels: &mut Labels,
        in_braces: bool,
    ) -> Result<(), BodyError> {
        loop {
            self.skip_blanks()?;
            if self.byte == b'}' {
                return self.skip_blanks();
            }
            let name = self.label_name()?;
            let family_name = |p: &Self| match *current {
                Some(current) => go_quote(p.out.families[current.family].name.as_bytes()),
                None => "\"\"".to_owned(),
            };
            if name.is_empty() {
                let family = family_name(self);
                return Err(self.fault(format!("invalid label name for metric {family}")));
            }
            self.skip_blanks_here()?;
            if self.byte != b'=' {
                if !in_braces {
                    let found = quote_byte(self.byte);
                    return Err(self.fault(format!("expected '=' after label name, found {found}")));
                }
                if current.is_some() {
                    let family = family_name(self);
                    return Err(self.fault(format!("multiple metric names for metric {family}")));
                }
                let found = self.family(name)?;
                self.out.families[found.family]
                    .kind
                    .get_or_insert(Kind::Untyped);
                *current = Some(found);
                match self.byte {
                    b',' => continue,
                    b'}' => return self.skip_blanks(),
                    byte => {
                        let found = quote_byte(byte);
                        return Err(self.fault(format!("unexpected end of metric name {found}")));
                    }
                }
            }
            if &*name == b"__name__" {
                return Err(self.fault("label name \"__name__\" is reserved"));
            }
            let kind = current.and_then(|c| self.out.families[c.family].kind);
            let special = match kind {
                Some(Kind::Summary) => &*name == b"quantile",
                Some(Kind::Histogram) => &*name == b"le",
                _ => false,
            };
            let checked = match name {
                Cow::Borrowed(name) => std::str::from_utf8(name).map(Cow::Borrowed).ok(),
                Cow::Owned(ref name) => String::from_utf8(name.clone()).map(Cow::Owned).ok(),
            };
            let text = checked.filter(|n| is_legacy_label_name(n));
            let Some(text) = text else {
                return Err(self.fault(format!("invalid label name {}", go_quote(&name))));
            };
            let own = &self.out.labels[labels.first..];
            if !special && own.iter().any(|label| label.name == text) {
                let family = family_name(self);
                return Err(self.fault(format!("duplicate label names for metric {family}")));
            }
            let value = self.label_value()?;
            if special {
                let bound = parse_float(value.as_bytes());
                let what = if kind == Some(Kind::Summary) {
                    "quantile"
                } else {
                    "le"
                };
                let bad = |_| {
                    self.fault(format!(
                        "expected float as value for '{what}' label, got {}",
                        go_quote(value.as_bytes())
                    ))
                };
                labels.bound = bound.map_err(bad)?;
            } else {
                self.out.labels.push(Label {
                    name: text,
                    value: value.clone(),
                });
            }
            self.skip_blanks()?;
            match self.byte {
                b',' => {}
                b'}' if current.is_none() => return Err(self.fault("invalid metric name")),
                b'}' => return self.skip_blanks(),
                _ => {
                    let value = go_quote(value.as_bytes());
                    return Err(self.fault(format!("unexpected end of label value {value}")));
                }
            }
        }
    }

    fn value(&mut self, current: Current, labels: Labels) -> Result<(), BodyError> {
        let token = self.until_blank()?;
        let bad = |_| self.fault(format!("expected float as value, got {}", go_quote(token)));
        let number = parse_float(token).map_err(bad)?;
        let kind = self.out.families[current.family]
            .kind
            .unwrap_or(Kind::Untyped);
        let metric = match kind {
            Kind::Summary | Kind::Histogram => self.merge(current.family, kind, &labels)?,
            Kind::GaugeHistogram => {
                let name = go_quote(self.out.families[current.family].name.as_bytes());
                return Err(self.fault(format!("unexpected type for metric name {name}")));
            }
            _ => {
                let field = kind.value_field().unwrap_or(0);
                self.add(current.family, &labels, Value::Number(field, number))?
            }
        };
        match &mut self.out.families[current.family].metrics[metric].value {
            Value::Summary(summary) => match current.part {
                Part::Count => summary.count = Some(number as u64),
                Part::Sum => summary.sum = Some(number),
                Part::Plain if labels.bound.is_nan() => {}
                Part::Plain => summary.quantiles.push((labels.bound, number)),
            },
            Value::Histogram(histogram) => match current.part {
                Part::Count => histogram.count = Some(number as u64),
                Part::Sum => histogram.sum = Some(number),
                Part::Plain if labels.bound.is_nan() => {}
                Part::Plain => histogram.buckets.push((labels.bound, number as u64)),
            },
            _ => {}
        }
        if self.byte == b'\n' {
            return Ok(());
        }
        self.timestamp(current.family, metric)
    }

    fn timestamp(&mut self, family: usize, metric: usize) -> Result<(), BodyError> {
        self.skip_blanks()?;
        let token = self.until_blank()?;
        let number = std::str::from_utf8(token)
            .ok()
            .and_then(|t| t.parse::<i64>().ok());
        if number.is_none() {
            let got = go_quote(token);
            return Err(self.fault(format!("expected integer as timestamp, got {got}")));
        }
        self.out.families[family].metrics[metric].has_timestamp = true;
        let rest = self.rest_of_line(false)?;
        if !rest.is_empty() {
            let rest = go_quote(&rest);
            return Err(self.fault(format!("spurious string after timestamp: {rest}")));
        }
        Ok(())
    }

    /// The metric of a summary or histogram with these labels, made on its first line.
    fn merge(&mut self, family: usize, kind: Kind, labels: &Labels) -> Result<usize, BodyError> {
        let own = &self.out.labels[labels.first..];
        let metrics = &self.out.families[family].metrics;
        let same = |metric: &Metric<'_>| self.out.labels[metric.labels.clone()] == *own;
        if let Some(last) = metrics.len().checked_sub(1)
            && same(&metrics[last])
        {
            self.out.labels.truncate(labels.first);
            return Ok(last);
        }
        let mut sorted: Vec<&Label<'_>> = own.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let mut key = Vec::new();
        for label in sorted {
            for text in [&label.name, &label.value] {
                key.extend_from_slice(&(text.len() as u64).to_le_bytes());
                key.extend_from_slice(text.as_bytes());
            }
        }
        if let Some(found) = self.merged.get(&(family, key.clone())) {
            self.out.labels.truncate(labels.first);
            return Ok(*found);
        }
        let value = match kind {
            Kind::Summary => Value::Summary(Box::<SummaryValue>::default()),
            _ => Value::Histogram(Box::<HistogramValue>::default()),
        };
        let metric = self.add(family, labels, value)?;
        self.merged.insert((family, key), metric);
        Ok(metric)
    }

    fn add(
        &mut self,
        family: usize,
        labels: &Labels,
        value: Value<'a>,
    ) -> Result<usize, BodyError> {
        self.metrics += 1;
        if self.metrics > PUSH_METRICS_MAX {
            return Err(BodyError::TooMany(PUSH_METRICS_MAX));
        }
        let labels = labels.first..self.out.labels.len();
        let metrics = &mut self.out.families[family].metrics;
        metrics.push(Metric {
            labels,
            has_timestamp: false,
            value,
        });
        Ok(metrics.len() - 1)
    }

    /// The family that a name belongs to: its own, or the summary or histogram whose part it is; else a new one.
    fn family(&mut self, name: Cow<'a, [u8]>) -> Result<Current, BodyError> {
        let current = |family, part| Current { family, part };
        let text = match name {
            Cow::Borrowed(name) => std::str::from_utf8(name).ok().map(Cow::Borrowed),
            Cow::Owned(ref name) => String::from_utf8(name.clone()).ok().map(Cow::Owned),
        };
        let Some(text) = text.filter(|n| is_legacy_metric_name(n)) else {
            return Err(self.fault(format!("invalid metric name {}", go_quote(&name))));
        };
        if let Some(family) = self.by_name.get(&text) {
            return Ok(current(*family, Part::Plain));
        }
        let part_of = |suffix: &str, kinds: &[Kind]| {
            let base = text.strip_suffix(suffix).filter(|base| !base.is_empty())?;
            let family = *self.by_name.get(base)?;
            let kind = self.out.families[family].kind?;
            kinds.contains(&kind).then_some(family)
        };
        let both = [Kind::Summary, Kind::Histogram];
        for (suffix, part, kinds) in [
            ("_count", Part::Count, &both[..]),
            ("_sum", Part::Sum, &both[..]),
            ("_bucket", Part::Plain, &both[1..]),
        ] {
            if let Some(family) = part_of(suffix, kinds) {
                return Ok(current(family, part));
            }
        }
        let family = self.out.families.len();
        self.out.families.push(Family {
            name: text.clone(),
            help: None,
            kind: None,
            metrics: Vec::new(),
        });
        self.by_name.insert(text, family);
        Ok(current(family, Part::Plain))
    }

    /// From the byte last read to the next blank or end of line.
    fn until_blank(&mut self) -> Result<&'a [u8], BodyError> {
        let start = self.at - 1;
        while !is_blank(self.byte) && self.byte != b'\n' {
            self.next()?;
        }
        Ok(&self.body[start..self.at - 1])
    }

    /// From the byte last read to the end of the line. Backslashes are escapes in a help, and fall out elsewhere.
    fn rest_of_line(&mut self, escapes: bool) -> Result<Cow<'a, [u8]>, BodyError> {
        let start = self.at - 1;
        while self.byte != b'\n' {
            if self.byte == b'\\' {
                return self.rest_with_backslashes(start, escapes);
            }
            self.next()?;
        }
        Ok(Cow::Borrowed(&self.body[start..self.at - 1]))
    }

    fn rest_with_backslashes(
        &mut self,
        start: usize,
        escapes: bool,
    ) -> Result<Cow<'a, [u8]>, BodyError> {
        let mut out = self.body[start..self.at - 1].to_vec();
        while self.byte != b'\n' {
            if self.byte != b'\\' {
                out.push(self.byte);
            } else if escapes {
                self.next()?;
                out.push(self.escaped()?);
            }
            self.next()?;
        }
        Ok(Cow::Owned(out))
    }

    /// The byte that an escape stands for.
    fn escaped(&self) -> Result<u8, BodyError> {
        match self.byte {
            b'\\' | b'"' => Ok(self.byte),
            b'n' => Ok(b'\n'),
            byte => {
                let shown = char::from(byte);
                Err(self.fault(format!("invalid escape sequence '\\{shown}'")))
            }
        }
    }

    fn metric_name(&mut self) -> Result<Cow<'a, [u8]>, BodyError> {
        self.name("metric name", |byte| is_label_start(byte) || byte == b':')
    }

    fn label_name(&mut self) -> Result<Cow<'a, [u8]>, BodyError> {
        self.name("label name", is_label_start)
    }

    /// A name from the byte last read on; empty when that cannot begin one. Quotes may enclose anything.
    fn name(
        &mut self,
        what: &str,
        starts: impl Fn(u8) -> bool,
    ) -> Result<Cow<'a, [u8]>, BodyError> {
        let start = self.at - 1;
        if !starts(self.byte) {
            return Ok(Cow::Borrowed(&[]));
        }
        while self.byte != b'"' {
            self.next()?;
            if !starts(self.byte) && !self.byte.is_ascii_digit() {
                return Ok(Cow::Borrowed(&self.body[start..self.at - 1]));
            }
        }
        let mut out = self.body[start..self.at - 1].to_vec();
        loop {
            self.next()?;
            match self.byte {
                b'"' => {
                    self.next()?;
                    return Ok(Cow::Owned(out));
                }
                b'\n' => {
                    let name = go_quote(&out);
                    return Err(self.fault(format!("{what} {name} contains unescaped new-line")));
                }
                b'\\' => {
                    self.next()?;
                    let byte = self.escaped()?;
                    if byte == b'"' {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
                byte => out.push(byte),
            }
        }
    }

    fn label_value(&mut self) -> Result<Cow<'a, str>, BodyError> {
        self.skip_blanks()?;
        if self.byte != b'"' {
            let found = quote_byte(self.byte);
            let text = format!("expected '\"' at start of label value, found {found}");
            return Err(self.fault(text));
        }
        let start = self.at;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            self.next()?;
            match self.byte {
                b'"' => break,
                b'\n' => {
                    let read = &self.body[start..self.at - 1];
                    let value = go_quote(unescaped.as_deref().unwrap_or(read));
                    let text = format!("label value {value} contains unescaped new-line");
                    return Err(self.fault(text));
                }
                b'\\' => {
                    let read = &self.body[start..self.at - 1];
                    let out = unescaped.get_or_insert_with(|| read.to_vec());
                    let mut out = std::mem::take(out);
                    self.next()?;
                    out.push(self.escaped()?);
                    unescaped = Some(out);
                }
                byte => {
                    if let Some(out) = &mut unescaped {
                        out.push(byte);
                    }
                }
            }
        }
        let bad =
            |p: &Self, bytes: &[u8]| p.fault(format!("invalid label value {}", go_quote(bytes)));
        match unescaped {
            None => {
                let value = &self.body[start..self.at - 1];
                let text = std::str::from_utf8(value).map_err(|_| bad(self, value))?;
                Ok(Cow::Borrowed(text))
            }
            Some(value) => {
                let text = String::from_utf8(value).map_err(|e| bad(self, e.as_bytes()))?;
                Ok(Cow::Owned(text))
            }
        }
    }
}

/// Labels of a line while it is read.
struct Labels {
    /// Where they begin among all.
    first: usize,
    /// The quantile or bucket, NaN where there is none.
    bound: f64,
}

impl Labels {
    fn new(first: usize) -> Labels {
        Labels {
            first,
            bound: f64::NAN,
        }
    }
}
