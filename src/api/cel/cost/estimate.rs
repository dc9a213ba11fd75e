//! What an expression costs at least and at most, by the bounds of its variables (cel-go's `checker.Cost`, which
//! rules of custom resource definitions are held to).

use std::collections::HashMap;

use super::{LIST, MAP, STRUCTURE, calls, size::Range};
use crate::api::cel::{
    ast::{Expr, Facts, Fold, Id, Kind, Literal},
    environment::Environment,
    library::Overload,
    shape::Shape,
    types::Type,
};

/// Estimates a checked tree.
pub(in crate::api::cel) fn estimate(root: &Expr, facts: &Facts, environment: &Environment) -> Range {
    let nodes = Nodes {
        facts,
        environment,
        places: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    Estimator { nodes }.cost(root)
}

/// Where a value is in the schema of the variables.
#[derive(Debug, Clone, Default)]
pub(super) enum Place {
    /// It was computed.
    #[default]
    Nowhere,
    /// It has this shape.
    At(Shape),
    /// The schema does not say.
    Lost,
}

/// A step from a place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'s> {
    Field(&'s str),
    /// An item or a value.
    Item,
    Key,
    /// An index.
    Index,
}

/// The sizes of keys and values of a list or map.
#[derive(Debug, Clone, Copy)]
struct Entries {
    is_list: bool,
    key: Range,
    value: Range,
}

/// A variable of a macro.
#[derive(Debug)]
struct Local {
    name: Box<str>,
    place: Place,
    size: Option<Range>,
    entries: Option<Entries>,
}

/// What is known of nodes.
pub(super) struct Nodes<'f> {
    facts: &'f Facts,
    environment: &'f Environment,
    places: HashMap<Id, Place>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entries>,
    locals: Vec<Local>,
}

/// An argument of a call.
pub(super) struct Argument<'e> {
    pub expr: &'e Expr,
    pub kind: Type,
    pub place: Place,
    /// Its size; anything if that is not known.
    pub size: Range,
    /// Whether its size is known.
    pub sized: bool,
    pub cost: Range,
}

struct Estimator<'f> {
    nodes: Nodes<'f>,
}

impl Nodes<'_> {
    fn root(&self) -> Place {
        self.environment.first_shape().map_or(Place::Lost, |shape| Place::At(shape.clone()))
    }

    /// The place a step further. Upstream drops the first part of every path, be it a variable or not, so
    /// that the first step from nowhere leads to the root.
    pub fn step(&self, place: &Place, step: Step<'_>) -> Place {
        let shape = match place {
            Place::Nowhere => return self.root(),
            Place::Lost => return Place::Lost,
            Place::At(shape) => shape,
        };
        let next = match (step, &shape.kind) {
            (Step::Item, _) => shape.items().cloned(),
            (Step::Key, Type::Map(key, _)) => Some((**key).clone().into()),
            (Step::Field(name), Type::Object(object)) => object.field(name).map(|field| field.shape),
            _ => None,
        };
        next.map_or(Place::Lost, Place::At)
    }

    /// The size that the schema gives a place. What it does not bound has none, which is upstream's way.
    pub fn size_at(place: &Place) -> Option<Range> {
        match place {
            Place::At(shape) => Some(Range::up_to(shape.most.unwrap_or_default())),
            _ => None,
        }
    }

    fn local(&self, expr: &Expr) -> Option<&Local> {
        let name = expr.ident()?;
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    fn place(&self, expr: &Expr) -> Place {
        match self.local(expr) {
            Some(local) => local.place.clone(),
            None => self.places.get(&expr.id).cloned().unwrap_or_default(),
        }
    }

    fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(known) = self.sizes.get(&expr.id) {
            return Some(*known);
        }
        if let Some(size) = written_size(expr) {
            return Some(Range::fixed(size));
        }
        if let Some(size) = Self::size_at(&self.place(expr)) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.facts.of(expr).is_scalar() {
            return Some(Range::fixed(1));
        }
        self.local(expr).and_then(|local| local.size)
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn entries(&self, expr: &Expr) -> Option<Entries> {
        self.entries.get(&expr.id).copied().or_else(|| self.local(expr).and_then(|local| local.entries))
    }

    fn set_size(&mut self, expr: &Expr, size: Option<Range>) {
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
    }

    fn set_entries(&mut self, expr: &Expr, entries: Option<Entries>) {
        if let Some(entries) = entries {
            self.entries.insert(expr.id, entries);
        }
    }
}

