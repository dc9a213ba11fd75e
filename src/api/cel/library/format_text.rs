//! `'%s has %d'.format([…])` (cel-go's `ext.Strings`, version 2).

use super::{convert::text_of, strings::TEXT_LIMIT_BYTES, time};
use crate::api::cel::{
    error::Failure,
    types::Type,
    value::{Key, Kind, List, Map, Outcome, Value},
};

const DEFAULT_PRECISION: usize = 6;
/// More digits than this are refused.
const PRECISION_LIMIT: usize = 1000;
/// How deep lists and maps are shown.
const DEPTH_LIMIT: usize = 100;

/// What stands for an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api::cel) enum Clause {
    String,
    Decimal,
    Fixed(usize),
    Scientific(usize),
    Binary,
    Hex { upper: bool },
    Octal,
}

/// A piece of a format.
enum Piece<'f> {
    Text(&'f str),
    Clause(Clause),
}

impl Clause {
    /// The clauses of a format, each with what is wrong with it if something is.
    pub fn all(format: &str) -> Vec<Result<Self, String>> {
        let clauses = pieces(format).filter_map(|piece| match piece {
            Ok(Piece::Text(_)) => None,
            Ok(Piece::Clause(clause)) => Some(Ok(clause)),
            Err(message) => Some(Err(message)),
        });
        clauses.collect()
    }

    /// Why a value of this type cannot be shown by it.
    pub fn refuses(self, kind: &Type) -> Option<String> {
        use Type::{Bool, Bytes, Double, Duration, Dyn, Int, List, Map, Null, String, Timestamp, Uint};
        let fits = match self {
            _ if *kind == Dyn => true,
            Self::String => matches!(
                kind,
                List(_)
                    | Map(..)
                    | Int
                    | Uint
                    | Double
                    | Bool
                    | String
                    | Timestamp
                    | Bytes
                    | Duration
                    | Type::Type(_)
                    | Null
            ),
            Self::Decimal | Self::Octal => matches!(kind, Int | Uint),
            Self::Fixed(_) | Self::Scientific(_) => matches!(kind, Double | String),
            Self::Binary => matches!(kind, Int | Uint | Bool),
            Self::Hex { .. } => matches!(kind, Int | Uint | String | Bytes),
        };
        (!fits).then(|| self.refusal(kind.name()))
    }

    fn refusal(self, kind: &str) -> String {
        let rule = match self {
            Self::String => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, \
                 and timestamps"
            }
            Self::Decimal => "decimal clause can only be used on integers",
            Self::Fixed(_) => "fixed-point clause can only be used on doubles",
            Self::Scientific(_) => "scientific clause can only be used on doubles",
            Self::Binary => "only integers and bools can be formatted as binary",
            Self::Hex { .. } => "only integers, byte buffers, and strings can be formatted as hex",
            Self::Octal => "octal clause can only be used on integers",
        };
        format!("error during formatting: {rule}, was given {kind}")
    }

    fn show(self, value: &Value<'_>) -> Result<String, Failure> {
        let shown = match (self, &value.0) {
            (Self::String, _) => plain(value, 0)?,
            (Self::Decimal, Kind::Int(value)) => Some(value.to_string()),
            (Self::Decimal, Kind::Uint(value)) => Some(value.to_string()),
            (Self::Fixed(places), _) => {
                double(value).map(|value| special(value, |value| grouped(&format!("{value:.places$}"))))
            }
            (Self::Scientific(places), _) => double(value).map(|value| special(value, |value| exponent(value, places))),
            (Self::Binary, Kind::Bool(value)) => Some(u8::from(*value).to_string()),
            (Self::Hex { upper }, Kind::String(text)) => Some(hex(text.as_bytes(), upper)),
            (Self::Hex { upper }, Kind::Bytes(bytes)) => Some(hex(bytes, upper)),
            (_, Kind::Int(value)) => Some(self.integer(*value < 0, value.unsigned_abs())),
            (_, Kind::Uint(value)) => Some(self.integer(false, *value)),
            _ => None,
        };
        shown.ok_or_else(|| Failure::new(self.refusal(value.kind().name())))
    }

    fn integer(self, negative: bool, value: u64) -> String {
        let digits = match self {
            Self::Binary => format!("{value:b}"),
            Self::Hex { upper: false } => format!("{value:x}"),
            Self::Hex { upper: true } => format!("{value:X}"),
            _ => format!("{value:o}"),
        };
        format!("{}{digits}", if negative { "-" } else { "" })
    }
}

/// A format with its arguments.
pub(super) fn format<'a>(format: &str, arguments: &List<'a>) -> Outcome<'a> {
    let (mut out, mut at) = (String::new(), 0);
    for piece in pieces(format) {
        match piece {
            Ok(Piece::Text(text)) => out.push_str(text),
            piece => {
                let argument = arguments.get(at).ok_or_else(|| Failure::new(format!("index {at} out of range")))??;
                at += 1;
                match piece.map_err(Failure::new)? {
                    Piece::Clause(clause) => out.push_str(&clause.show(&argument)?),
                    Piece::Text(text) => out.push_str(text),
                }
            }
        }
        if out.len() > TEXT_LIMIT_BYTES {
            return Err(Failure::Limit);
        }
    }
    Ok(Value::string(out))
}

