//! What calls cost at least and at most, and how large their results are.

use super::{
    CHARACTER, CHECK, LIST, PATTERN, STRUCTURE,
    estimate::{Argument, Nodes, Step},
    size::Range,
};
use crate::api::cel::{
    ast::Literal,
    library::Overload,
    types::{Opaque, Type},
};

/// What a call costs, and the size of its result if that is known.
pub(super) struct Call {
    pub cost: Range,
    pub size: Option<Range>,
}

/// The bytes of an address.
const ADDRESS: Range = Range { min: 4, max: 16 };
/// The length of the pattern that a named format is taken to have.
const FORMAT_PATTERN: f64 = 128.0;
/// The length of a format's name.
const FORMAT_NAME: u64 = 64;

const ONE: Range = Range::fixed(1);

fn cost(cost: Range) -> Call {
    Call { cost, size: None }
}

/// Estimates a call that means `overload`, its arguments but not its target included.
pub(super) fn estimate(
    nodes: &Nodes<'_>,
    overload: &Overload,
    target: Option<&Argument<'_>>,
    arguments: &[Argument<'_>],
) -> Call {
    if matches!(&*overload.function, "_&&_" | "_||_") {
        let (left, right) = (arguments[0].cost, arguments[1].cost);
        return cost(Range { min: left.min, max: left.plus(right).max });
    }
    if &*overload.function == "_?_:_" {
        let size = arguments[1].size.union(arguments[2].size);
        let chosen = arguments[1].cost.union(arguments[2].cost);
        return Call { cost: arguments[0].cost.plus(chosen), size: Some(size) };
    }
    let known = of_lists(overload, target, arguments)
        .or_else(|| of_kubernetes(nodes, overload, target, arguments))
        .unwrap_or_else(|| standard(overload, target, arguments));
    let paid = arguments.iter().fold(known.cost, |cost, argument| cost.plus(argument.cost));
    Call { cost: paid, size: known.size }
}

/// cel-go's own functions.
fn standard(overload: &Overload, target: Option<&Argument<'_>>, arguments: &[Argument<'_>]) -> Call {
    let size = |at: usize| arguments.get(at).map_or(Range::UNKNOWN, |argument| argument.size);
    let textual = matches!(overload.first(), Type::String | Type::Bytes);
    let on = target.map_or(Range::UNKNOWN, |target| target.size);
    match &*overload.function {
        "format" => cost(on.scaled(CHARACTER)),
        "bytes" if *overload.first() == Type::String => {
            let length = size(0);
            let bytes = Range { min: length.min, max: length.max.saturating_mul(4) };
            Call { cost: length.scaled(CHARACTER), size: Some(bytes) }
        }
        "string" if *overload.first() == Type::Bytes => {
            let length = size(0);
            Call { cost: length.scaled(CHARACTER), size: Some(Range { min: length.min / 4, max: length.max }) }
        }
        "strings.quote" => {
            let length = size(0);
            let quoted = length.plus(Range { min: 0, max: length.max }).plus(Range::fixed(2));
            Call { cost: length.scaled(CHARACTER), size: Some(quoted) }
        }
        "startsWith" | "endsWith" => cost(size(0).scaled(CHARACTER)),
        "@in" if matches!(overload.arguments[1], Type::List(_)) => cost(size(1)),
        "matches" if overload.member => cost(matching(on, size(0))),
        "contains" => cost(on.scaled(CHARACTER).times(size(0).scaled(CHARACTER))),
        "_+_" if textual => {
            let sum = size(0).plus(size(1));
            Call { cost: sum.scaled(CHARACTER), size: Some(sum) }
        }
        "_+_" if matches!(overload.first(), Type::List(_)) => Call { cost: ONE, size: Some(size(0).plus(size(1))) },
        "_<_" | "_<=_" | "_>_" | "_>=_" if textual => cost(compared(size(0), size(1))),
        "_==_" | "_!=_" => cost(compared(size(0), size(1))),
        _ => cost(ONE),
    }
}

fn compared(one: Range, other: Range) -> Range {
    let max = one.max.min(other.max);
    Range { min: u64::from(max > 0), max }.scaled(CHARACTER)
}

