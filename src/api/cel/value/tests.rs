//! JSON with schemas as values, and values as JSON.

use serde_json::{Value as Json, json};

use crate::api::{
    cel::{Activation, Budget, Environment, Program, Shape, Value, testing::environment},
    custom::structural::Structural,
};

/// What an expression about `self.val1` and so on costs; it must be true.
fn cost(source: &str, schema: &Json, value: &Json) -> u64 {
    let shape = Shape::of_structural(&Structural::read(schema), "selfType", false).unwrap();
    let environment = Environment::new().with_shape("self", shape.clone());
    let program = Program::compile(source, &environment, &[]).unwrap_or_else(|error| panic!("{source}: {error}"));
    let mut activation = Activation::new();
    activation.bind("self", Value::shaped(value, &shape).unwrap());
    let mut budget = Budget::new(1_000_000);
    let found = program.evaluate(&activation, &mut budget);
    assert_eq!(found.as_ref().ok().and_then(Value::as_bool), Some(true), "{source}: {found:?}");
    1_000_000 - budget.left()
}

#[test]
fn evaluations_cost_what_they_cost_upstream() {
    let schema = json!({"type": "object", "properties": {
        "int": {"type": "integer"}, "number": {"type": "number"}, "text": {"type": "string"},
        "bytes": {"type": "string", "format": "byte"}, "wait": {"type": "string", "format": "duration"},
        "day": {"type": "string", "format": "date"}, "yes": {"type": "boolean"},
    }});
    let value = json!({
        "int": 5, "number": 10, "text": "Rook takes \u{1f451}", "bytes": "QUI=", "wait": "1h2m3s4ms", "day": "1997-07-16",
        "yes": true,
    });
    for (source, expected) in [
        ("type(self.number) == double", 4),
        ("self.number == 10.0", 3),
        ("double(self.int) < self.number", 6),
        ("self.int < int(self.number)", 6),
        ("double(5) < 10.0", 1),
        ("double(self.int) < 10.0", 4),
        ("self.text.startsWith('Rook')", 4),
        ("!self.text.startsWith('knight')", 5),
        ("self.text.matches('^[^0-9]*$')", 8),
        ("!self.text.matches('^[0-9]*$')", 7),
        ("size(self.text) == 12", 4),
        ("self.text.charAt(3) == 'k'", 4),
        ("self.text.indexOf('o') == 1", 4),
        ("self.text.replace(' ', 'x') == 'Rookxtakesx\u{1f451}'", 7),
        ("self.text.split(' ') == ['Rook', 'takes', '\u{1f451}']", 6),
        ("self.text.substring(5) == 'takes \u{1f451}'", 5),
        ("self.text.substring(4, 10).trim() == 'takes'", 6),
        ("self.text.upperAscii() == 'ROOK TAKES \u{1f451}'", 6),
        ("self.text.lowerAscii() == self.text.lowerAscii()", 10),
        (
            "'%d %s %f %s %s'.format([1, 'abc', 1.0, duration('1m'), timestamp('2000-01-01T00:00:00.000Z')]) == \
          '1 abc 1.000000 60s 2000-01-01T00:00:00Z'",
            6,
        ),
        ("'%o %o %o'.format([7, 8, 9]) == '7 10 11'", 2),
        ("'%b %b %b'.format([7, 8, 9]) == '111 1000 1001'", 3),
        ("self.bytes == b'AB'", 3),
        ("size(self.bytes) == 2", 4),
        ("self.wait == duration('1h2m') + duration('3s4ms')", 4),
        ("self.wait.getHours() == 1", 4),
        ("type(self.wait) == google.protobuf.Duration", 4),
        ("self.day.getDate() == 16", 4),
        ("type(self.yes) == bool", 4),
    ] {
        assert_eq!(cost(source, &schema, &value), expected, "{source}");
    }
}

/// The result of an expression about `self` and `oldSelf`, which have a schema.
fn with_schema(source: &str, schema: &Json, values: [&Json; 2]) -> Result<Json, String> {
    let shape = Shape::of_structural(&Structural::read(schema), "selfType", false).unwrap();
    let environment = Environment::new().with_shape("self", shape.clone()).with_shape("oldSelf", shape.clone());
    let program = Program::compile(source, &environment, &[]).map_err(|error| error.to_string())?;
    let mut activation = Activation::new();
    activation.bind("self", Value::shaped(values[0], &shape).map_err(|error| error.to_string())?);
    activation.bind("oldSelf", Value::shaped(values[1], &shape).map_err(|error| error.to_string())?);
    let found = program.evaluate(&activation, &mut Budget::new(u64::MAX));
    found.and_then(|value| value.to_json()).map_err(|error| error.to_string())
}

