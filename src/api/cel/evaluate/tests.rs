//! What evaluations come to, what they cost, and where they end.

use serde_json::json;

use crate::api::cel::{
    Activation, Authorizer, Budget, Decision, Environment, EvaluationError, Identity, OBJECT_BUDGET, Opaque, Program,
    Question, Type, Value,
    testing::{environment, evaluate},
};

#[test]
fn objects_are_looked_into() {
    let object = json!({
        "metadata": {"labels": {"app": "web"}, "name": "x"},
        "spec": {"replicas": 3, "ratio": 1.5, "containers": [{"name": "a", "image": "b:1"}], "none": null},
    });
    for (source, expected) in [
        ("object.spec.replicas > 2", json!(true)),
        ("object.metadata.labels['app']", json!("web")),
        ("object.spec.containers.all(c, c.image.contains(':'))", json!(true)),
        ("has(object.metadata.annotations) || !has(object.spec.missing)", json!(true)),
        ("object.spec.none == null", json!(true)),
        ("object.?spec.?containers[?0].?name.orValue('')", json!("a")),
        ("object.spec.containers.map(c, c.name)", json!(["a"])),
        ("object.spec.ratio + 0.5", json!(2)),
        ("object.metadata.labels.map(k, k + '=' + object.metadata.labels[k])", json!(["app=web"])),
        ("type(object.spec.replicas) == int && type(object.spec.ratio) == double", json!(true)),
        ("(object.spec.replicas > 5 ? object.metadata : object.spec).replicas", json!(3)),
        ("Object{spec: Object.spec{replicas: object.spec.replicas + 1}}", json!({"spec": {"replicas": 4}})),
        (
            "[JSONPatch{op: 'add', path: '/a', value: {'x': [dyn(1), dyn(b'a'), dyn(duration('1s'))]}}]",
            json!([{"op": "add", "path": "/a", "value": {"x": [1, "YQ==", "1s"]}}]),
        ),
    ] {
        assert_eq!(evaluate(source, &object), Ok(expected), "{source}");
    }
    for (source, expected) in [
        ("object.spec.missing", "no such key: missing"),
        ("object.metadata.name.x", "no such key: x"),
        ("object.spec.containers[1]", "index out of bounds: 1"),
        ("object.spec.containers['a']", "unsupported index type 'string' in list"),
        ("object.spec.replicas.startsWith('a')", "no such overload"),
        ("object.spec.all(x, y)", "compilation failed"),
        ("object.spec.replicas.all(x, true)", "got 'int', expected iterable type"),
    ] {
        let found = evaluate(source, &object).unwrap_err();
        assert!(found.contains(expected), "{source}: {found}");
    }
}

/// What an evaluation of `source` costs with an object.
fn cost(source: &str) -> u64 {
    let object = json!({"a": {"b": 1}, "list": [1, 2, 3], "text": "0123456789", "map": {"x": 1, "y": 2}});
    let program = Program::compile(source, &environment(), &[]).unwrap();
    let mut activation = Activation::new();
    activation.bind("object", Value::from(&object));
    let mut budget = Budget::new(OBJECT_BUDGET);
    _ = program.evaluate(&activation, &mut budget);
    OBJECT_BUDGET - budget.left()
}

#[test]
fn steps_cost_what_they_cost_upstream() {
    for (source, expected) in [
        ("1", 0),
        ("[1, 2]", 0),
        ("object", 1),
        ("object.a.b", 3),
        ("object.a.b == 1", 4),
        ("has(object.a.b)", 2),
        ("object.list[0]", 3),
        ("object.a['b']", 3),
        ("[object]", 11),
        ("{'a': object}", 31),
        ("Object{a: object}", 41),
        // 2 for the range; 2 for each condition, 3 for each step; 1 for the result.
        ("object.list.all(x, x > 0)", 2 + 3 * (2 + 3) + 1),
        ("object.list.exists(x, x > 5)", 2 + 3 * (3 + 3) + 1),
        ("object.list.map(x, x)", 2 + 3 * (1 + 11 + 1) + 1),
        ("object.text.startsWith('0')", 2 + 1),
        ("object.text.matches('^[0-9]+$')", 2 + 2 * 2),
        ("1 in [1, 2]", 0),
        ("object.a.b in object.list", 3 + 2 + 1),
        ("true ? object : object", 0),
        ("size(object.list) == 3", 4),
        ("object.text.find('[0-9]')", 2 + 2 * 2),
        ("object.text == '0123456789'", 2 + 1),
        ("dyn(object.text).replace('0', '1')", 3 + 2),
    ] {
        assert_eq!(cost(source), expected, "{source}");
    }
}

