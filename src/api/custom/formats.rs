//! Well-known forms of text that a schema may ask for (`format`). Forms that are not known are no
//! demand at all, as upstream has it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use regex::Regex;

use crate::api::{time, validation::name};

/// Regular expressions of forms that are told by their letters alone.
static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let hex = "[0-9a-fA-F]";
    let uuid = |version: &str, variant: &str| {
        format!("^{hex}{{8}}-?{hex}{{4}}-?{version}{hex}{{3}}-?{variant}{hex}{{3}}-?{hex}{{12}}$")
    };
    let any_uuid = format!("^{hex}{{8}}-?{hex}{{4}}-?{hex}{{4}}-?{hex}{{4}}-?{hex}{{12}}$");
    let patterns = [
        ("bsonobjectid", format!("^{hex}{{24}}$")),
        ("email", r"^[^@\s]+@[^@\s]+$".to_owned()),
        ("mac", format!("^({hex}{{2}}([:-]{hex}{{2}}){{5}}([:-]{hex}{{2}}){{0,2}}|{hex}{{4}}(\\.{hex}{{4}}){{2,3}})$")),
        ("uuid", any_uuid),
        ("uuid3", uuid("3", hex)),
        ("uuid4", uuid("4", "[89abAB]")),
        ("uuid5", uuid("5", "[89abAB]")),
        ("ssn", r"^\d{3}[- ]?\d{2}[- ]?\d{4}$".to_owned()),
        ("hexcolor", format!("^#?({hex}{{3}}|{hex}{{6}})$")),
        ("rgbcolor", r"^rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)$".to_owned()),
        ("duration", r"^([+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+$|^0$|^\d+\s*[a-zA-Z]+$".to_owned()),
    ];
    let compile = |(name, pattern): (&'static str, String)| Some((name, Regex::new(&pattern).ok()?));
    patterns.into_iter().filter_map(compile).collect()
});

/// Whether `text` has the form called `format`.
pub fn is(text: &str, format: &str) -> bool {
    match format {
        "date" => is_date(text),
        "date-time" | "datetime" => time::parse(text).is_some(),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<ipnet::IpNet>().is_ok(),
        "uri" => is_uri(text),
        "hostname" | "k8s-long-name" => name::dns1123_subdomain(&text.to_ascii_lowercase()).is_empty(),
        "k8s-short-name" => name::dns1123_label(text).is_empty(),
        "isbn10" => is_isbn10(&digits(text)),
        "isbn13" => is_isbn13(&digits(text)),
        "isbn" => is_isbn10(&digits(text)) || is_isbn13(&digits(text)),
        "creditcard" => is_credit_card(&digits(text)),
        known => PATTERNS.iter().find(|(name, _)| *name == known).is_none_or(|(_, pattern)| pattern.is_match(text)),
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// A scheme and something after it, or an absolute path.
fn is_uri(text: &str) -> bool {
    let printable = !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    };
    printable
        && (text.starts_with('/')
            || text.split_once(':').is_some_and(|(before, rest)| scheme(before) && !rest.is_empty()))
}

/// Digits without what separates them; `X` is a digit of an ISBN.
fn digits(text: &str) -> Vec<char> {
    text.chars().filter(|letter| !matches!(letter, '-' | ' ')).collect()
}

fn is_isbn10(digits: &[char]) -> bool {
    let value = |(at, digit): (usize, &char)| match digit {
        'X' | 'x' if at == 9 => Some(10),
        digit => digit.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.iter().enumerate().map(value).collect();
    values.is_some_and(|values| {
        values.len() == 10 && (1..).zip(values).map(|(at, digit): (u32, u32)| at * digit).sum::<u32>() % 11 == 0
    })
}

fn is_isbn13(digits: &[char]) -> bool {
    let values: Option<Vec<u32>> = digits.iter().map(|digit| digit.to_digit(10)).collect();
    values.is_some_and(|values| {
        let weighted = values.iter().enumerate().map(|(at, digit)| digit * if at % 2 == 0 { 1 } else { 3 });
        values.len() == 13 && weighted.sum::<u32>() % 10 == 0
    })
}

/// Luhn's check.
fn is_credit_card(digits: &[char]) -> bool {
    let values: Option<Vec<u32>> = digits.iter().map(|digit| digit.to_digit(10)).collect();
    values.is_some_and(|values| {
        let folded = values.iter().rev().enumerate().map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        });
        (13..=19).contains(&values.len()) && folded.sum::<u32>() % 10 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_take_what_they_mean() {
        let good = [
            ("date", "2026-01-31"),
            ("date-time", "2026-01-31T00:00:00Z"),
            ("byte", "YQ=="),
            ("ipv4", "10.0.0.1"),
            ("ipv6", "::1"),
            ("cidr", "10.0.0.0/8"),
            ("uri", "https://example.com/x"),
            ("hostname", "Example.com"),
            ("email", "a@example.com"),
            ("mac", "01:23:45:67:89:ab"),
            ("uuid", "8f8f8f8f-1111-4222-8333-444444444444"),
            ("uuid4", "8f8f8f8f-1111-4222-8333-444444444444"),
            ("duration", "1h30m"),
            ("isbn", "0-306-40615-2"),
            ("isbn13", "978-0-306-40615-7"),
            ("creditcard", "4111 1111 1111 1111"),
            ("hexcolor", "#fff"),
            ("unknown-form", "anything"),
        ];
        good.iter().for_each(|(format, text)| assert!(is(text, format), "{format} {text}"));
    }

    #[test]
    fn forms_refuse_what_they_do_not_mean() {
        let bad = [
            ("date", "2026-13-01"),
            ("date-time", "2026-01-31"),
            ("byte", "a"),
            ("ipv4", "10.0.0.256"),
            ("ipv6", "10.0.0.1"),
            ("cidr", "10.0.0.0/99"),
            ("uri", "nothing"),
            ("hostname", "-a-"),
            ("email", "example.com"),
            ("mac", "01:23"),
            ("uuid", "x"),
            ("uuid3", "8f8f8f8f-1111-4222-8333-444444444444"),
            ("duration", "soon"),
            ("isbn", "0-306-40615-3"),
            ("creditcard", "4111 1111 1111 1112"),
        ];
        bad.iter().for_each(|(format, text)| assert!(!is(text, format), "{format} {text}"));
    }
}
