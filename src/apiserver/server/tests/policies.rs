//! Admission policies, from their creation to what they do to requests.

use super::{
    conversion::{self, Bars},
    custom::{DEFINITIONS, FOOS, definition, foo},
    *,
};
use crate::apiserver::{
    admission::Admission,
    audit::{Policy, file::Retention},
    authz::Authorizer,
};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

impl Fixture {
    /// A server with the real admission, and a namespace with the label `env: test`.
    async fn with_policies() -> Self {
        Self::new().guarded().await
    }

    /// The same objects behind the real admission.
    async fn guarded(self) -> Self {
        self.guarded_and_told_of(|_| None).await
    }

    /// Likewise, with an audit log in the server's directory.
    async fn guarded_and_told_of(self, auditor: impl FnOnce(&std::path::Path) -> Option<Auditor>) -> Self {
        let namespace = json!({"metadata": {"name": "default", "labels": {"env": "test"}}});
        self.made("/api/v1/namespaces", &namespace).await;
        self.store.close().await;
        let Self { server, directory, store, peers } = self;
        drop((server, store, peers));
        let auditor = auditor(directory.path());
        Self::made_of(directory, Handlers::default(), auditor, |caches, outbound, converter| {
            let authorizer = Arc::new(Authorizer::new(caches.clone()));
            Arc::new(Admission::new(caches, authorizer, outbound, converter))
        })
    }

    async fn made(&self, path: &str, object: &Value) -> Value {
        let (code, created) = self.json(Method::POST, path, object).await;
        assert_eq!(code, 201, "{created}");
        created
    }

    async fn refused(&self, path: &str, object: &Value) -> (u16, String) {
        let (code, status) = self.json(Method::POST, path, object).await;
        assert!(code.as_u16() >= 400, "{status}");
        (code.as_u16(), text(&status["message"]))
    }

    /// A validating policy on deployments with a binding, both called `p`.
    async fn validating(&self, spec: Value, binding: Value) {
        let mut all = json!({"matchConstraints": constraints("apps", "deployments")});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.made(&format!("{GROUP}/validatingadmissionpolicies"), &named("p", all)).await;
        let mut all = json!({"policyName": "p", "validationActions": ["Deny"]});
        all.as_object_mut().unwrap().extend(binding.as_object().unwrap().clone());
        self.made(&format!("{GROUP}/validatingadmissionpolicybindings"), &named("b", all)).await;
    }

    /// A mutating policy with a binding, both called `name`.
    async fn mutating(&self, name: &str, constraints: Value, mutation: Value, more: Value) {
        let mut all = json!({"matchConstraints": constraints, "reinvocationPolicy": "Never", "mutations": [mutation]});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.made(&format!("{GROUP}/mutatingadmissionpolicies"), &named(name, all)).await;
        let binding = named(name, json!({"policyName": name}));
        self.made(&format!("{GROUP}/mutatingadmissionpolicybindings"), &binding).await;
    }
}

fn named(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

fn constraints(group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                              "resources": [resource]}]})
}

fn deployment(name: &str, replicas: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

#[tokio::test]
async fn a_request_that_does_not_satisfy_a_policy_is_refused() {
    let server = Fixture::with_policies().await;
    let rules = json!([
        {"expression": "object.spec.replicas > 1", "messageExpression": "'wants more than ' + string(1)"},
        {"expression": "namespaceObject.metadata.name == 'default'", "message": "elsewhere", "reason": "Forbidden"},
    ]);
    server.validating(json!({"validations": rules}), json!({})).await;
    let told = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: wants more than 1";
    let (code, status) = server.json(Method::POST, DEPLOYMENTS, &deployment("one", 1)).await;
    assert_eq!((code.as_u16(), text(&status["reason"])), (422, "Invalid".to_owned()));
    assert_eq!(text(&status["message"]), format!("deployments.apps \"one\" is forbidden: {told}"));
    assert_eq!(status["details"]["causes"], json!([{"message": told}]));
    server.made(DEPLOYMENTS, &deployment("two", 2)).await;
    let mut replica_set = deployment("one", 1);
    replica_set["kind"] = "ReplicaSet".into();
    server.made("/apis/apps/v1/namespaces/default/replicasets", &replica_set).await;
    let (code, _) = server.patch(&format!("{DEPLOYMENTS}/two"), MERGE, &json!({"spec": {"replicas": 0}})).await;
    assert_eq!(code, 422);
    // Without its binding a policy is of no consequence.
    let path = format!("{GROUP}/validatingadmissionpolicybindings/b");
    assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await.0, 200);
    server.made(DEPLOYMENTS, &deployment("one", 1)).await;
}

