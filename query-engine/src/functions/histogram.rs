//! Classic histograms: quantiles and fractions from buckets that are series with an `le` label.
//!
//! Promise: buckets of one label set (without `le`) form a histogram at each step; equal bounds are added up; a histogram needs its `+Inf`
//! bucket. Quantiles repair counts that fall: silently below 1e-12 of their sum, else with an info.
//! A native histogram of the same name and labels is answered beside them (`crate::histogram`); both at one step give nothing and a warning.

use super::{Arguments, CallContext, almost_equal, drop_names, elementwise::at, texts};
use crate::eval::annotations::Severity;
use crate::eval::error::EvalError;
use crate::eval::memory::{Work, labels_cost, rows_cost};
use crate::eval::value::Row;
use crate::histogram::{self as native, FloatHistogram, NanObservations};
use crate::parse::ast::{Call, Span};
use std::cmp::Ordering;
use std::collections::HashMap;
use storage_engine::model::{Labels, LabelsBuilder, TimestampMs};

/// The label with a bucket's upper bound.
const BUCKET_LABEL: &str = "le";
/// Counts that differ by less than this share of their sum are taken as equal.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// One bucket at one step: cumulative count of what is at most `bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The rows that make up one histogram.
struct Group {
    labels: Labels,
    drop_name: bool,
    buckets: Vec<(f64, Row)>,
    /// Rows with native histograms of these labels.
    natives: Vec<Row>,
}

