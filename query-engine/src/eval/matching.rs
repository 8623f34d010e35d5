//! Arithmetic and comparison between two vectors: one-to-one, many-to-one, one-to-many, with fill values.
//!
//! Promise: the same pairs, labels and errors as Prometheus's `VectorBinop`, step by step. Most joins are free of doubt (no match group
//! has two series on a side that must be unique): those run row by row; the others run step by step and fail at the first step that is ambiguous.
//! Not here: set operators (`sets`).

use super::annotations::Annotations;
use super::arithmetic::{apply, changes_metric, samples};
use super::error::EvalError;
use super::memory::{Work, labels_cost};
use super::rows::{is_metadata_label, steps};
use super::signature::{Signatures, match_group};
use super::value::{Row, Sample};
use crate::parse::ast::{BinaryOp, MatchCardinality, Span, VectorMatching};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;
use storage_engine::model::{Labels, LabelsBuilder};

/// A binary operation between two vectors.
pub(crate) struct VectorOperation<'a> {
    /// Operator; not a set operator.
    pub(crate) op: BinaryOp,
    /// `bool` after a comparison.
    pub(crate) return_bool: bool,
    /// How the sides meet.
    pub(crate) matching: &'a VectorMatching,
    /// Where the operation stands.
    pub(crate) span: Span,
    /// Names go at the end of the evaluation.
    pub(crate) delayed_name_removal: bool,
    /// Number of steps.
    pub(crate) count: usize,
}

impl VectorOperation<'_> {
    /// Result rows; labels may repeat, the caller joins them.
    pub(crate) fn run(
        &self,
        lhs: &[Row],
        rhs: &[Row],
        work: &mut Work,
        annotations: &mut Annotations,
    ) -> Result<Vec<Row>, EvalError> {
        let signatures = Signatures::of(lhs, rhs, self.matching, work)?;
        let swapped = self.matching.card == MatchCardinality::OneToMany;
        let (many, many_groups, one, one_groups) = if swapped {
            (rhs, &signatures.right, lhs, &signatures.left)
        } else {
            (lhs, &signatures.left, rhs, &signatures.right)
        };
        let join = Join {
            operation: self,
            swapped,
            many,
            many_groups,
            one,
            one_groups,
            groups: signatures.count,
            mixed: matches!(self.op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
                || lhs.iter().chain(rhs).any(|r| r.histograms.is_some()),
        };
        match join.plain_pairs(work)? {
            Some(pairs) => join.by_row(pairs, work, annotations),
            None => join.by_step(work, annotations),
        }
    }

    fn one_to_one(&self) -> bool {
        self.matching.card == MatchCardinality::OneToOne
    }

    /// Labels of the result of a pair; `many` gives the base, `one` the included labels.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let drop_metadata =
            changes_metric(self.op) || (self.return_bool && !self.delayed_name_removal);
        let matching = self.matching;
        let listed = |n: &str| matching.labels.iter().any(|l| l == n);
        let base = many.filtered(|n| {
            let kept = !self.one_to_one() || listed(n) == matching.on;
            kept && !(changes_metric(self.op) && is_metadata_label(n))
        });
        let labels = if matching.include.is_empty() {
            base
        } else {
            let mut builder = LabelsBuilder::new(&base);
            for name in &matching.include {
                builder.set(name, one.value(name));
            }
            builder.build()
        };
        if drop_metadata && !changes_metric(self.op) {
            labels.filtered(|n| !is_metadata_label(n))
        } else {
            labels
        }
    }
}

struct Join<'a> {
    operation: &'a VectorOperation<'a>,
    swapped: bool,
    many: &'a [Row],
    many_groups: &'a [usize],
    one: &'a [Row],
    one_groups: &'a [usize],
    groups: usize,
    /// Some samples are histograms, or the operator is for them.
    mixed: bool,
}

/// A pair without doubt: indices of the rows and the labels of their result.
struct Pair {
    many: usize,
    one: usize,
    labels: Labels,
}

