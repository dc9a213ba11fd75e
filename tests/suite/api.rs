//! The API as kubectl shows it: discovery, lists and selectors, watches, patches, conflicts,
//! dry runs, validation in upstream's words, and every way of deleting.

use crate::harness::{PATIENCE, eventually, scenario};

fn config_map(name: &str, label: &str, value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{tier: {label}}}}}, data: {{key: '{value}'}}}}\n---\n"
    )
}

#[test]
fn discovery_tells_what_there_is() {
    let Some(scenario) = scenario("api-discovery") else { return };
    let kubectl = &scenario.kubectl;
    let resources = kubectl.run("api-resources");
    for line in ["deployments", "deploy", "endpointslices", "apps/v1", "rbac.authorization.k8s.io/v1"] {
        assert!(resources.contains(line), "{line} is not in\n{resources}");
    }
    assert!(kubectl.run("version").contains("Server Version: v1.36"));
    let explained = kubectl.run("explain pod.spec.containers.livenessProbe");
    assert!(
        explained.contains("FIELD: livenessProbe <Probe>") && explained.contains("failureThreshold"),
        "{explained}"
    );
    assert!(kubectl.run("get --raw /livez?verbose").contains("livez check passed"));
    assert!(kubectl.fails("get unicorns").contains("the server doesn't have a resource type \"unicorns\""));
}

#[test]
fn selectors_choose_and_tables_show() {
    let Some(scenario) = scenario("api-lists") else { return };
    let kubectl = &scenario.kubectl;
    kubectl
        .apply(&[config_map("a", "front", "1"), config_map("b", "back", "2"), config_map("c", "back", "3")].concat());
    let names = |selector: &str| kubectl.run(&format!("get configmaps {selector} -o name"));
    assert_eq!(names("-l tier=back"), "configmap/b\nconfigmap/c\n");
    assert_eq!(names("-l 'tier in (front)'"), "configmap/a\n");
    assert_eq!(names("-l tier!=back,tier"), "configmap/a\n");
    assert_eq!(names("--field-selector metadata.name=b"), "configmap/b\n");
    assert_eq!(names("--chunk-size=1 -l tier"), "configmap/a\nconfigmap/b\nconfigmap/c\n");
    let table = kubectl.run("get configmaps -l tier=front");
    assert!(table.starts_with("NAME   DATA   AGE\na      1 "), "{table}");
    assert_eq!(kubectl.run("get configmap none --ignore-not-found"), "");
    assert_eq!(kubectl.fails("get configmap none"), "Error from server (NotFound): configmaps \"none\" not found");
    assert_eq!(kubectl.run("get secrets"), "");
}

#[test]
fn a_watch_shows_changes_as_they_come() {
    let Some(scenario) = scenario("api-watch") else { return };
    let kubectl = &scenario.kubectl;
    let watch = kubectl.spawn("get configmaps --watch --output-watch-events --no-headers -l tier");
    let shows = |event: &str| {
        eventually(event, PATIENCE, || {
            let output = watch.output();
            let line = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ") == event;
            if output.lines().any(line) { Ok(()) } else { Err(output) }
        });
    };
    kubectl.apply(&config_map("a", "x", "1"));
    shows("ADDED a");
    kubectl.apply(&config_map("a", "x", "2"));
    shows("MODIFIED a");
    kubectl.run("delete configmap a");
    shows("DELETED a");
}

#[test]
fn patches_of_each_type_change_what_they_name() {
    let Some(scenario) = scenario("api-patch") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&config_map("a", "x", "1"));
    kubectl.run(r#"patch configmap a --type=merge -p '{"data":{"merged":"yes","key":null}}'"#);
    kubectl.run(r#"patch configmap a --type=json -p '[{"op":"add","path":"/data/json","value":"yes"}]'"#);
    kubectl.run(r#"patch configmap a -p '{"data":{"strategic":"yes"}}'"#);
    let data = &kubectl.get("configmap a")["data"];
    assert_eq!(data, &serde_json::json!({"merged": "yes", "json": "yes", "strategic": "yes"}));
    let failure =
        kubectl.fails(r#"patch configmap a --type=json -p '[{"op":"test","path":"/data/json","value":"no"}]'"#);
    // Upstream does not say what.
    assert!(failure.contains("the server rejected our request due to an error in our request"), "{failure}");
    kubectl.run("label configmap a tier=y --overwrite");
    kubectl.run("annotate configmap a note=read");
    assert_eq!(kubectl.path("configmap a", "{.metadata.labels.tier}{.metadata.annotations.note}"), "yread");
}

#[test]
fn a_replace_of_an_older_version_conflicts() {
    let Some(scenario) = scenario("api-conflict") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(&config_map("a", "x", "1"));
    let older = kubectl.run("get configmap a -o json");
    kubectl.run("label configmap a changed=yes");
    let failure = kubectl.fails_with("replace -f -", older.as_bytes());
    let expected = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
                    please apply your changes to the latest version and try again";
    assert!(failure.contains(expected), "{failure}");
    let current = kubectl.run("get configmap a -o json");
    assert_eq!(kubectl.run_with("replace -f -", current.as_bytes()), "configmap/a replaced\n");
}

#[test]
fn dry_runs_change_nothing_and_diff_tells() {
    let Some(scenario) = scenario("api-dry-run") else { return };
    let kubectl = &scenario.kubectl;
    let created = kubectl.run_with("apply --dry-run=server -f -", config_map("a", "x", "1").as_bytes());
    assert_eq!(created, "configmap/a created (server dry run)\n");
    assert_eq!(kubectl.run("get configmaps -l tier -o name"), "");
    kubectl.apply(&config_map("a", "x", "1"));
    let again = kubectl.apply(&config_map("a", "x", "1"));
    assert_eq!(again, "configmap/a unchanged\n");
    let diff = kubectl.try_run_with("diff -f -", config_map("a", "x", "2").as_bytes()).unwrap_err();
    assert!(diff.stdout.contains("-  key: \"1\"") && diff.stdout.contains("+  key: \"2\""), "{diff}");
}

#[test]
fn invalid_objects_are_refused_in_upstreams_words() {
    let Some(scenario) = scenario("api-validation") else { return };
    let kubectl = &scenario.kubectl;
    let refused = |document: &str, expected: &str| {
        let failure = kubectl.fails_with("create --validate=strict -f -", document.as_bytes());
        assert!(failure.contains(expected), "expected: {expected}\ngot: {failure}");
    };
    refused(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: Bad_Name}}",
        "The ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain",
    );
    refused(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dat: {}}",
        "strict decoding error: unknown field \"dat\"",
    );
    refused(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: []}}",
        "The Pod \"a\" is invalid: spec.containers: Required value",
    );
    refused(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 0}]}}",
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    );
    refused(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: i, imagePullPolicy: Often}]}}",
        "spec.containers[0].imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
    );
    refused(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, \
         template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}",
        "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
    );
    kubectl.apply(&config_map("a", "x", "1"));
    let exists = kubectl.fails_with("create -f -", config_map("a", "x", "1").as_bytes());
    assert!(exists.contains("(AlreadyExists)") && exists.contains("configmaps \"a\" already exists"), "{exists}");
}

