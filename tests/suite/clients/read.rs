//! `kubectl get` in every form, with selectors, sorting and watches, `describe`, `explain` and `events`.

use super::{MINORS, Tour, with_each_kubectl};
use crate::harness::{PATIENCE, eventually};

// Older versions of kubectl take what begins with a brace for JSON.
const OBJECTS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: b, labels: {tier: back}}
data: {k: '1'}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {tier: front}}, data: {k: '2'}}
---
{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: None, ports: [{port: 80}], selector: {app: p}}}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: p}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: busybox, imagePullPolicy: Never, command: [sleep, '1000'], env: [{name: A, value: B}]}]
";

#[test]
fn objects_are_shown_in_every_form() {
    with_each_kubectl("tour-read", |tour| {
        tour.kubectl.apply(OBJECTS);
        forms(tour);
        columns(tour);
        selections(tour);
        watches(tour);
        mistakes(tour);
        descriptions(tour);
        events(tour);
        raw(tour);
    });
}

fn forms(tour: &Tour) {
    tour.says("get configmap b", "NAME DATA AGE\nb 1 AGE");
    tour.says("get cm/b -o wide --no-headers", "b 1 AGE");
    tour.says("get configmap b a -o name", "configmap/b\nconfigmap/a");
    tour.says("get configmap b -o jsonpath={.data.k}", "1");
    tour.says("get configmap b -o jsonpath-as-json={.metadata.labels}", "[\n{\n\"tier\": \"back\"\n}\n]");
    tour.says("get configmaps -o 'go-template={{range .items}}{{.metadata.name}} {{end}}'", "a b kube-root-ca.crt");
    tour.says("get configmap b -o custom-columns=N:.metadata.name,K:.data.k,X:.x", "N K X\nb 1 <none>");
    let path = tour.file("path", "{.metadata.name}");
    tour.says(&format!("get configmap b -o jsonpath-file={path}"), "b");
    let template = tour.file("template", "{{.data.k}}");
    tour.says(&format!("get configmap b -o go-template-file={template}"), "1");
    let columns = tour.file("columns", "N K\nmetadata.name data.k\n");
    tour.says(&format!("get configmap b -o custom-columns-file={columns}"), "N K\nb 1");
    let object = tour.kubectl.get("configmap b");
    assert_eq!((&object["kind"], &object["data"]["k"]), (&"ConfigMap".into(), &"1".into()));
    assert_eq!(object["metadata"]["managedFields"], serde_json::Value::Null);
    tour.shows("get configmap b -o yaml", &["\nkind: ConfigMap\n", "\nname: b\n"]);
    tour.shows(
        "get configmap b -o yaml --show-managed-fields",
        &["manager: kubectl-client-side-apply", "operation: Update"],
    );
    tour.shows("get configmap b --server-print=false", &["NAME AGE\nb AGE"]);
    if tour.minor == MINORS[0] {
        tour.shows("get configmap b -o kyaml", &["kind: \"ConfigMap\",", "name: \"b\","]);
    }
    tour.says("get deployments.v1.apps -o name", "");
    tour.says("get pod p --subresource=status -o jsonpath={.metadata.name}", "p");
}

