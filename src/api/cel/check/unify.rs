//! Which types go where others are wanted, and what open types turn out to be.

use crate::api::cel::types::Type;

/// Looking at more types than this is refused: shared types can be larger than any tree.
const WORK_LIMIT: usize = 2_000_000;

/// What is known of open types.
#[derive(Debug, Default)]
pub(super) struct Types {
    /// By their numbers.
    found: Vec<Option<Type>>,
    /// What was known before, to be restored if an attempt fails.
    log: Vec<(u32, Option<Type>)>,
    work: usize,
}

impl Types {
    /// Whether so much was looked at that the result is not to be trusted.
    pub fn is_exhausted(&self) -> bool {
        self.work > WORK_LIMIT
    }

    /// The number of the first of some new open types.
    pub fn fresh(&mut self, count: u32) -> u32 {
        let first = u32::try_from(self.found.len()).unwrap_or(u32::MAX);
        self.found.resize(self.found.len() + count as usize, None);
        first
    }

    /// A new open type.
    pub fn variable(&mut self) -> Type {
        Type::Param(self.fresh(1))
    }

    /// The type with what is known put in.
    pub fn known(&mut self, kind: &Type) -> Type {
        self.substitute(kind, false)
    }

    /// The same; what is still open is dynamic.
    pub fn closed(&mut self, kind: &Type) -> Type {
        self.substitute(kind, true)
    }

    /// Whether `one` and `other` can be one type, and makes it so.
    pub fn assign(&mut self, one: &Type, other: &Type) -> bool {
        self.attempt(|types| types.fits(one, other))
    }

    /// The same for lists of types.
    pub fn assign_all(&mut self, ones: &[Type], others: &[Type]) -> bool {
        self.attempt(|types| {
            ones.len() == others.len() && ones.iter().zip(others).all(|(one, other)| types.fits(one, other))
        })
    }

    fn attempt(&mut self, attempt: impl FnOnce(&mut Self) -> bool) -> bool {
        let before = self.log.len();
        let fits = attempt(self);
        if !fits {
            for (number, old) in self.log.drain(before..).rev() {
                self.found[number as usize] = old;
            }
        }
        fits
    }

    fn bind(&mut self, number: u32, kind: Type) {
        let old = self.found[number as usize].replace(kind);
        self.log.push((number, old));
    }

    fn find(&self, number: u32) -> Option<Type> {
        self.found.get(number as usize).cloned().flatten()
    }

    fn substitute(&mut self, kind: &Type, close: bool) -> Type {
        self.work += 1;
        if self.is_exhausted() {
            return Type::Dyn;
        }
        let mut inner = |kind: &Type| self.substitute(kind, close);
        match kind {
            Type::Param(number) => match self.find(*number) {
                Some(found) => self.substitute(&found, close),
                None if close => Type::Dyn,
                None => kind.clone(),
            },
            Type::List(item) => Type::list(inner(item)),
            Type::Optional(value) => Type::optional(inner(value)),
            Type::Type(of) => Type::Type(inner(of).into()),
            Type::Map(key, value) => {
                let key = inner(key);
                Type::map(key, inner(value))
            }
            other => other.clone(),
        }
    }

    fn fits(&mut self, one: &Type, other: &Type) -> bool {
        self.work += 1;
        if self.is_exhausted() {
            return true;
        }
        if let Type::Param(number) = other {
            match self.stands_for(*number, other, one) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(number) = one {
            return self.stands_for(*number, one, other).0;
        }
        match (one, other) {
            _ if one.is_open() || other.is_open() => true,
            (Type::Null, Type::Null) => true,
            (Type::Null, kind) | (kind, Type::Null) => is_nullable(kind),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
                self.fits(one, other)
            }
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                self.fits(key, other_key) && self.fits(value, other_value)
            }
            _ => one == other,
        }
    }

    /// Whether the open type `number` can be `kind`, and whether it was known before.
    fn stands_for(&mut self, number: u32, open: &Type, kind: &Type) -> (bool, bool) {
        if open == kind {
            return (true, true);
        }
        if let Some(found) = self.find(number) {
            if found == *kind {
                return (true, true);
            }
            if !self.fits(kind, &found) {
                return (false, true);
            }
            let general = more_general(kind.clone(), found);
            if !self.occurs(open, &general) {
                self.bind(number, general);
            }
            return (true, true);
        }
        if self.occurs(open, kind) {
            return (false, false);
        }
        self.bind(number, kind.clone());
        (true, false)
    }

    /// Whether an open type is a part of another type, or is it.
    fn occurs(&mut self, open: &Type, within: &Type) -> bool {
        self.work += 1;
        if self.is_exhausted() || open == within {
            return true;
        }
        match within {
            Type::Param(number) => self.find(*number).is_some_and(|found| self.occurs(open, &found)),
            other => other.parts().into_iter().flatten().any(|part| self.occurs(open, part)),
        }
    }
}

/// A type of a signature, its open types numbered from `first` on.
pub(super) fn moved(kind: &Type, first: u32) -> Type {
    match kind {
        Type::Param(number) => Type::Param(first + number),
        Type::List(item) => Type::list(moved(item, first)),
        Type::Optional(value) => Type::optional(moved(value, first)),
        Type::Type(of) => Type::Type(moved(of, first).into()),
        Type::Map(key, value) => Type::map(moved(key, first), moved(value, first)),
        other => other.clone(),
    }
}

/// The one of two types that fit which says less.
pub(super) fn more_general(one: Type, other: Type) -> Type {
    if says_no_more(&one, &other) { one } else { other }
}

fn says_no_more(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::Type(_), Type::Type(_)) => true,
        (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => says_no_more(one, other),
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            says_no_more(key, other_key) && says_no_more(value, other_value)
        }
        _ => one == other,
    }
}

fn is_nullable(kind: &Type) -> bool {
    matches!(kind, Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Duration | Type::Timestamp)
}