#[test]
fn finalizers_hold_an_object_until_they_are_gone() {
    let Some(scenario) = scenario("api-finalizers") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: held, finalizers: [example.com/hold]}}");
    kubectl.run("delete configmap held --wait=false");
    assert_ne!(kubectl.path("configmap held", "{.metadata.deletionTimestamp}"), "");
    kubectl.run(r#"patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}'"#);
    assert!(kubectl.fails("get configmap held").contains("NotFound"));
}

#[test]
fn deletion_propagates_as_asked() {
    let Some(scenario) = scenario("api-propagation") else { return };
    let kubectl = &scenario.kubectl;
    let deployment = |name: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{replicas: 0, \
             selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, \
             spec: {{containers: [{{name: c, image: busybox}}]}}}}}}}}"
        )
    };
    for (policy, survivors) in [("orphan", 1), ("background", 0), ("foreground", 0)] {
        let sets = || kubectl.get(&format!("replicasets -l app={policy}"))["items"].as_array().unwrap().len();
        kubectl.apply(&deployment(policy));
        eventually("the replica set is there", PATIENCE, || (sets() == 1).then_some(()).ok_or("none".to_owned()));
        kubectl.run(&format!("delete deployment {policy} --cascade={policy}"));
        eventually("dependents are as the policy says", PATIENCE, || match sets() {
            count if count == survivors => Ok(()),
            count => Err(format!("{policy}: {count} replica sets")),
        });
    }
}

#[test]
fn imperative_commands_create_and_ask() {
    let Some(scenario) = scenario("api-create") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.run("create configmap plain --from-literal=a=b");
    assert_eq!(kubectl.path("configmap plain", "{.data.a}"), "b");
    kubectl.run("create secret generic keys --from-literal=password=hush");
    assert_eq!(kubectl.path("secret keys", "{.data.password}"), "aHVzaA==");
    kubectl.run("create deployment web --image=busybox --replicas=0 --port=80");
    kubectl.run("expose deployment web --port=80");
    assert_eq!(kubectl.path("service web", "{.spec.ports[0].targetPort}"), "80");
    kubectl.run("create serviceaccount bot");
    kubectl.run("create role reader --verb=get,list --resource=pods");
    kubectl.run("create rolebinding bot --role=reader --serviceaccount=api-create:bot");
    let bot = "--as=system:serviceaccount:api-create:bot";
    assert_eq!(kubectl.run(&format!("auth can-i list pods {bot}")), "yes\n");
    let denied = kubectl.try_run(&format!("auth can-i delete pods {bot}")).unwrap_err();
    assert_eq!((denied.code, denied.stdout.as_str()), (Some(1), "no\n"));
    assert!(kubectl.run(&format!("auth whoami {bot}")).contains("system:serviceaccount:api-create:bot"));
    assert_eq!(kubectl.run("create token bot").trim().split('.').count(), 3);
}

#[test]
fn a_deleted_namespace_takes_everything_with_it() {
    let Some(scenario) = scenario("api-namespace") else { return };
    let cluster = scenario.host.kubectl();
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: api-doomed}}");
    let doomed = cluster.namespace("api-doomed");
    doomed.run("wait --for=create serviceaccount/default --timeout=60s");
    doomed.apply(&config_map("a", "x", "1"));
    doomed.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {terminationGracePeriodSeconds: 0, \
         containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '1000']}]}}",
    );
    doomed.run("wait --for=condition=Ready pod/p --timeout=60s");
    cluster.run("delete namespace api-doomed --timeout=60s");
    let failure = doomed.fails_with("create -f -", config_map("b", "x", "1").as_bytes());
    assert!(failure.contains("namespaces \"api-doomed\" not found"), "{failure}");
    assert_eq!(cluster.run("get configmaps,pods -A --field-selector metadata.namespace=api-doomed -o name"), "");
}
