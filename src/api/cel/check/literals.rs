//! What is wrong with literals though their types are right: times, patterns and formats that are none,
//! and lists of mixed types.

use crate::api::cel::{
    ast::{Expr, Facts, Id, Item, Kind, Literal},
    library::{Clause, regex, time},
    types::Type,
};

pub(super) fn check(root: &Expr, facts: &Facts) -> Vec<(Id, String)> {
    let mut problems = Vec::new();
    visit(root, facts, false, &mut problems);
    problems
}

/// `mixed` says that lists here may be mixed: the arguments of a format.
fn visit(expr: &Expr, facts: &Facts, mixed: bool, problems: &mut Vec<(Id, String)>) {
    let mut exempt = mixed;
    match &expr.kind {
        Kind::Call { function, target, arguments } => {
            exempt |= &**function == "format";
            let first = arguments.first().map(|argument| (argument, argument.literal()));
            if let Some((argument, Some(Literal::String(text)))) = first
                && !is_valid(function, text)
            {
                problems.push((argument.id, format!("invalid {function} argument")));
            }
            if let (Some(target), [argument], "format") = (target, arguments.as_slice(), &**function) {
                format(expr, target, argument, facts, problems);
            }
        }
        Kind::List(items) if !mixed => uniform(items.iter().map(|item| (&item.value, item.optional)), facts, problems),
        Kind::Map(entries) if !mixed => {
            uniform(entries.iter().map(|entry| (&entry.key, false)), facts, problems);
            uniform(entries.iter().map(|entry| (&entry.value, entry.optional)), facts, problems);
        }
        _ => {}
    }
    expr.children().into_iter().for_each(|child| visit(child, facts, exempt, problems));
}

fn is_valid(function: &str, text: &str) -> bool {
    match function {
        "duration" => time::parse_duration(text).is_some(),
        "timestamp" => crate::api::time::parse(text).is_some_and(time::is_in_range),
        "matches" => regex::pattern(text).is_ok(),
        _ => true,
    }
}

/// Items are of the type of the first one.
fn uniform<'e>(items: impl Iterator<Item = (&'e Expr, bool)>, facts: &Facts, problems: &mut Vec<(Id, String)>) {
    let mut first: Option<Type> = None;
    for (item, optional) in items {
        let kind = match facts.of(item) {
            Type::Optional(inner) if optional => (**inner).clone(),
            kind => kind.clone(),
        };
        match &first {
            None => first = Some(kind),
            Some(first) if equivalent(first, &kind) => {}
            Some(first) => {
                problems.push((item.id, format!("expected type '{first}' but found '{kind}'")));
                return;
            }
        }
    }
}

/// Whether two types are the same, or built of the same where neither is dynamic.
fn equivalent(one: &Type, other: &Type) -> bool {
    match (one.parts(), other.parts()) {
        ([Some(a), b], [Some(c), d]) => {
            one.name() == other.name() && equivalent(a, c) && b.is_none_or(|b| d.is_some_and(|d| equivalent(b, d)))
        }
        _ => one == other,
    }
}

/// A format that is written out fits the arguments that are.
fn format(call: &Expr, target: &Expr, argument: &Expr, facts: &Facts, problems: &mut Vec<(Id, String)>) {
    let (Some(Literal::String(text)), Kind::List(items)) = (target.literal(), &argument.kind) else { return };
    let clauses = Clause::all(text);
    for (at, clause) in clauses.iter().enumerate() {
        let problem = match (clause, items.get(at)) {
            (_, None) => Some((call.id, format!("index {at} out of range"))),
            (Err(message), _) => Some((call.id, message.clone())),
            (Ok(clause), Some(item)) => refused(*clause, &item.value, facts),
        };
        if let Some(problem) = problem {
            problems.push(problem);
            return;
        }
    }
    if items.len() > clauses.len() {
        let (expected, got) = (clauses.len(), items.len());
        let message = format!("too many arguments supplied to string.format (expected {expected}, got {got})");
        problems.push((call.id, message));
    }
}

/// Why a clause cannot show a value; `%s` looks into lists and maps.
fn refused(clause: Clause, value: &Expr, facts: &Facts) -> Option<(Id, String)> {
    if let Some(message) = clause.refuses(facts.of(value)) {
        return Some((value.id, message));
    }
    let inside: Vec<&Expr> = match (&value.kind, clause) {
        (Kind::List(items), Clause::String) => items.iter().map(|Item { value, .. }| value).collect(),
        (Kind::Map(_), Clause::String) => value.children(),
        _ => Vec::new(),
    };
    inside.into_iter().find_map(|value| refused(clause, value, facts))
}