fn matching(text: Range, pattern: Range) -> Range {
    text.plus(ONE).scaled(CHARACTER).times(pattern.scaled(PATTERN))
}

/// cel-go's functions of lists and sets.
fn of_lists(overload: &Overload, target: Option<&Argument<'_>>, arguments: &[Argument<'_>]) -> Option<Call> {
    let made = |factor: f64, size: Range| Call {
        cost: size.scaled(factor).plus(ONE).plus(Range::fixed(LIST)),
        size: Some(size),
    };
    let compared = |list: Range, item: &Type| {
        let factor = if matches!(item, Type::String | Type::Bytes) { 2.0 + CHARACTER } else { 2.0 };
        made(factor, list.times(list))
    };
    let on = target.map_or(Range::UNKNOWN, |target| target.size);
    let item = |kind: &Type| kind.parts()[0].cloned().unwrap_or(Type::Dyn);
    Some(match &*overload.function {
        name @ ("sets.contains" | "sets.intersects" | "sets.equivalent") => {
            let factor = if name == "sets.equivalent" { 2.0 } else { 1.0 };
            cost(arguments[0].size.times(arguments[1].size).scaled(factor).plus(ONE))
        }
        "slice" => {
            let (start, end) = (literal(&arguments[0], 0), literal(&arguments[1], on.max));
            made(1.0, Range::fixed(end.wrapping_sub(start)))
        }
        "lists.range" => made(1.0, Range::fixed(literal(&arguments[0], u64::MAX))),
        "reverse" => made(1.0, on),
        #[expect(clippy::cast_precision_loss, reason = "upstream's depth is a double too")]
        "flatten" => made(arguments.first().map_or(1, |depth| literal(depth, u64::MAX)) as f64, on),
        "distinct" => made(2.0, on.times(on)),
        "sort" => compared(on, &item(overload.first())),
        "@sortByAssociatedKeys" => compared(arguments[0].size, &item(&overload.arguments[1])),
        _ => return None,
    })
}

/// The value of a literal integer.
fn literal(argument: &Argument<'_>, otherwise: u64) -> u64 {
    match argument.expr.literal() {
        Some(Literal::Int(value)) => u64::try_from(*value).unwrap_or_default(),
        _ => otherwise,
    }
}

/// Kubernetes' own functions, and those of text that it has costs for.
fn of_kubernetes(
    nodes: &Nodes<'_>,
    overload: &Overload,
    target: Option<&Argument<'_>>,
    arguments: &[Argument<'_>],
) -> Option<Call> {
    let size = |at: usize| arguments.get(at).map_or(Range::UNKNOWN, |argument| argument.size);
    let on = target.map_or(Range::UNKNOWN, |target| target.size);
    let read = |factor: f64, size: Range| Call { cost: size.scaled(factor), size: Some(size) };
    Some(match &*overload.function {
        "check" => cost(Range::fixed(CHECK)),
        "serviceAccount"
        | "path"
        | "group"
        | "resource"
        | "subresource"
        | "namespace"
        | "name"
        | "allowed"
        | "reason"
        | "error"
        | "errored"
        | "masked"
        | "prefixLength"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "format.named"
        | "sign"
        | "asInteger"
        | "isInteger"
        | "asApproximateFloat"
        | "isGreaterThan"
        | "isLessThan"
        | "compareTo"
        | "add"
        | "sub"
        | "major"
        | "minor"
        | "patch"
        | "getScheme"
        | "getHostname"
        | "getHost"
        | "getPort"
        | "getEscapedPath"
        | "getQuery" => cost(ONE),
        "fieldSelector" | "labelSelector" => cost(selector(size(0))),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => traversal(nodes, target?),
        "url" | "jsonpatch.escapeKey" => read(CHARACTER, size(0)),
        "lowerAscii" | "upperAscii" | "substring" | "trim" => read(CHARACTER, on),
        "replace" => Call { cost: on.scaled(2.0 * CHARACTER), size: Some(replaced(on, size(0), size(1))) },
        "split" => {
            let most = arguments.get(1).map_or(on.max, |most| literal(most, on.max));
            Call { cost: on.scaled(2.0 * CHARACTER), size: Some(Range::up_to(most)) }
        }
        "join" => {
            let joined = joined(nodes, target?, arguments);
            read(CHARACTER, joined)
        }
        "find" | "findAll" => Call { cost: matching(on, size(0)), size: Some(Range::up_to(on.max)) },
        "ip" if overload.member => cost(ONE),
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            cost(size(0).scaled(CHARACTER))
        }
        "ip.isCanonical" => cost(size(0).scaled(2.0 * CHARACTER)),
        "containsIP" | "containsCIDR" => cost(contained(overload, size(0))),
        "validate" => cost(size(0).scaled(CHARACTER).scaled(FORMAT_PATTERN * PATTERN)),
        "_==_" => return equality(arguments),
        _ => return None,
    })
}