impl Estimator<'_> {
    fn cost(&mut self, expr: &Expr) -> Range {
        match &expr.kind {
            Kind::Literal(_) => Range::ZERO,
            Kind::Ident(_) => {
                let place = match self.nodes.local(expr) {
                    Some(local) => local.place.clone(),
                    None => self.nodes.root(),
                };
                self.nodes.places.insert(expr.id, place);
                Range::fixed(1)
            }
            Kind::Select { operand, test: true, .. } => self.cost(operand),
            Kind::Select { operand, field, .. } => {
                let cost = self.cost(operand);
                let place = self.nodes.step(&self.nodes.place(operand), Step::Field(field));
                self.nodes.places.insert(expr.id, place);
                let structured =
                    matches!(self.nodes.facts.of(operand), Type::Map(..) | Type::Object(_) | Type::Opaque(_));
                if structured { cost.plus(Range::fixed(1)) } else { cost }
            }
            Kind::Call { .. } => self.call(expr),
            Kind::List(items) => {
                let values: Vec<&Expr> = items.iter().map(|item| &item.value).collect();
                let (cost, value) = self.all(&values);
                self.nodes.set_entries(expr, Some(Entries { is_list: true, key: Range::fixed(1), value }));
                cost.plus(Range::fixed(LIST))
            }
            Kind::Map(entries) => {
                let keys: Vec<&Expr> = entries.iter().map(|entry| &entry.key).collect();
                let values: Vec<&Expr> = entries.iter().map(|entry| &entry.value).collect();
                let ((key_cost, key), (value_cost, value)) = (self.all(&keys), self.all(&values));
                self.nodes.set_entries(expr, Some(Entries { is_list: false, key, value }));
                key_cost.plus(value_cost).plus(Range::fixed(MAP))
            }
            Kind::Struct { fields, .. } => {
                let values: Vec<&Expr> = fields.iter().map(|field| &field.value).collect();
                self.all(&values).0.plus(Range::fixed(STRUCTURE))
            }
            Kind::Fold(fold) if fold.is_binding() => self.binding(expr, fold),
            Kind::Fold(fold) => self.fold(expr, fold),
        }
    }

    /// What some expressions cost together, and the size that each of them has.
    fn all(&mut self, exprs: &[&Expr]) -> (Range, Range) {
        let (mut cost, mut size) = (Range::ZERO, if exprs.is_empty() { Range::ZERO } else { Range::EMPTY });
        for expr in exprs {
            cost = cost.plus(self.cost(expr));
            size = size.union(self.nodes.size_or_unknown(expr));
        }
        (cost, size)
    }

    fn argument<'e>(&mut self, expr: &'e Expr) -> Argument<'e> {
        let cost = self.cost(expr);
        let size = self.nodes.size(expr);
        let (kind, place) = (self.nodes.facts.of(expr).clone(), self.nodes.place(expr));
        Argument { expr, kind, place, size: size.unwrap_or(Range::UNKNOWN), sized: size.is_some(), cost }
    }

    fn call(&mut self, expr: &Expr) -> Range {
        let Kind::Call { function, target, arguments } = &expr.kind else { return Range::ZERO };
        if let ("dyn", [argument]) = (&**function, arguments.as_slice()) {
            let cost = self.cost(argument);
            let (size, entries) = (self.nodes.size(argument), self.nodes.entries(argument));
            self.nodes.set_size(expr, size);
            self.nodes.set_entries(expr, entries);
            return cost.plus(Range::fixed(1));
        }
        let arguments: Vec<Argument<'_>> = arguments.iter().map(|argument| self.argument(argument)).collect();
        let target = target.as_deref().map(|target| self.argument(target));
        let overloads = self.nodes.facts.overloads(expr).to_vec();
        if overloads.is_empty() {
            return Range::ZERO;
        }
        let (mut cost, mut size) = (Range::EMPTY, None::<Range>);
        for overload in overloads {
            self.join_entries(expr, overload, &arguments);
            let call = calls::estimate(&self.nodes, overload, target.as_ref(), &arguments);
            cost = cost.union(call.cost);
            size = match (size, call.size) {
                (Some(size), Some(other)) => Some(size.union(other)),
                (size, other) => size.or(other),
            };
            if let Some(of_value) = self.index(expr, overload, &arguments) {
                size = of_value;
            }
            size = size.or_else(|| self.nodes.size(expr));
        }
        self.nodes.set_size(expr, size);
        target.map_or(cost, |target| cost.plus(target.cost))
    }

    /// What an index finds: where, and of what size.
    fn index(&mut self, expr: &Expr, overload: &Overload, arguments: &[Argument<'_>]) -> Option<Option<Range>> {
        let plain = &*overload.function == "_[_]" && matches!(overload.first(), Type::List(_) | Type::Map(..));
        if !plain {
            return None;
        }
        let place = self.nodes.step(&arguments[0].place, Step::Item);
        self.nodes.places.insert(expr.id, place);
        Some(self.nodes.entries(arguments[0].expr).map(|entries| entries.value))
    }

    /// The entries of what is one of two things, or both.
    fn join_entries(&mut self, expr: &Expr, overload: &Overload, arguments: &[Argument<'_>]) {
        let both = match (&*overload.function, overload.first()) {
            ("_?_:_", _) => &arguments[1..],
            ("_+_", Type::String | Type::Bytes | Type::List(_)) => arguments,
            _ => return,
        };
        let [one, other] = both else { return };
        if let (Some(one), Some(other)) = (self.nodes.entries(one.expr), self.nodes.entries(other.expr)) {
            let joined =
                Entries { is_list: one.is_list, key: one.key.union(other.key), value: one.value.union(other.value) };
            self.nodes.set_entries(expr, Some(joined));
        }
    }

    fn binding(&mut self, expr: &Expr, fold: &Fold) -> Range {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.start));
        self.push(&fold.accumulator, &fold.start);
        let cost = cost.plus(self.cost(&fold.result));
        let (size, entries) = (self.nodes.size(&fold.result), self.nodes.entries(&fold.result));
        self.nodes.locals.pop();
        self.nodes.set_size(expr, size);
        self.nodes.set_entries(expr, entries);
        cost
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Range {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.start));
        self.push(&fold.accumulator, &fold.start);
        let outside = self.nodes.locals.len();
        self.push_variables(fold);
        let turn = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.nodes.locals.truncate(outside);
        let cost = cost.plus(self.cost(&fold.result));
        self.nodes.locals.pop();
        let turns = self.nodes.size_or_unknown(&fold.range);
        match &fold.start.kind {
            Kind::Literal(_) => {
                let size = self.nodes.size(&fold.start);
                self.nodes.set_size(expr, size);
            }
            Kind::List(_) | Kind::Map(_) => {
                self.nodes.set_size(expr, Some(turns));
                let entries = self.nodes.entries(&fold.step);
                self.nodes.set_entries(expr, entries);
            }
            _ => {}
        }
        cost.plus(turns.times(turn))
    }

    fn push(&mut self, name: &str, value: &Expr) {
        let (place, size, entries) = (self.nodes.place(value), self.nodes.size(value), self.nodes.entries(value));
        self.nodes.locals.push(Local { name: name.into(), place, size, entries });
    }

    fn push_variables(&mut self, fold: &Fold) {
        let entries = self.nodes.entries(&fold.range);
        let is_list =
            entries.map_or(matches!(self.nodes.facts.of(&fold.range), Type::List(_)), |entries| entries.is_list);
        let range = self.nodes.place(&fold.range);
        let mut push = |name: &str, step: Step<'_>, size: Option<Range>| {
            let place = self.nodes.step(&range, step);
            self.nodes.locals.push(Local { name: name.into(), place, size, entries: None });
        };
        let (key, value) = (entries.map(|entries| entries.key), entries.map(|entries| entries.value));
        match (&fold.second, is_list) {
            (None, true) => push(&fold.variable, Step::Item, value),
            (None, false) => push(&fold.variable, Step::Key, key),
            (Some(second), _) => {
                push(&fold.variable, if is_list { Step::Index } else { Step::Key }, key);
                push(second, Step::Item, value);
            }
        }
    }
}

/// The size of what is written out.
fn written_size(expr: &Expr) -> Option<u64> {
    let size = match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count(),
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len(),
        Kind::Literal(_) => 1,
        Kind::List(items) => items.len(),
        Kind::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(size as u64)
}

#[cfg(test)]
mod tests;
