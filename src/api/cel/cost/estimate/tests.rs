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

#[test]
fn bounds_of_schemas_bound_costs() {
    let numbers = json!({"type": "array", "items": {"type": "integer"}});
    let text = |most: u64| json!({"type": "string", "maxLength": most});
    for (source, schema, expected) in [
        ("self.all(x, x == x)", json!({"type": "array", "maxItems": 10, "items": {"type": "integer"}}), 2 + 10 * 6),
        ("self.contains('test')", json!({"type": "string"}), 314_574),
        ("self.contains('test')", text(10), 5),
        ("self.startsWith('kubernetes')", json!({"type": "string"}), 2),
        ("self.matches('a')", text(10), 6),
        ("size(self) > 1", numbers.clone(), 3),
        ("self + self == self", text(5), 8),
        ("has(self.x)", json!({"type": "object", "properties": {"x": {"type": "integer"}}}), 1),
    ] {
        assert_eq!(most(source, &schema), expected, "{source}");
    }
    assert!(most("self.all(x, self.all(y, x == y))", &numbers) > 10_000_000);
}