#[test]
fn costs_are_limited() {
    let limit = "operation cancelled: actual cost limit exceeded";
    let object = json!({"list": vec![1; 2000]});
    let nested = "object.list.all(x, object.list.all(y, object.list.all(z, x + y + z > 0)))";
    assert_eq!(evaluate(nested, &object), Err(limit.to_owned()));
    // What is large is refused before it is made, and what fails so is not made good.
    for source in [
        "lists.range(1000000000).size() > 0 || true",
        "cel.bind(a, lists.range(100000), a + a).map(x, x).size() > 0",
        "'a'.replace('', object.list.map(x, 'aaaaaaaaaa').join()).replace('', object.list.map(x, 'aaaaaaaaaa').join()) == ''",
    ] {
        let found = evaluate(source, &object);
        assert_eq!(found, Err(limit.to_owned()), "{source}");
    }
    let mut doubled = String::from("size(a)");
    for level in 0..60 {
        doubled = format!("cel.bind(a, {}, {doubled})", if level == 59 { "[1]" } else { "a + a" });
    }
    assert_eq!(evaluate(&doubled, &object), Ok((1u64 << 59).to_string().into()));
}

#[test]
fn a_budget_is_shared() {
    let object = json!({"list": vec![1; 1000]});
    let program = Program::compile("object.list.all(x, x > 0)", &environment(), &[Type::Bool]).unwrap();
    let mut activation = Activation::new();
    activation.bind("object", Value::from(&object));
    let mut budget = Budget::new(8000);
    assert_eq!(program.evaluate(&activation, &mut budget).unwrap().as_bool(), Some(true));
    assert_eq!(program.evaluate(&activation, &mut budget).unwrap_err(), EvaluationError::OutOfBudget);
    assert_eq!(budget.left(), 0);
}

#[test]
fn variables_are_computed_once_and_when_they_are_used() {
    let mut environment = Environment::new().with("object", Type::Dyn).with_variables();
    let one = Program::compile("object.list.size()", &environment, &[]).unwrap();
    environment.define("one", one.output().clone());
    let two = Program::compile("variables.one + 1", &environment, &[]).unwrap();
    environment.define("two", two.output().clone());
    let broken = Program::compile("nonsense", &environment, &[]).unwrap_err();
    environment.define("broken", Type::Dyn);
    let fails = Program::compile("1 / (variables.one - 3)", &environment, &[]).unwrap();
    environment.define("fails", fails.output().clone());
    let object = json!({"list": [1, 2, 3]});
    let mut activation = Activation::new();
    activation.bind("object", Value::from(&object));
    activation.define("one", Ok(&one));
    activation.define("two", Ok(&two));
    activation.define("broken", Err(&broken));
    activation.define("fails", Ok(&fails));
    let run = |source: &str, budget: &mut Budget| {
        let program = Program::compile(source, &environment, &[]).unwrap();
        program.evaluate(&activation, budget).map(|value| value.to_json().unwrap()).map_err(|error| error.to_string())
    };
    let mut budget = Budget::new(100);
    assert_eq!(run("variables.two == 4 && variables.one == 3", &mut budget), Ok(json!(true)));
    let first = 100 - budget.left();
    let mut budget = Budget::new(100);
    assert_eq!(run("variables.two == 4 && variables.one == 3", &mut budget), Ok(json!(true)));
    assert!(100 - budget.left() < first);
    let failed = run("variables.fails == 1", &mut budget).unwrap_err();
    assert_eq!(failed, "composited variable \"fails\" fails to evaluate: division by zero");
    assert!(
        run("variables.broken", &mut budget)
            .unwrap_err()
            .starts_with("composited variable \"broken\" fails to compile: ")
    );
    assert!(Program::compile("variables.two + 'a'", &environment, &[]).is_err());
    assert!(Program::compile("variables.other", &environment, &[]).is_err());
}

