//! Numbers that may be given as a percentage (`intstr.IntOrString`), such as `maxSurge: 25%`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A text that is no percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not end in `%`.
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NotPercentage,
    /// What stands before the `%` is no number.
    #[error("invalid value for IntOrString: invalid value {0:?}: not a number")]
    NotNumber(String),
}

/// The number, percentages taken of `total` and rounded up or down.
pub fn scaled(value: &IntOrString, total: i32, round_up: bool) -> Result<i32, Error> {
    match value {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(text) => {
            let percent = i64::from(percent(text)?) * i64::from(total);
            let rounded = if round_up { (percent + 99).div_euclid(100) } else { percent.div_euclid(100) };
            Ok(i32::try_from(rounded).unwrap_or(i32::MAX))
        }
    }
}

/// The number before the `%`.
pub fn percent(text: &str) -> Result<i32, Error> {
    let number = text.strip_suffix('%').ok_or(Error::NotPercentage)?;
    number.parse().map_err(|_| Error::NotNumber(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_rounded_as_asked() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!(scaled(&quarter, 3, true), Ok(1));
        assert_eq!(scaled(&quarter, 3, false), Ok(0));
        assert_eq!(scaled(&IntOrString::Int(7), 3, false), Ok(7));
        assert_eq!(scaled(&IntOrString::String("5".into()), 3, true), Err(Error::NotPercentage));
    }
}
