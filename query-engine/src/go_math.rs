//! Exponential, logarithm and power with the last bit that Go's `math` package gives on amd64, where Prometheus runs.
//!
//! The platform's library rounds these functions better, but a dashboard that moves from Prometheus should show the same digits.
//! Sources: for `exp` the method of N. Shibata ("Efficient evaluation methods of elementary functions suitable for SIMD computation",
//! ISC 2010) with fused multiply-add, as Go's runtime picks on every current processor; for `ln` FreeBSD's `e_log.c`; for `pow` repeated
//! squaring of the fraction with the exponent kept apart.

#![expect(
    clippy::excessive_precision,
    reason = "constants as their sources print them"
)]

/// Above this `exp` is infinite.
const EXP_OVERFLOW: f64 = 7.097_827_128_933_84e2;
/// ln 2 in two parts, the upper with room for exact products with an exponent.
const EXP_LN2_UPPER: f64 = 0.693_147_180_559_662_956_511_601_805_686_950_683_593_75;
const EXP_LN2_LOWER: f64 = 0.282_352_905_630_315_771_225_884_481_750_134_360_255_254_120_68e-12;
/// Taylor coefficients 1/8!, 1/7!, … 1/2!, 1/1!.
const EXP_TAYLOR: [f64; 8] = [
    2.480_158_730_158_730_158_7e-5,
    1.984_126_984_126_984_127_0e-4,
    1.388_888_888_888_888_888_9e-3,
    8.333_333_333_333_333_333_3e-3,
    4.166_666_666_666_666_666_7e-2,
    1.666_666_666_666_666_666_7e-1,
    0.5,
    1.0,
];

/// Go's `math.Exp2`: FreeBSD's `e_exp.c` after reduction by the nearest integer.
pub(crate) fn exp2(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238_164_90e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_700_02e-10;
    const P: [f64; 5] = [
        1.666_666_666_666_666_574_15e-1,
        -2.777_777_777_701_559_338_42e-3,
        6.613_756_321_437_934_361_17e-5,
        -1.653_390_220_546_525_153_90e-6,
        4.138_136_797_057_238_460_39e-8,
    ];
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x > 1.023_999_999_999_999_9e3 {
        return f64::INFINITY;
    }
    if x < -1.074e3 {
        return 0.0;
    }
    let whole = (x + 0.5_f64.copysign(x)).trunc();
    let t = x - whole;
    let (high, low) = (t * LN2_HIGH, -t * LN2_LOW);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    // Two factors, so that neither a subnormal result nor 2^1024 goes wrong.
    let half = (whole / 2.0).trunc();
    y * half.exp2() * (whole - half).exp2()
}

/// Go's `math.Exp`.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x == f64::NEG_INFINITY {
        return 0.0;
    }
    if x > EXP_OVERFLOW {
        return f64::INFINITY;
    }
    let exponent = (x * std::f64::consts::LOG2_E).round_ties_even();
    // The conversion to a 32-bit integer in the original is out of range below this; the result is 0 either way.
    if exponent < -2000.0 {
        return 0.0;
    }
    let mut r = (-EXP_LN2_UPPER).mul_add(exponent, x);
    r = (-EXP_LN2_LOWER).mul_add(exponent, r);
    r *= 0.0625;
    let [first, rest @ ..] = EXP_TAYLOR;
    let series = rest.iter().fold(first, |sum, c| sum.mul_add(r, *c));
    // e^r − 1, then four squarings of (1 + y): y ← y (y + 2).
    let mut y = r * series;
    for _ in 0..3 {
        y *= y + 2.0;
    }
    let fraction = y.mul_add(y + 2.0, 1.0);
    match exponent as i64 + 0x3ff {
        ..=0 => 0.0,
        0x7ff.. => f64::INFINITY,
        biased => fraction * f64::from_bits((biased as u64) << 52),
    }
}

/// A number as `fraction · 2^exponent` with the fraction in [½, 1); zero, NaN and infinities come back with exponent 0.
fn frexp(x: f64) -> (f64, i64) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (x, bias) = if x.abs() < f64::MIN_POSITIVE {
        (x * (1u64 << 52) as f64, 52)
    } else {
        (x, 0)
    };
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i64 - 0x3fe;
    (
        f64::from_bits(bits & !(0x7ff << 52) | 0x3fe << 52),
        exponent - bias,
    )
}

/// `fraction · 2^exponent`, rounded once.
fn ldexp(fraction: f64, exponent: i64) -> f64 {
    let (fraction, own) = frexp(fraction);
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    let exponent = exponent.saturating_add(own);
    let power = |e: i64| f64::from_bits(((e + 0x3ff) as u64) << 52);
    match exponent {
        1025.. => f64::INFINITY.copysign(fraction),
        -1021..=1024 => fraction * 2.0 * power(exponent - 1),
        -1080..=-1022 => fraction * power(-1000) * power(exponent + 1000),
        _ => 0f64.copysign(fraction),
    }
}

