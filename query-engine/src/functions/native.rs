//! Functions that answer one number about a native histogram; floats have no answer.

use crate::eval::error::EvalError;
use crate::eval::memory::Work;
use crate::eval::rows::steps;
use crate::eval::value::Row;
use crate::histogram::{FloatHistogram, average, variance};

/// `histogram_avg`, `histogram_count`, `histogram_sum`, `histogram_stddev`, `histogram_stdvar`.
pub(super) fn of_histograms(
    name: &str,
    rows: Vec<Row>,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let f: fn(&FloatHistogram) -> f64 = match name {
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_avg" => average,
        "histogram_stddev" => |h| variance(h).sqrt(),
        _ => variance,
    };
    let mut out = Vec::new();
    for row in rows.into_iter().filter(Row::has_histograms) {
        work.row(&row.labels, row.values.len())?;
        work.tick(16 * row.values.len())?;
        let mut answer = Row::absent(row.labels.clone(), row.values.len());
        answer.drop_name = row.drop_name;
        for k in steps(&row.present) {
            if let Some(histogram) = row.histogram(k) {
                answer.put(k, f(histogram));
            }
        }
        out.push(answer);
    }
    Ok(out)
}
