//! A checked tree, made ready to be evaluated: variables of macros are places on a stack, constants are
//! values, patterns are compiled, and selections one after the other are one path.

use std::{collections::BTreeMap, sync::Arc};

use regex::Regex;

use super::{
    ast::{ACCUMULATOR, Expr, Facts, Fold, Kind, Literal},
    error::Failure,
    library::{self, Overload, regex::Prepared},
    types::Type,
    value::{Key, Kind as ValueKind, Map, Text, Value},
};

/// What is evaluated.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    Path(Box<Path>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Call(Box<Call>),
    /// A function whose pattern is compiled.
    Pattern(Box<Call>, Regex, Prepared),
    /// Errors count as `true`.
    Lenient(Box<Node>),
    /// `a.or(b)` and `a.orValue(b)`
    Default {
        optional: Box<Node>,
        other: Box<Node>,
        unwrap: bool,
    },
    /// Whether an item is one of some constants.
    OneOf(Box<Node>, Vec<Value<'static>>),
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Structure {
        name: Box<str>,
        fields: Vec<(Box<str>, Node, bool)>,
    },
    Fold(Box<Loop>),
    /// The accumulator with what a list has, or with an entry, or with those of a map.
    Extend {
        place: usize,
        items: Box<Node>,
    },
    Insert {
        place: usize,
        key: Box<Node>,
        value: Box<Node>,
    },
    Merge {
        place: usize,
        entries: Box<Node>,
    },
}

/// A value and what is selected of it.
#[derive(Debug)]
pub(super) struct Path {
    pub root: Root,
    pub steps: Vec<Step>,
    /// Whether the last step only asks if it could be made.
    pub test: bool,
}

#[derive(Debug)]
pub(super) enum Root {
    Variable(Box<str>),
    /// The variable of a macro, by its place on the stack.
    Local(usize),
    Value(Node),
    /// `a ? b : c`
    Choice(Box<[Node; 3]>),
}

#[derive(Debug)]
pub(super) struct Step {
    pub key: Node,
    pub optional: bool,
}

#[derive(Debug)]
pub(super) struct Call {
    pub function: Box<str>,
    pub overloads: Vec<&'static Overload>,
    /// The target first.
    pub arguments: Vec<Node>,
}

/// A macro's loop. Its stack is the accumulator, then one variable or two.
#[derive(Debug)]
pub(super) struct Loop {
    pub range: Node,
    pub two: bool,
    pub start: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

/// Makes a tree ready. The error is of a constant that cannot be what it is used for.
pub(super) fn plan(root: &Expr, facts: &Facts) -> Result<Node, String> {
    Planner { facts, scopes: Vec::new() }.plan(root)
}

struct Planner<'f> {
    facts: &'f Facts,
    /// The names of what is on the stack.
    scopes: Vec<Box<str>>,
}

