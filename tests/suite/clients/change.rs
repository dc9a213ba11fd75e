//! Every subcommand of kubectl that changes a part of an object: `edit`, `patch`, `replace`, `label`, `annotate`,
//! `set`, `scale`, `autoscale`, `expose`, `rollout`, `taint`, `cordon`, `drain`.

use super::{Tour, with_each_kubectl};

#[test]
fn objects_are_changed_in_part() {
    with_each_kubectl("tour-change", |tour| {
        tour.kubectl.run("create deployment d --image=busybox --replicas=0 -- sleep 1000");
        tour.kubectl.run("create configmap c --from-literal=k=1");
        edits(tour);
        patches(tour);
        replacements(tour);
        labels(tour);
        settings(tour);
        scales(tour);
        exposures(tour);
        rollouts(tour);
    });
}

fn edits(tour: &Tour) {
    assert_eq!(tour.editor("k: \"1\"", "k: \"2\"").run("edit configmap c"), "configmap/c edited\n");
    tour.says("get configmap c -o jsonpath={.data.k}", "2");
    assert_eq!(tour.editor("nothing", "else").run("edit configmap c"), "");
    let refused = tour.editor("^  name: c", "  name: other").fails("edit configmap c");
    assert!(refused.contains("At least one of apiVersion, kind and name was changed"), "{refused}");
}