/// What a group is at one step.
enum Found<'a> {
    Classic(&'a mut Vec<Bucket>),
    Native(&'a FloatHistogram),
}

/// Texts about one call, each kept once.
#[derive(Default)]
struct Texts(Vec<(Severity, String)>);

impl Texts {
    fn add(&mut self, severity: Severity, text: String) {
        if !self.0.iter().any(|(_, t)| *t == text) {
            self.0.push((severity, text));
        }
    }

    fn tell(self, span: Span, ctx: &mut CallContext<'_>) {
        for (severity, text) in self.0 {
            ctx.annotations.add(severity, text, span);
        }
    }
}

impl Group {
    fn name(&self) -> &str {
        self.labels.metric_name().unwrap_or_default()
    }

    /// The buckets that have a sample at step `k`, by bound, equal bounds added up.
    fn at(&self, k: usize, out: &mut Vec<Bucket>) {
        out.clear();
        for (bound, row) in &self.buckets {
            if let Some(count) = row.get(k) {
                match out.last_mut() {
                    Some(last) if last.bound == *bound => last.count += count,
                    _ => out.push(Bucket {
                        bound: *bound,
                        count,
                    }),
                }
            }
        }
    }
}

pub(super) fn quantile(
    call: &Call,
    args: &mut Arguments,
    ctx: &mut CallContext<'_>,
) -> Result<Vec<Row>, EvalError> {
    let q = args.scalar()?;
    let input = args.vector()?;
    warn_of_quantiles(&q, args.span(0), ctx);
    let groups = group(input, args.span(1), ctx)?;
    let mut repairs = Repairs::default();
    let mut notes = Texts::default();
    let named = ctx.delayed_name_removal;
    let out = of_groups(&groups, ctx, &mut notes, |k, t, group, found, notes| {
        let q = at(&q, k);
        quantile_of(q, t, group, found, &mut repairs, notes, named)
    })?;
    repairs.tell(args.span(1), ctx);
    notes.tell(args.span(1), ctx);
    debug_assert_eq!(call.args.len(), 2);
    drop_names(out, ctx)
}

/// `histogram_quantiles(v, "label", q, ...)`: several quantiles at once, told apart by a label.
pub(super) fn quantiles(
    call: &Call,
    args: &mut Arguments,
    ctx: &mut CallContext<'_>,
) -> Result<Vec<Row>, EvalError> {
    let input = args.vector()?;
    let label = String::from_utf8_lossy(&args.text()?).into_owned();
    let groups = group(input, args.span(0), ctx)?;
    let mut repairs = Repairs::default();
    let mut notes = Texts::default();
    let mut out = Vec::new();
    for index in 2..call.args.len() {
        let q = args.scalar()?;
        warn_of_quantiles(&q, args.span(index), ctx);
        let named = ctx.delayed_name_removal;
        let results = of_groups(&groups, ctx, &mut notes, |k, t, group, found, notes| {
            let q = at(&q, k);
            quantile_of(q, t, group, found, &mut repairs, notes, named)
        })?;
        for row in results {
            by_quantile(&row, &q, &label, &mut out, ctx.work)?;
        }
    }
    repairs.tell(args.span(0), ctx);
    notes.tell(args.span(0), ctx);
    drop_names(out, ctx)
}

/// One row for each value that the quantile parameter takes over the steps.
fn by_quantile(
    row: &Row,
    q: &[f64],
    label: &str,
    out: &mut Vec<Row>,
    work: &mut Work,
) -> Result<(), EvalError> {
    let mut parts: Vec<(u64, Row)> = Vec::new();
    for (k, &value) in row.values.iter().enumerate() {
        if !row.present.get(k) {
            continue;
        }
        work.tick(1 + parts.len())?;
        let bits = at(q, k).to_bits();
        let index = match parts.iter().position(|(b, _)| *b == bits) {
            Some(index) => index,
            None => {
                let mut labels = LabelsBuilder::new(&row.labels);
                labels.set(label, &texts::open_metrics_float(at(q, k)));
                let labels = labels.build();
                work.row(&labels, row.values.len())?;
                let mut part = Row::absent(labels, row.values.len());
                part.drop_name = row.drop_name;
                parts.push((bits, part));
                parts.len() - 1
            }
        };
        if let Some((_, part)) = parts.get_mut(index) {
            part.put(k, value);
        }
    }
    out.extend(parts.into_iter().map(|(_, row)| row));
    Ok(())
}

pub(super) fn fraction(
    call: &Call,
    args: &mut Arguments,
    ctx: &mut CallContext<'_>,
) -> Result<Vec<Row>, EvalError> {
    let lower = args.scalar()?;
    let upper = args.scalar()?;
    let input = args.vector()?;
    let groups = group(input, args.span(2), ctx)?;
    let mut notes = Texts::default();
    let out = of_groups(&groups, ctx, &mut notes, |k, _, group, found, notes| {
        let (lower, upper) = (at(&lower, k), at(&upper, k));
        match found {
            Found::Classic(buckets) => bucket_fraction(lower, upper, buckets),
            Found::Native(histogram) => {
                let (value, excludes_nan) = native::fraction(lower, upper, histogram);
                if excludes_nan {
                    let text = texts::fraction_excludes_nan(group.name());
                    notes.add(Severity::Info, text);
                }
                value
            }
        }
    })?;
    notes.tell(args.span(2), ctx);
    debug_assert_eq!(call.args.len(), 3);
    drop_names(out, ctx)
}

/// The quantile of a group at one step.
fn quantile_of(
    q: f64,
    time: TimestampMs,
    group: &Group,
    found: Found<'_>,
    repairs: &mut Repairs,
    notes: &mut Texts,
    named: bool,
) -> f64 {
    match found {
        Found::Classic(buckets) => {
            let (value, repair) = bucket_quantile(q, buckets);
            repairs.add(group, time, repair, named);
            value
        }
        Found::Native(histogram) => {
            let (value, nan) = native::quantile(q, histogram);
            match nan {
                Some(NanObservations::Result) => {
                    notes.add(Severity::Info, texts::quantile_is_nan(group.name()));
                }
                Some(NanObservations::Skew) => {
                    notes.add(Severity::Info, texts::quantile_is_skewed(group.name()));
                }
                None => {}
            }
            value
        }
    }
}

fn warn_of_quantiles(q: &[f64], span: Span, ctx: &mut CallContext<'_>) {
    for &q in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        let text = texts::invalid_quantile(q);
        ctx.annotations.add(Severity::Warning, text, span);
    }
}

