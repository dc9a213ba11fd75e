//! Literals: numbers, strings with their escapes, bytes.

use super::{EXPRESSION, Parser, Result};
use crate::api::cel::{
    ast::{Expr, Literal},
    lexer::{self, Token},
};

const UNREADABLE: &str = "unable to unescape string";

impl Parser<'_> {
    pub(super) fn literal(&mut self) -> Result<Expr> {
        let first = self.peek();
        let negative = first.kind == lexer::Kind::Symbol("-");
        let token = self.peek_at(usize::from(negative));
        let is_number = matches!(token.kind, lexer::Kind::Int | lexer::Kind::Float);
        let known = is_number || (!negative && is_literal(token));
        if !known {
            return Err(self.unexpected("mismatched", EXPRESSION));
        }
        self.next();
        if negative {
            self.next();
        }
        let literal = self.read(token, if negative { "-" } else { "" }).unwrap_or_else(|message| {
            self.problems.push((Some(first.start), message));
            Literal::Null
        });
        self.tree.literal(first.start, literal)
    }

    fn read(&self, token: Token, sign: &str) -> std::result::Result<Literal, String> {
        let text = self.text(token);
        match token.kind {
            lexer::Kind::Int => integer(sign, text).map(Literal::Int).ok_or("invalid int literal"),
            lexer::Kind::Uint => unsigned(&text[..text.len() - 1]).map(Literal::Uint).ok_or("invalid uint literal"),
            lexer::Kind::Float => match format!("{sign}{text}").parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Literal::Double(number)),
                _ => Err("invalid double literal"),
            },
            lexer::Kind::String => {
                let bytes = unquote(text, false)?;
                String::from_utf8(bytes).map(|text| Literal::String(text.into())).map_err(|_| UNREADABLE)
            }
            lexer::Kind::Bytes => unquote(&text[1..], true).map(|bytes| Literal::Bytes(bytes.into())),
            lexer::Kind::True => Ok(Literal::Bool(true)),
            lexer::Kind::False => Ok(Literal::Bool(false)),
            _ => Ok(Literal::Null),
        }
        .map_err(str::to_owned)
    }
}

fn is_literal(token: Token) -> bool {
    use lexer::Kind::{Bytes, False, Null, String, True, Uint};
    matches!(token.kind, Uint | String | Bytes | True | False | Null)
}

fn integer(sign: &str, text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
        None => format!("{sign}{text}").parse().ok(),
    }
}

fn unsigned(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What a string token stands for.
fn unquote(token: &str, bytes: bool) -> std::result::Result<Vec<u8>, &'static str> {
    let token = token.replace("\r\n", "\n").replace('\r', "\n");
    let raw = token.starts_with(['r', 'R']);
    let quoted = &token[usize::from(raw)..];
    let triple = quoted.len() >= 6 && (quoted.starts_with("'''") || quoted.starts_with("\"\"\""));
    let marks = if triple { 3 } else { 1 };
    let mut body = &quoted[marks..quoted.len() - marks];
    let mut out = Vec::with_capacity(body.len());
    while let Some(next) = body.chars().next() {
        if next == '\\' && !raw {
            body = unescape(body, bytes, &mut out)?;
        } else {
            out.extend_from_slice(&body.as_bytes()[..next.len_utf8()]);
            body = &body[next.len_utf8()..];
        }
    }
    Ok(out)
}

/// Reads one escape and returns what follows it. The lexer has seen that it is well-formed.
fn unescape<'t>(text: &'t str, bytes: bool, out: &mut Vec<u8>) -> std::result::Result<&'t str, &'static str> {
    let (digits, radix, from) = match text.as_bytes()[1] {
        b'x' | b'X' => (2, 16, 2),
        b'u' if !bytes => (4, 16, 2),
        b'U' if !bytes => (8, 16, 2),
        b'u' | b'U' => return Err(UNREADABLE),
        b'0'..=b'3' => (3, 8, 1),
        plain => {
            out.push(match plain {
                b'a' => 0x07,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                other => other,
            });
            return Ok(&text[2..]);
        }
    };
    let code = u32::from_str_radix(&text[from..from + digits], radix).map_err(|_| UNREADABLE)?;
    if bytes {
        out.push(u8::try_from(code).map_err(|_| UNREADABLE)?);
    } else {
        let next = char::from_u32(code).ok_or("invalid unicode code point")?;
        out.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(&text[from + digits..])
}
