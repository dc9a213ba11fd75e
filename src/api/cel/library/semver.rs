//! Semantic versions (semver.org, 2.0.0), read as strictly as upstream does.

use std::{cmp::Ordering, sync::Arc};

use super::{Run, native::Native};
use crate::api::cel::{
    error::Failure,
    value::{Outcome, Value},
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("semver(string) semver; semver(string, bool) semver", |values| {
        let version = read(values)?.map_err(Failure::new)?;
        Ok(Native::Semver(Arc::new(version)).into())
    }),
    ("isSemver(string) bool; isSemver(string, bool) bool", |values| Ok(read(values)?.is_ok().into())),
    ("(semver).isGreaterThan(semver) bool", |values| Ok(order(values)?.is_gt().into())),
    ("(semver).isLessThan(semver) bool", |values| Ok(order(values)?.is_lt().into())),
    ("(semver).compareTo(semver) int", |values| Ok((order(values)? as i64).into())),
    ("(semver).major() int", |values| number(values, 0)),
    ("(semver).minor() int", |values| number(values, 1)),
    ("(semver).patch() int", |values| number(values, 2)),
];

/// A version. What was built does not matter to its order.
#[derive(Debug)]
pub(in crate::api::cel) struct Semver {
    numbers: [u64; 3],
    /// What the release comes after.
    pre: Vec<Part>,
}

/// A part of what is before a release; numbers come before text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

impl Semver {
    /// Which version comes first.
    pub fn compare(&self, other: &Self) -> Ordering {
        // A release comes after all that is before it.
        let releases = self.pre.is_empty().cmp(&other.pre.is_empty());
        self.numbers.cmp(&other.numbers).then(releases).then_with(|| self.pre.cmp(&other.pre))
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let numbers = [count("major", "Major", major)?, count("minor", "Minor", minor)?];
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
        let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
        let patch = count("patch", "Patch", patch)?;
        let pre: Result<Vec<Part>, String> = pre.into_iter().flat_map(|pre| pre.split('.')).map(part).collect();
        for build in build.into_iter().flat_map(|build| build.split('.')) {
            match build {
                "" => return Err("Build meta data is empty".into()),
                build if !is_plain(build) => {
                    return Err(format!("Invalid character(s) found in build meta data {build:?}"));
                }
                _ => {}
            }
        }
        Ok(Self { numbers: [numbers[0], numbers[1], patch], pre: pre? })
    }
}

fn count(name: &str, capital: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {name} number {text:?}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{capital} number must not contain leading zeroes {text:?}"));
    }
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

fn part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".into());
    }
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {text:?}"));
        }
        return text.parse().map(Part::Number).map_err(|_| format!("Invalid PreRelease version {text:?}"));
    }
    if is_plain(text) {
        Ok(Part::Text(text.into()))
    } else {
        Err(format!("Invalid character(s) found in prerelease {text:?}"))
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Makes a version of what is nearly one: `v1.02` is `1.2.0`.
fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let trim = |part: &str| {
        let trimmed = part.trim_start_matches('0');
        match trimmed.chars().next() {
            _ if part.len() <= 1 => part.to_owned(),
            Some(first) if first.is_ascii_digit() => trimmed.to_owned(),
            _ => format!("0{trimmed}"),
        }
    };
    let mut parts: Vec<String> = text.splitn(3, '.').map(trim).collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".into());
    }
    parts.resize(3, "0".into());
    Ok(parts.join("."))
}

fn read(values: &[Value<'_>]) -> Result<Result<Semver, String>, Failure> {
    let text = values[0].text()?;
    let normalize = values.get(1).and_then(Value::as_bool).unwrap_or(false);
    Ok(if normalize { normalized(text).and_then(|text| Semver::parse(&text)) } else { Semver::parse(text) })
}

fn version<'v>(value: &'v Value<'_>) -> Result<&'v Semver, Failure> {
    match value.native()? {
        Native::Semver(version) => Ok(version),
        _ => Err(Failure::no_overload()),
    }
}

fn order(values: &[Value<'_>]) -> Result<Ordering, Failure> {
    Ok(version(&values[0])?.compare(version(&values[1])?))
}

fn number<'a>(values: &[Value<'a>], at: usize) -> Outcome<'a> {
    Ok(i64::try_from(version(&values[0])?.numbers[at]).unwrap_or(i64::MAX).into())
}
