//! Finds out the type of every node and which functions calls mean (cel-spec, "Gradual type checking"), in
//! upstream's order and words. Names that turn out to be qualified are put together in the tree.

mod literals;
mod unify;

use super::{
    ast::{Entry, Expr, Facts, Fold, Id, Initializer, Item, Kind, Literal},
    environment::{Environment, Meaning},
    library::{self, Overload},
    parser::{Parsed, Problem},
    types::Type,
};
use unify::Types;

/// Checks a tree in place.
pub(super) fn check(parsed: &mut Parsed, environment: &Environment) -> Result<Facts, Vec<Problem>> {
    let count = parsed.places.len();
    let facts = Facts { types: vec![Type::Error; count], overloads: vec![Vec::new(); count] };
    let mut checker = Checker { environment, facts, scopes: Vec::new(), types: Types::default(), problems: Vec::new() };
    checker.check(&mut parsed.root);
    let Checker { mut facts, mut types, mut problems, .. } = checker;
    for kind in &mut facts.types {
        *kind = types.closed(kind);
    }
    if types.is_exhausted() {
        problems.push((parsed.root.id, "types are too large to be checked".into()));
    }
    if problems.is_empty() {
        problems = literals::check(&parsed.root, &facts);
    }
    if problems.is_empty() {
        return Ok(facts);
    }
    Err(problems.into_iter().map(|(id, message)| (parsed.places.get(id as usize).copied(), message)).collect())
}

struct Checker<'e> {
    environment: &'e Environment,
    facts: Facts,
    /// Variables of macros, the innermost last.
    scopes: Vec<(Box<str>, Type)>,
    types: Types,
    problems: Vec<(Id, String)>,
}

