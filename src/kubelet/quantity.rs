//! Resource quantities as the numbers that cgroups and the downward API want.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The quantity in thousandths, rounded up; `None` if it is not one.
/// (API reference, "Quantity": decimal and binary suffixes, exponents.)
pub fn milli(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (numerator, decimals) = parse_decimal(number)?;
    let (multiplier, exponent) = scale(suffix)?;
    // value = numerator * multiplier * 10^(exponent - decimals), in thousandths.
    let power = exponent - decimals + 3;
    let scaled = numerator.checked_mul(multiplier)?;
    if power >= 0 {
        scaled.checked_mul(10i128.checked_pow(u32::try_from(power).ok()?)?)
    } else {
        let divisor = 10i128.checked_pow(u32::try_from(-power).ok()?)?;
        Some(scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0))
    }
}

/// The quantity in whole units, rounded up.
pub fn value(quantity: &Quantity) -> Option<i64> {
    let milli = milli(quantity)?;
    i64::try_from(milli.div_euclid(1000) + i128::from(milli.rem_euclid(1000) != 0)).ok()
}

/// The quantity in thousandths as far as an `i64` goes.
pub fn milli_value(quantity: &Quantity) -> Option<i64> {
    i64::try_from(milli(quantity)?).ok()
}

fn parse_decimal(number: &str) -> Option<(i128, i32)> {
    let (negative, digits) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let joined = format!("{whole}{fraction}");
    if !joined.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parsed: i128 = joined.parse().ok()?;
    Some((if negative { -parsed } else { parsed }, i32::try_from(fraction.len()).ok()?))
}

/// Multiplier and power of ten of a suffix.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse().ok().filter(|power| (-30..=30).contains(power))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_notation() {
        for (text, expected) in [
            ("100m", 100),
            ("1", 1000),
            ("1.5", 1500),
            ("0.5", 500),
            ("1k", 1_000_000),
            ("64Mi", 67_108_864_000),
            ("1e3", 1_000_000),
            ("1500u", 2),
            (".5", 500),
            ("-1", -1000),
        ] {
            assert_eq!(milli(&Quantity(text.into())), Some(expected), "{text}");
        }
        for text in ["", "Mi", "1x", "1.2.3", "--1", "e"] {
            assert_eq!(milli(&Quantity(text.into())), None, "{text}");
        }
    }

    #[test]
    fn rounds_up_to_whole_units() {
        assert_eq!(value(&Quantity("100m".into())), Some(1));
        assert_eq!(value(&Quantity("2001m".into())), Some(3));
        assert_eq!(value(&Quantity("1Gi".into())), Some(1 << 30));
    }
}
