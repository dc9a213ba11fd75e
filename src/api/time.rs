//! Times as the API writes them (`metav1.Time`, `metav1.MicroTime`: RFC 3339 in UTC) and ages as
//! tables show them.

use std::time::Duration;

use jiff::Timestamp;

/// An age of which nothing is known.
pub const UNKNOWN: &str = "<unknown>";

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// `2026-01-02T03:04:05Z`, whole seconds.
pub fn format(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-02T03:04:05.000006Z`.
pub fn format_micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// A time in RFC 3339, with any offset and fraction; `None` for anything else.
pub fn parse(text: &str) -> Option<Timestamp> {
    let separated = text.as_bytes().get(10).is_some_and(|byte| *byte == b'T');
    if separated && !text.contains('[') { text.parse().ok() } else { None }
}

/// A text in the quotes of Go's errors of times: bytes that are neither ASCII nor printable are spelled in hexadecimal.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' | 0x7f => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Time since `then`, as [`human_duration`]; [`UNKNOWN`] without a time.
pub fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| UNKNOWN.to_owned(), |then| human_duration(now.as_second() - then.as_second()))
}

/// A duration as kubectl shows it, two units at most: `95s`, `3m20s`, `5h`, `3d4h`, `2y11d`.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / MINUTE, seconds / HOUR);
    let days = hours / 24;
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if minutes < 10 => two((minutes, "m"), (seconds % 60, "s")),
        _ if minutes < 3 * 60 => format!("{minutes}m"),
        _ if hours < 8 => two((hours, "h"), (minutes % 60, "m")),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two((days, "d"), (hours % 24, "h")),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => two((days / 365, "y"), (days % 365, "d")),
        _ => format!("{}y", days / 365),
    }
}

fn two(large: (i64, &str), small: (i64, &str)) -> String {
    let head = format!("{}{}", large.0, large.1);
    if small.0 == 0 { head } else { format!("{head}{}{}", small.0, small.1) }
}

/// Reads a duration as Go writes it: `1h30m`, `1.5s`, `300ms`. `None` is a negative one; the error is
/// what Go says is wrong.
pub fn parse_duration(text: &str) -> Result<Option<Duration>, &'static str> {
    const INVALID: &str = "invalid duration";
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Some(Duration::ZERO));
    }
    let mut seconds = 0.0;
    loop {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| INVALID)?;
        rest = &rest[end..];
        let end = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "" => return Err("missing unit in duration"),
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err("unknown unit in duration"),
        };
        seconds += number * unit;
        rest = &rest[end..];
        if rest.is_empty() {
            break;
        }
    }
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| INVALID)?;
    Ok((!negative).then_some(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let time = parse("2026-01-02T03:04:05.6789+01:00").unwrap();
        assert_eq!(format(time), "2026-01-02T02:04:05Z");
        assert_eq!(format_micro(time), "2026-01-02T02:04:05.678900Z");
    }

    #[test]
    fn other_forms_are_no_times() {
        for text in ["", "2026-01-02", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05", "2026-01-02T03:04:05+01:00[x]"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn errors_quote_bytes() {
        assert_eq!(quoted("a\"é"), r#""a\"\xc3\xa9""#);
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let seconds = |text: &str| parse_duration(text).map(|duration| duration.map(|found| found.as_secs_f64()));
        assert_eq!(seconds("1h1m1.5s"), Ok(Some(3661.5)));
        assert_eq!(seconds("300ms"), Ok(Some(0.3)));
        assert_eq!((seconds("0"), seconds("-5s")), (Ok(Some(0.0)), Ok(None)));
        assert_eq!(seconds("5"), Err("missing unit in duration"));
        assert_eq!(seconds("5 days"), Err("unknown unit in duration"));
        for text in ["", "s", "1s2", "..s", "1e400h", "+-1s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_have_two_units_at_most() {
        let shown = [0, 119, 120, 200, 600, 10_800, 11_100, 28_800, 172_800, 180_000, 691_200, 63_072_000]
            .map(human_duration)
            .join(" ");
        assert_eq!(shown, "0s 119s 2m 3m20s 10m 3h 3h5m 8h 2d 2d2h 8d 2y");
        assert_eq!(human_duration(-5), "<invalid>");
    }
}