impl Join<'_> {
    /// The value of a pair at one step, or `None` where a comparison does not hold and `bool` is not asked for.
    #[inline]
    fn value(&self, many: f64, one: f64) -> Option<f64> {
        let (l, r) = if self.swapped {
            (one, many)
        } else {
            (many, one)
        };
        let result = apply(self.operation.op, l, r);
        if self.operation.return_bool {
            Some(f64::from(u8::from(result.is_some())))
        } else {
            result
        }
    }

    /// The sample of a pair of any kind.
    fn mixed_value(
        &self,
        many: &Sample,
        one: &Sample,
        annotations: &mut Annotations,
    ) -> Option<Sample> {
        let operation = self.operation;
        let (l, r) = if self.swapped {
            (one, many)
        } else {
            (many, one)
        };
        let outcome = samples(operation.op, l, r, operation.span, annotations);
        outcome.of_pair(l, operation.return_bool)
    }

    /// All pairs, if no step can be ambiguous whatever the numbers are.
    fn plain_pairs(&self, work: &mut Work) -> Result<Option<Vec<Pair>>, EvalError> {
        let matching = self.operation.matching;
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            return Ok(None);
        }
        work.take(32 * self.groups + 2 * size_of::<Pair>() * self.many.len())?;
        let mut one_of: Vec<Option<usize>> = vec![None; self.groups];
        for (i, &g) in self.one_groups.iter().enumerate() {
            if one_of[g].replace(i).is_some() {
                return Ok(None);
            }
        }
        let mut pairs = Vec::with_capacity(self.many.len());
        let mut groups_taken = vec![false; self.groups];
        let mut results: HashSet<(usize, Labels)> = HashSet::new();
        for (i, &g) in self.many_groups.iter().enumerate() {
            let Some(one) = one_of[g] else { continue };
            let labels = self
                .operation
                .result_labels(&self.many[i].labels, &self.one[one].labels);
            work.take(labels_cost(&labels))?;
            work.tick(16)?;
            let ambiguous = if self.operation.one_to_one() {
                std::mem::replace(&mut groups_taken[g], true)
            } else {
                !results.insert((g, labels.clone()))
            };
            if ambiguous {
                return Ok(None);
            }
            pairs.push(Pair {
                many: i,
                one,
                labels,
            });
        }
        Ok(Some(pairs))
    }

    fn by_row(
        &self,
        pairs: Vec<Pair>,
        work: &mut Work,
        annotations: &mut Annotations,
    ) -> Result<Vec<Row>, EvalError> {
        let mut out = Vec::with_capacity(pairs.len());
        for pair in pairs {
            work.tick(self.operation.count + 1)?;
            let (many, one) = (&self.many[pair.many], &self.one[pair.one]);
            let mut both = many.present.clone();
            both.intersect(&one.present);
            if !both.any() {
                continue;
            }
            work.row(&pair.labels, self.operation.count)?;
            let mut row = Row::absent(pair.labels, self.operation.count);
            row.drop_name = self.operation.return_bool;
            for k in steps(&both) {
                if self.mixed {
                    if let (Some(m), Some(o)) = (many.sample(k), one.sample(k))
                        && let Some(sample) = self.mixed_value(&m, &o, annotations)
                    {
                        work.sample(&sample)?;
                        row.put_sample(k, sample);
                    }
                    continue;
                }
                if let Some(v) = self.value(many.values[k], one.values[k]) {
                    row.put(k, v);
                }
            }
            out.push(row);
        }
        Ok(out)
    }

    fn by_step(
        &self,
        work: &mut Work,
        annotations: &mut Annotations,
    ) -> Result<Vec<Row>, EvalError> {
        let matching = self.operation.matching;
        work.take((size_of::<Option<usize>>() + size_of::<Matched>()) * self.groups)?;
        let mut out = Outputs {
            join: self,
            work,
            slots: HashMap::new(),
            rows: Vec::new(),
            annotations,
        };
        let filling = matching.fill_left.is_some() || matching.fill_right.is_some();
        let mut one_at: Vec<Option<usize>> = vec![None; self.groups];
        let mut matched: Vec<Matched> = vec![Matched::default(); self.groups];
        for k in 0..self.operation.count {
            out.work
                .tick(self.many.len() + self.one.len() + self.groups)?;
            let many_present = self.many.iter().any(|r| r.present.get(k));
            let one_present = self.one.iter().any(|r| r.present.get(k));
            if !(many_present && one_present || filling && (many_present || one_present)) {
                continue;
            }
            one_at.fill(None);
            for m in &mut matched {
                m.clear();
            }
            for (i, row) in self
                .one
                .iter()
                .enumerate()
                .filter(|(_, r)| r.present.get(k))
            {
                if let Some(earlier) = one_at[self.one_groups[i]].replace(i) {
                    return Err(self.duplicate(&row.labels, &self.one[earlier].labels));
                }
            }
            for (i, row) in self
                .many
                .iter()
                .enumerate()
                .filter(|(_, r)| r.present.get(k))
            {
                let group = self.many_groups[i];
                let (one, value) = match (one_at[group], matching.fill_right) {
                    (Some(one), _) => (Some(one), self.at(&self.one[one], k)),
                    (None, Some(fill)) => (None, Sample::Float(fill)),
                    (None, None) => continue,
                };
                out.put(
                    k,
                    (Some(i), one),
                    (self.at(row, k), value),
                    &mut matched[group],
                )?;
            }
            if let Some(fill) = matching.fill_left {
                for group in 0..self.groups {
                    if let Some(one) = one_at[group]
                        && !matched[group].any
                    {
                        let pair = (Sample::Float(fill), self.at(&self.one[one], k));
                        out.put(k, (None, Some(one)), pair, &mut matched[group])?;
                    }
                }
            }
        }
        Ok(out.rows)
    }

    /// The present sample of a row at step `k`.
    #[inline]
    fn at(&self, row: &Row, k: usize) -> Sample {
        match row.histogram(k) {
            Some(histogram) => Sample::Histogram(Arc::clone(histogram)),
            None => Sample::Float(row.values[k]),
        }
    }

    fn duplicate(&self, a: &Labels, b: &Labels) -> EvalError {
        let side = if self.swapped { "left" } else { "right" };
        let group = match_group(a, self.operation.matching);
        let mut texts = [a.to_string(), b.to_string()];
        texts.sort();
        let [first, second] = texts;
        EvalError::execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, {second}]\
             ;many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }
}