impl Planner<'_> {
    fn plan(&mut self, expr: &Expr) -> Result<Node, String> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(Node::Constant(constant(literal))),
            Kind::Ident(name) => Ok(self.ident(expr, name)),
            Kind::Select { operand, field, test } => {
                let key = Node::Constant(Value::string(&**field));
                let mut path = self.path(operand)?;
                path.steps.push(Step { key, optional: false });
                path.test = *test;
                Ok(Node::Path(Box::new(path)))
            }
            Kind::Call { function, target, arguments } => self.call(expr, function, target.as_deref(), arguments),
            Kind::List(items) => {
                let items: Result<Vec<_>, String> =
                    items.iter().map(|item| Ok((self.plan(&item.value)?, item.optional))).collect();
                Ok(folded_list(items?))
            }
            Kind::Map(entries) => {
                let entry =
                    |entry: &super::ast::Entry| Ok((self.plan(&entry.key)?, self.plan(&entry.value)?, entry.optional));
                let entries: Result<Vec<_>, String> = entries.iter().map(entry).collect();
                Ok(folded_map(entries?))
            }
            Kind::Struct { name, fields } => {
                let field = |field: &super::ast::Initializer| {
                    Ok((field.name.clone(), self.plan(&field.value)?, field.optional))
                };
                let fields: Result<Vec<_>, String> = fields.iter().map(field).collect();
                Ok(Node::Structure { name: name.clone(), fields: fields? })
            }
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn ident(&self, expr: &Expr, name: &str) -> Node {
        let root = match self.place(name) {
            Some(place) => Root::Local(place),
            None => match self.facts.of(expr) {
                Type::Type(kind) => return Node::Constant(Value(ValueKind::Type((**kind).clone()))),
                _ => Root::Variable(name.trim_start_matches('.').into()),
            },
        };
        Node::Path(Box::new(Path { root, steps: Vec::new(), test: false }))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.scopes.iter().rposition(|known| **known == *name)
    }

    /// The operand as a path, which a step may be added to.
    fn path(&mut self, operand: &Expr) -> Result<Path, String> {
        Ok(match self.plan(operand)? {
            Node::Path(path) if !path.test => *path,
            node => Path { root: Root::Value(node), steps: Vec::new(), test: false },
        })
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, arguments: &[Expr]) -> Result<Node, String> {
        if let Some(node) = self.accumulation(expr, function, arguments)? {
            return Ok(node);
        }
        if let "_[_]" | "_[?_]" | "_?._" = function {
            let key = self.plan(&arguments[1])?;
            let mut path = self.path(&arguments[0])?;
            path.steps.push(Step { key, optional: function != "_[_]" });
            return Ok(Node::Path(Box::new(path)));
        }
        let planned: Result<Vec<Node>, String> =
            target.into_iter().chain(arguments).map(|argument| self.plan(argument)).collect();
        let overloads = self.facts.overloads(expr).to_vec();
        let call = Call { function: function.into(), overloads, arguments: planned? };
        specialized(call)
    }

    /// What a macro does to its accumulator, which is then changed in place.
    fn accumulation(&mut self, expr: &Expr, function: &str, arguments: &[Expr]) -> Result<Option<Node>, String> {
        if arguments.first().and_then(Expr::ident) != Some(ACCUMULATOR) {
            return Ok(None);
        }
        let Some(place) = self.place(ACCUMULATOR) else { return Ok(None) };
        Ok(match (function, &arguments[1..], self.facts.of(expr)) {
            ("_+_", [items], Type::List(_)) => Some(Node::Extend { place, items: Box::new(self.plan(items)?) }),
            ("cel.@mapInsert", [key, value], _) => {
                Some(Node::Insert { place, key: Box::new(self.plan(key)?), value: Box::new(self.plan(value)?) })
            }
            ("cel.@mapInsert", [entries], _) => Some(Node::Merge { place, entries: Box::new(self.plan(entries)?) }),
            _ => None,
        })
    }

    fn fold(&mut self, fold: &Fold) -> Result<Node, String> {
        let (range, start) = (self.plan(&fold.range)?, self.plan(&fold.start)?);
        let outside = self.scopes.len();
        self.scopes.push(fold.accumulator.clone());
        self.scopes.push(fold.variable.clone());
        self.scopes.extend(fold.second.clone());
        let (condition, step) = (self.plan(&fold.condition)?, self.plan(&fold.step)?);
        self.scopes.truncate(outside + 1);
        let result = self.plan(&fold.result)?;
        self.scopes.truncate(outside);
        Ok(Node::Fold(Box::new(Loop { range, two: fold.second.is_some(), start, condition, step, result })))
    }
}

fn constant(literal: &Literal) -> Value<'static> {
    Value(match literal {
        Literal::Null => ValueKind::Null,
        Literal::Bool(value) => ValueKind::Bool(*value),
        Literal::Int(value) => ValueKind::Int(*value),
        Literal::Uint(value) => ValueKind::Uint(*value),
        Literal::Double(value) => ValueKind::Double(*value),
        Literal::String(text) => ValueKind::String(Text::Shared((**text).into())),
        Literal::Bytes(bytes) => ValueKind::Bytes(Arc::from(&**bytes)),
    })
}

/// A list of constants is one.
fn folded_list(items: Vec<(Node, bool)>) -> Node {
    let constants: Option<Vec<Value<'static>>> = items.iter().map(|(item, optional)| plain(item, *optional)).collect();
    constants.map_or(Node::List(items), |constants| Node::Constant(Value::list(constants)))
}

