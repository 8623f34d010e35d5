//! Range functions, straight from their definitions: a window and its samples in, a number or nothing out.

type Samples = [(i64, f64)];
/// Of a window, from its left edge (not inside) to its right one, and the samples inside.
type RangeFunction = fn((i64, i64), &Samples) -> Option<f64>;

/// The function of that name.
pub(super) fn range_function(name: &str) -> Option<RangeFunction> {
    Some(match name {
        "rate" => |w, s| extrapolated(w, s, true, true),
        "increase" => |w, s| extrapolated(w, s, true, false),
        "delta" => |w, s| extrapolated(w, s, false, false),
        "irate" => |_, s| irate(s),
        "sum_over_time" => |_, s| Some(s.iter().map(|(_, v)| v).sum()),
        "avg_over_time" => |_, s| Some(mean(s.iter().map(|(_, v)| *v))),
        "last_over_time" => |_, s| s.last().map(|(_, v)| *v),
        "max_over_time" => |_, s| Some(highest(s.iter().map(|(_, v)| *v))),
        "changes" => |_, s| {
            let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
            Some(pairs(s, differ))
        },
        "resets" => |_, s| Some(pairs(s, |a, b| b < a)),
        "count_over_time" => |_, s| Some(s.len() as f64),
        "stddev_over_time" => |_, s| Some(variance(s.iter().map(|(_, v)| *v)).sqrt()),
        "deriv" => |_, s| slope(s),
        _ => return None,
    })
}

fn pairs(samples: &Samples, counts: fn(f64, f64) -> bool) -> f64 {
    let pairs = samples.windows(2).filter(|w| counts(w[0].1, w[1].1));
    pairs.count() as f64
}

fn extrapolated(
    (start, end): (i64, i64),
    samples: &Samples,
    counter: bool,
    per_second: bool,
) -> Option<f64> {
    let [first, .., last] = samples else {
        return None;
    };
    let mut moved = last.1 - first.1;
    if counter {
        for w in samples.windows(2).filter(|w| w[1].1 < w[0].1) {
            moved += w[0].1;
        }
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sampled = seconds(last.0 - first.0);
    let mean_distance = sampled / (samples.len() - 1) as f64;
    let reach = |gap: f64| match gap >= mean_distance * 1.1 {
        true => mean_distance / 2.0,
        false => gap,
    };
    let mut before = reach(seconds(first.0 - start));
    if counter && moved > 0.0 && first.1 >= 0.0 {
        before = before.min(sampled * (first.1 / moved));
    }
    let mut factor = (sampled + before + reach(seconds(end - last.0))) / sampled;
    if per_second {
        factor /= seconds(end - start);
    }
    Some(moved * factor)
}

fn irate(samples: &Samples) -> Option<f64> {
    let [.., before, last] = samples else {
        return None;
    };
    let moved = match last.1 < before.1 {
        true => last.1,
        false => last.1 - before.1,
    };
    Some(moved / ((last.0 - before.0) as f64 / 1000.0))
}

/// Least squares, seconds from the first sample on.
fn slope(samples: &Samples) -> Option<f64> {
    let [first, _, ..] = samples else {
        return None;
    };
    if samples.iter().all(|(_, v)| *v == first.1) {
        return Some(match first.1.is_infinite() {
            true => f64::NAN,
            false => 0.0,
        });
    }
    let x = |t: i64| (t - first.0) as f64 / 1000.0;
    let x_mean = mean(samples.iter().map(|(t, _)| x(*t)));
    let y_mean = mean(samples.iter().map(|(_, v)| *v));
    let (mut xy, mut xx) = (0.0, 0.0);
    for (t, v) in samples {
        xy += (x(*t) - x_mean) * (v - y_mean);
        xx += (x(*t) - x_mean) * (x(*t) - x_mean);
    }
    Some(xy / xx)
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}

/// Of the whole population, by Welford's recurrence: equal values have none at all.
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let distance = value - mean;
        mean += distance / count;
        squares += distance * (value - mean);
    }
    squares / count
}

/// A number wins over NaN.
pub(super) fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, |a, b| match a.is_nan() || b > a {
        true => b,
        false => a,
    })
}

/// NaN counts as the smallest.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.total_cmp(b),
    });
    let rank = q * (values.len() - 1) as f64;
    let low = rank.floor() as usize;
    let high = (low + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[low] * (1.0 - weight) + values[high] * weight
}
