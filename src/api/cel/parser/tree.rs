//! Makes nodes, and keeps their number and depth in bounds.

use super::{Problem, Result};
use crate::api::cel::ast::{Entry, Expr, Fold, Id, Initializer, Item, Kind, Literal};

/// More nodes are refused: macros may repeat what they are applied to.
const NODE_LIMIT: usize = 50_000;
/// Deeper trees are refused.
const DEPTH_LIMIT: u16 = 250;

/// The places of all nodes made so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    places: Vec<usize>,
}

impl Tree {
    pub fn into_places(self) -> Vec<usize> {
        self.places
    }

    /// Where a node stands.
    pub fn place(&self, id: Id) -> usize {
        self.places[id as usize]
    }

    /// The next number.
    pub fn id(&mut self, place: usize) -> Result<Id> {
        if self.places.len() >= NODE_LIMIT {
            return Err(too_deep());
        }
        self.places.push(place);
        Ok(Id::try_from(self.places.len() - 1).expect("the limit is far below"))
    }

    pub fn node(&mut self, place: usize, kind: Kind) -> Result<Expr> {
        let mut expr = Expr { id: self.id(place)?, depth: 0, kind };
        expr.depth = 1 + expr.children().iter().map(|child| child.depth).max().unwrap_or_default();
        if expr.depth > DEPTH_LIMIT {
            return Err(too_deep());
        }
        Ok(expr)
    }

    pub fn call(&mut self, place: usize, function: &str, target: Option<Expr>, arguments: Vec<Expr>) -> Result<Expr> {
        self.node(place, Kind::Call { function: function.into(), target: target.map(Box::new), arguments })
    }

    pub fn literal(&mut self, place: usize, literal: Literal) -> Result<Expr> {
        self.node(place, Kind::Literal(literal))
    }

    pub fn string(&mut self, place: usize, text: &str) -> Result<Expr> {
        self.literal(place, Literal::String(text.into()))
    }

    pub fn ident(&mut self, place: usize, name: &str) -> Result<Expr> {
        self.node(place, Kind::Ident(name.into()))
    }

    pub fn items(&mut self, place: usize, values: Vec<Expr>) -> Result<Expr> {
        let items = values.into_iter().map(|value| Item { value, optional: false }).collect();
        self.node(place, Kind::List(items))
    }

    /// `operands` joined by a function of two, split in the middle again and again.
    pub fn balanced(&mut self, function: &str, mut operands: Vec<Expr>, marks: &[usize]) -> Result<Expr> {
        if operands.len() == 1 {
            return Ok(operands.remove(0));
        }
        let middle = marks.len() / 2;
        let right = operands.split_off(middle + 1);
        let left = self.balanced(function, operands, &marks[..middle])?;
        let right = self.balanced(function, right, &marks[middle + 1..])?;
        self.call(marks[middle], function, None, vec![left, right])
    }

    /// The same with numbers of its own.
    pub fn copy(&mut self, expr: &Expr) -> Result<Expr> {
        let mut copied = |child: &Expr| self.copy(child);
        let kind = match &expr.kind {
            Kind::Literal(_) | Kind::Ident(_) => expr.kind.clone(),
            Kind::Select { operand, field, test } => {
                Kind::Select { operand: Box::new(copied(operand)?), field: field.clone(), test: *test }
            }
            Kind::Call { function, target, arguments } => Kind::Call {
                function: function.clone(),
                target: target.as_deref().map(&mut copied).transpose()?.map(Box::new),
                arguments: arguments.iter().map(copied).collect::<Result<_>>()?,
            },
            Kind::List(items) => {
                let one = |item: &Item| Ok(Item { value: copied(&item.value)?, optional: item.optional });
                Kind::List(items.iter().map(one).collect::<Result<_>>()?)
            }
            Kind::Map(entries) => {
                let one = |entry: &Entry| {
                    let (key, value) = (copied(&entry.key)?, copied(&entry.value)?);
                    Ok(Entry { key, value, optional: entry.optional })
                };
                Kind::Map(entries.iter().map(one).collect::<Result<_>>()?)
            }
            Kind::Struct { name, fields } => Kind::Struct { name: name.clone(), fields: self.copied_fields(fields)? },
            Kind::Fold(fold) => Kind::Fold(Box::new(Fold {
                range: copied(&fold.range)?,
                start: copied(&fold.start)?,
                condition: copied(&fold.condition)?,
                step: copied(&fold.step)?,
                result: copied(&fold.result)?,
                variable: fold.variable.clone(),
                second: fold.second.clone(),
                accumulator: fold.accumulator.clone(),
            })),
        };
        self.node(self.place(expr.id), kind)
    }

    fn copied_fields(&mut self, fields: &[Initializer]) -> Result<Vec<Initializer>> {
        let one = |field: &Initializer| {
            let (id, value) = (self.id(self.place(field.id))?, self.copy(&field.value)?);
            Ok(Initializer { id, name: field.name.clone(), value, optional: field.optional })
        };
        fields.iter().map(one).collect()
    }
}

fn too_deep() -> Problem {
    (None, "max recursion depth exceeded".into())
}