fn schema() -> Json {
    json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "when": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "wait": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "ratio": {"type": "number"},
        "a-b": {"type": "string"},
        "namespace": {"type": "string"},
        "either": {"x-kubernetes-int-or-string": true},
        "maybe": {"type": "string", "nullable": true},
        "any": {"type": "object", "additionalProperties": {"type": "integer"}},
    }})
}

#[test]
fn schemas_say_what_json_is() {
    let value = json!({
        "set": ["a", "b"], "map": [{"k": "x", "v": 1}], "when": "2020-01-02T03:04:05Z", "day": "2020-01-02",
        "wait": "90s", "data": "YWI=", "ratio": 1, "a-b": "dash", "namespace": "n", "either": 5, "maybe": null,
        "any": {"one": 1}, "unknown": true,
    });
    for source in [
        "self.when.getFullYear() == 2020 && self.day == timestamp('2020-01-02T00:00:00Z')",
        "self.wait == duration('1m30s') && self.data == b'ab' && self.ratio == 1.0 && type(self.ratio) == double",
        "self.a__dash__b == 'dash' && self.__namespace__ == 'n' && has(self.a__dash__b)",
        "type(self.either) == int && self.either == 5",
        "!has(self.maybe) && self.any.one == 1 && self.any.all(k, self.any[k] == 1)",
        "type(self) == map && self == oldSelf",
    ] {
        assert_eq!(with_schema(source, &schema(), [&value, &value]), Ok(json!(true)), "{source}");
    }
    let refused = with_schema("self.unknown", &schema(), [&value, &value]).unwrap_err();
    assert!(refused.contains("undefined field 'unknown'"), "{refused}");
}

#[test]
fn sets_and_maps_are_compared_and_joined_as_such() {
    let one = json!({"set": ["a", "b"], "map": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]});
    let other = json!({"set": ["b", "a"], "map": [{"k": "y", "v": 2}, {"k": "x", "v": 1}]});
    for source in [
        "self.set == oldSelf.set && self.map == oldSelf.map",
        "self.set + ['b', 'c'] == ['c', 'b', 'a'] && (self.set + oldSelf.set).size() == 2",
        "(self.map + oldSelf.map.filter(e, e.k == 'x')).size() == 2",
        "self == oldSelf",
    ] {
        assert_eq!(with_schema(source, &schema(), [&one, &other]), Ok(json!(true)), "{source}");
    }
    let changed = json!({"set": ["a", "c"], "map": [{"k": "x", "v": 1}, {"k": "y", "v": 3}]});
    let differ = "self.set != oldSelf.set && self.map != oldSelf.map";
    assert_eq!(with_schema(differ, &schema(), [&one, &changed]), Ok(json!(true)));
}

#[test]
fn what_is_not_as_its_schema_says_is_an_error() {
    let value = json!({"when": "yesterday", "set": [null]});
    let found = |source: &str| with_schema(source, &schema(), [&value, &value]).unwrap_err();
    assert!(found("self.when == self.when").contains("Invalid date-time formatted string yesterday"));
    assert!(found("self.set[0] == 'a'").contains("invalid data, got null for schema with nullable=false"));
}

#[test]
fn structures_are_named_by_the_way_to_them() {
    let run = |source: &str| {
        let program = Program::compile(source, &environment(), &[]).unwrap();
        let activation = Activation::new();
        let value = program.evaluate(&activation, &mut Budget::new(1000)).unwrap();
        value.check_object_paths().map_err(|error| error.to_string())
    };
    assert_eq!(run("Object{spec: Object.spec{a: [Object.spec.a{}]}}"), Ok(()));
    let wrong = run("Object{spec: Object.status{}}").unwrap_err();
    let expected = "unexpected type name \"Object.status\", expected \"Object.spec\", which matches field name path from \
                    root Object type";
    assert_eq!(wrong, expected);
}

#[test]
fn large_integers_are_text_and_what_has_no_form_is_refused() {
    let run = |source: &str| crate::api::cel::testing::evaluate(source, &json!(null));
    assert_eq!(run("{'a': 9007199254740993, 'b': 1}"), Ok(json!({"a": "9007199254740993", "b": 1})));
    assert_eq!(run("[1.0, 1.5]"), Ok(json!([1, 1.5])));
    assert!(run("ip('::1')").unwrap_err().contains("type conversion error from 'net.IP'"));
}