/// What a match group has yielded at the present step.
#[derive(Debug, Clone, Default)]
struct Matched {
    any: bool,
    slots: Vec<usize>,
}

impl Matched {
    fn clear(&mut self) {
        self.any = false;
        self.slots.clear();
    }
}

/// Result rows of a step-by-step join, one for each pair that ever met.
struct Outputs<'a> {
    join: &'a Join<'a>,
    slots: HashMap<(Option<usize>, Option<usize>), usize>,
    rows: Vec<Row>,
    annotations: &'a mut Annotations,
    work: &'a mut Work,
}

impl Outputs<'_> {
    /// Computes one pair at step `k`; a missing side has the labels of the match group and the fill value.
    fn put(
        &mut self,
        k: usize,
        pair: (Option<usize>, Option<usize>),
        (many, one): (Sample, Sample),
        matched: &mut Matched,
    ) -> Result<(), EvalError> {
        let slot = match self.slots.get(&pair) {
            Some(&slot) => slot,
            None => self.open(pair)?,
        };
        if self.join.operation.one_to_one() {
            if matched.any {
                return Err(EvalError::execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
        } else {
            let labels = &self.rows[slot].labels;
            self.work.tick(matched.slots.len())?;
            if matched
                .slots
                .iter()
                .any(|&s| self.rows[s].labels == *labels)
            {
                return Err(EvalError::execution(
                    "multiple matches for labels: grouping labels must ensure unique matches",
                ));
            }
            matched.slots.push(slot);
        }
        matched.any = true;
        let sample = match (&many, &one) {
            (Sample::Float(many), Sample::Float(one)) if !self.join.mixed => {
                self.join.value(*many, *one).map(Sample::Float)
            }
            _ => self.join.mixed_value(&many, &one, self.annotations),
        };
        if let Some(sample) = sample {
            self.work.sample(&sample)?;
            self.rows[slot].put_sample(k, sample);
        }
        Ok(())
    }

    fn open(&mut self, pair: (Option<usize>, Option<usize>)) -> Result<usize, EvalError> {
        let operation = self.join.operation;
        let many = pair.0.map(|i| &self.join.many[i].labels);
        let one = pair.1.map(|i| &self.join.one[i].labels);
        let group_of = |labels: Option<&Labels>| {
            labels.map_or_else(Labels::empty, |l| match_group(l, operation.matching))
        };
        let labels = match (many, one) {
            (Some(many), Some(one)) => operation.result_labels(many, one),
            (many, one) => operation.result_labels(
                &many.cloned().unwrap_or_else(|| group_of(one)),
                &one.cloned().unwrap_or_else(|| group_of(many)),
            ),
        };
        self.work.row(&labels, operation.count)?;
        let mut row = Row::absent(labels, operation.count);
        row.drop_name = operation.return_bool;
        self.rows.push(row);
        let slot = self.rows.len() - 1;
        self.slots.insert(pair, slot);
        Ok(slot)
    }
}
