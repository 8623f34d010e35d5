//! Functions that answer one number about a native histogram; floats have no answer.

use crate::eval::rows::steps;
use crate::eval::value::Row;
use crate::histogram::{FloatHistogram, average, variance};

/// `histogram_avg`, `histogram_count`, `histogram_sum`, `histogram_stddev`, `histogram_stdvar`.
pub(super) fn of_histograms(name: &str, rows: Vec<Row>) -> Vec<Row> {
    let f: fn(&FloatHistogram) -> f64 = match name {
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_avg" => average,
        "histogram_stddev" => |h| variance(h).sqrt(),
        _ => variance,
    };
    let mut out = Vec::new();
    for row in rows.into_iter().filter(Row::has_histograms) {
        let mut answer = Row::absent(row.labels.clone(), row.values.len());
        answer.drop_name = row.drop_name;
        for k in steps(&row.present) {
            if let Some(histogram) = row.histogram(k) {
                answer.put(k, f(histogram));
            }
        }
        out.push(answer);
    }
    out
}
