//! Text into tokens (`CEL.g4` of cel-spec). Strings keep their escapes until they are read.

/// A token and where it stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Uint,
    Float,
    String,
    Bytes,
    Ident,
    /// A name in backticks.
    Escaped,
    Symbol(&'static str),
    True,
    False,
    Null,
    In,
    End,
}

/// Two characters before one, so that the longest is found.
const SYMBOLS: [&str; 23] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/",
];

/// The tokens of a text, an end at last; and what is no token, with its place.
pub(super) fn tokens(text: &str) -> (Vec<Token>, Vec<(usize, String)>) {
    let (mut tokens, mut problems, mut at) = (Vec::new(), Vec::new(), 0);
    loop {
        at += blank(&text[at..]);
        if at >= text.len() {
            tokens.push(Token { kind: Kind::End, start: text.len(), end: text.len() });
            return (tokens, problems);
        }
        match token(&text[at..]) {
            Ok((kind, length)) => {
                tokens.push(Token { kind, start: at, end: at + length });
                at += length;
            }
            Err(length) => {
                problems.push((at, shown(&text[at..at + length])));
                at += length;
            }
        }
    }
}

/// A token's text as messages show it.
pub(super) fn shown(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

/// How much white space and comments there are in front.
fn blank(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(['\t', ' ', '\r', '\n', '\x0c']);
        if !rest.starts_with("//") {
            return text.len() - rest.len();
        }
        rest = rest.find('\n').map_or("", |end| &rest[end..]);
    }
}

/// The first token and its length, or the length of what is none.
fn token(text: &str) -> Result<(Kind, usize), usize> {
    let first = text.chars().next().expect("there is text left");
    if first.is_ascii_digit() || (first == '.' && text[1..].starts_with(|next: char| next.is_ascii_digit())) {
        return Ok(number(text));
    }
    if let Some(found) = quoted(text) {
        return found;
    }
    if first.is_ascii_alphabetic() || first == '_' {
        return Ok(word(text));
    }
    if first == '`' {
        let length = 1 + text[1..].find(|next: char| !is_escaped_part(next)).unwrap_or(text.len() - 1);
        let closed = length > 1 && text[length..].starts_with('`');
        return if closed { Ok((Kind::Escaped, length + 1)) } else { Err(1) };
    }
    if first == '%' {
        return Ok((Kind::Symbol("%"), 1));
    }
    let symbol = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol));
    symbol.map(|symbol| (Kind::Symbol(symbol), symbol.len())).ok_or(first.len_utf8())
}

fn is_escaped_part(next: char) -> bool {
    next.is_ascii_alphanumeric() || "_.-/ ".contains(next)
}

fn word(text: &str) -> (Kind, usize) {
    let length = span(text, |next| next.is_ascii_alphanumeric() || next == '_');
    let kind = match &text[..length] {
        "true" => Kind::True,
        "false" => Kind::False,
        "null" => Kind::Null,
        "in" => Kind::In,
        _ => Kind::Ident,
    };
    (kind, length)
}

fn number(text: &str) -> (Kind, usize) {
    let digits = |from: usize| from + span(&text[from..], |next| next.is_ascii_digit());
    let unsigned = |kind: Kind, end: usize| match text[end..].chars().next() {
        Some('u' | 'U') => (Kind::Uint, end + 1),
        _ => (kind, end),
    };
    if let Some(hex) = text.strip_prefix("0x") {
        let length = span(hex, |next| next.is_ascii_hexdigit());
        if length > 0 {
            return unsigned(Kind::Int, 2 + length);
        }
    }
    let (mut end, mut kind) = (digits(0), Kind::Int);
    if text[end..].starts_with('.') && digits(end + 1) > end + 1 {
        (end, kind) = (digits(end + 1), Kind::Float);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            (end, kind) = (exponent, Kind::Float);
        }
    }
    if kind == Kind::Int { unsigned(kind, end) } else { (kind, end) }
}

