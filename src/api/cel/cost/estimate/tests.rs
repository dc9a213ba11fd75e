//! What rules of custom resource definitions are taken to cost.

use serde_json::{Value as Json, json};

use crate::api::{
    cel::{Environment, Program, Shape},
    custom::structural::Structural,
};

fn most(source: &str, schema: &Json) -> u64 {
    let shape = Shape::of_structural(&Structural::read(schema), "selfType", false).unwrap();
    let environment = Environment::new().with_shape("self", shape.clone()).with_shape("oldSelf", shape);
    Program::compile(source, &environment, &[]).unwrap_or_else(|error| panic!("{source}: {error}")).estimated_cost().max
}

/// A schema, with a bound if there is one.
fn bounded(mut schema: Json, keyword: &str, most: Option<u64>) -> Json {
    if let Some(most) = most {
        schema[keyword] = most.into();
    }
    schema
}

fn array(items: Json, most: Option<u64>) -> Json {
    bounded(json!({"type": "array", "items": items}), "maxItems", most)
}

fn map(values: Json, most: Option<u64>) -> Json {
    bounded(json!({"type": "object", "additionalProperties": values}), "maxProperties", most)
}

fn text(most: Option<u64>) -> Json {
    bounded(json!({"type": "string"}), "maxLength", most)
}

#[test]
fn rules_cost_what_they_cost_upstream() {
    let kind = |kind: &str| json!({"type": kind});
    let format = |format: &str| json!({"type": "string", "format": format});
    let either = json!({"x-kubernetes-int-or-string": true});
    let cases: Vec<(&str, Json, u64)> = vec![
        ("self.all(x, true)", array(kind("number"), None), 4_718_591),
        ("self.all(x, true)", array(kind("number"), Some(10)), 32),
        ("self.all(x, true)", array(kind("string"), None), 3_145_727),
        ("self.all(x, true)", array(kind("boolean"), None), 1_887_437),
        ("self.all(x, true)", array(array(kind("number"), None), None), 3_145_727),
        ("self.all(x, true)", map(kind("number"), None), 1_348_169),
        ("self.all(x, true)", map(kind("string"), None), 1_179_647),
        ("self.all(x, true)", map(kind("boolean"), Some(100)), 302),
        ("self.contains('test')", text(None), 314_574),
        ("self.contains('test')", text(Some(10)), 5),
        ("self.startsWith('test')", text(None), 2),
        ("size(self + \"hello\") > size(\"hello\")", text(None), 314_578),
        ("size(self + \"hello\") > size(\"hello\")", text(Some(4)), 7),
        ("self[1] == 0.0", array(kind("number"), None), 2),
        ("self[1] == self[1]", array(kind("string"), None), 314_577),
        ("self.all(x, self.all(y, true))", array(kind("number"), Some(10)), 352),
        ("self.all(x, self.all(y, self.all(z, true)))", array(kind("number"), Some(10)), 3552),
        ("self.matches(\"x\")", text(None), 314_574),
        ("self.matches(\"x\")", text(Some(50)), 22),
        ("\"\".matches(\"(((((((((())))))))))[0-9]\")", text(None), 7),
        ("self.matches(\"\")", text(None), 1),
        ("self[\"x\"] == 0.0", map(kind("number"), None), 2),
        ("self == \"x\"", text(Some(0)), 1),
        ("self.all(x, x == 0.0)", array(kind("number"), None), 6_291_454),
        ("self.all(x, true)", array(either.clone(), None), 4_718_591),
        ("self[0] == 5", array(either.clone(), None), 3),
        ("self[0][0] == -1.0", array(array(kind("number"), None), None), 3),
        ("self.all(x, true)", array(format("duration"), None), 2_359_295),
        ("self[0].getHours() == 2", array(format("duration"), None), 4),
        ("self.all(x, true)", array(format("date"), None), 725_936),
        ("self.lowerAscii() == 'lower!'", text(None), 314_575),
        ("self.lowerAscii() == 'lower!'", text(Some(10)), 6),
        ("oldSelf.size() == self.size()", map(kind("integer"), None), 5),
        ("self[\"a\"] == self[\"b\"]", map(format("date-time"), None), 8),
        ("self[\"c\"] == self[\"d\"]", map(format("duration"), None), 8),
        ("self.contains('A')", json!({"type": "string", "enum": ["A", "LongValue"]}), 2),
        ("isQuantity(self)", either, 314_574),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(source, schema, expected)| {
            let found = most(source, schema);
            (found != *expected).then(|| format!("{source} of {schema}: {found}, not {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn splitting_costs_by_what_is_split() {
    let schema = |most| json!({"type": "object", "properties": {"str": text(most), "separator": text(most)}});
    assert_eq!(most("self.str.split(self.separator) == []", &schema(None)), 629_160);
    assert_eq!(most("self.str.split(self.separator) == []", &schema(Some(10))), 22);
}
