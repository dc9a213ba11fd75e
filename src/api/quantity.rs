//! Quantities of resources: `100m`, `1.5Gi`, `1e3` (`resource.Quantity`).
//!
//! A quantity is kept exactly, as a whole number of billionths, which is upstream's finest
//! precision: finer values are rounded away from zero, larger ones than 2^63-1 are capped.

use std::{cmp::Ordering, fmt, str::FromStr};

/// A quantity that could not be read, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text has not the form of a quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Form,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `n u m k M G T P E`
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`
    BinarySi,
    /// `e3`
    DecimalExponent,
}

/// An exact amount and the way it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

const NANOS: i128 = 1_000_000_000;
const LIMIT: i128 = i64::MAX as i128 * NANOS;
/// Digits of a fraction that count; with more, products could leave 128 bits.
const FRACTION_DIGITS: usize = 10;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANOS, format }
    }

    /// A number of thousandths, as CPU is counted.
    pub fn from_milli(milli: i64) -> Self {
        Self::capped(i128::from(milli) * (NANOS / 1000), Format::DecimalSi)
    }

    /// The whole number, rounded away from zero.
    pub fn value(self) -> i64 {
        self.rounded(NANOS)
    }

    /// The number of thousandths, rounded away from zero; capped at the ends of `i64`.
    pub fn milli_value(self) -> i64 {
        self.rounded(NANOS / 1000)
    }

    /// The whole number, if it is one and was not capped.
    pub fn whole(self) -> Option<i64> {
        let exact = self.nanos % NANOS == 0 && self.nanos.abs() < LIMIT;
        exact.then(|| self.value())
    }

    /// The number, as near as a double comes.
    #[expect(clippy::cast_precision_loss, reason = "near is what is asked for")]
    pub fn approximate(self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// How the quantity is written.
    pub fn format(self) -> Format {
        self.format
    }

    /// Whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    fn capped(nanos: i128, format: Format) -> Self {
        Self { nanos: nanos.clamp(-LIMIT, LIMIT), format }
    }

    fn rounded(self, unit: i128) -> i64 {
        let whole = divide_up(self.nanos, unit).clamp(i64::MIN.into(), i64::MAX.into());
        i64::try_from(whole).expect("clamped to the range just before")
    }

    fn write_decimal(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa != 0 && mantissa % 1000 == 0 && exponent < 18 {
            (mantissa, exponent) = (mantissa / 1000, exponent + 3);
        }
        if mantissa == 0 {
            return out.write_str("0");
        }
        match (self.format, exponent) {
            (_, 0) => write!(out, "{mantissa}"),
            (Format::DecimalExponent, _) => write!(out, "{mantissa}e{exponent}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(suffix, _)| suffix);
                write!(out, "{mantissa}{suffix}")
            }
        }
    }

    fn write_binary(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut mantissa, mut suffix) = (self.nanos / NANOS, "");
        for next in BINARY {
            if mantissa % 1024 != 0 {
                break;
            }
            (mantissa, suffix) = (mantissa / 1024, next);
        }
        write!(out, "{mantissa}{suffix}")
    }
}

/// The sum; written as the left side is, unless that is zero.
impl std::ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self::capped(self.nanos + other.nanos, format)
    }
}

/// The difference; written as the left side is, unless that is zero.
impl std::ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self::capped(self.nanos - other.nanos, format)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical form: no fraction, the largest suffix.
impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.nanos % NANOS == 0;
        let large = self.nanos.abs() >= 1024 * NANOS;
        if self.format == Format::BinarySi && whole && large { self.write_binary(out) } else { self.write_decimal(out) }
    }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|next: char| !next.is_ascii_digit() && next != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(Error::Form);
        }
        let (unit, format) = parse_suffix(suffix)?;
        let nanos = unit.scale(whole, fraction);
        Ok(Self::capped(if negative { -nanos } else { nanos }, format))
    }
}

/// What one of a suffix is worth in billionths.
enum Unit {
    /// This many.
    Nanos(i128),
    /// One in ten to this power of them.
    Fraction(u32),
    /// More than can be kept.
    Huge,
}

impl Unit {
    fn scale(&self, whole: &str, fraction: &str) -> i128 {
        let (kept, lost) = fraction.split_at(fraction.len().min(FRACTION_DIGITS));
        let up = i128::from(lost.bytes().any(|digit| digit != b'0'));
        let (whole, part) = (digits(whole), digits(kept) + up);
        let places = 10i128.pow(u32::try_from(kept.len()).expect("at most FRACTION_DIGITS"));
        match self {
            Self::Nanos(unit) => {
                let head = whole.saturating_mul(*unit).min(LIMIT);
                (head + divide_up(part * unit, places)).min(LIMIT)
            }
            Self::Fraction(power) => match 10i128.checked_pow(*power) {
                Some(divisor) => divide_up(whole + i128::from(part > 0), divisor),
                None => i128::from(whole > 0 || part > 0),
            },
            Self::Huge => {
                if whole > 0 || part > 0 {
                    LIMIT
                } else {
                    0
                }
            }
        }
    }
}

fn parse_suffix(suffix: &str) -> Result<(Unit, Format), Error> {
    if let Some(position) = BINARY.iter().position(|binary| *binary == suffix) {
        let power = u32::try_from(position + 1).expect("there are six");
        return Ok((Unit::Nanos(1024i128.pow(power) * NANOS), Format::BinarySi));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(decimal, _)| *decimal == suffix) {
        return Ok((power_of_ten(*exponent), Format::DecimalSi));
    }
    let legal = |next: char| "eEinumkKMGTP+-".contains(next) || next.is_ascii_digit();
    let Some(exponent) = suffix.strip_prefix(['e', 'E']) else {
        return Err(if suffix.chars().all(legal) { Error::Suffix } else { Error::Form });
    };
    let exponent: i32 = exponent.parse().map_err(|_| Error::Suffix)?;
    Ok((power_of_ten(exponent), Format::DecimalExponent))
}

fn power_of_ten(exponent: i32) -> Unit {
    match exponent.saturating_add(9) {
        power @ 0..=27 => Unit::Nanos(10i128.pow(power.unsigned_abs())),
        power if power < 0 => Unit::Fraction(power.unsigned_abs()),
        _ => Unit::Huge,
    }
}

fn digits(text: &str) -> i128 {
    text.bytes().fold(0i128, |sum, digit| sum.saturating_mul(10).saturating_add(i128::from(digit - b'0')).min(LIMIT))
}

fn divide_up(value: i128, unit: i128) -> i128 {
    value / unit + i128::from(value % unit != 0) * value.signum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().unwrap().to_string()
    }

    #[test]
    fn canonical_forms_are_upstreams() {
        for (text, expected) in [
            ("0", "0"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1000", "1k"),
            ("1000Ki", "1000Ki"),
            ("0.1Ki", "102400m"),
            ("512Ki", "512Ki"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1E", "1E"),
            ("1500e-3", "1500e-3"),
            ("-1.5", "-1500m"),
            ("+7", "7"),
            ("0.1n", "1n"),
            ("1e-20", "1e-9"),
            ("9999999999999999999999", "9223372036854775807"),
            ("1e30", "9223372036854775807"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn malformed_quantities_are_refused() {
        for text in ["", "-", ".", "1.2.3", "1 Gi", "abc", "Gi", "1é"] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), Error::Form, "{text}");
        }
        for text in ["1Kib", "1e", "1mm", "1e+"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
        assert_eq!("1mm".parse::<Quantity>().unwrap_err(), Error::Suffix);
    }

    #[test]
    fn sums_are_exact_and_keep_the_left_format() {
        let sum = "1Gi".parse::<Quantity>().unwrap() + "512Mi".parse().unwrap();
        assert_eq!(sum.to_string(), "1536Mi");
        let none = Quantity::default() + "1Ki".parse().unwrap();
        assert_eq!(none.to_string(), "1Ki");
        assert_eq!(("100m".parse::<Quantity>().unwrap() - "0.1".parse().unwrap()), Quantity::default());
    }

    #[test]
    fn whole_values_round_away_from_zero() {
        let quantity: Quantity = "1500m".parse().unwrap();
        assert_eq!((quantity.value(), quantity.milli_value()), (2, 1500));
        assert_eq!((quantity.whole(), Quantity::from_milli(2000).whole()), (None, Some(2)));
        assert!((quantity.approximate() - 1.5).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn canonical_text_means_the_same(text in "[+-]?[0-9]{1,12}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]|e-[0-9])?") {
            let quantity: Quantity = text.parse().unwrap();
            let again: Quantity = quantity.to_string().parse().unwrap();
            prop_assert_eq!(quantity, again);
            prop_assert_eq!(quantity.to_string(), again.to_string());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            _ = text.parse::<Quantity>();
        }

        #[test]
        fn subtraction_undoes_addition(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000) {
            let (a, b) = (Quantity::from_milli(a), Quantity::from_milli(b));
            prop_assert_eq!(a + b - b, a);
        }
    }
}
