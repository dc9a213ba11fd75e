//! Tokens into a tree (`CEL.g4` of cel-spec). Size and depth are bounded; the first syntax error ends it.

mod literal;
mod macros;
mod tree;

use super::{
    ast::{Entry, Expr, Initializer, Item, Kind},
    escape::RESERVED,
    lexer::{self, Token},
};
use tree::Tree;

/// The longest text, in characters.
const SOURCE_LIMIT: usize = 100_000;
/// How deep expressions may be nested in a text.
const NESTING_LIMIT: usize = 250;

/// How tightly `&&` binds, which only `||` does less.
const CONJUNCTION: u8 = 1;

/// What begins an expression, as syntax errors list it.
const EXPRESSION: &str = "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, \
                          STRING, BYTES, IDENTIFIER";

/// A tree and where its nodes stand, by their numbers.
#[derive(Debug)]
pub(super) struct Parsed {
    pub root: Expr,
    pub places: Vec<usize>,
}

/// What is wrong, and where; nowhere in particular if it is the text as a whole.
pub(super) type Problem = (Option<usize>, String);

type Result<T> = std::result::Result<T, Problem>;

/// Reads a text.
pub(super) fn parse(source: &str) -> std::result::Result<Parsed, Vec<Problem>> {
    let size = source.chars().count();
    if size > SOURCE_LIMIT {
        let message = format!("expression code point size exceeds limit: size: {size}, limit {SOURCE_LIMIT}");
        return Err(vec![(None, message)]);
    }
    let (tokens, unknown) = lexer::tokens(source);
    let unknown =
        unknown.into_iter().map(|(at, text)| (Some(at), format!("Syntax error: token recognition error at: '{text}'")));
    let mut problems: Vec<Problem> = unknown.collect();
    let mut parser = Parser { source, tokens: &tokens, at: 0, nesting: 0, tree: Tree::default(), problems: Vec::new() };
    let root = parser.whole();
    problems.append(&mut parser.problems);
    match root {
        Ok(root) if problems.is_empty() => Ok(Parsed { root, places: parser.tree.into_places() }),
        Ok(_) => Err(problems),
        Err(problem) => {
            problems.push(problem);
            Err(problems)
        }
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: &'a [Token],
    at: usize,
    nesting: usize,
    tree: Tree,
    /// What is wrong without ending the parse.
    problems: Vec<Problem>,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Result<Expr> {
        let root = self.expression()?;
        match self.peek().kind {
            lexer::Kind::End => Ok(root),
            _ => Err(self.unexpected("extraneous", "<EOF>")),
        }
    }

    /// `a ? b : c`
    fn expression(&mut self) -> Result<Expr> {
        self.nesting += 1;
        if self.nesting > NESTING_LIMIT {
            return Err((None, format!("expression recursion limit exceeded: {NESTING_LIMIT}")));
        }
        let mut found = self.operation(0)?;
        if let Some(mark) = self.take("?") {
            let yes = self.operation(0)?;
            self.need(":")?;
            let no = self.expression()?;
            found = self.tree.call(mark, "_?_:_", None, vec![found, yes, no])?;
        }
        self.nesting -= 1;
        Ok(found)
    }

    /// Operators that bind at least as tightly as `floor`.
    fn operation(&mut self, floor: u8) -> Result<Expr> {
        let mut left = self.unary()?;
        while let Some((function, level)) = self.operator().filter(|(_, level)| *level >= floor) {
            left = if level <= CONJUNCTION {
                self.chain(left, function, level)?
            } else {
                let mark = self.next().start;
                let right = self.operation(level + 1)?;
                self.tree.call(mark, function, None, vec![left, right])?
            };
        }
        Ok(left)
    }

    /// The rest of the operands of `&&` or `||`, as a balanced tree: a long chain shall not be deep.
    fn chain(&mut self, first: Expr, function: &str, level: u8) -> Result<Expr> {
        let (mut operands, mut marks) = (vec![first], Vec::new());
        while self.operator().is_some_and(|(_, next)| next == level) {
            marks.push(self.next().start);
            operands.push(self.operation(level + 1)?);
        }
        self.tree.balanced(function, operands, &marks)
    }

    fn operator(&self) -> Option<(&'static str, u8)> {
        Some(match self.peek().kind {
            lexer::Kind::In => ("@in", 2),
            lexer::Kind::Symbol(symbol) => match symbol {
                "||" => ("_||_", 0),
                "&&" => ("_&&_", CONJUNCTION),
                "<" => ("_<_", 2),
                "<=" => ("_<=_", 2),
                ">" => ("_>_", 2),
                ">=" => ("_>=_", 2),
                "==" => ("_==_", 2),
                "!=" => ("_!=_", 2),
                "+" => ("_+_", 3),
                "-" => ("_-_", 3),
                "*" => ("_*_", 4),
                "/" => ("_/_", 4),
                "%" => ("_%_", 4),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// `!a`, `--a`; two of them are none.
    fn unary(&mut self) -> Result<Expr> {
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            let negative = symbol == "-" && matches!(self.peek_at(1).kind, lexer::Kind::Int | lexer::Kind::Float);
            if negative || !self.is(symbol) {
                continue;
            }
            let mark = self.next().start;
            let mut count = 1;
            while self.take(symbol).is_some() {
                count += 1;
            }
            let operand = self.member()?;
            return if count % 2 == 0 { Ok(operand) } else { self.tree.call(mark, function, None, vec![operand]) };
        }
        self.member()
    }

    /// `a.b`, `a.?b`, `a.b(c)`, `a[b]`, `a[?b]`
    fn member(&mut self) -> Result<Expr> {
        let mut found = self.primary()?;
        loop {
            if let Some(mark) = self.take(".") {
                found = self.selection(mark, found)?;
            } else if let Some(mark) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expression()?;
                self.need("]")?;
                let function = if optional { "_[?_]" } else { "_[_]" };
                found = self.tree.call(mark, function, None, vec![found, index])?;
            } else {
                return Ok(found);
            }
        }
    }

    fn selection(&mut self, mark: usize, operand: Expr) -> Result<Expr> {
        let optional = self.take("?").is_some();
        let name = self.peek();
        let Some(field) = self.name() else { return Err(self.unexpected("mismatched", "IDENTIFIER")) };
        if optional {
            let field = self.tree.string(name.start, &field)?;
            return self.tree.call(mark, "_?._", None, vec![operand, field]);
        }
        if let Some(open) = self.take("(") {
            let arguments = self.list(")", Self::expression)?;
            return self.method(open, &field, operand, arguments);
        }
        self.tree.node(mark, Kind::Select { operand: Box::new(operand), field: field.into(), test: false })
    }

    fn primary(&mut self) -> Result<Expr> {
        let token = self.peek();
        match token.kind {
            lexer::Kind::Symbol("(") => {
                self.next();
                let inner = self.expression()?;
                self.need(")")?;
                Ok(inner)
            }
            lexer::Kind::Symbol("[") => {
                self.next();
                let items = self.list("]", Self::item)?;
                self.tree.node(token.start, Kind::List(items))
            }
            lexer::Kind::Symbol("{") => {
                self.next();
                let entries = self.list("}", Self::entry)?;
                self.tree.node(token.start, Kind::Map(entries))
            }
            lexer::Kind::Symbol(".") | lexer::Kind::Ident => self.named(),
            _ => self.literal(),
        }
    }

    /// A variable, a call or a structure.
    fn named(&mut self) -> Result<Expr> {
        let dotted = self.take(".").is_some();
        let token = self.peek();
        if token.kind != lexer::Kind::Ident {
            return Err(self.unexpected("mismatched", "IDENTIFIER"));
        }
        if let Some(structure) = self.structure()? {
            return Ok(structure);
        }
        self.next();
        let name = self.text(token);
        if RESERVED.contains(&name) {
            self.problems.push((Some(token.start), format!("reserved identifier: {name}")));
        }
        let full = if dotted { format!(".{name}") } else { name.to_owned() };
        match self.take("(") {
            None => self.tree.node(token.start, Kind::Ident(full.into())),
            Some(open) => {
                let arguments = self.list(")", Self::expression)?;
                self.function(open, &full, arguments)
            }
        }
    }

    /// `Name.Of.Type{field: value}`, if that follows.
    fn structure(&mut self) -> Result<Option<Expr>> {
        let mut end = self.at + 1;
        while self.tokens[end].kind == lexer::Kind::Symbol(".") && self.tokens[end + 1].kind == lexer::Kind::Ident {
            end += 2;
        }
        if self.tokens[end].kind != lexer::Kind::Symbol("{") {
            return Ok(None);
        }
        let names = self.tokens[self.at..end].iter().map(|token| self.text(*token));
        let name: String = names.collect();
        self.at = end + 1;
        let fields = self.list("}", Self::initializer)?;
        let mark = self.tokens[end].start;
        self.tree.node(mark, Kind::Struct { name: name.into(), fields }).map(Some)
    }

    fn item(&mut self) -> Result<Item> {
        let optional = self.take("?").is_some();
        Ok(Item { value: self.expression()?, optional })
    }

    fn entry(&mut self) -> Result<Entry> {
        let optional = self.take("?").is_some();
        let key = self.expression()?;
        self.need(":")?;
        Ok(Entry { key, value: self.expression()?, optional })
    }

    fn initializer(&mut self) -> Result<Initializer> {
        let optional = self.take("?").is_some();
        let Some(name) = self.name() else { return Err(self.unexpected("mismatched", "IDENTIFIER")) };
        let mark = self.need(":")?;
        let id = self.tree.id(mark)?;
        Ok(Initializer { id, name: name.into(), value: self.expression()?, optional })
    }

    /// What is separated by commas. Brackets and braces may have a last comma, parentheses may not.
    fn list<T>(&mut self, close: &'static str, one: fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut found = Vec::new();
        while !self.is(close) {
            found.push(one(self)?);
            if self.take(",").is_none() || (close == ")" && self.is(close)) {
                break;
            }
        }
        if close == ")" && !found.is_empty() && self.tokens[self.at - 1].kind == lexer::Kind::Symbol(",") {
            return Err(self.unexpected("mismatched", EXPRESSION));
        }
        self.need(close)?;
        Ok(found)
    }

    /// A field's name, perhaps in backticks.
    fn name(&mut self) -> Option<String> {
        let token = self.peek();
        let text = self.text(token);
        let name = match token.kind {
            lexer::Kind::Ident => text,
            lexer::Kind::Escaped => {
                self.problems.push((Some(token.start), "unsupported syntax: '`'".into()));
                &text[1..text.len() - 1]
            }
            _ => return None,
        };
        self.next();
        Some(name.to_owned())
    }

    fn text(&self, token: Token) -> &'a str {
        &self.source[token.start..token.end]
    }

    fn peek(&self) -> Token {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Token {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn is(&self, symbol: &'static str) -> bool {
        self.peek().kind == lexer::Kind::Symbol(symbol)
    }

    /// Where the symbol stands, if it is next.
    fn take(&mut self, symbol: &'static str) -> Option<usize> {
        self.is(symbol).then(|| self.next().start)
    }

    fn need(&mut self, symbol: &'static str) -> Result<usize> {
        self.take(symbol).ok_or_else(|| self.unexpected("mismatched", &format!("'{symbol}'")))
    }

    /// `Syntax error: mismatched input 'x' expecting 'y'`
    fn unexpected(&self, how: &str, expected: &str) -> Problem {
        let token = self.peek();
        let found = match token.kind {
            lexer::Kind::End => "<EOF>".to_owned(),
            _ => lexer::shown(self.text(token)),
        };
        let expected = if expected.contains(',') { format!("{{{expected}}}") } else { expected.to_owned() };
        (Some(token.start), format!("Syntax error: {how} input '{found}' expecting {expected}"))
    }
}

#[cfg(test)]
mod tests;
