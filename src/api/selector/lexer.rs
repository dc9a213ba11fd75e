//! Tokens of a label selector's text form.

/// A token; words carry their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A key, a value or the name of an operator.
    Word(&'a str),
    /// An operator or punctuation of special characters: `! = == != ( ) , < >`.
    Symbol(&'a str),
    /// Nothing more.
    End,
}

impl<'a> Token<'a> {
    /// As error messages quote it.
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

/// All tokens of `text`, ending with [`Token::End`].
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let length = token_length(rest);
        let (token, tail) = rest.split_at(length);
        tokens.push(if token.starts_with(is_special) { Token::Symbol(token) } else { Token::Word(token) });
        rest = tail.trim_start_matches(is_space);
    }
    tokens.push(Token::End);
    tokens
}

fn token_length(rest: &str) -> usize {
    if rest.starts_with(is_special) {
        return if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 };
    }
    rest.find(|next| is_special(next) || is_space(next)).unwrap_or(rest.len())
}

fn is_special(next: char) -> bool {
    matches!(next, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(next: char) -> bool {
    matches!(next, ' ' | '\t' | '\r' | '\n')
}
