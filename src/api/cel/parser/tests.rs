//! What is read, how it is grouped, and what is refused.

use super::*;
use crate::api::cel::{ast::Literal, error::issues};

/// A tree as calls.
fn show(expr: &Expr) -> String {
    let all = |exprs: &[Expr]| exprs.iter().map(show).collect::<Vec<_>>().join(", ");
    match &expr.kind {
        Kind::Literal(Literal::String(text)) => format!("{text:?}"),
        Kind::Literal(Literal::Bool(value)) => value.to_string(),
        Kind::Literal(Literal::Int(value)) => value.to_string(),
        Kind::Literal(Literal::Uint(value)) => format!("{value}u"),
        Kind::Literal(literal) => format!("{literal:?}"),
        Kind::Ident(name) => name.to_string(),
        Kind::Select { operand, field, test } => {
            format!("{}.{field}{}", show(operand), if *test { "~test" } else { "" })
        }
        Kind::Call { function, target, arguments } => {
            let target = target.as_deref().map(|target| show(target) + ".").unwrap_or_default();
            format!("{target}{function}({})", all(arguments))
        }
        Kind::List(items) => {
            let item = |item: &Item| format!("{}{}", if item.optional { "?" } else { "" }, show(&item.value));
            format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        Kind::Map(entries) => {
            let entry = |entry: &Entry| format!("{}:{}", show(&entry.key), show(&entry.value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Kind::Struct { name, fields } => {
            let field = |field: &Initializer| format!("{}:{}", field.name, show(&field.value));
            format!("{name}{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Kind::Fold(fold) => format!(
            "fold({} in {}, {} = {}; {}; {}; {})",
            fold.variable,
            show(&fold.range),
            fold.accumulator,
            show(&fold.start),
            show(&fold.condition),
            show(&fold.step),
            show(&fold.result)
        ),
    }
}

#[test]
fn operators_bind_as_they_should() {
    for (text, expected) in [
        ("1 + 2 * 3 - 4", "_-_(_+_(1, _*_(2, 3)), 4)"),
        ("a || b && c", "_||_(a, _&&_(b, c))"),
        ("a && b && c && d", "_&&_(_&&_(a, b), _&&_(c, d))"),
        ("a == b in c", "@in(_==_(a, b), c)"),
        ("a ? b : c ? d : e", "_?_:_(a, b, _?_:_(c, d, e))"),
        ("!!a && !b", "_&&_(a, !_(b))"),
        ("- a - -1", "_-_(-_(a), -1)"),
        ("a.b[0].?c.d(1, 2)", "_?._(_[_](a.b, 0), \"c\").d(1, 2)"),
        ("a[?b]", "_[?_](a, b)"),
        ("has(a.b.c)", "a.b.c~test"),
        ("[1, ?a,]", "[1, ?a]"),
        ("{'a': 1, 2u: b}", "{\"a\":1, 2u:b}"),
        ("Object.spec{a: 1}", "Object.spec{a:1}"),
        ("x.map(v, v)", "fold(v in x, @result = []; true; _+_(@result, [v]); @result)"),
        ("cel.bind(v, 1, v + v)", "fold(#unused in [], v = 1; false; v; _+_(v, v))"),
        (r#"'a\n\x41' + r'\n' + b'\xff'"#, "_+_(_+_(\"a\\nA\", \"\\\\n\"), Bytes([255]))"),
    ] {
        assert_eq!(show(&parse(text).unwrap().root), expected, "{text}");
    }
}

#[test]
fn what_is_no_expression_is_refused() {
    for (text, expected) in [
        (
            "1 +",
            "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', \
                 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^",
        ),
        ("a b", "ERROR: <input>:1:3: Syntax error: extraneous input 'b' expecting <EOF>\n | a b\n | ..^"),
        (
            "a.namespace + namespace",
            "ERROR: <input>:1:15: reserved identifier: namespace\n | a.namespace + namespace\n | ..............^",
        ),
        ("has(a)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(a)\n | ....^"),
        ("[1].all(1, true)", "ERROR: <input>:1:9: argument must be a simple name\n | [1].all(1, true)\n | ........^"),
        ("9223372036854775808", "ERROR: <input>:1:1: invalid int literal\n | 9223372036854775808\n | ^"),
    ] {
        assert_eq!(
            issues(text, parse(text).unwrap_err()).to_string(),
            format!("compilation failed: {expected}"),
            "{text}"
        );
    }
    assert!(parse("-9223372036854775808").is_ok());
    for text in ["", "(", "f(1,)", "[1 2]", "{1}", "a.", "a.?", "1.", "$", "'", "a ? b", "f(", "x{", ".", "a.b.c{d:}"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = |text: String| issues(&text, parse(&text).unwrap_err()).to_string();
    assert!(deep("(".repeat(5000)).contains("recursion limit exceeded: 250"));
    assert!(deep("1 + ".repeat(400) + "1").contains("max recursion depth exceeded"));
    assert!(deep("a".to_owned() + &".b".repeat(400)).contains("max recursion depth exceeded"));
    assert!(deep("a".to_owned() + &".optMap(x, x)".repeat(60)).contains("max recursion depth exceeded"));
    assert!(deep("a".repeat(100_001)).contains("size: 100001, limit 100000"));
    assert!(parse(&("true && ".repeat(5000) + "true")).is_ok());
}
