//! A histogram as Go's `%s` prints it: `{count:3, sum:4, [-1,-0.5):1, (1,2]:2}`.

use super::FloatHistogram;
use super::layout::all_buckets;
use crate::eval::text::go_g;

/// Count, sum and the populated buckets in ascending order.
pub fn go_text(histogram: &FloatHistogram) -> String {
    let (count, sum) = (go_g(histogram.count), go_g(histogram.sum));
    let mut out = format!("{{count:{count}, sum:{sum}");
    for bucket in all_buckets(histogram) {
        if bucket.count == 0.0 {
            continue;
        }
        out.push_str(", ");
        out.push(if bucket.lower_inclusive { '[' } else { '(' });
        out.push_str(&go_g(bucket.lower));
        out.push(',');
        out.push_str(&go_g(bucket.upper));
        out.push(if bucket.upper_inclusive { ']' } else { ')' });
        out.push(':');
        out.push_str(&go_g(bucket.count));
    }
    out.push('}');
    out
}
