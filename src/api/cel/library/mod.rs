//! The functions that expressions may call, one file for each of upstream's libraries.

mod authorizer;
mod convert;
mod format_text;
mod formats;
mod ip;
mod lists;
pub(super) mod native;
mod operators;
mod optional;
mod patch;
mod quantity;
pub(super) mod regex;
mod semver;
mod sets;
mod signature;
mod strings;
pub(super) mod time;
mod url;

use std::{collections::HashMap, sync::LazyLock};

use super::{
    error::Failure,
    types::Type,
    value::{Kind, Outcome, Value},
};

pub(super) use format_text::Clause;
pub(super) use operators::negated_or_true;

/// What a function does. Its arguments, the target first, are of the types in its signature.
pub(super) type Run = for<'a> fn(&[Value<'a>]) -> Outcome<'a>;

/// A function for arguments of certain types.
#[derive(Debug)]
pub(super) struct Overload {
    pub function: String,
    /// Whether it is called on its first argument.
    pub member: bool,
    pub arguments: Vec<Type>,
    pub result: Type,
    /// How many types it leaves open.
    pub parameters: u32,
    run: Run,
}

/// Functions by their names, in the order in which they were declared.
static FUNCTIONS: LazyLock<HashMap<String, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<String, Vec<Overload>> = HashMap::new();
    let tables = [
        operators::FUNCTIONS,
        convert::FUNCTIONS,
        time::FUNCTIONS,
        optional::FUNCTIONS,
        strings::FUNCTIONS,
        regex::FUNCTIONS,
        lists::FUNCTIONS,
        sets::FUNCTIONS,
        url::FUNCTIONS,
        ip::FUNCTIONS,
        quantity::FUNCTIONS,
        semver::FUNCTIONS,
        formats::FUNCTIONS,
        authorizer::FUNCTIONS,
        patch::FUNCTIONS,
    ];
    for (signatures, run) in tables.concat() {
        for text in signatures.split(';') {
            let overload = signature::read(text, run).expect("signatures are read by a test");
            functions.entry(overload.function.clone()).or_default().push(overload);
        }
    }
    functions
});

/// The functions called `name`; empty if there is none.
pub(super) fn functions(name: &str) -> &'static [Overload] {
    FUNCTIONS.get(name).map(Vec::as_slice).unwrap_or_default()
}

/// The first of the functions that takes these arguments, called.
pub(super) fn call<'a>(name: &str, candidates: &[&'static Overload], arguments: &[Value<'a>]) -> Outcome<'a> {
    match candidates.iter().find(|overload| overload.takes(arguments)) {
        Some(overload) => (overload.run)(arguments),
        None => Err(mismatch(name, arguments)),
    }
}

fn mismatch(name: &str, arguments: &[Value<'_>]) -> Failure {
    // Operators and the functions that cel-go leaves to look for themselves say less.
    match name {
        "contains" | "endsWith" | "startsWith" | "flatten" => Failure::no_overload(),
        _ if operators::is_operator(name) => operators::mismatch(name, arguments),
        _ => {
            let kinds: Vec<String> = arguments.iter().map(|value| value.kind().name().to_owned()).collect();
            Failure::new(format!("no such overload: {name}({})", kinds.join(", ")))
        }
    }
}

impl Overload {
    fn takes(&self, arguments: &[Value<'_>]) -> bool {
        self.arguments.len() == arguments.len()
            && self.arguments.iter().zip(arguments).all(|(kind, value)| is_of(value, kind))
    }

    /// The type of the first argument.
    pub fn first(&self) -> &Type {
        self.arguments.first().unwrap_or(&Type::Dyn)
    }
}

/// Whether a value is of a type, as far as can be told without looking into it.
fn is_of(value: &Value<'_>, kind: &Type) -> bool {
    match (&value.0, kind) {
        (_, Type::Dyn | Type::Param(_))
        | (Kind::Null, Type::Null)
        | (Kind::Bool(_), Type::Bool)
        | (Kind::Int(_), Type::Int)
        | (Kind::Uint(_), Type::Uint)
        | (Kind::Double(_), Type::Double)
        | (Kind::String(_), Type::String)
        | (Kind::Bytes(_), Type::Bytes)
        | (Kind::Timestamp(_), Type::Timestamp)
        | (Kind::Duration(_), Type::Duration)
        | (Kind::List(_), Type::List(_))
        | (Kind::Map(_), Type::Map(..))
        | (Kind::Type(_), Type::Type(_))
        | (Kind::Optional(_), Type::Optional(_)) => true,
        (Kind::Native(native), Type::Opaque(opaque)) => native.kind() == *opaque,
        _ => false,
    }
}

/// Reads of arguments whose types are known; "no such overload" if they are others after all.
impl<'a> Value<'a> {
    fn text(&self) -> Result<&str, Failure> {
        self.as_str().ok_or_else(Failure::no_overload)
    }

    fn int(&self) -> Result<i64, Failure> {
        match self.0 {
            Kind::Int(value) => Ok(value),
            _ => Err(Failure::no_overload()),
        }
    }

    fn items(&self) -> Result<&super::value::List<'a>, Failure> {
        match &self.0 {
            Kind::List(list) => Ok(list),
            _ => Err(Failure::no_overload()),
        }
    }
}

#[cfg(test)]
mod tests;
