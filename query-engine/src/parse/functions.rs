//! The table of PromQL functions: names, argument types, return types, switches.
//!
//! Promise: the 90 functions of Prometheus 3.14, no more and no fewer. What they compute is `crate::functions`' job.

use super::ast::ValueType;
use ValueType::{Matrix, Scalar, String, Vector};

/// A function as the parser and the type checker know it.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Name as written.
    pub name: &'static str,
    /// Types of the arguments.
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last of `args` may be missing or come up to n times; -1: it may be missing or repeat without end.
    pub variadic: i32,
    /// Type of the result.
    pub return_type: ValueType,
    /// Needs `--enable-feature=promql-experimental-functions`.
    pub experimental: bool,
}

/// The function of that name; names are case-sensitive.
pub fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS
        .binary_search_by(|f| f.name.cmp(name))
        .ok()
        .and_then(|i| FUNCTIONS.get(i))
}

const fn plain(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i32,
    return_type: ValueType,
) -> Function {
    Function {
        name,
        args,
        variadic,
        return_type,
        experimental: false,
    }
}

const fn experimental(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i32,
    return_type: ValueType,
) -> Function {
    Function {
        name,
        args,
        variadic,
        return_type,
        experimental: true,
    }
}

/// All functions, sorted by name.
pub static FUNCTIONS: &[Function] = &[
    plain("abs", &[Vector], 0, Vector),
    plain("absent", &[Vector], 0, Vector),
    plain("absent_over_time", &[Matrix], 0, Vector),
    plain("acos", &[Vector], 0, Vector),
    plain("acosh", &[Vector], 0, Vector),
    plain("asin", &[Vector], 0, Vector),
    plain("asinh", &[Vector], 0, Vector),
    plain("atan", &[Vector], 0, Vector),
    plain("atanh", &[Vector], 0, Vector),
    plain("avg_over_time", &[Matrix], 0, Vector),
    plain("ceil", &[Vector], 0, Vector),
    plain("changes", &[Matrix], 0, Vector),
    plain("clamp", &[Vector, Scalar, Scalar], 0, Vector),
    plain("clamp_max", &[Vector, Scalar], 0, Vector),
    plain("clamp_min", &[Vector, Scalar], 0, Vector),
    plain("cos", &[Vector], 0, Vector),
    plain("cosh", &[Vector], 0, Vector),
    plain("count_over_time", &[Matrix], 0, Vector),
    plain("day_of_month", &[Vector], 1, Vector),
    plain("day_of_week", &[Vector], 1, Vector),
    plain("day_of_year", &[Vector], 1, Vector),
    plain("days_in_month", &[Vector], 1, Vector),
    plain("deg", &[Vector], 0, Vector),
    plain("delta", &[Matrix], 0, Vector),
    plain("deriv", &[Matrix], 0, Vector),
    experimental(
        "double_exponential_smoothing",
        &[Matrix, Scalar, Scalar],
        0,
        Vector,
    ),
    experimental("end", &[], 0, Scalar),
    plain("exp", &[Vector], 0, Vector),
    plain("first_over_time", &[Matrix], 0, Vector),
    plain("floor", &[Vector], 0, Vector),
    plain("histogram_avg", &[Vector], 0, Vector),
    plain("histogram_count", &[Vector], 0, Vector),
    plain("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector),
    plain("histogram_quantile", &[Scalar, Vector], 0, Vector),
    experimental(
        "histogram_quantiles",
        &[Vector, String, Scalar, Scalar],
        9,
        Vector,
    ),
    plain("histogram_stddev", &[Vector], 0, Vector),
    plain("histogram_stdvar", &[Vector], 0, Vector),
    plain("histogram_sum", &[Vector], 0, Vector),
    plain("hour", &[Vector], 1, Vector),
    plain("idelta", &[Matrix], 0, Vector),
    plain("increase", &[Matrix], 0, Vector),
    experimental("info", &[Vector, Vector], 1, Vector),
    plain("irate", &[Matrix], 0, Vector),
    plain("label_join", &[Vector, String, String, String], -1, Vector),
    plain(
        "label_replace",
        &[Vector, String, String, String, String],
        0,
        Vector,
    ),
    plain("last_over_time", &[Matrix], 0, Vector),
    plain("ln", &[Vector], 0, Vector),
    plain("log10", &[Vector], 0, Vector),
    plain("log2", &[Vector], 0, Vector),
    experimental("mad_over_time", &[Matrix], 0, Vector),
    experimental("max_of", &[Scalar, Scalar], 0, Scalar),
    plain("max_over_time", &[Matrix], 0, Vector),
    experimental("min_of", &[Scalar, Scalar], 0, Scalar),
    plain("min_over_time", &[Matrix], 0, Vector),
    plain("minute", &[Vector], 1, Vector),
    plain("month", &[Vector], 1, Vector),
    plain("pi", &[], 0, Scalar),
    plain("predict_linear", &[Matrix, Scalar], 0, Vector),
    plain("present_over_time", &[Matrix], 0, Vector),
    plain("quantile_over_time", &[Scalar, Matrix], 0, Vector),
    plain("rad", &[Vector], 0, Vector),
    experimental("range", &[], 0, Scalar),
    plain("rate", &[Matrix], 0, Vector),
    plain("resets", &[Matrix], 0, Vector),
    plain("round", &[Vector, Scalar], 1, Vector),
    plain("scalar", &[Vector], 0, Scalar),
    plain("sgn", &[Vector], 0, Vector),
    plain("sin", &[Vector], 0, Vector),
    plain("sinh", &[Vector], 0, Vector),
    plain("sort", &[Vector], 0, Vector),
    experimental("sort_by_label", &[Vector, String], -1, Vector),
    experimental("sort_by_label_desc", &[Vector, String], -1, Vector),
    plain("sort_desc", &[Vector], 0, Vector),
    plain("sqrt", &[Vector], 0, Vector),
    experimental("start", &[], 0, Scalar),
    experimental("start_timestamp", &[Vector], 0, Vector),
    plain("stddev_over_time", &[Matrix], 0, Vector),
    plain("stdvar_over_time", &[Matrix], 0, Vector),
    experimental("step", &[], 0, Scalar),
    plain("sum_over_time", &[Matrix], 0, Vector),
    plain("tan", &[Vector], 0, Vector),
    plain("tanh", &[Vector], 0, Vector),
    plain("time", &[], 0, Scalar),
    plain("timestamp", &[Vector], 0, Vector),
    experimental("ts_of_first_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_last_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_max_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_min_over_time", &[Matrix], 0, Vector),
    plain("vector", &[Scalar], 0, Vector),
    plain("year", &[Vector], 1, Vector),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(FUNCTIONS.len(), 90);
        assert_eq!(FUNCTIONS.iter().filter(|f| f.experimental).count(), 17);
        for f in FUNCTIONS {
            assert_eq!(lookup(f.name), Some(f));
        }
        assert_eq!(lookup("holt_winters"), None);
        assert_eq!(lookup("Rate"), None);
    }
}