#[tokio::test]
async fn expressions_share_variables_and_may_warn() {
    let server = Fixture::with_policies().await;
    let spec = json!({
        "variables": [{"name": "replicas", "expression": "object.spec.replicas"},
                      {"name": "odd", "expression": "variables.replicas % 2 == 1"}],
        "validations": [{"expression": "variables.replicas > 1"}, {"expression": "variables.odd"}],
    });
    server.validating(spec, json!({"validationActions": ["Warn", "Audit"]})).await;
    let body = deployment("a", 2).to_string();
    let json = [("content-type", "application/json")];
    let response = server.send(Method::POST, DEPLOYMENTS, &json, body).await;
    assert_eq!(response.status(), 201);
    let warning = "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': failed expression: \
                   variables.odd\"";
    assert_eq!(response.headers()["warning"], warning);
}

#[tokio::test]
async fn parameters_are_chosen_by_the_binding() {
    let server = Fixture::with_policies().await;
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                      "validations": [{"expression": "object.spec.replicas <= int(params.data.max)"}]});
    let reference = json!({"name": "limits", "parameterNotFoundAction": "Deny"});
    server.validating(spec, json!({"paramRef": reference})).await;
    let (code, message) = server.refused(DEPLOYMENTS, &deployment("a", 3)).await;
    assert_eq!(code, 422);
    assert!(
        message.ends_with(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        ),
        "{message}"
    );
    server.create("limits", json!({"max": "2"})).await;
    assert!(server.refused(DEPLOYMENTS, &deployment("a", 3)).await.1.contains("denied request: failed expression"));
    server.made(DEPLOYMENTS, &deployment("a", 2)).await;
}

#[tokio::test]
async fn conditions_selectors_and_failure_policies_count() {
    let server = Fixture::with_policies().await;
    let spec = json!({"failurePolicy": "Ignore",
        "matchConditions": [{"name": "not-exempt", "expression": "object.metadata.name != 'exempt'"}],
        "validations": [{"expression": "object.spec.paused == true"}, {"expression": "request.operation != 'CREATE'"}]});
    let binding = json!({"matchResources": {"namespaceSelector": {"matchLabels": {"env": "test"}}}});
    server.validating(spec, binding).await;
    server.made(DEPLOYMENTS, &deployment("exempt", 1)).await;
    // The field is not there, which is ignored; the other rule is not.
    let (_, message) = server.refused(DEPLOYMENTS, &deployment("a", 1)).await;
    assert!(message.ends_with("failed expression: request.operation != 'CREATE'"), "{message}");
    let patch = json!({"metadata": {"labels": {"env": "live"}}});
    assert_eq!(server.patch("/api/v1/namespaces/default", MERGE, &patch).await.0, 200);
    server.made(DEPLOYMENTS, &deployment("a", 1)).await;
}