fn traversal(nodes: &Nodes<'_>, list: &Argument<'_>) -> Call {
    match list.kind.parts() {
        [Some(item), _] => {
            let mut each = ONE;
            if matches!(item, Type::String | Type::Bytes) {
                each = each.plus(item_size(nodes, list).scaled(CHARACTER));
            }
            cost(list.size.times(each))
        }
        _ => cost(list.size.scaled(CHARACTER)),
    }
}

/// The size of the items of a list, as the schema has it.
fn item_size(nodes: &Nodes<'_>, list: &Argument<'_>) -> Range {
    use super::estimate::Place;
    let place = match &list.place {
        Place::Nowhere => Place::Nowhere,
        place => nodes.step(place, Step::Item),
    };
    Nodes::size_at(&place).unwrap_or(Range::UNKNOWN)
}

fn joined(nodes: &Nodes<'_>, list: &Argument<'_>, arguments: &[Argument<'_>]) -> Range {
    let mut size = Range::ZERO;
    if let [Some(_), _] = list.kind.parts() {
        size = list.size.times(item_size(nodes, list));
    }
    if let Some(separator) = arguments.first() {
        let count = Range { min: list.size.min.saturating_sub(1), max: list.size.max.saturating_sub(1) };
        size = size.plus(separator.size.times(count));
    }
    size
}

/// The size of a text in which something is replaced.
fn replaced(text: Range, old: Range, new: Range) -> Range {
    let parts = |length: u64, old: u64| length.div_ceil(old.max(1));
    let (mut count, mut kept) = (Range::ZERO, Range::ZERO);
    if old.min == 0 {
        (count.max, kept.max) = (text.max.saturating_add(1), text.max);
    } else if new.max <= old.min {
        kept.max = text.max;
    } else {
        count.max = parts(text.max, old.min);
    }
    if old.max == 0 {
        (count.min, kept.min) = (text.min.saturating_add(1), text.min);
    } else if old.max <= new.min {
        kept.min = text.min;
    } else {
        count.min = parts(text.min, old.max);
    }
    count.times(new).plus(kept)
}

fn selector(length: Range) -> Range {
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    let each = (LIST + STRUCTURE) as f64;
    Range::fixed(LIST).plus(length.scaled(CHARACTER)).plus(length.scaled(0.5).scaled(each))
}

fn contained(overload: &Overload, text: Range) -> Range {
    let mut cost = ADDRESS.plus(ADDRESS).scaled(CHARACTER);
    if &*overload.function == "containsCIDR" {
        cost = cost.plus(ADDRESS.scaled(CHARACTER)).plus(ONE);
    }
    if overload.arguments[1] == Type::String { cost.plus(text.scaled(CHARACTER)) } else { cost }
}

/// Values of Kubernetes' own types are compared at once.
fn equality(arguments: &[Argument<'_>]) -> Option<Call> {
    let (Type::Opaque(one), Type::Opaque(other)) = (&arguments[0].kind, &arguments[1].kind) else { return None };
    if one != other {
        return None;
    }
    Some(cost(match one {
        Opaque::Format => Range { min: 1, max: FORMAT_NAME }.scaled(CHARACTER),
        Opaque::Url => {
            let size = if arguments[1].sized { arguments[1].size } else { ONE };
            Range { min: 1, max: size.max }.scaled(CHARACTER)
        }
        _ => ONE,
    }))
}
