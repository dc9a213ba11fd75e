//! Expressions in CEL: nothing panics when one is parsed, checked and, within a budget, evaluated.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nauplius::api::cel::{Activation, Budget, Environment, Program, Type, Value};
use serde_json::json;

/// Longest expression that is tried, in bytes.
const LIMIT_BYTES: usize = 4096;
/// What an evaluation may cost.
const COST: u64 = 20_000;

fuzz_target!(|input: &[u8]| {
    let Ok(source) = std::str::from_utf8(input) else { return };
    if source.len() > LIMIT_BYTES {
        return;
    }
    let environment = Environment::new().with("object", Type::Dyn).with("count", Type::Int).with("name", Type::String);
    let Ok(program) = Program::compile(source, &environment, &[]) else { return };
    let object = json!({"a": [1, 2.5, "x", null, true], "m": {"k": "v"}, "s": "some text", "n": -7});
    let (count, name) = (json!(3), json!("edge-1"));
    let mut activation = Activation::new();
    activation.bind("object", Value::from(&object));
    activation.bind("count", Value::from(&count));
    activation.bind("name", Value::from(&name));
    if let Ok(value) = program.evaluate(&activation, &mut Budget::new(COST)) {
        _ = value.to_json();
    }
});
