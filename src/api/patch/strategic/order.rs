//! In which order items of a merged list stand: those the patch names in the patch's order, those
//! only the server has in the server's, the two interleaved so that no server item moves behind a
//! patch item that it stood before.

use serde_json::{Map, Value};

use super::{Error, PATCH};
use crate::api::go;

/// Brings `merged` into order; `patch_order` is the patch's list, or its `$setElementOrder`.
pub(super) fn arrange(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&'static str>,
) -> Vec<Value> {
    let (mut named, mut rest): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(item, patch_order, key).is_some());
    named.sort_by_key(|item| place(item, patch_order, key));
    rest.sort_by_key(|item| place(item, server_order, key).unwrap_or(usize::MAX));
    interleave(rest, named, server_order, key)
}

/// Obeys `$setElementOrder/<name>`.
pub(super) fn set(
    fields: &mut Map<String, Value>,
    name: &str,
    order: Value,
    key: Option<&'static str>,
) -> Result<(), Error> {
    let Value::Array(order) = order else { return Err(Error::SetElementOrder) };
    if key.is_some_and(|key| order.iter().any(|item| item.get(key).is_none())) {
        return Err(Error::SetElementOrder);
    }
    if let Some(Value::Array(items)) = fields.get_mut(name) {
        let server_order = items.clone();
        *items = arrange(std::mem::take(items), &order, &server_order, key);
    }
    Ok(())
}

/// Checks that the items of a patch's list stand in its `$setElementOrder`, in that order. An empty list says
/// nothing, nor do items that are to be deleted.
pub(super) fn check(items: &[Value], order: &[Value], key: Option<&'static str>) -> Result<(), Error> {
    if items.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut order_left = order.iter();
    let mut wanted = items.iter().filter(|item| item.get(PATCH).is_none());
    let equal = |item: &Value, other: &Value| place(item, std::slice::from_ref(other), key).is_some();
    if wanted.all(|item| order_left.any(|other| equal(item, other))) {
        return Ok(());
    }
    let shown = |items: &[Value]| go::printed(&Value::Array(items.to_vec()));
    Err(Error::Order { patch: shown(items), order: shown(order) })
}

/// Whether two merge keys are the same; numbers and texts of the same spelling are.
pub(super) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (a, b) {
        (Some(a), Some(b)) => a == b || text(a) == text(b),
        _ => false,
    }
}

fn place(item: &Value, order: &[Value], key: Option<&'static str>) -> Option<usize> {
    order.iter().position(|other| match key {
        Some(key) => same(item.get(key), other.get(key)),
        None => item == other,
    })
}

fn interleave(
    server_only: Vec<Value>,
    named: Vec<Value>,
    server_order: &[Value],
    key: Option<&'static str>,
) -> Vec<Value> {
    let mut all = Vec::with_capacity(server_only.len() + named.len());
    let (mut left, mut right) = (server_only.into_iter().peekable(), named.into_iter().peekable());
    while let (Some(server), Some(patch)) = (left.peek(), right.peek()) {
        let before = match (place(server, server_order, key), place(patch, server_order, key)) {
            (Some(server), Some(patch)) => server < patch,
            _ => false,
        };
        all.extend(if before { left.next() } else { right.next() });
    }
    all.extend(left);
    all.extend(right);
    all
}