/// A map of constants is one, unless its keys are wrong.
fn folded_map(entries: Vec<(Node, Node, bool)>) -> Node {
    let one =
        |(key, value, optional): &(Node, Node, bool)| Some((Key::of(&plain(key, false)?)?, plain(value, *optional)?));
    let constants: Option<BTreeMap<_, _>> = entries.iter().map(one).collect();
    constants.map_or(Node::Map(entries), |constants| Node::Constant(Value(ValueKind::Map(Map::new(constants)))))
}

fn plain(node: &Node, optional: bool) -> Option<Value<'static>> {
    match node {
        Node::Constant(value) if !optional => Some(value.clone()),
        _ => None,
    }
}

/// Calls that are more than a call.
fn specialized(mut call: Call) -> Result<Node, String> {
    match (&*call.function, call.arguments.len()) {
        ("_&&_" | "_||_", 2) => {
            let (Some(right), Some(left)) = (call.arguments.pop(), call.arguments.pop()) else {
                return Ok(Node::Call(Box::new(call)));
            };
            let both = Box::new([left, right]);
            Ok(if &*call.function == "_&&_" { Node::And(both) } else { Node::Or(both) })
        }
        ("_?_:_", 3) => {
            let Ok(three) = <[Node; 3]>::try_from(call.arguments) else {
                return Err("a choice has three parts".into());
            };
            let root = Root::Choice(Box::new(three));
            Ok(Node::Path(Box::new(Path { root, steps: Vec::new(), test: false })))
        }
        ("@not_strictly_false", 1) => Ok(Node::Lenient(Box::new(call.arguments.remove(0)))),
        (name @ ("or" | "orValue"), 2) => {
            let unwrap = name == "orValue";
            let other = Box::new(call.arguments.remove(1));
            Ok(Node::Default { optional: Box::new(call.arguments.remove(0)), other, unwrap })
        }
        ("@in", 2) => Ok(one_of(call)),
        ("bool" | "bytes" | "double" | "duration" | "dyn" | "int" | "string" | "timestamp" | "type" | "uint", 1) => {
            converted(call)
        }
        ("matches" | "find" | "findAll", _) => pattern(call),
        _ => Ok(Node::Call(Box::new(call))),
    }
}

/// `x in [1, 2]`
fn one_of(mut call: Call) -> Node {
    let is_list = matches!(call.overloads.as_slice(), [overload] if matches!(overload.arguments[1], Type::List(_)));
    let constants = match &call.arguments[1] {
        Node::Constant(Value(ValueKind::List(list))) if is_list => list.values().ok(),
        _ => None,
    };
    let primitive = |value: &Value<'_>| {
        matches!(
            value.0,
            ValueKind::Bool(_) | ValueKind::Int(_) | ValueKind::Uint(_) | ValueKind::Double(_) | ValueKind::String(_)
        )
    };
    match constants {
        Some(constants) if constants.is_empty() => Node::Constant(false.into()),
        Some(constants) if constants.iter().all(primitive) => {
            Node::OneOf(Box::new(call.arguments.swap_remove(0)), constants)
        }
        _ => Node::Call(Box::new(call)),
    }
}

/// A conversion of a constant is one.
fn converted(call: Call) -> Result<Node, String> {
    let Node::Constant(value) = &call.arguments[0] else { return Ok(Node::Call(Box::new(call))) };
    match library::call(&call.function, &call.overloads, std::slice::from_ref(value)) {
        Ok(value) => Ok(Node::Constant(value)),
        Err(Failure::Error(message)) => Err(message),
        Err(Failure::Limit) => Ok(Node::Call(Box::new(call))),
    }
}

fn pattern(call: Call) -> Result<Node, String> {
    let text = match call.arguments.get(1) {
        Some(Node::Constant(value)) => value.as_str(),
        _ => None,
    };
    match (text, library::regex::prepared(&call.function)) {
        (Some(text), Some(run)) => {
            let pattern = library::regex::pattern(text)?;
            Ok(Node::Pattern(Box::new(call), pattern, run))
        }
        _ => Ok(Node::Call(Box::new(call))),
    }
}
