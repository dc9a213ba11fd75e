//! `$(VARIABLE)` references in commands, arguments and environment values (API reference,
//! `Container.command`).

/// Replaces references that `lookup` knows; unknown ones stay as they are and `$$` becomes `$`.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => result.push_str(value),
                None => {
                    result.push_str("$(");
                    result.push_str(name);
                    result.push(')');
                }
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_documented_rules() {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            _ => None,
        };
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(B)", "$(B)"),
            ("$(EMPTY)", ""),
            ("$A $ $(A", "$A $ $(A"),
            ("cost: 5$", "cost: 5$"),
        ] {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_keeps_text_without_dollars(text in "\\PC*") {
            let expanded = expand(&text, |_| None);
            if !text.contains('$') {
                assert_eq!(expanded, text);
            }
        }
    }
}
