//! Aggregations that choose rows: topk, bottomk, limitk, limit_ratio.
//!
//! Promise: which of equal values is chosen, and the order of an instant result, follow Go's `container/heap` and its insertion sort
//! (groups beyond twelve rows are sorted stably where Go's sort is not stable).

use super::Groups;
use crate::eval::error::EvalError;
use crate::eval::memory::Work;
use crate::eval::ordering;
use crate::eval::value::Row;
use crate::parse::ast::AggregateOp;

/// Go's sort switches from insertion sort above this length.
const INSERTION_SORT_MAX: usize = 12;

/// Entries of heaps that may be held at once, beyond those of one step.
const ENTRIES_MAX: usize = 1 << 20;
/// Steps that are looked at together.
const STEPS_MAX: usize = 64;

/// An entry of a group's heap: value and row.
type Entry = (f64, usize);

/// Evaluates one of the four. Rows of a single step come in the order of the ranking, group by group; else in input order.
pub(super) fn run(
    op: AggregateOp,
    rows: Vec<Row>,
    groups: &Groups,
    param: &[f64],
    count: usize,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    work.take((size_of::<Option<Row>>() + size_of::<usize>()) * rows.len())?;
    let mut chosen: Vec<Option<Row>> = rows.iter().map(|_| None).collect();
    let mut order: Vec<usize> = Vec::new();
    let groups_count = groups.labels.len();
    let limits: Vec<usize> = (0..count)
        .map(|k| {
            let param = param.get(k).copied().unwrap_or(f64::NAN);
            // Truncates like Go's conversion; out-of-range parameters have been refused.
            let limit = (param as i64).min(rows.len() as i64);
            usize::try_from(limit).unwrap_or(0)
        })
        .collect();
    // Several steps at once, row by row, because that is how the numbers lie in memory; the heap of a step and a group is offered the rows in order.
    let steps_at_once = (ENTRIES_MAX / rows.len().max(groups_count).max(1)).clamp(1, STEPS_MAX);
    let limit_max = limits.iter().copied().max().unwrap_or_default();
    let members = groups.members.iter().map(|members| match op {
        AggregateOp::LimitRatio => members.len(),
        _ => members.len().min(limit_max),
    });
    // Heaps grow by doubling.
    let heap_bytes = 2 * size_of::<Entry>() * members.sum::<usize>();
    let heap_bytes = heap_bytes + size_of::<Vec<Entry>>() * groups_count;
    work.take(heap_bytes.saturating_mul(steps_at_once.min(count)) + size_of::<usize>() * count)?;
    let mut heaps: Vec<Vec<Entry>> = vec![Vec::new(); groups_count * steps_at_once.min(count)];
    for start in (0..count).step_by(steps_at_once) {
        let steps = start..(start + steps_at_once).min(count);
        heaps.iter_mut().for_each(Vec::clear);
        for (i, row) in rows.iter().enumerate() {
            work.tick(4 * steps.len())?;
            for k in steps.clone().filter(|k| row.present.get(*k)) {
                let (limit, v) = (limits[k], row.values[k]);
                let heap = &mut heaps[(k - start) * groups_count + groups.of_row[i]];
                match op {
                    AggregateOp::LimitRatio => {
                        let ratio = param.get(k).copied().unwrap_or(f64::NAN);
                        if within_ratio(ratio.clamp(-1.0, 1.0), row) {
                            heap.push((v, i));
                        }
                    }
                    _ if limit == 0 => {}
                    AggregateOp::Topk => offer(heap, (v, i), limit, less),
                    AggregateOp::Bottomk => offer(heap, (v, i), limit, greater),
                    _ if heap.len() < limit => heap.push((v, i)),
                    _ => {}
                }
            }
        }
        for k in steps {
            let first = (k - start) * groups_count;
            work.tick(groups_count)?;
            for heap in &mut heaps[first..first + groups_count] {
                match op {
                    AggregateOp::Topk => sort_reversed(heap, less, work)?,
                    AggregateOp::Bottomk => sort_reversed(heap, greater, work)?,
                    _ => {}
                }
                for &(_, i) in heap.iter() {
                    if chosen[i].is_none() {
                        work.row(&rows[i].labels, count)?;
                    }
                    let row = chosen[i].get_or_insert_with(|| {
                        order.push(i);
                        let mut row = Row::absent(rows[i].labels.clone(), count);
                        row.drop_name = rows[i].drop_name;
                        row
                    });
                    if let Some(sample) = rows[i].sample(k) {
                        work.sample(&sample)?;
                        row.put_sample(k, sample);
                    }
                }
            }
        }
    }
    if count != 1 {
        order.sort_unstable();
    }
    let chosen = order.into_iter().filter_map(|i| chosen[i].take());
    Ok(chosen.collect())
}

/// Does the row's hash, as a fraction of all hashes, lie in the first `ratio` (or, if negative, in the last)?
fn within_ratio(ratio: f64, row: &Row) -> bool {
    let offset = row.labels.prometheus_hash() as f64 / u64::MAX as f64;
    if ratio >= 0.0 {
        offset < ratio
    } else {
        offset >= 1.0 + ratio
    }
}

fn less(a: f64, b: f64) -> bool {
    a.is_nan() || a < b
}

fn greater(a: f64, b: f64) -> bool {
    a.is_nan() || a > b
}

/// Offers an entry to a heap of at most `limit`, whose first entry is the one to give way.
fn offer(heap: &mut Vec<Entry>, entry: Entry, limit: usize, before: fn(f64, f64) -> bool) {
    if heap.len() < limit {
        heap.push(entry);
        // Go pushes the first entry of a group without looking; with one entry there is nothing to look at.
        let last = heap.len() - 1;
        sift_up(heap, last, before);
        return;
    }
    let Some(first) = heap.first_mut() else {
        return;
    };
    let worse = first.0;
    let better = !entry.0.is_nan() && (worse.is_nan() || before(worse, entry.0));
    if better {
        *first = entry;
        sift_down(heap, before);
    }
}

fn sift_up(heap: &mut [Entry], mut j: usize, before: fn(f64, f64) -> bool) {
    while j > 0 {
        let parent = (j - 1) / 2;
        if !before(heap[j].0, heap[parent].0) {
            break;
        }
        heap.swap(parent, j);
        j = parent;
    }
}

fn sift_down(heap: &mut [Entry], before: fn(f64, f64) -> bool) {
    let mut i = 0;
    loop {
        let left = 2 * i + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child = if right < heap.len() && before(heap[right].0, heap[left].0) {
            right
        } else {
            left
        };
        if !before(heap[child].0, heap[i].0) {
            break;
        }
        heap.swap(i, child);
        i = child;
    }
}

/// Best first, NaN last.
fn sort_reversed(
    heap: &mut Vec<Entry>,
    before: fn(f64, f64) -> bool,
    work: &mut Work,
) -> Result<(), EvalError> {
    if heap.len() <= INSERTION_SORT_MAX {
        for i in 1..heap.len() {
            let mut j = i;
            while j > 0 && before(heap[j - 1].0, heap[j].0) {
                heap.swap(j, j - 1);
                j -= 1;
            }
        }
        return Ok(());
    }
    let entries = std::mem::take(heap);
    *heap = ordering::sort_by(entries, work, |a, b| match (a.0.is_nan(), b.0.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Greater,
        (false, true) => std::cmp::Ordering::Less,
        (false, false) if before(b.0, a.0) => std::cmp::Ordering::Less,
        (false, false) if before(a.0, b.0) => std::cmp::Ordering::Greater,
        (false, false) => std::cmp::Ordering::Equal,
    })?;
    Ok(())
}
