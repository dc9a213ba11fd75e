//! What the checker finds out, and what it refuses.

use crate::api::cel::{
    Environment, Opaque, Program, Type,
    testing::{environment, refused},
};

fn typed() -> Environment {
    let inner = Type::object("kubernetes.Inner", [("n", Type::Int), ("s", Type::String)]);
    Environment::new()
        .with("self", Type::object("kubernetes.Self", [("inner", inner.clone()), ("list", Type::list(inner))]))
        .with("authorizer", Type::Opaque(Opaque::Authorizer))
        .with("authorizer.requestResource", Type::Opaque(Opaque::ResourceCheck))
}

#[test]
fn results_have_types() {
    for (source, expected) in [
        ("1 + 1", "int"),
        ("object.a.b", "dyn"),
        ("[1, 2].map(x, string(x))", "list(string)"),
        ("{'a': [1.0]}", "map(string, list(double))"),
        ("object.?a.orValue(1)", "dyn"),
        ("optional.of('a')", "optional_type(string)"),
        ("[]", "list(dyn)"),
        ("true ? 1 : dyn('a')", "dyn"),
        ("object.a + 1", "int"),
        ("object.a + object.b", "dyn"),
        ("type(1)", "type(int)"),
        ("cel.bind(x, [1], x[0])", "int"),
        ("quantity('1').add(1)", "kubernetes.Quantity"),
        ("Object{a: 1}", "Object"),
        ("[1, 2].transformMap(i, v, string(v))", "map(int, string)"),
        ("[[1]].flatten()", "list(int)"),
    ] {
        match Program::compile(source, &environment(), &[]) {
            Ok(program) => assert_eq!(program.output().to_string(), expected, "{source}"),
            Err(error) => panic!("{source}: {error}"),
        }
    }
}

#[test]
fn what_is_wrong_is_said_in_upstreams_words() {
    for (source, expected) in [
        ("x", "undeclared reference to 'x' (in container '')"),
        ("f(1)", "undeclared reference to 'f' (in container '')"),
        ("self.inner.x", "undefined field 'x'"),
        ("self.inner + 1", "found no matching overload for '_+_' applied to '(kubernetes.Inner, int)'"),
        ("self.inner.n == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("'a'.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("{'a': 1, 2: 3}", "expected type 'string' but found 'int'"),
        ("1 && true", "expected type 'bool' but found 'int'"),
        ("self.inner.n.x", "type 'int' does not support field selection"),
        (
            "1.all(x, true)",
            "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1].all(x, x)", "expected type 'bool' but found 'int'"),
        ("duration('x')", "invalid duration argument"),
        ("timestamp('x')", "invalid timestamp argument"),
        ("'a'.matches('[')", "invalid matches argument"),
        ("Object{}", "undeclared reference to 'Object' (in container '')"),
        (
            "jsonpatch.escapeKey('a')",
            "undeclared reference to 'jsonpatch' (in container ''); undeclared reference to 'escapeKey' (in container '')",
        ),
        ("[?1]", "expected type 'optional_type(int)' but found 'int'"),
        ("[dyn(1), 'a']", "expected type 'dyn' but found 'string'"),
        ("authorizer.path('/x').check('get').allowed()", "compiles to bool"),
        ("authorizer.requestResource.check('get').reason()", "compiles to string"),
        ("self.list.exists(x, x.n > 1 && x.s == 'a')", "compiles to bool"),
        ("'%s %s'.format([1, 'a'])", "compiles to string"),
        ("null == self.inner", "compiles to bool"),
        ("int{}", "'int' is not a message type"),
        ("self{}", "'kubernetes.Self' is not a type"),
    ] {
        assert_eq!(refused(source, &typed()), expected, "{source}");
    }
}

#[test]
fn types_that_grow_without_end_are_refused() {
    let mut source = String::from("a0");
    for level in (0..60).rev() {
        let value = if level == 0 { "{}".to_owned() } else { format!("{{a{0}: a{0}}}", level - 1) };
        source = format!("cel.bind(a{level}, {value}, {source})");
    }
    // Whether it is refused or not, it ends.
    _ = Program::compile(&source, &environment(), &[]);
}
