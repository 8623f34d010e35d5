//! Functions of one number: rounding, logarithms, trigonometry, clamping.
//!
//! Promise: every sample is mapped for itself; the operations are those that Go performs, where the last bit depends on their choice.

use super::Arguments;
use crate::eval::error::EvalError;
use crate::eval::memory::Work;
use crate::eval::value::Row;
use crate::go_math;
use crate::limits::CHECK_WORK;
use std::f64::consts::{LN_2, LN_10, PI};

/// The plain function of that name.
pub(super) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => go_math::exp,
        "ln" => go_math::ln,
        "log2" => log2,
        "log10" => log10,
        "sqrt" => f64::sqrt,
        "sgn" => sign,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => asinh,
        "acosh" => acosh,
        "atanh" => f64::atanh,
        "deg" => degrees,
        "rad" => radians,
        _ => return None,
    })
}

/// From here on, one more or less under the root makes no difference; the library's formulas overflow for the largest numbers.
const ROOT_IS_LINEAR: f64 = (1_u64 << 28) as f64;

fn asinh(x: f64) -> f64 {
    if x.abs() > ROOT_IS_LINEAR {
        return (go_math::ln(x.abs()) + LN_2).copysign(x);
    }
    x.asinh()
}

fn acosh(x: f64) -> f64 {
    if x > ROOT_IS_LINEAR {
        return go_math::ln(x) + LN_2;
    }
    x.acosh()
}

/// Maps all samples of all rows; labels stay.
pub(super) fn map(
    mut rows: Vec<Row>,
    f: impl Fn(f64) -> f64,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    for row in &mut rows {
        for values in row.values.chunks_mut(CHECK_WORK) {
            work.tick(values.len())?;
            for v in values {
                *v = f(*v);
            }
        }
    }
    Ok(rows)
}

/// `round`, `clamp`, `clamp_min`, `clamp_max`: a vector and scalars that may differ from step to step.
pub(super) fn with_scalars(
    name: &str,
    args: &mut Arguments,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let mut rows = args.vector()?;
    if name == "round" {
        let nearest = args.optional_scalar()?;
        for row in &mut rows {
            work.tick(row.values.len())?;
            for (k, v) in row.values.iter_mut().enumerate() {
                let to = nearest.as_ref().map_or(1.0, |n| at(n, k));
                // Multiplying by the inverse loses less than dividing (Prometheus's choice; the bits depend on it).
                let inverse = 1.0 / to;
                *v = (*v * inverse + 0.5).floor() / inverse;
            }
        }
        return Ok(rows);
    }
    let first = args.scalar()?;
    let none = Vec::new();
    let (lower, upper) = match name {
        "clamp" => (first, args.scalar()?),
        "clamp_min" => (first, none),
        _ => (none, first),
    };
    let bound = |steps: &[f64], k: usize, open: f64| match steps.is_empty() {
        true => open,
        false => at(steps, k),
    };
    for row in &mut rows {
        work.tick(row.values.len())?;
        for k in 0..row.values.len() {
            let low = bound(&lower, k, f64::NEG_INFINITY);
            let high = bound(&upper, k, f64::INFINITY);
            if high < low {
                row.present.clear(k);
            } else if let Some(v) = row.values.get_mut(k) {
                *v = go_max(low, go_min(high, *v));
            }
        }
    }
    rows.retain(|row| row.present.any());
    Ok(rows)
}

/// The scalar of step `k`.
pub(super) fn at(steps: &[f64], k: usize) -> f64 {
    steps.get(k).copied().unwrap_or(f64::NAN)
}

/// Go's `math.Max`: +Inf wins over NaN, NaN over the rest, +0 over -0.
pub fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// Go's `math.Min`: -Inf wins over NaN, NaN over the rest, -0 over +0.
pub fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

fn sign(v: f64) -> f64 {
    if v < 0.0 {
        -1.0
    } else if v > 0.0 {
        1.0
    } else {
        v
    }
}

fn degrees(v: f64) -> f64 {
    v * 180.0 / PI
}

fn radians(v: f64) -> f64 {
    v * PI / 180.0
}

/// Go splits off the exponent first, so powers of two are exact.
pub(crate) fn log2(v: f64) -> f64 {
    let Some((fraction, exponent)) = split(v) else {
        return go_math::ln(v) * (1.0 / LN_2);
    };
    if fraction == 0.5 {
        return (exponent - 1) as f64;
    }
    go_math::ln(fraction) * (1.0 / LN_2) + exponent as f64
}

fn log10(v: f64) -> f64 {
    log2(v) * (LN_2 / LN_10)
}

/// `v = fraction * 2^exponent` with the fraction in `[0.5, 1)`; `None` for what has no such form or is not positive.
fn split(v: f64) -> Option<(f64, i64)> {
    if v.is_nan() || v.is_infinite() || v <= 0.0 {
        return None;
    }
    let (scaled, shift) = if v < f64::MIN_POSITIVE {
        (v * (1u64 << 52) as f64, -52)
    } else {
        (v, 0)
    };
    let bits = scaled.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1022 + shift;
    let fraction = f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52));
    Some((fraction, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperbolic_inverses_of_the_largest_numbers_are_finite_and_go_on_smoothly() {
        assert_eq!(asinh(f64::MAX), 710.475_860_073_943_9);
        assert_eq!(asinh(f64::MIN), -710.475_860_073_943_9);
        assert_eq!(acosh(f64::MAX), 710.475_860_073_943_9);
        assert_eq!(asinh(f64::INFINITY), f64::INFINITY);
        assert!(asinh(f64::NAN).is_nan() && acosh(0.5).is_nan());
        for factor in [0.5, 0.999, 1.001, 2.0] {
            let x = ROOT_IS_LINEAR * factor;
            assert!((asinh(x) - x.asinh()).abs() <= 4e-15 * asinh(x));
            assert!((acosh(x) - x.acosh()).abs() <= 4e-15 * acosh(x));
        }
    }
}
