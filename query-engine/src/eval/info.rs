//! `info()`: labels of info series, such as `target_info`, put on the series of the same target.
//!
//! Promise: at each step the newest info series of a name and target counts; labels that a series has already stay. A series that is itself
//! an info series of the call passes unchanged. Not here: where info series are read (the fragment that [`InfoSpec::fragment`] gives).

use super::error::EvalError;
use super::memory::{Work, column_cost, labels_cost};
use super::rows::steps;
use super::value::{Bits, Row, Sample};
use crate::fragment::FragmentSpec;
use crate::limits::INFO_TARGETS_MATCHED_MAX;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use storage_engine::model::{Labels, METRIC_NAME, MatchOp, Matcher};

/// The labels that tell which target a series is of.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
/// The info metric of calls that name none.
const DEFAULT_METRIC: &str = "target_info";
/// The info metrics of calls that only say which not.
const DEFAULT_METRICS: &str = ".+_info";

/// What a call of `info()` looks for.
#[derive(Debug)]
pub(crate) struct InfoSpec {
    /// The info series, with the times of their newest samples; its matchers are those of the call.
    spec: FragmentSpec,
    /// Matchers of the metric name.
    names: Vec<Matcher>,
    /// Matchers of labels that are wanted; all labels when there are none.
    data: Vec<Matcher>,
}

fn is_identifying(name: &str) -> bool {
    IDENTIFYING.contains(&name)
}

fn equal_name(name: &str) -> Matcher {
    Matcher::equal(METRIC_NAME, name)
}

impl InfoSpec {
    /// From the matchers of the second argument; `spec` has no matchers yet.
    pub(crate) fn new(matchers: &[Matcher], mut spec: FragmentSpec) -> Self {
        let is_name = |m: &&Matcher| m.name == METRIC_NAME;
        let mut names: Vec<Matcher> = matchers.iter().filter(is_name).cloned().collect();
        let positive = |m: &Matcher| matches!(m.op, MatchOp::Equal | MatchOp::Regex);
        if names.is_empty() {
            names.push(equal_name(DEFAULT_METRIC));
        } else if !names.iter().any(positive) {
            names.extend(Matcher::new(MatchOp::Regex, METRIC_NAME, DEFAULT_METRICS));
        }
        let data: Vec<Matcher> = matchers.iter().filter(|m| !is_name(m)).cloned().collect();
        spec.matchers = names.iter().chain(&data).cloned().collect();
        InfoSpec { spec, names, data }
    }

    /// The steps at which it is evaluated.
    pub(crate) fn set_grid(&mut self, grid: super::value::Grid) {
        self.spec.grid = grid;
    }

    /// Is this series one of those that the call takes labels from?
    fn is_info(&self, labels: &Labels) -> bool {
        let name = labels.metric_name().unwrap_or_default();
        self.names.iter().all(|m| m.matches(name))
    }

    /// What to read for these series; `None` if none of them can have an info series.
    pub(crate) fn fragment(&self, base: &[Row]) -> Option<FragmentSpec> {
        let mut spec = self.spec.clone();
        let mut any = false;
        for label in IDENTIFYING {
            let wanted = base.iter().filter(|row| !self.is_info(&row.labels));
            let values: BTreeSet<&str> = wanted.filter_map(|row| row.labels.get(label)).collect();
            if values.is_empty() {
                continue;
            }
            any = true;
            if values.len() <= INFO_TARGETS_MATCHED_MAX {
                let quoted: Vec<String> = values.into_iter().map(quote_regex).collect();
                spec.matchers
                    .extend(Matcher::new(MatchOp::Regex, label, quoted.join("|")));
            } else {
                spec.matchers
                    .extend(Matcher::new(MatchOp::NotEqual, label, ""));
            }
        }
        any.then_some(spec)
    }

    /// Is the label among those wanted?
    fn wants(&self, label: &str) -> bool {
        label != METRIC_NAME && (self.data.is_empty() || self.data.iter().any(|m| m.name == label))
    }

    /// Puts labels of `info` on `base`.
    pub(crate) fn enrich(
        &self,
        base: Vec<Row>,
        info: &[Row],
        steps_count: usize,
        work: &mut Work,
    ) -> Result<Vec<Row>, EvalError> {
        let mut any = Bits::zeros(steps_count);
        for row in &base {
            for k in steps(&row.present) {
                any.set(k);
            }
        }
        let groups = Groups::new(info, &any, work)?;
        let keeps_unmatched = self.data.iter().all(|m| m.matches(""));
        let mut out = Output {
            rows: Vec::with_capacity(base.len()),
            numbers: HashMap::with_capacity(base.len()),
            steps: steps_count,
            work,
        };
        for row in base {
            out.work.tick(steps_count)?;
            if self.is_info(&row.labels) {
                for k in steps(&row.present) {
                    out.put(&row.labels, row.drop_name, k, row.sample(k))?;
                }
                continue;
            }
            let mine = groups.of(&row.labels);
            let mut chosen: Vec<usize> = Vec::new();
            let mut before: Option<(Vec<usize>, Labels)> = None;
            for k in steps(&row.present) {
                chosen.clear();
                chosen.extend(mine.iter().filter_map(|group| group.newest(k)));
                if chosen.is_empty() && !keeps_unmatched {
                    continue;
                }
                let labels = match &before {
                    Some((same, labels)) if *same == chosen => labels.clone(),
                    _ => self.merged(&row.labels, chosen.iter().map(|i| &info[*i].labels))?,
                };
                out.put(&labels, row.drop_name, k, row.sample(k))?;
                before = Some((chosen.clone(), labels));
            }
        }
        Ok(out.rows)
    }