impl Checker<'_> {
    fn check(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let kind = match &mut expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => {
                let name = name.clone();
                self.ident(id, &name)
            }
            Kind::Select { .. } => self.select(expr),
            Kind::Call { .. } => self.call(expr),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => {
                let name = name.clone();
                self.structure(id, &name, fields)
            }
            Kind::Fold(fold) => self.fold(fold),
        };
        self.facts.types[id as usize] = kind;
    }

    fn refuse(&mut self, id: Id, message: String) -> Type {
        self.problems.push((id, message));
        Type::Error
    }

    fn undeclared(&mut self, id: Id, name: &str) -> Type {
        self.refuse(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) -> Type {
        let (expected, found) = (self.types.known(expected), self.types.known(found));
        self.refuse(id, format!("expected type '{expected}' but found '{found}'"))
    }

    fn type_of(&self, expr: &Expr) -> Type {
        self.facts.of(expr).clone()
    }

    /// The type of a name, if it stands for something.
    fn named(&self, name: &str) -> Option<Type> {
        if let Some((_, kind)) = self.scopes.iter().rev().find(|(known, _)| **known == *name) {
            return Some(kind.clone());
        }
        Some(match self.environment.meaning(name)? {
            Meaning::Variable(kind) => kind,
            Meaning::Type(kind) => Type::Type(kind.into()),
        })
    }

    fn ident(&mut self, id: Id, name: &str) -> Type {
        match self.named(name) {
            Some(kind) => kind,
            None => self.undeclared(id, name),
        }
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        if let Some(name) = expr.qualified_name()
            && let Some(kind) = self.named(&name)
        {
            expr.kind = Kind::Ident(name.into());
            return kind;
        }
        let id = expr.id;
        let Kind::Select { operand, field, test } = &mut expr.kind else { return Type::Error };
        self.check(operand);
        let (field, test, operand) = (field.clone(), *test, self.type_of(operand));
        let kind = self.field(id, &operand, &field, false);
        if test { Type::Bool } else { self.types.known(&kind) }
    }

    /// The type of a field of an operand.
    fn field(&mut self, id: Id, operand: &Type, field: &str, optional: bool) -> Type {
        let operand = self.types.known(operand);
        let (target, was_optional) = match &operand {
            Type::Optional(inner) => ((**inner).clone(), true),
            other => (other.clone(), false),
        };
        let found = match &target {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.field(field) {
                Some(field) => field.shape.kind,
                None => self.refuse(id, format!("undefined field '{field}'")),
            },
            Type::Param(_) => {
                self.types.assign(&Type::Dyn, &target);
                Type::Dyn
            }
            other if other.is_open() => Type::Dyn,
            other => {
                self.refuse(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if was_optional || optional { Type::optional(found) } else { found }
    }

    fn call(&mut self, expr: &mut Expr) -> Type {
        let id = expr.id;
        let Kind::Call { function, target, arguments } = &mut expr.kind else { return Type::Error };
        if &**function == "_?._" {
            self.check(&mut arguments[0]);
            let operand = self.type_of(&arguments[0]);
            let Some(Literal::String(field)) = arguments[1].literal() else { return Type::Error };
            let kind = self.field(id, &operand, &field.clone(), true);
            self.facts.types[arguments[1].id as usize] = Type::String;
            self.facts.overloads[id as usize] = library::functions("_?._").iter().collect();
            return self.types.known(&kind);
        }
        arguments.iter_mut().for_each(|argument| self.check(argument));
        if let Some(qualified) = target.as_deref().and_then(Expr::qualified_name) {
            let name = format!("{}.{function}", qualified.trim_start_matches('.'));
            if self.is_function(&name) {
                (*function, *target) = (name.into(), None);
            }
        }
        let name = function.trim_start_matches('.').to_owned();
        if let Some(target) = target {
            self.check(target);
        }
        if !self.is_function(&name) {
            return self.undeclared(id, &name);
        }
        let member = target.is_some();
        let given: Vec<&Expr> = target.as_deref().into_iter().chain(arguments.iter()).collect();
        let ids: Vec<Id> = given.iter().map(|expr| expr.id).collect();
        let kinds: Vec<Type> = given.iter().map(|expr| self.type_of(expr)).collect();
        *function = name.as_str().into();
        self.resolve(id, &name, member, &ids, &kinds)
    }

    fn is_function(&self, name: &str) -> bool {
        let known = name != "jsonpatch.escapeKey" || self.environment.has_patch_types();
        known && !library::functions(name).is_empty()
    }

    /// Finds the functions that a call may mean, and the type of their result.
    fn resolve(&mut self, id: Id, name: &str, member: bool, ids: &[Id], kinds: &[Type]) -> Type {
        if matches!(name, "_&&_" | "_||_") {
            let before = self.problems.len();
            for (id, kind) in ids.iter().zip(kinds) {
                if !self.types.assign(kind, &Type::Bool) {
                    self.mismatch(*id, &Type::Bool, kind);
                }
            }
            self.facts.overloads[id as usize] = library::functions(name).iter().collect();
            return if self.problems.len() == before { Type::Bool } else { Type::Error };
        }
        let mut result: Option<Type> = None;
        let mut found: Vec<&'static Overload> = Vec::new();
        for overload in library::functions(name).iter().filter(|overload| overload.member == member) {
            let first = self.types.fresh(overload.parameters);
            let wanted: Vec<Type> = overload.arguments.iter().map(|kind| unify::moved(kind, first)).collect();
            if !self.types.assign_all(kinds, &wanted) {
                continue;
            }
            found.push(overload);
            let kind = self.types.known(&unify::moved(&overload.result, first));
            result = Some(match result {
                None => kind,
                Some(before) if before == Type::Dyn || before == kind => before,
                Some(_) => Type::Dyn,
            });
        }
        self.facts.overloads[id as usize] = found;
        result.unwrap_or_else(|| {
            let shown: Vec<String> = kinds.iter().map(|kind| self.types.closed(kind).to_string()).collect();
            let signature = match shown.split_first() {
                Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            self.refuse(id, format!("found no matching overload for '{name}' applied to '{signature}'"))
        })
    }

    fn list(&mut self, items: &mut [Item]) -> Type {
        let mut joined = None;
        for item in items {
            self.check(&mut item.value);
            let kind = self.unwrapped(&item.value, item.optional);
            joined = Some(self.join(joined, kind));
        }
        Type::list(joined.unwrap_or_else(|| self.types.variable()))
    }

    fn map(&mut self, entries: &mut [Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(&mut entry.key);
            let kind = self.type_of(&entry.key);
            keys = Some(self.join(keys, kind));
            self.check(&mut entry.value);
            let kind = self.unwrapped(&entry.value, entry.optional);
            values = Some(self.join(values, kind));
        }
        let keys = keys.unwrap_or_else(|| self.types.variable());
        let values = values.unwrap_or_else(|| self.types.variable());
        Type::map(keys, values)
    }

    /// The type of an item, or what is in it if it is optional.
    fn unwrapped(&mut self, value: &Expr, optional: bool) -> Type {
        let kind = self.type_of(value);
        match (optional, self.types.known(&kind)) {
            (false, _) => kind,
            (true, Type::Optional(inner)) => (*inner).clone(),
            (true, Type::Dyn) => Type::Dyn,
            (true, other) => {
                self.mismatch(value.id, &Type::optional(other.clone()), &other);
                other
            }
        }
    }

    /// The more general of two types of items; what does not fit is dynamic, and refused later where items
    /// must be of one type.
    fn join(&mut self, before: Option<Type>, kind: Type) -> Type {
        match before {
            None => kind,
            Some(before) if self.types.assign(&before, &kind) => unify::more_general(before, kind),
            Some(_) => Type::Dyn,
        }
    }

    fn structure(&mut self, id: Id, name: &str, fields: &mut [Initializer]) -> Type {
        let kind = match self.environment.meaning(name) {
            Some(Meaning::Type(kind)) => kind,
            Some(Meaning::Variable(kind)) => {
                self.refuse(id, format!("'{}' is not a type", kind.name()));
                Type::Error
            }
            None => return self.undeclared(id, name),
        };
        if !matches!(kind, Type::Object(_) | Type::Error) {
            self.refuse(id, format!("'{}' is not a message type", kind.name()));
            return Type::Error;
        }
        for field in fields {
            self.check(&mut field.value);
            let given = self.unwrapped(&field.value, field.optional);
            let Type::Object(object) = &kind else { continue };
            match object.field(&field.name) {
                None => _ = self.refuse(field.id, format!("undefined field '{}'", field.name)),
                Some(declared) if self.types.assign(&declared.shape.kind, &given) => {}
                Some(declared) => {
                    let (name, wanted, given) = (&field.name, declared.shape.kind, self.types.known(&given));
                    let message =
                        format!("expected type of field '{name}' is '{wanted}' but provided type is '{given}'");
                    self.refuse(field.id, message);
                }
            }
        }
        kind
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        self.check(&mut fold.range);
        self.check(&mut fold.start);
        let range = self.type_of(&fold.range);
        let range = self.types.known(&range);
        let accumulated = self.type_of(&fold.start);
        let outside = self.scopes.len();
        self.scopes.push((fold.accumulator.clone(), accumulated.clone()));
        let (key, value) = match &range {
            Type::List(item) => (Type::Int, (**item).clone()),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.types.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let rule = "cannot be range of a comprehension (must be list, map, or dynamic)";
                self.refuse(fold.range.id, format!("expression of type '{other}' {rule}"));
                (Type::Error, Type::Error)
            }
        };
        let inside = self.scopes.len();
        match &fold.second {
            Some(second) => {
                self.scopes.push((fold.variable.clone(), key));
                self.scopes.push((second.clone(), value));
            }
            None => {
                let kind = if matches!(range, Type::List(_)) { value } else { key };
                self.scopes.push((fold.variable.clone(), kind));
            }
        }
        self.check(&mut fold.condition);
        self.demand(&fold.condition, &Type::Bool);
        self.check(&mut fold.step);
        self.demand(&fold.step, &accumulated);
        self.scopes.truncate(inside);
        self.check(&mut fold.result);
        self.scopes.truncate(outside);
        let result = self.type_of(&fold.result);
        self.types.known(&result)
    }

    fn demand(&mut self, expr: &Expr, wanted: &Type) {
        let found = self.type_of(expr);
        if !self.types.assign(wanted, &found) {
            self.mismatch(expr.id, wanted, &found);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

#[cfg(test)]
mod tests;