fn columns(tour: &Tour) {
    tour.says("get configmaps -L tier --selector tier", "NAME DATA AGE TIER\na 1 AGE front\nb 1 AGE back");
    tour.says("get configmap b --show-labels", "NAME DATA AGE LABELS\nb 1 AGE tier=back");
    tour.says(
        "get configmaps,services --selector tier --show-kind --no-headers",
        "configmap/a 1 AGE\nconfigmap/b 1 AGE",
    );
    tour.says("get configmaps --selector tier --sort-by=.data.k -o name", "configmap/b\nconfigmap/a");
    tour.says("get configmaps --selector tier --sort-by={.metadata.name} --no-headers", "a 1 AGE\nb 1 AGE");
    tour.says("get services", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE\ns ClusterIP None <none> 80/TCP AGE");
    tour.kubectl.run("wait --for=condition=Ready pod/p --timeout=60s");
    tour.says("get pods", "NAME READY STATUS RESTARTS AGE\np 1/1 Running 0 AGE");
    tour.shows("get pods -o wide", &["IP NODE NOMINATED NODE READINESS GATES\n", " node-1 <none> <none>"]);
    tour.shows("get all", &["NAME READY STATUS RESTARTS AGE\npod/p 1/1 Running 0 AGE", "\n\nNAME TYPE CLUSTER-IP"]);
    tour.shows("get nodes", &["NAME STATUS ROLES AGE VERSION\nnode-1 Ready control-plane "]);
    tour.shows("get namespaces", &[&format!("\n{} Active AGE", tour.scenario.namespace)]);
}

fn selections(tour: &Tour) {
    let namespace = &tour.scenario.namespace;
    tour.says("get configmaps -l 'tier in (back),tier!=front' -o name", "configmap/b");
    tour.says("get configmaps -l tier --field-selector metadata.name!=b -o name", "configmap/a");
    tour.says("get pods --field-selector status.phase=Running,spec.nodeName=node-1 -o name", "pod/p");
    tour.says("get pods --field-selector status.phase=Failed -o name", "");
    tour.says("get configmaps -l tier --chunk-size=1 -o name", "configmap/a\nconfigmap/b");
    tour.shows("get configmaps -A -l tier", &["NAMESPACE NAME DATA AGE\n", &format!("\n{namespace} a 1 AGE")]);
    tour.says("get configmap none --ignore-not-found", "");
}

fn watches(tour: &Tour) {
    let columns = "--no-headers -o custom-columns=N:.metadata.name,K:.data.k";
    let watch = tour.kubectl.spawn(&format!("get configmaps -l tier --watch {columns}"));
    let shows = |lines: &str| {
        eventually(lines, PATIENCE, || {
            let output = super::plain(&watch.output());
            if output == lines { Ok(()) } else { Err(output) }
        });
    };
    shows("a 2\nb 1");
    tour.kubectl.run(r#"patch configmap b -p '{"data":{"k":"3"}}'"#);
    shows("a 2\nb 1\nb 3");
    tour.kubectl.run("delete configmap b");
    shows("a 2\nb 1\nb 3\nb 3");
    tour.kubectl.apply(OBJECTS);
}

fn mistakes(tour: &Tour) {
    tour.refuses("get unicorns", "error: the server doesn't have a resource type \"unicorns\"");
    tour.refuses("get configmap none", "Error from server (NotFound): configmaps \"none\" not found");
    tour.refuses(
        "get pods --field-selector spec.hue=red",
        "Error from server (BadRequest): Unable to find \"/v1, Resource=pods\" that match label selector \"\", field selector \
         \"spec.hue=red\": field label not supported: spec.hue",
    );
    tour.refuses(
        "get configmaps --field-selector hue=red",
        "field selector \"hue=red\": \"hue\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    );
    tour.refuses(
        "get configmaps -l 'a in ('",
        "unable to parse requirement: found '', expected: ',', ')' or identifier",
    );
    tour.refuses("get --raw /nope", "Error from server (NotFound): the server could not find the requested resource");
    let deprecated = tour.kubectl.output("get endpoints", b"").stderr;
    let warning = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n";
    assert_eq!(String::from_utf8(deprecated).unwrap(), warning);
}

fn descriptions(tour: &Tour) {
    let namespace = &tour.scenario.namespace;
    tour.shows(
        "describe configmap a",
        &[&format!("Name: a\nNamespace: {namespace}\nLabels: tier=front\n"), "k:\n----\n2\n"],
    );
    tour.shows(
        "describe pod p",
        &[
            "Node: node-1/10.77.0.1\n",
            "Labels: app=p\n",
            "Container ID: nauplius://",
            "State: Running\n",
            "Environment:\nA: B\n",
            "QoS Class: BestEffort\n",
            "node.kubernetes.io/not-ready:NoExecute op=Exists for AGE\n",
            &format!("Successfully assigned {namespace}/p to node-1"),
        ],
    );
    tour.shows("describe service s", &["Selector: app=p\nType: ClusterIP\n", "Port: <unset> 80/TCP\n"]);
    tour.shows("describe node node-1", &["Roles: control-plane\n", "KubeletReady", "Non-terminated Pods:"]);
    tour.shows(&format!("describe namespace {namespace}"), &["Status: Active\n", "No LimitRange resource."]);
    tour.shows("describe configmap", &["Name: a\n", "Name: b\n", "Name: kube-root-ca.crt\n"]);
    tour.refuses("describe configmap none", "Error from server (NotFound): configmaps \"none\" not found");
    tour.shows("explain configmap.data", &["KIND: ConfigMap\nVERSION: v1\n\nFIELD: data <map[string]string>\n"]);
    tour.shows("explain configmap", &["metadata <ObjectMeta>\nStandard object's metadata."]);
    tour.shows(
        "explain pod.spec.containers.resources --recursive",
        &["FIELDS:\nclaims <[]ResourceClaim>\nname <string> -required-\n", "limits <map[string]Quantity>"],
    );
    tour.shows("explain deployments --api-version=apps/v1", &["GROUP: apps\nKIND: Deployment\nVERSION: v1\n"]);
    tour.refuses("explain pod.hue", "error: field \"hue\" does not exist");
}

fn events(tour: &Tour) {
    eventually("the container's start is an event", PATIENCE, || {
        let output = super::plain(&tour.kubectl.run("events --for pod/p --no-headers"));
        if output.contains("Normal Started Pod/p Container started") { Ok(()) } else { Err(output) }
    });
    tour.shows("events --types=Normal", &["LAST SEEN TYPE REASON OBJECT MESSAGE\n", "Normal Scheduled Pod/p "]);
    tour.shows(
        "get events --field-selector involvedObject.name=p,reason=Started",
        &["Normal Started pod/p Container started"],
    );
}

fn raw(tour: &Tour) {
    let path = format!("/api/v1/namespaces/{}/configmaps/a", tour.scenario.namespace);
    tour.shows(&format!("get --raw {path}"), &[r#""data":{"k":"2"}"#]);
    tour.says("get --raw /healthz", "ok");
}
