//! A custom resource through kubectl: its definition, columns, explanations, scale, status and refusals.

use super::{Tour, with_each_kubectl};
use crate::harness::{PATIENCE, eventually};

/// Its category is its own: other scenarios delete all of what is in the usual one.
const BARGES: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: barges.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: barges, singular: barge, kind: Barge, shortNames: [bg], categories: [fleet]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        description: A flat boat.
        type: object
        properties:
          spec:
            type: object
            required: [crew]
            properties:
              crew: {type: integer, minimum: 1, maximum: 50, description: How many row.}
              colour: {type: string, default: white, enum: [white, red]}
          status: {type: object, properties: {afloat: {type: boolean}, crew: {type: integer}}}
    subresources: {status: {}, scale: {specReplicasPath: .spec.crew, statusReplicasPath: .status.crew}}
    additionalPrinterColumns:
    - {name: Crew, type: integer, jsonPath: .spec.crew}
    - {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
";

#[test]
fn a_custom_resource_is_handled_like_any_other() {
    with_each_kubectl("tour-custom", |tour| {
        let group = format!("tour{}.example.com", tour.minor);
        tour.says_to(
            "create -f -",
            &BARGES.replace("GROUP", &group),
            &format!("customresourcedefinition.apiextensions.k8s.io/barges.{group} created"),
        );
        tour.says(
            &format!("wait --for=condition=Established crd/barges.{group} --timeout=30s"),
            &format!("customresourcedefinition.apiextensions.k8s.io/barges.{group} condition met"),
        );
        shown(tour, &group);
        explained(tour, &group);
        changed(tour, &group);
        tour.kubectl.run(&format!("delete crd barges.{group} --timeout=30s"));
        let listed = || tour.kubectl.try_run(&format!("get barges.{group}"));
        eventually("the kind is gone", PATIENCE, || match listed() {
            Err(failure) if failure.stderr.contains("could not find") || failure.stderr.contains("doesn't have") => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        });
    });
}

fn barge(group: &str, spec: &str) -> String {
    format!("apiVersion: {group}/v1\nkind: Barge\nmetadata: {{name: argo}}\nspec: {{{spec}}}\n")
}

fn shown(tour: &Tour, group: &str) {
    tour.says_to("apply -f -", &barge(group, "crew: 49"), &format!("barge.{group}/argo created"));
    tour.says(&format!("get barges.{group}"), "NAME CREW AGE\nargo 49 AGE");
    tour.says("get bg", "NAME CREW AGE\nargo 49 AGE");
    tour.says(&format!("get barges.{group} -o wide"), "NAME CREW COLOUR AGE\nargo 49 white AGE");
    tour.says("get fleet", "NAME CREW AGE\nargo 49 AGE");
    tour.shows(
        &format!("describe barges.{group} argo"),
        &[&format!("API Version: {group}/v1\nKind: Barge\n"), "Spec:\nColour: white\nCrew: 49\n"],
    );
    tour.shows(&format!("describe crd barges.{group}"), &["Reason: InitialNamesAccepted\n", "Stored Versions:\nv1\n"]);
    tour.shows("api-resources --categories=fleet", &[&format!("\nbarges bg {group}/v1 true Barge")]);
}

fn explained(tour: &Tour, group: &str) {
    let version = format!("--api-version={group}/v1");
    let head = format!("GROUP: {group}\nKIND: Barge\nVERSION: v1\n\n");
    tour.shows(
        &format!("explain barge {version}"),
        &[
            &format!("{head}DESCRIPTION:\nA flat boat."),
            "apiVersion <string>\nAPIVersion defines the versioned schema of this representation of an object.",
            "metadata <ObjectMeta>\nStandard object's metadata.",
        ],
    );
    tour.shows(&format!("explain barge.spec.crew {version}"), &["FIELD: crew <integer>\n", "How many row."]);
    tour.shows(&format!("explain barge.spec.colour {version}"), &["FIELD: colour <string>\nENUM:\nwhite\nred\n"]);
    tour.shows(
        &format!("explain barge.spec --recursive {version}"),
        &["FIELDS:\ncolour <string>\nenum: white, red\ncrew <integer> -required-"],
    );
}

fn changed(tour: &Tour, group: &str) {
    let argo = format!("barges.{group} argo");
    tour.says(&format!("scale {argo} --replicas=7"), &format!("barge.{group}/argo scaled"));
    tour.refuses(
        &format!("scale {argo} --replicas=70"),
        "The Barge \"argo\" is invalid: spec.crew: Invalid value: 70: spec.crew in body should be less than or equal to 50",
    );
    tour.says(
        &format!(r#"patch {argo} --subresource=status --type=merge -p '{{"status":{{"afloat":true}}}}'"#),
        &format!("barge.{group}/argo patched"),
    );
    tour.refuses(
        &format!(r#"patch {argo} -p '{{"spec":{{"crew":2}}}}'"#),
        &format!(
            "error: application/strategic-merge-patch+json is not supported by {group}/v1, Kind=Barge: the body of the request was \
             in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, \
             application/apply-patch+yaml"
        ),
    );
    assert_eq!(tour.editor("crew: 7", "crew: 8").run(&format!("edit {argo}")), format!("barge.{group}/argo edited\n"));
    tour.refuses_from(
        "apply -f -",
        &barge(group, "crew: 1, sails: 2"),
        "strict decoding error: unknown field \"spec.sails\"",
    );
    tour.refuses_from(
        "apply -f -",
        &barge(group, "colour: blue"),
        "spec.colour: Unsupported value: \"blue\": supported values: \"white\", \"red\"",
    );
    tour.says_to(
        "apply --server-side --force-conflicts -f -",
        &barge(group, "crew: 9"),
        &format!("barge.{group}/argo serverside-applied"),
    );
    tour.says(&format!("get {argo} -o jsonpath={{.spec.crew}}{{.status.afloat}}"), "9true");
    tour.says(&format!("delete {argo}"), &tour.deleted(&format!("barge.{group} \"argo\"")));
}
