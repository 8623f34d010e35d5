//! Partial aggregates: the rows of a fragment folded into groups inside the shard, so that `groups × steps` cross the threads and not
//! `series × steps`.
//!
//! Promise: count, group, min and max are exact; sums carry their compensation, so that merging shards keeps the precision of one pass.
//! A mean whose sum overflows cannot be merged and says so. Not here: aggregations that need all rows (`eval::aggregate`).

use crate::eval::aggregate::group_labels;
use crate::eval::budget::Budget;
use crate::eval::error::EvalError;
use crate::eval::memory::{Held, column_cost, labels_cost};
use crate::eval::rows::{drop_metadata, is_metadata_label, steps};
use crate::eval::value::{Bits, Row};
use crate::kernels::{CompensatedSum, add_row};
use crate::parse::ast::AggregateOp;
use hashbrown::HashMap;
use storage_engine::model::Labels;

/// Which aggregate, over which groups.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoldSpec {
    pub(crate) op: AggregateOp,
    pub(crate) grouping: Vec<String>,
    pub(crate) without: bool,
    /// Group by the labels that are left when the metric name is dropped.
    pub(crate) drop_metadata: bool,
}

/// Can this aggregation be folded?
pub(crate) fn is_foldable(op: AggregateOp) -> bool {
    matches!(
        op,
        AggregateOp::Sum
            | AggregateOp::Avg
            | AggregateOp::Count
            | AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Group
    )
}

/// One group over the steps.
#[derive(Debug, Clone)]
pub(crate) struct Partial {
    labels: Labels,
    seen: Bits,
    /// Sum, extreme, or 1.
    values: Vec<f64>,
    /// What rounding lost, for sums and means; else empty.
    compensations: Vec<f64>,
    /// Number of values, for counts and means; else empty.
    counts: Vec<f64>,
}

/// The groups of one shard, or of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partials {
    /// A series had native histograms, which only the coordinator can add up.
    pub(crate) has_histograms: bool,
    /// A series had numbers.
    pub(crate) has_floats: bool,
    groups: Vec<Partial>,
    numbers: HashMap<Labels, usize>,
}

impl FoldSpec {
    fn is_sum(&self) -> bool {
        matches!(self.op, AggregateOp::Sum | AggregateOp::Avg)
    }

    fn is_counted(&self) -> bool {
        matches!(self.op, AggregateOp::Count | AggregateOp::Avg)
    }

    /// Does the aggregate look at nothing but presence?
    pub(crate) fn counts_only(&self) -> bool {
        matches!(self.op, AggregateOp::Count | AggregateOp::Group)
    }

    /// Bytes that a group takes, its place in the table included.
    fn group_cost(&self, labels: &Labels, steps: usize) -> usize {
        let columns = 1 + usize::from(self.is_sum()) + usize::from(self.is_counted());
        let cells = column_cost(steps).saturating_mul(columns);
        (cells + column_cost(Bits::words_of(steps)))
            .saturating_add(2 * size_of::<Partial>() + labels_cost(labels))
    }

    fn open(&self, labels: Labels, steps: usize) -> Partial {
        let column = |wanted: bool| vec![0.0; if wanted { steps } else { 0 }];
        Partial {
            labels,
            seen: Bits::zeros(steps),
            values: column(true),
            compensations: column(self.is_sum()),
            counts: column(self.is_counted()),
        }
    }
}

impl Partials {
    /// Samples that the groups hold.
    pub(crate) fn samples(&self) -> usize {
        self.groups.iter().map(|g| g.seen.count_ones()).sum()
    }