    fn merged<'a>(
        &self,
        base: &Labels,
        info: impl Iterator<Item = &'a Labels>,
    ) -> Result<Labels, EvalError> {
        let mut added: HashMap<&str, &str> = HashMap::new();
        for labels in info {
            for (name, value) in labels.iter().filter(|(name, _)| self.wants(name)) {
                if added.get(name).is_some_and(|there| *there != value) {
                    return Err(EvalError::Execution(format!("conflicting label: {name}")));
                }
                if base.get(name).is_none() {
                    added.insert(name, value);
                }
            }
        }
        let all = base.iter().chain(added);
        Labels::from_pairs(all).map_err(|e| EvalError::Execution(e.to_string()))
    }
}

/// Info series of one name and one target.
struct Group<'a> {
    name: &'a str,
    /// At each step the row of the newest sample, plus one.
    newest: Vec<u32>,
}

impl Group<'_> {
    fn newest(&self, k: usize) -> Option<usize> {
        let row = self.newest.get(k).copied().unwrap_or_default();
        row.checked_sub(1).map(|row| row as usize)
    }
}

/// Info series by target.
struct Groups<'a> {
    by_target: HashMap<Labels, Vec<Group<'a>>>,
}

impl<'a> Groups<'a> {
    /// Looks at the steps in `wanted`.
    fn new(info: &'a [Row], wanted: &Bits, work: &mut Work) -> Result<Self, EvalError> {
        let mut by_target: HashMap<Labels, Vec<Group<'a>>> = HashMap::new();
        for (number, row) in info.iter().enumerate() {
            work.tick(row.values.len())?;
            let of_target = by_target.entry(target(&row.labels)).or_default();
            let name = row.labels.metric_name().unwrap_or_default();
            let place = match of_target.iter().position(|g| g.name == name) {
                Some(place) => place,
                None => {
                    work.take(64 + labels_cost(&row.labels) + column_cost(row.values.len()) / 2)?;
                    of_target.push(Group {
                        name,
                        newest: vec![0; row.values.len()],
                    });
                    of_target.len() - 1
                }
            };
            let group = &mut of_target[place];
            for k in steps(&row.present).filter(|k| wanted.get(*k)) {
                let Some(Sample::Float(time)) = row.sample(k) else {
                    return Err(EvalError::execution("info sample should be float"));
                };
                let there = group.newest(k).map(|i| &info[i]);
                let older = match there {
                    None => true,
                    Some(there) if there.values[k] == time => {
                        return Err(EvalError::Execution(format!(
                            "found duplicate series for info metric: existing {} @ {}, new {} @ {}",
                            there.labels,
                            milliseconds(there.values[k]),
                            row.labels,
                            milliseconds(time)
                        )));
                    }
                    Some(there) => there.values[k] < time,
                };
                if older {
                    group.newest[k] = number as u32 + 1;
                }
            }
        }
        for groups in by_target.values_mut() {
            groups.sort_by_key(|g| g.name);
        }
        Ok(Groups { by_target })
    }

    fn of(&self, labels: &Labels) -> &[Group<'a>] {
        let groups = self.by_target.get(&target(labels));
        groups.map_or(&[], Vec::as_slice)
    }
}

fn target(labels: &Labels) -> Labels {
    labels.filtered(is_identifying)
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// The rows that come out, each label set once.
struct Output<'b> {
    rows: Vec<Row>,
    numbers: HashMap<Labels, usize>,
    steps: usize,
    work: &'b mut Work,
}

impl Output<'_> {
    fn put(
        &mut self,
        labels: &Labels,
        drop_name: bool,
        k: usize,
        sample: Option<Sample>,
    ) -> Result<(), EvalError> {
        let Some(sample) = sample else { return Ok(()) };
        let number = match self.numbers.get(labels) {
            Some(&number) => number,
            None => {
                self.work.row(labels, self.steps)?;
                let mut row = Row::absent(labels.clone(), self.steps);
                row.drop_name = drop_name;
                self.rows.push(row);
                self.numbers.insert(labels.clone(), self.rows.len() - 1);
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[number];
        if row.present.get(k) {
            return Err(EvalError::same_labelset());
        }
        self.work.sample(&sample)?;
        row.put_sample(k, sample);
        Ok(())
    }
}

/// The regular expression that matches exactly this text.
fn quote_regex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
