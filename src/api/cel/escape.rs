//! Property names as identifiers of expressions: `a-b` is `a__dash__b`, `in` is `__in__`
//! (API reference of `x-kubernetes-validations`).

/// The name that expressions use for a property, or `None` if it cannot be named at all.
pub fn escape(property: &str) -> Option<String> {
    todo!()
}

/// The property that an expression names.
pub fn unescape(name: &str) -> Option<String> {
    todo!()
}
