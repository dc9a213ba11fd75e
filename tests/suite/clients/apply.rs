//! `kubectl apply` on both sides, with its annotation, pruning and apply sets, `diff` and `kustomize`.

use super::{Tour, with_each_kubectl};

fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: one}}}}\ndata: {{k: '{value}'}}\n---\n"
    )
}

#[test]
fn documents_are_applied_compared_and_pruned() {
    with_each_kubectl("tour-apply", |tour| {
        client_side(tour);
        last_applied(tour);
        server_side(tour);
        validation(tour);
        pruning(tour);
        kustomizations(tour);
    });
}

fn client_side(tour: &Tour) {
    let both = [config_map("a", "1"), config_map("b", "1")].concat();
    tour.says_to("apply --dry-run=client -f -", &both, "configmap/a created (dry run)\nconfigmap/b created (dry run)");
    tour.says_to("apply -f -", &both, "configmap/a created\nconfigmap/b created");
    tour.says_to("apply -f -", &both, "configmap/a unchanged\nconfigmap/b unchanged");
    tour.says_to("apply --dry-run=server -f -", &config_map("a", "2"), "configmap/a configured (server dry run)");
    tour.says_to("diff -f -", &config_map("a", "1"), "");
    let diff = tour.kubectl.try_run_with("diff -f -", config_map("a", "2").as_bytes()).unwrap_err();
    assert_eq!(diff.code, Some(1));
    assert!(diff.stdout.contains("-  k: \"1\"\n+  k: \"2\"\n"), "{diff}");
    tour.says_to("apply -f -", &config_map("a", "2"), "configmap/a configured");
    tour.says("get configmap a -o jsonpath={.data.k}", "2");
}

fn last_applied(tour: &Tour) {
    tour.shows("apply view-last-applied configmap a", &["data:\nk: \"2\"\nkind: ConfigMap\n"]);
    let edited = tour.editor("k: \"2\"", "k: \"3\"").run("apply edit-last-applied configmap a");
    assert_eq!(edited, "configmap/a edited\n");
    tour.shows("apply view-last-applied configmap a -o json", &["\"k\": \"3\""]);
    let file = tour.file("a.yaml", &config_map("a", "2"));
    tour.says(&format!("apply set-last-applied -f {file}"), "configmap/a configured");
    tour.kubectl.run("create configmap c --from-literal=k=1");
    let other = tour.file("c.yaml", &config_map("c", "1"));
    tour.refuses(
        &format!("apply set-last-applied -f {other}"),
        "error: no last-applied-configuration annotation found on resource: c",
    );
    tour.says(&format!("apply set-last-applied --create-annotation -f {other}"), "configmap/c configured");
}

fn server_side(tour: &Tour) {
    tour.says_to("apply --server-side -f -", &config_map("s", "1"), "configmap/s serverside-applied");
    tour.says_to(
        "apply --server-side --dry-run=server -f -",
        &config_map("s", "2"),
        "configmap/s serverside-applied (server dry run)",
    );
    tour.refuses_from(
        "apply --server-side --field-manager=other -f -",
        &config_map("s", "2"),
        "error: Apply failed with 1 conflict: conflict with \"kubectl\": .data.k\nPlease review the fields above",
    );
    tour.says_to(
        "apply --server-side --field-manager=other --force-conflicts -f -",
        &config_map("s", "2"),
        "configmap/s serverside-applied",
    );
    // What this kubectl applied by itself goes over to the server, and may be given up.
    let wide = config_map("m", "1").replace("{k: '1'}", "{k: '1', l: '1'}");
    tour.says_to("apply -f -", &wide, "configmap/m created");
    tour.says_to("apply --server-side -f -", &config_map("m", "2"), "configmap/m serverside-applied");
    tour.says("get configmap m -o jsonpath={.data}", r#"{"k":"2"}"#);
}

fn validation(tour: &Tour) {
    let wrong = config_map("w", "1").replace("\ndata:", "\ndaata:");
    tour.refuses_from("apply -f -", &wrong, "strict decoding error: unknown field \"daata\"");
    let warned = tour.kubectl.output("apply --validate=warn -f -", wrong.as_bytes());
    assert_eq!(String::from_utf8(warned.stderr).unwrap(), "Warning: unknown field \"daata\"\n");
    tour.says_to("apply --validate=ignore -f -", &wrong, "configmap/w configured");
    tour.refuses_from(
        "apply --server-side -f -",
        &wrong,
        &format!(
            "Error from server: failed to create typed patch object ({}/w; /v1, Kind=ConfigMap): .daata: field not declared in \
             schema",
            tour.scenario.namespace
        ),
    );
    tour.refuses_from(
        "apply -f -",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: x}\n",
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    );
    tour.refuses_from(
        "apply -f -",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: a}]}}}\n",
        "The Deployment \"d\" is invalid:\n* spec.selector: Required value\n* spec.template.metadata.labels: Invalid value: null: \
         `selector` does not match template `labels`\n* spec.template.spec.containers[0].image: Required value",
    );
}

fn pruning(tour: &Tour) {
    let prune = "apply --prune -l set=one --prune-allowlist=core/v1/ConfigMap -f -";
    tour.says_to(
        prune,
        &config_map("a", "2"),
        "configmap/a configured\nconfigmap/b pruned\nconfigmap/m pruned\nconfigmap/w pruned",
    );
    let set = tour.kubectl.variable("KUBECTL_APPLYSET", "true");
    let apply = |documents: &str| set.run_with("apply --prune --applyset=fleet -f -", documents.as_bytes());
    let both = [config_map("x", "1"), config_map("z", "1")].concat();
    assert_eq!(apply(&both), "configmap/x created\nconfigmap/z created\n");
    assert_eq!(apply(&config_map("x", "1")), "configmap/x unchanged\nconfigmap/z pruned\n");
    tour.shows("get secret fleet -o yaml", &["applyset.kubernetes.io/contains-group-kinds: ConfigMap\n"]);
}

fn kustomizations(tour: &Tour) {
    let text = "namePrefix: kz-\nconfigMapGenerator: [{name: gen, literals: [a=b]}]\nresources: [cm.yaml]\n";
    tour.file("kustomization.yaml", text);
    tour.file("cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: r}\n");
    let folder = tour.files.path().display();
    let generated = "kz-gen-4h2mbtbbt6";
    tour.shows(&format!("kustomize {folder}"), &[&format!("name: {generated}\n"), "name: kz-r"]);
    tour.says(&format!("apply -k {folder}"), &format!("configmap/{generated} created\nconfigmap/kz-r created"));
    tour.says(&format!("diff -k {folder}"), "");
    let deleted = [tour.deleted(&format!("configmap \"{generated}\"")), tour.deleted("configmap \"kz-r\"")];
    tour.says(&format!("delete -k {folder}"), &deleted.join("\n"));
}
