//! Programs as wholes: what they promise whatever they are given.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::cel::testing::{environment, evaluate};

#[test]
fn the_result_must_be_of_an_expected_type() {
    let compile = |source: &str, expected: &[Type]| {
        Program::compile(source, &environment(), expected).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(compile("true", &[Type::Bool]), Ok(()));
    assert_eq!(compile("1", &[Type::Bool]), Err("must evaluate to bool but got int".into()));
    assert_eq!(compile("object.a", &[Type::Bool]), Err("must evaluate to bool but got dyn".into()));
    let either = compile("1", &[Type::Bool, Type::String]);
    assert_eq!(either, Err("must evaluate to one of [bool string] but got int".into()));
    let shown = "compilation failed: ERROR: <input>:1:8: undeclared reference to 'x' (in container '')\n | true && x\n | .......^";
    assert_eq!(compile("true && x", &[]), Err(shown.replace("1:8", "1:9").replace(".......^", "........^")));
}

#[test]
fn programs_know_what_they_name() {
    let program =
        Program::compile("object.a.exists(object, object == 1) && has(object.b)", &environment(), &[]).unwrap();
    assert!(program.uses("object") && !program.uses("params"));
    assert_eq!(program.source(), "object.a.exists(object, object == 1) && has(object.b)");
}

#[test]
fn programs_can_be_shared() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Program>();
}

const TOKENS: &[&str] = &[
    "object",
    "a",
    "x",
    "1",
    "2u",
    "1.5",
    "'s'",
    "b'b'",
    "true",
    "null",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    ":",
    "?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "&&",
    "||",
    "==",
    "<",
    "in",
    "has(",
    ".all(x,",
    ".map(x,",
    ".exists(x,",
    "size(",
    "cel.bind(x,",
    ".optMap(x,",
    "optional.of(",
    ".?a",
    "[?",
    "string(",
    "int(",
    "type(",
    "dyn(",
    "Object{",
    "JSONPatch{",
    "a:",
    ".format([",
    ".split(",
    ".sum()",
    ".transformMap(i, x,",
    "quantity(",
    "ip(",
    "cidr(",
    "url(",
    "semver(",
    "duration(",
    "timestamp(",
    ".matches(",
    ".replace(",
    ".sort()",
    ".sortBy(x,",
    "lists.range(",
    ".flatten(",
    " // c\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_soup_of_tokens_makes_it_panic(soup in prop::collection::vec(prop::sample::select(TOKENS), 0..25)) {
        let object = json!({"a": [1, {"a": "x"}], "s": 1.5});
        _ = evaluate(&soup.join(" "), &object);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        _ = evaluate(&text, &json!(null));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        _ = evaluate(&String::from_utf8_lossy(&bytes), &json!(null));
    }

    #[test]
    fn no_calls_make_it_panic(
        text in "[ -~]{0,12}", pattern in "[a-z.*+()\\[\\]\\\\{}0-9-]{0,8}", from in -3i64..40, to in -3i64..40,
    ) {
        let object = json!({"t": text, "p": pattern, "f": from, "e": to});
        for source in [
            "object.t.substring(object.f, object.e)", "object.t.indexOf(object.p, object.f)",
            "object.t.lastIndexOf(object.p, object.f)", "object.t.split(object.p, object.f)", "object.t.replace(object.p, 'é', object.f)",
            "object.t.matches(object.p)", "object.t.findAll(object.p, object.f)", "object.t.format([object.f, object.t])",
            "url(object.t).getQuery()", "cidr(object.t).masked()", "ip(object.t)", "semver(object.t, true)", "quantity(object.t).add(object.f)",
            "duration(object.t)", "timestamp(object.t)", "timestamp(object.f)", "lists.range(object.f).slice(object.f, object.e)",
            "timestamp(0).getHours(object.t)", "object.t.charAt(object.f)", "double(object.t)", "format.uri().validate(object.t)",
        ] {
            _ = evaluate(source, &object);
        }
    }
}

#[test]
fn deep_expressions_fit_on_a_small_stack() {
    let deep = [
        format!("{}1{}", "[".repeat(120), "]".repeat(120)),
        format!("{}true", "!".repeat(500)),
        format!("object{}", ".a".repeat(240)),
        format!("1{}", " + 1".repeat(240)),
        format!("{}true{}", "[1].all(x, ".repeat(60), ")".repeat(60)),
        format!("{}1{}", "(".repeat(240), ")".repeat(240)),
        format!("{}1", "true ? 1 : ".repeat(240)),
    ];
    let check = move || deep.iter().for_each(|source| _ = evaluate(source, &json!({})));
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(check);
    thread.unwrap().join().unwrap();
}