#[tokio::test]
async fn expressions_may_ask_what_the_requester_may() {
    let server = Fixture::new();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    server.made(&format!("{rbac}/clusterroles"), &json!({"metadata": {"name": "reader"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tester"}]});
    server.made(&format!("{rbac}/clusterrolebindings"), &binding).await;
    let server = server.guarded().await;
    let secrets = "authorizer.group('').resource('secrets').namespace('default')";
    let rules = json!([{"expression": format!("{secrets}.check('get').allowed()"), "message": "may not get"},
                       {"expression": format!("{secrets}.check('delete').allowed()"), "message": "may not delete"}]);
    server.validating(json!({"validations": rules}), json!({})).await;
    let (_, message) = server.refused(DEPLOYMENTS, &deployment("a", 1)).await;
    assert!(message.ends_with("denied request: may not delete"), "{message}");
}

#[tokio::test]
async fn expressions_that_are_none_are_refused() {
    let server = Fixture::with_policies().await;
    let spec = json!({"matchConstraints": constraints("apps", "deployments"),
                      "validations": [{"expression": "object.spec.replicas >"}, {"expression": "1 + 1"}]});
    let (code, message) = server.refused(&format!("{GROUP}/validatingadmissionpolicies"), &named("p", spec)).await;
    assert_eq!(code, 422);
    assert!(message.contains("spec.validations[0].expression: Invalid value: \"object.spec.replicas >\": compilation failed: ERROR: <input>:1:"), "{message}");
    assert!(
        message.contains("spec.validations[1].expression: Invalid value: \"1 + 1\": must evaluate to bool but got int"),
        "{message}"
    );
}

#[tokio::test]
async fn configurations_are_merged_into_the_object() {
    let server = Fixture::with_policies().await;
    let expression = r#"Object{metadata: Object.metadata{annotations: {"mutated-by": "admission-policy"}},
                               spec: Object.spec{replicas: 1337}}"#;
    server.mutating("m", constraints("apps", "deployments"), apply(expression), json!({})).await;
    let created = server.made(DEPLOYMENTS, &deployment("a", 1)).await;
    assert_eq!(created["metadata"]["annotations"], json!({"mutated-by": "admission-policy"}));
    assert_eq!(
        (&created["spec"]["replicas"], &created["spec"]["strategy"]["type"]),
        (&json!(1337), &json!("RollingUpdate"))
    );
}

#[tokio::test]
async fn patches_are_applied_in_the_order_of_policies() {
    let server = Fixture::with_policies().await;
    let patch = |name: &str| {
        let expression = format!(
            r#"[JSONPatch{{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b"),
                          value: has(object.metadata.labels) && "a/b" in object.metadata.labels
                                 ? object.metadata.labels["a/b"] + "{name}" : "{name}"}}]"#
        );
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
    };
    let maps = || constraints("", "configmaps");
    server.mutating("one", maps(), patch("1"), json!({"reinvocationPolicy": "IfNeeded"})).await;
    server.mutating("two", maps(), patch("2"), json!({})).await;
    let mut object = map("a", json!({}));
    object["metadata"]["labels"] = json!({"x": "y"});
    // The first is asked again, as the second has changed the object after it.
    assert_eq!(server.made(MAPS, &object).await["metadata"]["labels"]["a/b"], "121");
}

#[tokio::test]
async fn a_mutation_that_fails_refuses_the_request() {
    let server = Fixture::with_policies().await;
    let expression = "Object{spec: Object.spec{template: Object.spec.template{spec: \
                      Object.spec.template.spec{tolerations: []}}}}";
    server.mutating("m", constraints("apps", "deployments"), apply(expression), json!({})).await;
    let (code, status) = server.json(Method::POST, DEPLOYMENTS, &deployment("a", 1)).await;
    // Upstream changes the reason of its refusal alone.
    assert_eq!((code.as_u16(), &status["code"], &status["reason"]), (403, &json!(403), &json!("Invalid")));
    assert_eq!(status["details"]["causes"][0]["message"], status["message"]);
    assert_eq!(
        text(&status["message"]),
        "policy 'm' with binding 'm' denied request: error applying patch: invalid ApplyConfiguration: may not mutate \
         atomic arrays, maps or structs: .spec.template.spec.tolerations"
    );
}

#[tokio::test]
async fn a_patch_that_makes_no_object_is_an_error_of_the_server() {
    let server = Fixture::with_policies().await;
    let expression = "[JSONPatch{op: 'add', path: '/spec/sails', value: 3}]";
    let patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    let ignored = json!({"failurePolicy": "Ignore"});
    server.mutating("m", constraints("apps", "deployments"), patch, ignored).await;
    let (code, status) = server.json(Method::POST, DEPLOYMENTS, &deployment("a", 1)).await;
    assert_eq!((code.as_u16(), &status["reason"]), (500, &json!("InternalError")));
    assert!(text(&status["message"]).contains("unknown field \"spec.sails\""), "{status}");
}

#[tokio::test]
async fn custom_resources_meet_policies_in_the_version_that_these_name() {
    let server = Fixture::with_policies().await;
    let supervisor = Supervisor::new();
    server.server.start(&supervisor);
    server.made(DEFINITIONS, &definition()).await;
    server.established("foos").await;
    server
        .mutating("m", constraints("example.com", "foos"), apply("Object{spec: Object.spec{color: 'blue'}}"), json!({}))
        .await;
    let mut object = foo("a", json!({}));
    object["apiVersion"] = "example.com/v1beta1".into();
    let created = server.made(&FOOS.replace("v1", "v1beta1"), &object).await;
    assert_eq!((&created["apiVersion"], &created["spec"]["color"]), (&json!("example.com/v1beta1"), &json!("blue")));
}