    /// Bytes that the groups take.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |group: &Partial| {
            let cells = group.values.len() + group.compensations.len() + group.counts.len();
            let bits = Bits::words_of(group.values.len());
            column_cost(cells + bits) + 2 * size_of::<Partial>() + labels_cost(&group.labels)
        };
        self.groups.iter().map(bytes).sum()
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The group of a series; `held` pays for a new one.
    pub(crate) fn group(
        &mut self,
        spec: &FoldSpec,
        labels: &Labels,
        steps: usize,
        held: &mut Held,
    ) -> Result<usize, EvalError> {
        // What is grouped by nothing, or by labels that stay anyway, needs no copy without the others.
        let stays = !spec.without && !spec.grouping.iter().any(|name| is_metadata_label(name));
        let key = if spec.drop_metadata && !stays {
            group_labels(&drop_metadata(labels), &spec.grouping, spec.without)
        } else {
            group_labels(labels, &spec.grouping, spec.without)
        };
        if let Some(&number) = self.numbers.get(&key) {
            return Ok(number);
        }
        held.take(spec.group_cost(&key, steps))?;
        Ok(self.add(spec.open(key, steps)))
    }

    fn add(&mut self, partial: Partial) -> usize {
        let number = self.groups.len();
        self.numbers.insert(partial.labels.clone(), number);
        self.groups.push(partial);
        number
    }

    /// Folds one series into its group.
    pub(crate) fn fold(
        &mut self,
        spec: &FoldSpec,
        group: usize,
        values: &[f64],
        present: &Bits,
        budget: &Budget,
    ) -> Result<(), EvalError> {
        let group = &mut self.groups[group];
        let new = present.count_ones_outside(&group.seen);
        budget.take(new)?;
        if present.all() && group.take_row(spec, values) {
            return Ok(());
        }
        for k in steps(present) {
            group.take(spec, k, values[k], 0.0, 1.0);
        }
        Ok(())
    }

    /// Takes over the groups of another shard. Samples were counted by the shard; those of groups that exist are given back.
    pub(crate) fn merge(&mut self, spec: &FoldSpec, other: Partials, budget: &Budget) {
        self.has_histograms |= other.has_histograms;
        self.has_floats |= other.has_floats;
        for partial in other.groups {
            let Some(&number) = self.numbers.get(&partial.labels) else {
                self.add(partial);
                continue;
            };
            let group = &mut self.groups[number];
            let all = partial.seen.count_ones();
            let new = partial.seen.count_ones_outside(&group.seen);
            for k in steps(&partial.seen) {
                let column = |c: &[f64]| c.get(k).copied().unwrap_or(0.0);
                let (compensation, count) =
                    (column(&partial.compensations), column(&partial.counts));
                group.take(spec, k, partial.values[k], compensation, count);
            }
            budget.give_back(all - new);
        }
    }

    /// The finished rows in the order of their labels; `None` when a mean is not finite (it may have overflowed) or where there were native
    /// histograms: only all rows in order can tell.
    pub(crate) fn finish(
        mut self,
        spec: &FoldSpec,
        drop_name: bool,
        budget: &Budget,
    ) -> Option<Vec<Row>> {
        if self.has_histograms {
            budget.give_back(self.samples());
            return None;
        }
        self.groups.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut out = Vec::with_capacity(self.groups.len());
        for mut group in self.groups {
            for k in steps(&group.seen) {
                group.values[k] = match spec.op {
                    AggregateOp::Sum => group.values[k] + group.compensations[k],
                    AggregateOp::Avg if !group.values[k].is_finite() => return None,
                    AggregateOp::Avg => {
                        group.values[k] / group.counts[k] + group.compensations[k] / group.counts[k]
                    }
                    AggregateOp::Count => group.counts[k],
                    AggregateOp::Group => 1.0,
                    _ => group.values[k],
                };
            }
            if group.seen.any() {
                out.push(Row {
                    labels: group.labels,
                    drop_name,
                    values: group.values,
                    present: group.seen,
                    histograms: None,
                });
            }
        }
        Some(out)
    }
}

impl Partial {
    /// Takes in a row with a value at every step, as [`Self::take`] does step by step; false, and nothing done, when the group has values at some
    /// steps only.
    fn take_row(&mut self, spec: &FoldSpec, row: &[f64]) -> bool {
        let is_first = !self.seen.any();
        if !is_first && !self.seen.all() {
            return false;
        }
        self.counts.iter_mut().for_each(|n| *n += 1.0);
        if is_first {
            self.seen = Bits::ones(row.len());
            if self.values.len() == row.len()
                && !matches!(spec.op, AggregateOp::Count | AggregateOp::Group)
            {
                self.values.copy_from_slice(row);
            }
            return true;
        }
        let both = self.values.iter_mut().zip(row);
        match spec.op {
            AggregateOp::Sum | AggregateOp::Avg => {
                add_row(&mut self.values, &mut self.compensations, row);
            }
            AggregateOp::Min => both.for_each(|(mine, &value)| {
                if *mine > value || mine.is_nan() {
                    *mine = value;
                }
            }),
            AggregateOp::Max => both.for_each(|(mine, &value)| {
                if *mine < value || mine.is_nan() {
                    *mine = value;
                }
            }),
            _ => {}
        }
        true
    }

