//! Server-side apply, as kubectl uses it.

use crate::harness::scenario;

#[test]
fn appliers_own_what_they_apply() {
    let Some(scenario) = scenario("appliers") else { return };
    let kubectl = &scenario.kubectl;
    let settings =
        |value: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}, data: {{{value}}}}}");
    let apply = |flags: &str, value: &str| {
        kubectl.try_run_with(&format!("apply --server-side {flags} -f -"), settings(value).as_bytes())
    };
    assert_eq!(apply("", "a: '1', b: '1'").unwrap(), "configmap/c serverside-applied\n");
    let conflict = apply("--field-manager=other", "b: '2'").unwrap_err().stderr;
    assert!(conflict.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.b"), "{conflict}");
    apply("--field-manager=other --force-conflicts", "b: '2'").unwrap();
    apply("", "").unwrap();
    assert_eq!(kubectl.path("configmap c", "{.data}"), r#"{"b":"2"}"#);
    let managers =
        kubectl.run("get configmap c --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}");
    assert!(managers.contains("other"), "{managers}");
    // What was applied by kubectl itself goes over to the server.
    kubectl.apply(&settings("d: '1', e: '1'"));
    apply("--force-conflicts", "d: '1'").unwrap();
    assert!(!kubectl.path("configmap c", "{.data}").contains("\"e\""));
}