/// Sorts bucket rows into histograms; a row whose `le` is no number is left out with a warning.
fn group(input: Vec<Row>, span: Span, ctx: &mut CallContext<'_>) -> Result<Vec<Group>, EvalError> {
    ctx.work.take(2 * size_of::<(f64, Row)>() * input.len())?;
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut number = |groups: &mut Vec<Group>, labels: Labels, drop_name: bool| {
        let index = *known.entry(labels.clone()).or_insert(groups.len());
        if index == groups.len() {
            groups.push(Group {
                labels,
                drop_name,
                buckets: Vec::new(),
                natives: Vec::new(),
            });
        }
        index
    };
    for mut row in input {
        ctx.work.tick(32 + row.values.len() / 8)?;
        ctx.work.take(labels_cost(&row.labels))?;
        if row.has_histograms() {
            ctx.work.take(rows_cost(std::slice::from_ref(&row)))?;
            let index = number(&mut groups, row.labels.clone(), row.drop_name);
            if let Some(group) = groups.get_mut(index) {
                group.natives.push(row.clone());
            }
            row.drop_histograms();
        }
        if !row.present.any() {
            continue;
        }
        let text = row.labels.value(BUCKET_LABEL);
        let Some(bound) = texts::parse_float(text) else {
            let name = row.labels.metric_name().unwrap_or_default();
            let text = texts::bad_bucket_label(name, text);
            ctx.annotations.add(Severity::Warning, text, span);
            continue;
        };
        let labels = row.labels.filtered(|n| n != BUCKET_LABEL);
        let index = number(&mut groups, labels, row.drop_name);
        if let Some(group) = groups.get_mut(index) {
            group.buckets.push((bound, row));
        }
    }
    for group in &mut groups {
        // Stable, so that equal bounds are added up in the order they came.
        group
            .buckets
            .sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
    }
    Ok(groups)
}

/// One row per histogram: `f` of its buckets at each step where it has any.
fn of_groups(
    groups: &[Group],
    ctx: &mut CallContext<'_>,
    notes: &mut Texts,
    mut f: impl FnMut(usize, TimestampMs, &Group, Found<'_>, &mut Texts) -> f64,
) -> Result<Vec<Row>, EvalError> {
    let mut buckets = Vec::new();
    let mut out = Vec::with_capacity(groups.len());
    for group in groups {
        ctx.work.row(&group.labels, ctx.grid.count)?;
        let mut row = Row::absent(group.labels.clone(), ctx.grid.count);
        row.drop_name = group.drop_name;
        for k in 0..ctx.grid.count {
            ctx.work
                .tick(2 * group.buckets.len() + group.natives.len() + 1)?;
            group.at(k, &mut buckets);
            let native = group.natives.iter().find_map(|r| r.histogram(k));
            let found = match (native, buckets.is_empty()) {
                (None, true) => continue,
                (Some(_), false) => {
                    let text = texts::mixed_classic_native(group.name());
                    notes.add(Severity::Warning, text);
                    continue;
                }
                (Some(histogram), true) => Found::Native(histogram),
                (None, false) => Found::Classic(&mut buckets),
            };
            row.put(k, f(k, ctx.grid.at(k), group, found, notes));
        }
        out.push(row);
    }
    Ok(out)
}

/// How counts of one histogram had to be raised: the bounds between which, and by how much at most.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Repair {
    bound_min: f64,
    bound_max: f64,
    difference_max: f64,
}

/// Repairs of one call, by metric name.
#[derive(Default)]
struct Repairs {
    by_name: Vec<(String, texts::MonotonicityRepair)>,
}