/// Cuts a format up. What is no clause is the last piece.
fn pieces(format: &str) -> impl Iterator<Item = Result<Piece<'_>, String>> {
    let mut rest = format;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix("%%") {
            rest = after;
            return Some(Ok(Piece::Text("%")));
        }
        if let Some(after) = rest.strip_prefix('%') {
            let read = clause(after);
            rest = read.as_ref().map_or("", |(_, after)| after);
            return Some(read.map(|(clause, _)| Piece::Clause(clause)));
        }
        let (text, after) = rest.split_at(rest.find('%').unwrap_or(rest.len()));
        rest = after;
        Some(Ok(Piece::Text(text)))
    })
}

/// A clause and what follows it.
fn clause(text: &str) -> Result<(Clause, &str), String> {
    let broken = |message: &str| format!("could not parse formatting clause: {message}");
    let (mut precision, mut rest) = (DEFAULT_PRECISION, text);
    if let Some(after) = text.strip_prefix('.') {
        let end = after.find(|next: char| !next.is_ascii_digit());
        let end =
            end.ok_or_else(|| broken("error while parsing precision: could not find end of precision specifier"))?;
        let number = after[..end].parse().ok().filter(|number| *number <= PRECISION_LIMIT);
        precision = number.ok_or_else(|| {
            broken("error while parsing precision: error while converting precision to integer: value out of range")
        })?;
        rest = &after[end..];
    }
    let Some(letter) = rest.chars().next() else { return Err("unexpected end of string".into()) };
    let clause = match letter {
        's' => Clause::String,
        'd' => Clause::Decimal,
        'f' => Clause::Fixed(precision),
        'e' => Clause::Scientific(precision),
        'b' => Clause::Binary,
        'x' | 'X' => Clause::Hex { upper: letter == 'X' },
        'o' => Clause::Octal,
        other => return Err(broken(&format!("unrecognized formatting clause \"{other}\""))),
    };
    Ok((clause, &rest[letter.len_utf8()..]))
}

/// A value as text, lists and maps too.
fn plain(value: &Value<'_>, depth: usize) -> Result<Option<String>, Failure> {
    Ok(match &value.0 {
        Kind::List(list) => Some(self::list(list, depth)?),
        Kind::Map(map) => Some(self::map(map, depth)?),
        Kind::Null => Some("null".into()),
        Kind::Optional(_) | Kind::Native(_) | Kind::Instance(_) | Kind::Variables => None,
        _ => Some(text_of(value)?.to_string()),
    })
}

/// A value inside a list or map.
fn nested(value: &Value<'_>, depth: usize) -> Result<String, Failure> {
    if depth > DEPTH_LIMIT {
        return Err(Failure::Limit);
    }
    Ok(match &value.0 {
        Kind::String(text) => format!("{:?}", &**text),
        Kind::Bytes(_) => format!("b{:?}", &*text_of(value)?),
        Kind::Timestamp(time) => format!("timestamp({:?})", time::write_timestamp(*time)),
        Kind::Duration(nanos) => format!("duration({:?})", time::write_duration(*nanos)),
        Kind::Double(value) if value.is_finite() => format!("{value:.DEFAULT_PRECISION$}"),
        Kind::Double(value) => format!("{:?}", special(*value, |value| value.to_string())),
        _ => plain(value, depth)?.ok_or_else(|| {
            Failure::new(format!("error during formatting: no formatting function for {}", value.kind().name()))
        })?,
    })
}

fn list(list: &List<'_>, depth: usize) -> Result<String, Failure> {
    let items: Result<Vec<String>, Failure> = list.values()?.iter().map(|item| nested(item, depth + 1)).collect();
    Ok(format!("[{}]", items?.join(", ")))
}

fn map(map: &Map<'_>, depth: usize) -> Result<String, Failure> {
    let mut entries = Vec::new();
    for key in map.keys() {
        let key = Key::value(&key);
        let value = map.get(&key)?.unwrap_or_else(Value::null);
        entries.push((nested(&key, depth + 1)?, nested(&value, depth + 1)?));
    }
    entries.sort();
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    Ok(format!("{{{}}}", entries.join(", ")))
}

fn double(value: &Value<'_>) -> Option<f64> {
    match &value.0 {
        Kind::Double(value) => Some(*value),
        Kind::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// What is no number has a name; numbers are shown as `finite` does.
fn special(value: f64, finite: impl Fn(f64) -> String) -> String {
    match value {
        _ if value.is_nan() => "NaN".into(),
        f64::INFINITY => "∞".into(),
        f64::NEG_INFINITY => "-∞".into(),
        _ => finite(value),
    }
}

/// Thousands apart, as upstream's printer for en-US has it.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// `1.500000 × 10⁰³` with narrow spaces, as that printer has it.
fn exponent(value: f64, places: usize) -> String {
    let shown = format!("{value:.places$e}");
    let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let raise = |digit: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit.to_digit(10).unwrap_or_default() as usize).unwrap_or('⁰');
    let (sign, size) = exponent.strip_prefix('-').map_or(("", exponent), |size| ("⁻", size));
    let size: String = format!("{size:0>2}").chars().map(raise).collect();
    format!("{digits}\u{202f}×\u{202f}10{sign}{size}")
}

fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
}
