//! Tests of kernels: the traps of Prometheus, case by case.

use super::*;

struct Window {
    points: Vec<(i64, f64)>,
    start: i64,
    end: i64,
    scalars: Vec<f64>,
}

/// Samples a minute apart from minute 1 on, in a window from 0 to the last of them.
fn minutes(values: &[f64]) -> Window {
    let points: Vec<_> = (1..)
        .map(|i| i * 60_000)
        .zip(values.iter().copied())
        .collect();
    Window {
        end: points.last().unwrap().0,
        points,
        start: 0,
        scalars: Vec::new(),
    }
}

impl Window {
    fn with(mut self, scalars: &[f64]) -> Window {
        self.scalars = scalars.to_vec();
        self
    }

    fn edges(mut self, start: i64, end: i64) -> Window {
        (self.start, self.end) = (start, end);
        self
    }

    fn noting(&self, name: &str) -> (Option<f64>, KernelNotes) {
        let (timestamps, values): (Vec<_>, Vec<_>) = self.points.iter().copied().unzip();
        let mut notes = KernelNotes::default();
        let args = WindowArgs {
            timestamps: &timestamps,
            starts: &[],
            values: &values,
            eval_time: self.end,
            metric: "",
            range_start: self.start,
            range_end: self.end,
            scalars: &self.scalars,
        };
        let result = range_kernel(name).unwrap()(&args, &mut notes);
        (result, notes)
    }

    fn run(&self, name: &str) -> Option<f64> {
        self.noting(name).0
    }
}

#[test]
fn rates_extrapolate_to_near_edges() {
    // Slope 1 a minute; the left edge is one interval away, the right edge is met: all of the window counts.
    let w = minutes(&[10.0, 11.0, 12.0, 13.0]);
    assert_eq!(w.run("increase"), Some(4.0));
    assert_eq!(w.run("rate"), Some(3.0 * (240.0 / 180.0 / 240.0)));
    assert_eq!(w.run("delta"), Some(4.0));
    // Far edges: half an interval each.
    let far = minutes(&[10.0, 11.0, 12.0, 13.0]).edges(-600_000, 900_000);
    assert_eq!(far.run("increase"), Some(4.0));
    assert_eq!(far.run("delta"), Some(4.0));
    assert_eq!(minutes(&[1.0]).run("rate"), None);
}

#[test]
fn counters_do_not_start_below_zero() {
    // From 1, rising by 10 a minute, zero was 6 s before the first sample.
    let w = minutes(&[1.0, 11.0, 21.0]);
    assert_eq!(w.run("increase"), Some(20.0 * (120.0 + 6.0) / 120.0));
    assert_eq!(w.run("delta"), Some(20.0 * 180.0 / 120.0));
}

#[test]
fn resets_add_what_was_before() {
    let w = minutes(&[5.0, 8.0, 2.0, 4.0]);
    assert_eq!(w.run("resets"), Some(1.0));
    assert_eq!(w.run("changes"), Some(3.0));
    // 4 - 5 + 8 = 7 over three intervals, extended by one.
    let increase = w.run("increase").unwrap();
    assert!((increase - 7.0 * 4.0 / 3.0).abs() < 1e-12, "{increase}");
    assert_eq!(w.run("irate"), Some(2.0 / 60.0));
    assert_eq!(minutes(&[8.0, 2.0]).run("irate"), Some(2.0 / 60.0));
    assert_eq!(minutes(&[8.0, 2.0]).run("idelta"), Some(-6.0));
}

#[test]
fn nan_is_a_value() {
    let nan = f64::NAN;
    let w = minutes(&[nan, 3.0, nan, nan, 1.0]);
    assert_eq!(w.run("min_over_time"), Some(1.0));
    assert_eq!(w.run("max_over_time"), Some(3.0));
    assert_eq!(w.run("changes"), Some(3.0));
    assert_eq!(w.run("resets"), Some(0.0));
    assert_eq!(w.run("count_over_time"), Some(5.0));
    assert!(w.run("sum_over_time").unwrap().is_nan());
    assert!(minutes(&[nan, nan]).run("max_over_time").unwrap().is_nan());
}