    /// Takes in one value, or another shard's partial of the same step.
    #[inline]
    fn take(&mut self, spec: &FoldSpec, k: usize, value: f64, compensation: f64, count: f64) {
        let first = !self.seen.get(k);
        if first {
            self.seen.set(k);
        }
        if let Some(n) = self.counts.get_mut(k) {
            *n += count;
        }
        let mine = &mut self.values[k];
        match spec.op {
            AggregateOp::Sum | AggregateOp::Avg => {
                if first {
                    *mine = value;
                    self.compensations[k] = compensation;
                    return;
                }
                let mut sum = CompensatedSum {
                    sum: *mine,
                    compensation: self.compensations[k],
                };
                sum.add(value);
                *mine = sum.sum;
                self.compensations[k] = if sum.sum.is_infinite() {
                    0.0
                } else {
                    sum.compensation + compensation
                };
            }
            AggregateOp::Min if first || *mine > value || mine.is_nan() => *mine = value,
            AggregateOp::Max if first || *mine < value || mine.is_nan() => *mine = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::budget::CancelToken;

    fn spec(op: AggregateOp) -> FoldSpec {
        FoldSpec {
            op,
            grouping: Vec::new(),
            without: false,
            drop_metadata: false,
        }
    }

    /// Folds the values, dealt to `shards` shards, as one group over one step.
    fn folded(op: AggregateOp, values: &[f64], shards: usize) -> Option<Vec<f64>> {
        let spec = spec(op);
        let budget = Budget::new(1000, CancelToken::new());
        let mut all = Partials::default();
        for shard in 0..shards {
            let mut partials = Partials::default();
            for v in values.iter().skip(shard).step_by(shards) {
                let held = &mut Held::default();
                let group = partials.group(&spec, &Labels::empty(), 1, held).unwrap();
                let present = Bits::ones(1);
                partials
                    .fold(&spec, group, &[*v], &present, &budget)
                    .unwrap();
            }
            all.merge(&spec, partials, &budget);
        }
        let rows = all.finish(&spec, false, &budget)?;
        Some(rows.iter().map(|r| r.values[0]).collect())
    }

    #[test]
    fn partials_of_many_shards_equal_one_pass() {
        let values = [1e100, 1.0, -1e100, 3.5, f64::NAN.min(2.0), 0.25];
        for shards in [1, 2, 3] {
            assert_eq!(folded(AggregateOp::Sum, &values, shards), Some(vec![6.75]));
            assert_eq!(
                folded(AggregateOp::Avg, &values, shards),
                Some(vec![6.75 / 6.0])
            );
            assert_eq!(folded(AggregateOp::Count, &values, shards), Some(vec![6.0]));
            assert_eq!(
                folded(AggregateOp::Min, &values, shards),
                Some(vec![-1e100])
            );
            assert_eq!(folded(AggregateOp::Max, &values, shards), Some(vec![1e100]));
            assert_eq!(folded(AggregateOp::Group, &values, shards), Some(vec![1.0]));
        }
    }

    #[test]
    fn whole_rows_are_folded_as_step_by_step() {
        let odd = [
            1e100,
            1.0,
            -1e100,
            f64::NAN,
            f64::INFINITY,
            -0.0,
            0.25,
            f64::MIN,
        ];
        for op in [
            AggregateOp::Sum,
            AggregateOp::Avg,
            AggregateOp::Min,
            AggregateOp::Max,
            AggregateOp::Count,
            AggregateOp::Group,
        ] {
            let spec = spec(op);
            let steps = 70;
            let (mut whole, mut single) = (
                spec.open(Labels::empty(), steps),
                spec.open(Labels::empty(), steps),
            );
            for row in 0..20 {
                let row: Vec<f64> = (0..steps)
                    .map(|k| odd[(k * 7 + row * row) % (odd.len() - row % 3)] * (k + row) as f64)
                    .collect();
                assert!(whole.take_row(&spec, &row));
                row.iter()
                    .enumerate()
                    .for_each(|(k, v)| single.take(&spec, k, *v, 0.0, 1.0));
                let bits = |column: &[f64]| -> Vec<u64> {
                    let nan = |v: f64| if v.is_nan() { f64::NAN } else { v };
                    column.iter().map(|v| nan(*v).to_bits()).collect()
                };
                assert_eq!(bits(&whole.values), bits(&single.values), "{op:?}");
                assert_eq!(bits(&whole.compensations), bits(&single.compensations));
                assert_eq!(whole.counts, single.counts);
                assert_eq!(whole.seen, single.seen);
            }
        }
    }

    #[test]
    fn a_number_takes_the_place_of_nan_across_shards() {
        let values = [f64::NAN, 4.0];
        assert_eq!(folded(AggregateOp::Min, &values, 2), Some(vec![4.0]));
        assert_eq!(folded(AggregateOp::Max, &values, 2), Some(vec![4.0]));
    }

    #[test]
    fn a_mean_that_overflows_asks_for_all_rows() {
        assert_eq!(folded(AggregateOp::Avg, &[f64::MAX, f64::MAX], 2), None);
        let sum = folded(AggregateOp::Sum, &[f64::MAX, f64::MAX], 2);
        assert_eq!(sum, Some(vec![f64::INFINITY]));
    }
}