/// Go's `math.Log`.
pub(crate) fn ln(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    const LN2_HIGH: f64 = 6.931_471_803_691_238_164_90e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_700_02e-10;
    const L: [f64; 7] = [
        6.666_666_666_666_735_130e-1,
        3.999_999_999_940_941_908e-1,
        2.857_142_874_366_239_149e-1,
        2.222_219_843_214_978_396e-1,
        1.818_357_216_161_805_012e-1,
        1.531_383_769_920_937_332e-1,
        1.479_819_860_511_658_591e-1,
    ];
    let (mut fraction, mut exponent) = frexp(x);
    if fraction < std::f64::consts::FRAC_1_SQRT_2 {
        fraction *= 2.0;
        exponent -= 1;
    }
    let f = fraction - 1.0;
    let k = exponent as f64;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let t1 = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let t2 = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let half_square = 0.5 * f * f;
    k * LN2_HIGH - ((half_square - (s * (half_square + (t1 + t2)) + k * LN2_LOW)) - f)
}

/// Go's `math.Pow`.
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    let odd = |y: f64| y.abs() < (1u64 << 53) as f64 && y % 2.0 != 0.0 && y.fract() == 0.0;
    match (x, y) {
        (_, 0.0) | (1.0, _) => return 1.0,
        (_, 1.0) => return x,
        _ if x.is_nan() || y.is_nan() => return f64::NAN,
        (0.0, _) if y < 0.0 => {
            return if odd(y) {
                f64::INFINITY.copysign(x)
            } else {
                f64::INFINITY
            };
        }
        (0.0, _) => return if odd(y) { x } else { 0.0 },
        (-1.0, _) if y.is_infinite() => return 1.0,
        _ if y.is_infinite() => {
            return if (x.abs() < 1.0) == (y > 0.0) {
                0.0
            } else {
                f64::INFINITY
            };
        }
        _ if x == f64::NEG_INFINITY => {
            return match (y < 0.0, odd(y)) {
                (true, true) => -0.0,
                (true, false) => 0.0,
                (false, true) => f64::NEG_INFINITY,
                (false, false) => f64::INFINITY,
            };
        }
        _ if x == f64::INFINITY => return if y < 0.0 { 0.0 } else { f64::INFINITY },
        (_, 0.5) => return x.sqrt(),
        (_, -0.5) => return 1.0 / x.sqrt(),
        _ => {}
    }
    let (mut whole, mut part) = (y.abs().trunc(), y.abs().fract());
    if part != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    if whole >= (1u64 << 63) as f64 {
        return match x {
            -1.0 => 1.0,
            _ if (x.abs() < 1.0) == (y > 0.0) => 0.0,
            _ => f64::INFINITY,
        };
    }
    let (mut answer, mut answer_exponent) = (1.0, 0i64);
    if part != 0.0 {
        if part > 0.5 {
            part -= 1.0;
            whole += 1.0;
        }
        answer = exp(part * ln(x));
    }
    let (mut square, mut exponent) = frexp(x);
    let mut bits = whole as i64;
    while bits != 0 {
        if !(-(1 << 12)..=1 << 12).contains(&exponent) {
            // Far over or under: the rest of the product cannot change that.
            answer_exponent += exponent;
            break;
        }
        if bits & 1 == 1 {
            answer *= square;
            answer_exponent += exponent;
        }
        square *= square;
        exponent <<= 1;
        if square < 0.5 {
            square += square;
            exponent -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 {
        answer = 1.0 / answer;
        answer_exponent = -answer_exponent;
    }
    ldexp(answer, answer_exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in representable numbers.
    fn ulps(a: f64, b: f64) -> u64 {
        a.to_bits().abs_diff(b.to_bits())
    }

    #[test]
    fn as_a_running_prometheus_answers() {
        // `2 ^ x` of Prometheus 3.5.3 where the platform's library ends in another digit.
        assert_eq!(pow(2.0, 0.51), 1.424050195597072);
    }

    #[test]
    fn within_one_unit_of_the_platform() {
        let mut x = 1e-300;
        while x < 1e300 {
            assert!(ulps(ln(x), x.ln()) <= 1, "ln({x})");
            x *= 1.37e3;
        }
        for i in -7000..7000 {
            let x = f64::from(i) / 10.0;
            assert!(
                ulps(exp(x), x.exp()) <= 2,
                "exp({x}): {} {}",
                exp(x),
                x.exp()
            );
        }
        for i in 1..200 {
            for k in -40..40 {
                let (x, y) = (f64::from(i) / 7.0, f64::from(k) / 3.0);
                let (ours, theirs) = (pow(x, y), x.powf(y));
                assert!(
                    (ours / theirs - 1.0).abs() < 1e-14,
                    "{x}^{y}: {ours} {theirs}"
                );
            }
        }
    }

    #[test]
    fn special_cases_are_c99s() {
        let specials = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.0,
            -2.0,
            3.0,
            -3.0,
            0.5,
            -0.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
            1e-300,
            -1e300,
            2.5,
            -2.5,
            1e19,
        ];
        for x in specials {
            for y in specials {
                let (ours, theirs) = (pow(x, y), x.powf(y));
                let same = ours.is_nan() && theirs.is_nan()
                    || ours.to_bits() == theirs.to_bits()
                    || (ours / theirs - 1.0).abs() < 1e-14;
                assert!(same, "{x}^{y}: {ours} {theirs}");
            }
        }
        for x in specials {
            let same = |a: f64, b: f64| a.is_nan() && b.is_nan() || ulps(a, b) <= 1;
            assert!(same(exp(x), x.exp()), "exp({x})");
            assert!(same(ln(x), x.ln()), "ln({x})");
        }
    }
}