impl Repairs {
    fn add(&mut self, group: &Group, time: TimestampMs, repair: Option<Repair>, named: bool) {
        let Some(repair) = repair else { return };
        let name = match group.labels.metric_name() {
            Some(name) if named => name,
            _ => "",
        };
        let index = match self.by_name.iter().position(|(n, _)| n == name) {
            Some(index) => index,
            None => {
                let none = texts::MonotonicityRepair {
                    bound_min: f64::INFINITY,
                    bound_max: f64::NEG_INFINITY,
                    difference_max: 0.0,
                    count: 0,
                    time_min: TimestampMs::MAX,
                    time_max: TimestampMs::MIN,
                };
                self.by_name.push((name.to_owned(), none));
                self.by_name.len() - 1
            }
        };
        if let Some((_, all)) = self.by_name.get_mut(index) {
            all.bound_min = all.bound_min.min(repair.bound_min);
            all.bound_max = all.bound_max.max(repair.bound_max);
            all.difference_max = all.difference_max.max(repair.difference_max);
            all.count += 1;
            all.time_min = all.time_min.min(time);
            all.time_max = all.time_max.max(time);
        }
    }

    fn tell(self, span: Span, ctx: &mut CallContext<'_>) {
        for (name, repair) in self.by_name {
            let text = texts::forced_monotonicity(&name, &repair);
            ctx.annotations.add(Severity::Info, text, span);
        }
    }
}

/// The `q`-quantile of sorted buckets with distinct bounds, by linear interpolation inside the bucket it falls in.
fn bucket_quantile(q: f64, buckets: &mut [Bucket]) -> (f64, Option<Repair>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|b| b.bound != f64::INFINITY) {
        return (f64::NAN, None);
    }
    let repair = make_monotonic(buckets);
    let [rest @ .., top] = buckets else {
        return (f64::NAN, repair);
    };
    let (Some(first), Some(second_highest)) = (rest.first(), rest.last()) else {
        return (f64::NAN, repair);
    };
    if top.count == 0.0 {
        return (f64::NAN, repair);
    }
    let mut rank = q * top.count;
    // Below and unordered both mean "go on": a NaN count never ends the search.
    let reached = |b: &Bucket| b.count.partial_cmp(&rank).is_some_and(Ordering::is_ge);
    let index = rest.partition_point(|b| !reached(b));
    let Some(bucket) = rest.get(index) else {
        return (second_highest.bound, repair);
    };
    if index == 0 && first.bound <= 0.0 {
        return (first.bound, repair);
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(below) = index.checked_sub(1).and_then(|i| rest.get(i)) {
        start = below.bound;
        count -= below.count;
        rank -= below.count;
    }
    (start + (bucket.bound - start) * (rank / count), repair)
}

/// Raises counts that fall; tiny differences in either direction are evened out without a word.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Repair> {
    let mut repair: Option<Repair> = None;
    let [first, rest @ ..] = buckets else {
        return None;
    };
    let mut previous = first.count;
    for bucket in rest {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if almost_equal(previous, count, SMALL_DELTA_TOLERANCE) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let all = repair.get_or_insert(Repair {
                bound_min: f64::INFINITY,
                bound_max: f64::NEG_INFINITY,
                difference_max: 0.0,
            });
            all.bound_min = all.bound_min.min(bucket.bound);
            all.bound_max = all.bound_max.max(bucket.bound);
            all.difference_max = all.difference_max.max(previous - count);
        } else {
            previous = count;
        }
    }
    repair
}

/// The share of observations between two bounds, by linear interpolation inside the outermost buckets.
fn bucket_fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(top) = buckets.last().filter(|b| b.bound == f64::INFINITY) else {
        return f64::NAN;
    };
    let count = top.count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let at_most = |rank: Option<f64>| match rank {
        Some(rank) if rank > count => count,
        Some(rank) => rank,
        None => count,
    };
    let (low_rank, high_rank) = (
        at_most(rank_of(lower, buckets)),
        at_most(rank_of(upper, buckets)),
    );
    (high_rank - low_rank) / count
}

/// How many observations are below `value`; `None` beyond the last bucket's start.
fn rank_of(value: f64, buckets: &[Bucket]) -> Option<f64> {
    let first = buckets.first()?.bound;
    let mut start = if first <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let mut rank = 0.0;
    for bucket in buckets {
        if start >= value {
            return Some(rank);
        }
        if bucket.bound > value {
            return Some(if start == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - start) / (bucket.bound - start)
            });
        }
        rank = bucket.count;
        start = bucket.bound;
    }
    None
}
