//! Custom resources and server-side apply, as kubectl uses them.

use crate::harness::{Kubectl, PATIENCE, eventually, scenario};

const BOATS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bo], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [crew]
            properties:
              crew: {type: integer, minimum: 1, maximum: 50, description: How many row.}
              colour: {type: string, default: white}
          status: {type: object, properties: {afloat: {type: boolean}}}
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Crew, type: integer, jsonPath: .spec.crew}
";

fn boat(spec: &str) -> String {
    format!("{{apiVersion: example.com/v1, kind: Boat, metadata: {{name: argo}}, spec: {{{spec}}}}}")
}

#[test]
fn custom_resources_are_resources_like_others() {
    let Some(scenario) = scenario("boats") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(BOATS);
    kubectl.run("wait --for=condition=Established crd/boats.example.com --timeout=10s");
    kubectl.apply(&boat("crew: 49"));
    kubectl.apply(&boat("crew: 50"));
    assert_eq!(kubectl.path("boat argo", "{.spec}"), r#"{"colour":"white","crew":50}"#);
    let (refused, unknown) = (refusal(kubectl, "crew: 51"), refusal(kubectl, "crew: 50, sails: 1"));
    assert!(refused.contains("spec.crew in body should be less than or equal to 50"), "{refused}");
    assert!(unknown.contains("unknown field \"spec.sails\""), "{unknown}");
    assert!(kubectl.run("get bo").starts_with("NAME   CREW\nargo   50"));
    assert!(kubectl.run("get all").contains("boat.example.com/argo"));
    assert!(kubectl.run("explain boat.spec.crew").contains("How many row."));
    kubectl.run("patch boat argo --type=merge --subresource=status -p '{\"status\":{\"afloat\":true}}'");
    assert_eq!(kubectl.path("boat argo", "{.status.afloat}"), "true");
    kubectl.run("delete crd boats.example.com --timeout=30s");
    eventually("the kind is gone", PATIENCE, || match kubectl.try_run("get boats") {
        Err(failure) if failure.stderr.contains("could not find") || failure.stderr.contains("doesn't have") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn refusal(kubectl: &Kubectl, spec: &str) -> String {
    kubectl.fails_with("apply -f -", boat(spec).as_bytes())
}

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
