//! Signatures as text: `matches(string, string) bool`, or `(list<A>).indexOf(A) int` for what is called on
//! its first argument.

use super::{Overload, Run};
use crate::api::cel::types::{Opaque, Type};

/// Reads a signature.
pub(super) fn read(text: &str, run: Run) -> Option<Overload> {
    let text = text.trim();
    let (target, rest) = match text.strip_prefix('(') {
        Some(rest) => {
            let (target, rest) = rest.split_once(").")?;
            (Some(kind(target)?), rest)
        }
        None => (None, text),
    };
    let (function, rest) = rest.split_once('(')?;
    let (arguments, result) = rest.split_once(')')?;
    let member = target.is_some();
    let mut all: Vec<Type> = target.into_iter().collect();
    for argument in separate(arguments) {
        all.push(kind(argument)?);
    }
    let result = kind(result.trim())?;
    let parameters = all.iter().chain([&result]).map(parameters).max().unwrap_or_default();
    Some(Overload { function: function.into(), member, arguments: all, result, parameters, run })
}

fn kind(text: &str) -> Option<Type> {
    let text = text.trim();
    if let Some((outer, inner)) = text.split_once('<') {
        let inner: Vec<Type> = separate(inner.strip_suffix('>')?).map(kind).collect::<Option<_>>()?;
        let mut inner = inner.into_iter();
        let first = inner.next()?;
        return Some(match outer {
            "list" => Type::list(first),
            "optional" => Type::optional(first),
            "type" => Type::Type(first.into()),
            "map" => Type::map(first, inner.next()?),
            _ => return None,
        });
    }
    Some(match text {
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        opaque => Type::Opaque(match opaque {
            "url" => Opaque::Url,
            "ip" => Opaque::Ip,
            "cidr" => Opaque::Cidr,
            "quantity" => Opaque::Quantity,
            "semver" => Opaque::Semver,
            "format" => Opaque::Format,
            "authorizer" => Opaque::Authorizer,
            "path" => Opaque::PathCheck,
            "group" => Opaque::GroupCheck,
            "resource" => Opaque::ResourceCheck,
            "decision" => Opaque::Decision,
            _ => return None,
        }),
    })
}

/// Parts between the commas that are in no brackets.
fn separate(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let parts = text.split(move |next| {
        match next {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        next == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty())
}

/// One more than the largest number of an open type.
fn parameters(kind: &Type) -> u32 {
    match kind {
        Type::Param(number) => number + 1,
        other => other.parts().into_iter().flatten().map(parameters).max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read() {
        let read = |text| super::read(text, |_| Err(crate::api::cel::error::Failure::Limit));
        let overload = read("(map<A, list<B>>).f(optional<A>, int) list<B>").unwrap();
        assert_eq!(overload.function, "f");
        assert!(overload.member);
        let shown: Vec<String> = overload.arguments.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["map(_var0, list(_var1))", "optional_type(_var0)", "int"]);
        assert_eq!((overload.result.to_string(), overload.parameters), ("list(_var1)".into(), 2));
        assert!(read("f() nonsense").is_none());
    }
}
