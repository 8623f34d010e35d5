//! When two floats count as equal: bucket counts that rounding has moved, values in a test.

use storage_engine::model::is_stale_nan;

/// Relative difference below `epsilon`; near zero an absolute one, so that 0 needs 0. NaN equals NaN, a staleness marker only another.
pub fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_engine::model::STALE_NAN_BITS;

    #[test]
    fn zero_needs_zero_and_stale_needs_stale() {
        let stale = f64::from_bits(STALE_NAN_BITS);
        assert!(almost_equal(1.0, 1.000_000_1, 1e-6));
        assert!(!almost_equal(1.0, 1.000_01, 1e-6));
        assert!(!almost_equal(0.0, 1e-300, 1e-6));
        assert!(almost_equal(0.0, -0.0, 1e-6));
        assert!(almost_equal(f64::NAN, -f64::NAN, 1e-6));
        assert!(!almost_equal(stale, f64::NAN, 1e-6));
        assert!(almost_equal(stale, stale, 1e-6));
        assert!(almost_equal(f64::INFINITY, f64::INFINITY, 1e-6));
        assert!(!almost_equal(f64::MAX, -f64::MAX, 1e-6));
    }
}
