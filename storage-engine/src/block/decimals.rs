//! Values as whole numbers over a power of ten, exactly, with the few that are none put beside.
//!
//! A value `v` has mantissa `m` at exponent `e` if `m / 10^e`, both exact in a float, gives the very bits of `v`; the quotient is then the
//! correctly rounded decimal. Staleness markers, other NaNs, negative zero and infinities have none: they become patches, and the column
//! repeats the mantissa before. Promise: joining gives every bit back. Not here: how mantissas and patches are written.

/// Largest exponent that is tried.
pub(super) const EXPONENT_MAX: u8 = 14;
/// Mantissas up to here are exact in a float.
const MANTISSA_MAX: f64 = (1_u64 << 53) as f64;
const POWERS: [f64; EXPONENT_MAX as usize + 1] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
];

/// The mantissa of `value` over `power`, if it has one.
#[inline(always)]
fn mantissa(value: f64, power: f64) -> Option<i64> {
    let scaled = (value * power).round_ties_even();
    // NaN and infinities fail the first comparison, negative zero the second.
    if scaled.abs() <= MANTISSA_MAX {
        let mantissa = scaled as i64;
        if (mantissa as f64 / power).to_bits() == value.to_bits() {
            return Some(mantissa);
        }
    }
    None
}

/// The least exponent from `least` on at which `value` has a mantissa.
fn exponent_of(value: f64, least: usize) -> Option<usize> {
    (least..POWERS.len()).find(|e| mantissa(value, POWERS[*e]).is_some())
}

/// Mantissas of `values` and what has none, as position and bits; `None` if more than one in 32 has none.
pub(super) fn split(
    values: &[f64],
    mantissas: &mut Vec<i64>,
    patches: &mut Vec<(u32, u64)>,
) -> Option<u8> {
    let mut exponent = sampled_exponent(values)?;
    let patches_max = values.len() / 32 + 1;
    'again: loop {
        mantissas.clear();
        patches.clear();
        let mut before = None;
        for (i, &value) in values.iter().enumerate() {
            if let Some(mantissa) = mantissa(value, POWERS[exponent]) {
                // What came before the first mantissa takes that one.
                if before.is_none() {
                    mantissas.fill(mantissa);
                }
                mantissas.push(mantissa);
                before = Some(mantissa);
            } else if let Some(higher) = exponent_of(value, exponent + 1) {
                exponent = higher;
                continue 'again;
            } else {
                patches.push((i as u32, value.to_bits()));
                if patches.len() > patches_max {
                    return None;
                }
                mantissas.push(before.unwrap_or(0));
            }
        }
        return Some(exponent as u8);
    }
}

/// The exponent that a few of the values need; `None` if too many of them are no decimals.
fn sampled_exponent(values: &[f64]) -> Option<usize> {
    let mut exponent = 0;
    let (mut seen, mut bad) = (0, 0);
    for &value in values.iter().step_by((values.len() / 16).max(1)) {
        seen += 1;
        match exponent_of(value, exponent) {
            Some(e) => exponent = e,
            None => {
                bad += 1;
                if bad * 8 > seen.max(16) {
                    return None;
                }
            }
        }
    }
    Some(exponent)
}

/// Values of mantissas; `false` for an exponent that there is not.
pub(super) fn join(mantissas: &[i64], exponent: u8, out: &mut [f64]) -> bool {
    let Some(&power) = POWERS.get(usize::from(exponent)) else {
        return false;
    };
    if exponent == 0 {
        for (value, mantissa) in out.iter_mut().zip(mantissas) {
            *value = *mantissa as f64;
        }
    } else {
        for (value, mantissa) in out.iter_mut().zip(mantissas) {
            *value = *mantissa as f64 / power;
        }
    }
    true
}

/// The bits of a float as an integer of the same order; its own inverse.
#[inline(always)]
pub(super) fn ordered(bits: u64) -> i64 {
    (bits as i64) ^ ((((bits as i64) >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, special};
    use super::*;

    fn check(values: &[f64]) -> Option<(u8, usize)> {
        let (mut mantissas, mut patches) = (Vec::new(), Vec::new());
        let exponent = split(values, &mut mantissas, &mut patches)?;
        let mut out = vec![0.0; values.len()];
        assert!(join(&mantissas, exponent, &mut out));
        for &(i, bits) in &patches {
            out[i as usize] = f64::from_bits(bits);
        }
        let bits = |all: &[f64]| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(values));
        Some((exponent, patches.len()))
    }

    #[test]
    fn decimals_are_found() {
        assert_eq!(check(&[1.0, 2.0, 3.0]), Some((0, 0)));
        assert_eq!(check(&[0.1, 2.0, 3.25]), Some((2, 0)));
        assert_eq!(check(&[-0.0, 2.0, 0.5]), Some((1, 1)));
        assert_eq!(check(&[0.1 + 0.2, 1.0 / 3.0]), None);
        let mut many = vec![7.0; 320];
        many[319] = f64::from_bits(crate::model::STALE_NAN_BITS);
        many[0] = f64::NAN;
        assert_eq!(check(&many), Some((0, 2)));
    }

    #[test]
    fn special_values_come_back() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let decimals = 10_f64.powi(random.below(7) as i32);
            let values: Vec<f64> = (0..200)
                .map(|_| match random.below(60) {
                    0 => special(&mut random),
                    _ => (random.below(1 << 30) as f64) / decimals,
                })
                .collect();
            check(&values);
        }
    }

    #[test]
    fn order_of_bits_is_order_of_numbers() {
        let ascending = [
            f64::NEG_INFINITY,
            -1.5,
            -1.0,
            -0.0,
            0.0,
            5e-324,
            1.0,
            f64::INFINITY,
        ];
        for pair in ascending.windows(2) {
            assert!(ordered(pair[0].to_bits()) < ordered(pair[1].to_bits()));
        }
        for value in ascending {
            assert_eq!(
                ordered(ordered(value.to_bits()) as u64) as u64,
                value.to_bits()
            );
        }
    }
}
