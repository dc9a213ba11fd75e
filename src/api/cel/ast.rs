//! A parsed expression, its macros expanded. Every node has a number, by which its place in the text
//! and what the checker finds out about it are kept beside the tree.

use super::{library::Overload, types::Type};

/// The number of a node.
pub(super) type Id = u32;

/// The name of what a macro accumulates. No text can spell it.
pub(super) const ACCUMULATOR: &str = "@result";
/// The name of a variable that nobody reads.
pub(super) const UNUSED: &str = "#unused";

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub id: Id,
    /// How many nodes there are on the longest way down, itself counted.
    pub depth: u16,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Literal(Literal),
    Ident(Box<str>),
    /// `operand.field`, or `has(operand.field)` if it is a test.
    Select {
        operand: Box<Expr>,
        field: Box<str>,
        test: bool,
    },
    Call {
        function: Box<str>,
        target: Option<Box<Expr>>,
        arguments: Vec<Expr>,
    },
    List(Vec<Item>),
    Map(Vec<Entry>),
    /// `Name{field: value}`
    Struct {
        name: Box<str>,
        fields: Vec<Initializer>,
    },
    Fold(Box<Fold>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Box<str>),
    Bytes(Box<[u8]>),
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Initializer {
    pub id: Id,
    pub name: Box<str>,
    pub value: Expr,
    pub optional: bool,
}

/// Goes through a list or map: what every macro over lists is, and `cel.bind` too.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub range: Expr,
    /// The item, or the key of a map.
    pub variable: Box<str>,
    /// If there is a second variable, it is the item or value, and the first one the index or key.
    pub second: Option<Box<str>>,
    /// The name of what is accumulated.
    pub accumulator: Box<str>,
    pub start: Expr,
    /// Goes on while this is true.
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// What the checker finds out about nodes, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub types: Vec<Type>,
    /// The functions that a call may mean; more than one only if arguments are dynamic.
    pub overloads: Vec<Vec<&'static Overload>>,
}

impl Facts {
    pub fn of(&self, expr: &Expr) -> &Type {
        self.types.get(expr.id as usize).unwrap_or(&Type::Error)
    }

    pub fn overloads(&self, expr: &Expr) -> &[&'static Overload] {
        self.overloads.get(expr.id as usize).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Expr {
    /// The nodes right below, in the order in which they are written or, for folds, evaluated.
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call { target, arguments, .. } => target.as_deref().into_iter().chain(arguments).collect(),
            Kind::List(items) => items.iter().map(|item| &item.value).collect(),
            Kind::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Kind::Struct { fields, .. } => fields.iter().map(|field| &field.value).collect(),
            Kind::Fold(fold) => vec![&fold.range, &fold.start, &fold.condition, &fold.step, &fold.result],
        }
    }

    /// `a.b.c`, if the node is nothing else.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }

    /// The name, if the node is a variable.
    pub fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        }
    }

    /// The literal, if the node is one.
    pub fn literal(&self) -> Option<&Literal> {
        match &self.kind {
            Kind::Literal(literal) => Some(literal),
            _ => None,
        }
    }
}

impl Fold {
    /// Whether it gives a value a name and does nothing else: `cel.bind` and its like.
    pub fn is_binding(&self) -> bool {
        matches!(&self.range.kind, Kind::List(items) if items.is_empty())
            && self.condition.literal() == Some(&Literal::Bool(false))
            && &*self.accumulator != "__result__"
    }
}