#[tokio::test]
async fn built_in_kinds_meet_configurations_in_the_version_that_these_name() {
    let server = Fixture::with_policies().await;
    let mut second = constraints("autoscaling", "horizontalpodautoscalers");
    second["resourceRules"][0]["apiVersions"] = json!(["v2"]);
    let configuration = "Object{spec: Object.spec{behavior: Object.spec.behavior{scaleDown: \
                         Object.spec.behavior.scaleDown{stabilizationWindowSeconds: 7}}}}";
    server.mutating("m", second, apply(configuration), json!({})).await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let scaler = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}});
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let created = server.made(path, &scaler).await;
    let behavior = text(&created["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/behavior"]);
    assert!(behavior.contains("\"StabilizationWindowSeconds\":7"), "{created}");
}

#[tokio::test]
async fn scales_meet_policies_as_scales() {
    let server = Fixture::with_policies().await;
    server.made(DEPLOYMENTS, &deployment("a", 1)).await;
    let of_scales = || constraints("apps", "deployments/scale");
    let rule = json!({"expression": "object.kind == 'Scale' && object.spec.replicas - oldObject.spec.replicas < 5"});
    server.validating(json!({"matchConstraints": of_scales(), "validations": [rule]}), json!({})).await;
    let expression = "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}";
    server.mutating("m", of_scales(), apply(expression), json!({})).await;
    let path = format!("{DEPLOYMENTS}/a/scale");
    let (code, scale) = server.patch(&path, MERGE, &json!({"spec": {"replicas": 3}})).await;
    assert_eq!((code.as_u16(), &scale["spec"]["replicas"]), (200, &json!(4)), "{scale}");
    assert_eq!(server.patch(&path, MERGE, &json!({"spec": {"replicas": 8}})).await.0, 422);
    // What has no such shape is told of by its field.
    let (code, status) = server.patch(&path, MERGE, &json!({"spec": {"replicas": "x"}})).await;
    let problem = "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32";
    assert!(code == 422 && text(&status["message"]).ends_with(problem), "{status}");
}

#[tokio::test]
async fn a_webhook_converts_for_policies_that_name_another_version() {
    let server = Bars::served_on(Fixture::with_policies().await).await.server;
    let mut second = constraints("example.com", "bars");
    second["resourceRules"][0]["apiVersions"] = json!(["v2"]);
    let patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        "object.spec.hosts == ['x'] ? [JSONPatch{op: 'replace', path: '/spec/hosts/0', value: 'y'}] : []"}});
    server.mutating("m", second.clone(), patch, json!({})).await;
    let rule = json!({"expression": "object.spec.hosts != ['z']", "message": "not there"});
    server.validating(json!({"matchConstraints": second, "validations": [rule]}), json!({})).await;
    let bar = |name: &str, host: &str| json!({"apiVersion": "example.com/v1", "kind": "Bar", "metadata": {"name": name}, "spec": {"host": host}});
    assert_eq!(server.made(conversion::V1, &bar("a", "x")).await["spec"], json!({"host": "y"}));
    let (code, message) = server.refused(conversion::V1, &bar("b", "z")).await;
    assert!(code == 422 && message.ends_with("denied request: not there"), "{message}");
}

#[tokio::test]
async fn the_audit_log_is_annotated() {
    let mut log = None;
    let open = |directory: &std::path::Path| {
        let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, verbs: [create], \
                      resources: [{group: apps}]}], omitStages: [RequestReceived]}";
        let policy = Arc::new(Policy::parse(policy).unwrap());
        let path = directory.join("audit.log");
        log = Some(Auditor::open(policy, &path, Retention::default(), &Supervisor::new()).unwrap());
        log.clone()
    };
    let server = Fixture::new().guarded_and_told_of(open).await;
    let spec = json!({"validations": [{"expression": "false", "message": "never"}],
        "auditAnnotations": [{"key": "replicas", "valueExpression": "string(object.spec.replicas)"},
                             {"key": "nothing", "valueExpression": "''"}]});
    server.validating(spec, json!({"validationActions": ["Audit"]})).await;
    server.made(DEPLOYMENTS, &deployment("a", 3)).await;
    log.unwrap().close();
    let text = std::fs::read_to_string(server.directory.path().join("audit.log")).unwrap();
    let event: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let annotations = &event["annotations"];
    assert_eq!((&annotations["p/replicas"], annotations.get("p/nothing")), (&json!("3"), None));
    let failure = annotations["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    let failure: Value = serde_json::from_str(failure).unwrap();
    assert_eq!(
        failure,
        json!([{"message": "never", "policy": "p", "binding": "b", "expressionIndex": 0,
                                "validationActions": ["Audit"]}])
    );
}