#[test]
fn variables_that_are_nested_without_end_are_refused() {
    let mut environment = Environment::new().with_variables();
    let mut programs = Vec::new();
    for at in 0..2000 {
        let source = if at == 0 { "[1]".to_owned() } else { format!("[variables.v{}]", at - 1) };
        let program = Program::compile(&source, &environment, &[]).unwrap();
        let name = format!("v{at}");
        environment.define(&name, program.output().clone());
        programs.push((name, program));
    }
    let last = Program::compile("variables.v1999.size()", &environment, &[]).unwrap();
    let small = Program::compile("variables.v50.size()", &environment, &[]).unwrap();
    let mut activation = Activation::new();
    programs.iter().for_each(|(name, program)| activation.define(name, Ok(program)));
    let run = |program: &Program| program.evaluate(&activation, &mut Budget::new(OBJECT_BUDGET));
    assert!(run(&last).unwrap_err().to_string().contains("nested too deeply"));
    assert!(run(&small).is_ok());
    // One after the other they do not get deeper than values may be.
    for at in 0..2000 {
        let next = Program::compile(&format!("variables.v{at}.size()"), &environment, &[]).unwrap();
        assert_eq!(run(&next).is_ok(), at < 100, "{at}");
    }
}

struct Answers;

impl Authorizer for Answers {
    fn authorize(&self, question: &Question) -> Decision {
        let shown = format!("{question:?}");
        Decision {
            allowed: question.verb == "get",
            reason: shown,
            error: (question.verb == "fail").then(|| "broken".into()),
        }
    }
}

#[test]
fn permissions_are_asked_for() {
    let environment = Environment::new()
        .with("authorizer", Type::Opaque(Opaque::Authorizer))
        .with("authorizer.requestResource", Type::Opaque(Opaque::ResourceCheck));
    let mut activation = Activation::new();
    activation.bind("authorizer", Value::authorizer(&Answers));
    let resource = Question { group: "apps".into(), resource: "deployments".into(), ..Question::default() };
    activation.bind("authorizer.requestResource", Value::resource_check(&Answers, resource));
    let run = |source: &str| {
        let program = Program::compile(source, &environment, &[]).map_err(|error| error.to_string())?;
        let found = program.evaluate(&activation, &mut Budget::new(OBJECT_BUDGET));
        found.and_then(|value| value.to_json()).map_err(|error| error.to_string())
    };
    for source in [
        "authorizer.path('/healthz').check('get').allowed()",
        "!authorizer.group('').resource('pods').namespace('n').check('list').allowed()",
        "authorizer.requestResource.check('get').allowed()",
        "authorizer.group('a').resource('b').check('fail').errored()",
        "authorizer.group('a').resource('b').check('fail').error() == 'broken'",
        "authorizer.serviceAccount('n', 'a').group('a').resource('b').subresource('s').name('x').check('get').reason().contains('ServiceAccount')",
        "authorizer.requestResource.fieldSelector('a=b').labelSelector('c').check('get').reason().contains('a=b')",
    ] {
        assert_eq!(run(source), Ok(json!(true)), "{source}");
    }
    assert_eq!(run("authorizer.path(' ').check('get').allowed()"), Err("path must not be empty".into()));
    assert_eq!(
        run("authorizer.serviceAccount('-', 'a') == authorizer"),
        Err("Invalid service account namespace".into())
    );
    let three = "[1, 2, 3].all(x, authorizer.path('/x').check('get').allowed())";
    assert_eq!(run(three), Err("operation cancelled: actual cost limit exceeded".into()));
    assert_eq!(Identity::default(), Identity::Requester);
}