/// A string or bytes, if the text begins with them; an error if they do not end.
fn quoted(text: &str) -> Option<Result<(Kind, usize), usize>> {
    let (bytes, rest) = strip(text, ['b', 'B']);
    let (raw, rest) = strip(rest, ['r', 'R']);
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let prefix = text.len() - rest.len();
    let kind = if bytes { Kind::Bytes } else { Kind::String };
    let triple = if quote == '"' { "\"\"\"" } else { "'''" };
    let end = match rest.strip_prefix(triple) {
        Some(body) => closing(body, triple, raw, true).map(|length| 3 + length + 3),
        None => None,
    };
    let end = end.or_else(|| closing(&rest[1..], &triple[..1], raw, false).map(|length| 1 + length + 1));
    // What does not end is no token up to where it cannot go on.
    let broken = || prefix + rest.find(['\n', '\r']).unwrap_or(rest.len());
    Some(end.map(|end| (kind, prefix + end)).ok_or_else(broken))
}

fn strip(text: &str, prefix: [char; 2]) -> (bool, &str) {
    let stripped = text.strip_prefix(prefix);
    (stripped.is_some(), stripped.unwrap_or(text))
}

/// Where the body of a string ends.
fn closing(body: &str, quote: &str, raw: bool, lines: bool) -> Option<usize> {
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        if rest.starts_with(quote) {
            return Some(at);
        }
        let next = rest.chars().next()?;
        if !lines && matches!(next, '\n' | '\r') {
            return None;
        }
        at += if next == '\\' && !raw { escape(rest)? } else { next.len_utf8() };
    }
    None
}

/// The length of an escape, if it is one.
fn escape(text: &str) -> Option<usize> {
    let hex = |digits: usize| {
        let all = text.as_bytes().get(2..2 + digits)?;
        all.iter().all(u8::is_ascii_hexdigit).then_some(2 + digits)
    };
    match text.as_bytes().get(1)? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Some(2),
        b'x' | b'X' => hex(2),
        b'u' => hex(4),
        b'U' => hex(8),
        b'0'..=b'3' => {
            let octal = text.as_bytes().get(2..4)?;
            octal.iter().all(|digit| (b'0'..=b'7').contains(digit)).then_some(4)
        }
        _ => None,
    }
}

fn span(text: &str, part: impl Fn(char) -> bool) -> usize {
    text.find(|next: char| !part(next)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        let (tokens, problems) = tokens(text);
        assert!(problems.is_empty(), "{text}: {problems:?}");
        tokens.iter().map(|token| (token.kind, &text[token.start..token.end])).collect()
    }

    #[test]
    fn numbers_are_as_long_as_they_can_be() {
        for (text, kind) in [
            ("0", Kind::Int),
            ("0x1F", Kind::Int),
            ("12u", Kind::Uint),
            ("0xffU", Kind::Uint),
            ("1.5", Kind::Float),
            (".5e-3", Kind::Float),
            ("1e9", Kind::Float),
        ] {
            assert_eq!(kinds(text)[0], (kind, text));
        }
        assert_eq!(kinds("1.a").len(), 4);
        assert_eq!(kinds("1e").len(), 3);
    }

    #[test]
    fn strings_end_where_they_should() {
        for text in [
            r#""a""#,
            r"'a\'b'",
            r#"r'\'"#,
            r#"'''a
'b' '''"#,
            r#"br"\x""#,
            r"'\u00e4\x41\101'",
            "''",
            "''''''",
        ] {
            let found = kinds(text);
            assert_eq!((found.len(), found[0].1), (2, text));
        }
        assert_eq!(tokens("'a").1, [(0, "'a".to_owned())]);
        assert_eq!(tokens(r"'\q'").1.len(), 1);
    }

    #[test]
    fn comments_and_space_are_skipped() {
        let found = kinds("a // b\n && /*");
        assert_eq!(found.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["a", "&&", "/", "*", ""]);
    }
}