fn patches(tour: &Tour) {
    let patch = |kind: &str, body: &str| format!("patch deployment d --type={kind} -p '{body}'");
    tour.says(r#"patch configmap c --type=merge -p '{"data":{"k":"2"}}'"#, "configmap/c patched (no change)");
    tour.says(
        &patch("json", r#"[{"op":"replace","path":"/spec/revisionHistoryLimit","value":5}]"#),
        "deployment.apps/d patched",
    );
    let second = r#"{"spec":{"template":{"spec":{"containers":[{"name":"second","image":"busybox"}]}}}}"#;
    tour.says(&patch("strategic", second), "deployment.apps/d patched");
    tour.says("get deployment d -o jsonpath={.spec.template.spec.containers[*].name}", "second busybox");
    tour.says(
        r#"patch deployment d --subresource=scale --type=merge -p '{"spec":{"replicas":1}}'"#,
        "scale.autoscaling/d patched",
    );
    tour.kubectl.run("scale deployment d --replicas=0");
    tour.refuses(&patch("json", r#"[{"op":"remove","path":"/spec/hue"}]"#), "The request is invalid: ");
    tour.refuses(
        &patch("merge", r#"{"spec":{"replicas":-1}}"#),
        "The Deployment \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    );
    tour.refuses(
        &patch("merge", r#"{"spec":{"selector":{"matchLabels":{"app":"e"}}}}"#),
        "* spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"e\"}}: field is immutable",
    );
    tour.refuses(
        &patch("merge", r#"{"metadata":{"name":"e"}}"#),
        "Error from server (BadRequest): the name of the object (e) does not match the name on the URL (d)",
    );
    let unknown = tour.kubectl.output(&patch("merge", r#"{"spec":{"replica":1}}"#), b"");
    assert_eq!(String::from_utf8(unknown.stderr).unwrap(), "Warning: unknown field \"spec.replica\"\n");
    tour.refuses("patch deployment none -p {}", "Error from server (NotFound): deployments.apps \"none\" not found");
}

fn replacements(tour: &Tour) {
    let old = tour.kubectl.run("get configmap c -o yaml");
    tour.says_to("replace -f -", &old.replace("k: \"2\"", "k: \"3\""), "configmap/c replaced");
    tour.refuses_from(
        "replace -f -",
        &old,
        "Error from server (Conflict): error when replacing \"STDIN\": Operation cannot be",
    );
    let forced = format!("{}\nconfigmap/c replaced", tour.deleted("configmap \"c\""));
    tour.says_to("replace --force -f -", &old, &forced);
    let none = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: none}\n";
    tour.refuses_from("replace -f -", none, "error when replacing \"STDIN\": configmaps \"none\" not found");
}

fn labels(tour: &Tour) {
    tour.says("label configmap c x=y", "configmap/c labeled");
    tour.says("label configmap c x=y", "configmap/c not labeled");
    tour.refuses("label configmap c x=z", "error: 'x' already has a value (y), and --overwrite is false");
    tour.refuses(
        "label configmap c x=z --overwrite --resource-version=1",
        "Operation cannot be fulfilled on configmaps \"c\"",
    );
    tour.says("label configmap c x=z --overwrite", "configmap/c labeled");
    tour.says("label configmap c --list", "x=z");
    tour.says("label configmap c x-", "configmap/c unlabeled");
    tour.refuses(
        "label configmap c 'bad key=1'",
        "The ConfigMap \"c\" is invalid: metadata.labels: Invalid value: \"bad key\": name part must consist of alphanumeric",
    );
    tour.says("label configmap c q=r --dry-run=server", "configmap/c labeled (server dry run)");
    tour.says("annotate configmap c 'note=hello there'", "configmap/c annotated");
    tour.refuses("annotate configmap c note=x", "'note' already has a value (hello there)");
    tour.says("annotate configmap c note=x --overwrite --dry-run=server", "configmap/c annotated (server dry run)");
    tour.says("annotate configmap c note-", "configmap/c annotated");
}

fn settings(tour: &Tour) {
    tour.says("set image deployment/d busybox=busybox:2 second=b", "deployment.apps/d image updated");
    tour.refuses("set image deployment/d hue=b", "error: unable to find container named \"hue\"");
    tour.says("set env deployment/d A=B --containers=busybox", "deployment.apps/d env updated");
    tour.says(
        "set env deployment/d --list",
        "# Deployment d, container second\n# Deployment d, container busybox\nA=B",
    );
    tour.says("set env deployment/d --from=configmap/c --prefix=C_", "deployment.apps/d env updated");
    tour.says("set env deployment/d A-", "deployment.apps/d env updated");
    tour.says(
        "set resources deployment d --limits=cpu=200m,memory=64Mi --requests=cpu=100m",
        "deployment.apps/d resource requirements updated",
    );
    tour.refuses(
        "set resources deployment d --limits=cpu=1 --requests=cpu=2",
        "spec.template.spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
    );
    tour.says("set serviceaccount deployment d default", "deployment.apps/d serviceaccount updated");
    tour.kubectl.run("create service clusterip v --tcp=80");
    tour.says("set selector service v app=d", "service/v selector updated");
    tour.kubectl.run("create rolebinding b --clusterrole=view --user=ann");
    tour.says("set subject rolebinding b --user=bob", "rolebinding.rbac.authorization.k8s.io/b subjects updated");
    tour.says("get rolebinding b -o jsonpath={.subjects[*].name}", "ann bob");
}

fn scales(tour: &Tour) {
    tour.refuses("scale deployment d --replicas=0 --current-replicas=5", "error: Expected replicas to be 5, was 0");
    tour.says("scale deployment d --replicas=0", "deployment.apps/d scaled");
    tour.says("get deployment d --subresource=scale", "NAME DESIRED AVAILABLE AGE\nd 0 0 AGE");
    tour.refuses("scale configmap c --replicas=1", "the server could not find the requested resource");
    tour.says(
        "autoscale deployment d --min=1 --max=3 --cpu-percent=50",
        "horizontalpodautoscaler.autoscaling/d autoscaled",
    );
    tour.says(
        "get hpa",
        "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE\nd Deployment/d cpu: <unknown>/50% 1 3 0 AGE",
    );
    tour.shows("describe hpa d", &["resource cpu on pods (as a percentage of request): <unknown> / 50%\n"]);
    tour.delete("hpa d");
}

fn exposures(tour: &Tour) {
    tour.says("expose deployment d --name=e1 --port=80 --target-port=8080 --type=NodePort", "service/e1 exposed");
    tour.says("expose service v --name=e2 --port=81", "service/e2 exposed");
    tour.says("get service e2 -o jsonpath={.spec.selector.app}:{.spec.ports[0].port}", "d:81");
    tour.refuses("expose configmap c", "error: cannot expose a ConfigMap");
}

fn rollouts(tour: &Tour) {
    tour.says("rollout status deployment/d --timeout=30s", "deployment \"d\" successfully rolled out");
    tour.shows("rollout history deployment/d", &["deployment.apps/d\nREVISION CHANGE-CAUSE\n3 <none>\n4 <none>\n"]);
    tour.shows("rollout history deployment/d --revision=4", &["with revision #4\nPod Template:\nLabels: app=d\n"]);
    tour.refuses(
        "rollout undo deployment/d --to-revision=77",
        "error: unable to find specified revision 77 in history",
    );
    tour.says("rollout undo deployment/d --to-revision=4", "deployment.apps/d rolled back");
    tour.says("rollout pause deployment/d", "deployment.apps/d paused");
    tour.refuses("rollout pause deployment/d", "error: deployments.apps \"d\" is already paused");
    tour.refuses("rollout undo deployment/d", "you cannot rollback a paused deployment; resume it first");
    tour.says("rollout resume deployment/d", "deployment.apps/d resumed");
    tour.says("rollout restart deployment/d", "deployment.apps/d restarted");
    tour.refuses("rollout restart configmap/c", "error: configmaps \"c\" restarting is not supported");
}

#[test]
fn nodes_are_tainted_cordoned_and_drained() {
    with_each_kubectl("tour-nodes", |tour| {
        tour.says("taint node node-1 k=v:PreferNoSchedule", "node/node-1 tainted");
        tour.refuses(
            "taint node node-1 k=v:PreferNoSchedule",
            "error: node node-1 already has k taint(s) with same effect(s)",
        );
        tour.says("taint node node-1 k=w:PreferNoSchedule --overwrite", "node/node-1 modified");
        tour.says("taint node node-1 k:PreferNoSchedule-", "node/node-1 untainted");
        tour.refuses("taint node node-1 k:PreferNoSchedule-", "error: taint \"k:PreferNoSchedule\" not found");
        tour.refuses("taint node node-1 k=v:Never", "error: invalid taint effect: Never, unsupported taint effect");
        tour.says("cordon node-1 --dry-run=server", "node/node-1 cordoned (server dry run)");
        tour.says("cordon node-1", "node/node-1 cordoned");
        tour.shows("get node node-1", &["\nnode-1 Ready,SchedulingDisabled control-plane "]);
        tour.says("cordon node-1", "node/node-1 already cordoned");
        tour.says("uncordon node-1", "node/node-1 uncordoned");
        tour.shows(
            "drain node-1 --dry-run=server --ignore-daemonsets --force --pod-selector=none",
            &["node/node-1 drained (server dry run)"],
        );
    });
}