#[test]
fn times_of_extremes_are_the_last_ones() {
    let w = minutes(&[2.0, 1.0, 2.0, 1.0]);
    assert_eq!(w.run("ts_of_max_over_time"), Some(180.0));
    assert_eq!(w.run("ts_of_min_over_time"), Some(240.0));
    assert_eq!(w.run("ts_of_first_over_time"), Some(60.0));
    assert_eq!(w.run("ts_of_last_over_time"), Some(240.0));
}

#[test]
fn sums_are_compensated_and_keep_infinities() {
    let w = minutes(&[1.0, 1e100, 1.0, -1e100]);
    assert_eq!(w.run("sum_over_time"), Some(2.0));
    assert_eq!(w.run("avg_over_time"), Some(0.5));
    let inf = minutes(&[1.0, f64::INFINITY, 5.0]);
    assert_eq!(inf.run("sum_over_time"), Some(f64::INFINITY));
    assert_eq!(inf.run("avg_over_time"), Some(f64::INFINITY));
}

#[test]
fn means_survive_overflow() {
    let w = minutes(&[f64::MAX, f64::MAX, f64::MAX]);
    let mean = w.run("avg_over_time").unwrap();
    assert!((mean / f64::MAX - 1.0).abs() < 1e-15, "{mean}");
    assert_eq!(w.run("sum_over_time"), Some(f64::INFINITY));
}

#[test]
fn trends() {
    let line = minutes(&[1.0, 3.0, 5.0, 7.0]);
    let slope = line.run("deriv").unwrap();
    assert!((slope - 2.0 / 60.0).abs() < 1e-15, "{slope}");
    let ahead = minutes(&[1.0, 3.0, 5.0, 7.0]).with(&[60.0]);
    assert!((ahead.run("predict_linear").unwrap() - 9.0).abs() < 1e-9);
    // A constant has slope 0 exactly, an infinite constant has none.
    assert_eq!(minutes(&[0.1, 0.1, 0.1]).run("deriv"), Some(0.0));
    let infinite = minutes(&[f64::INFINITY; 3]);
    assert!(infinite.run("deriv").unwrap().is_nan());
    assert_eq!(minutes(&[1.0]).run("deriv"), None);
}

#[test]
fn spread_is_that_of_the_population() {
    let w = minutes(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
    assert_eq!(w.run("stdvar_over_time"), Some(4.0));
    assert_eq!(w.run("stddev_over_time"), Some(2.0));
    assert!(
        minutes(&[1.0, f64::INFINITY])
            .run("stdvar_over_time")
            .unwrap()
            .is_nan()
    );
}

#[test]
fn quantiles_interpolate_and_warn() {
    let w = |q: f64| minutes(&[4.0, 1.0, 3.0, 2.0]).with(&[q]);
    assert_eq!(w(0.5).run("quantile_over_time"), Some(2.5));
    assert_eq!(w(1.0).run("quantile_over_time"), Some(4.0));
    assert_eq!(
        w(0.0).noting("quantile_over_time").1,
        KernelNotes::default()
    );
    let (value, notes) = w(1.5).noting("quantile_over_time");
    assert_eq!(value, Some(f64::INFINITY));
    let warnings: Vec<_> = notes.warnings().collect();
    assert_eq!(
        warnings,
        ["PromQL warning: quantile value should be between 0 and 1, got 1.5"]
    );
    assert!(w(f64::NAN).run("quantile_over_time").unwrap().is_nan());
    let lowest = minutes(&[1.0, f64::NAN]).with(&[0.0]);
    assert!(lowest.run("quantile_over_time").unwrap().is_nan());
    assert_eq!(
        minutes(&[1.0, 2.0, 3.0, 10.0]).run("mad_over_time"),
        Some(1.0)
    );
}

#[test]
fn smoothing_checks_its_factors() {
    let w = |s, t| minutes(&[1.0, 2.0, 3.0]).with(&[s, t]);
    // A straight line is followed exactly.
    assert_eq!(w(0.5, 0.5).run("double_exponential_smoothing"), Some(3.0));
    let (value, notes) = w(1.0, 0.5).noting("double_exponential_smoothing");
    assert_eq!(value, None);
    assert_eq!(
        notes.error.as_deref(),
        Some("invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000")
    );
}

#[test]
fn every_range_function_has_a_kernel_and_no_other() {
    assert!(range_kernel("absent_over_time").is_some());
    assert!(range_kernel("abs").is_none());
    assert!(keeps_name("last_over_time") && !keeps_name("rate"));
}
