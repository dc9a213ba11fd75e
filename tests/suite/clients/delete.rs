//! Every form of `kubectl delete`.

use super::{Tour, with_each_kubectl};

#[test]
fn objects_are_deleted_in_every_form() {
    with_each_kubectl("tour-delete", |tour| {
        for name in ["a", "b", "c", "d", "e"] {
            tour.kubectl.run(&format!("create configmap {name}"));
        }
        tour.kubectl.run("label configmap c d set=one");
        let map = |name: &str| tour.deleted(&format!("configmap \"{name}\""));
        tour.says("delete configmap a", &map("a"));
        tour.refuses("delete configmap a", "Error from server (NotFound): configmaps \"a\" not found");
        tour.says("delete configmap a --ignore-not-found", "");
        tour.says("delete configmap/b --wait=false -o name", "configmap/b");
        tour.says(
            "delete configmaps -l set=one --dry-run=server",
            &format!("{} (server dry run)\n{} (server dry run)", map("c"), map("d")),
        );
        tour.says("delete configmaps -l set=one", &format!("{}\n{}", map("c"), map("d")));
        tour.says("delete configmaps -l set=one", "No resources found");
        tour.says_to("delete -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: e}\n", &map("e"));
        owners(tour);
        pods(tour);
        raw(tour);
        everything(tour);
    });
}

fn owners(tour: &Tour) {
    for policy in ["foreground", "background", "orphan"] {
        tour.kubectl.run("create deployment d --image=busybox --replicas=0");
        tour.kubectl.run("rollout status deployment/d --timeout=30s");
        let deleted = tour.deleted("deployment.apps \"d\"");
        tour.says(&format!("delete deployment d --cascade={policy}"), &deleted);
    }
    let left = tour.kubectl.get("replicasets");
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left}");
}

fn pods(tour: &Tour) {
    for (name, flags) in [("p", "--now"), ("q", "--grace-period=0 --force")] {
        tour.kubectl
            .run(&format!("run {name} --image=busybox --image-pull-policy=Never --restart=Never -- sleep 1000"));
        tour.kubectl.run(&format!("delete pod {name} {flags}"));
        tour.refuses(&format!("get pod {name}"), &format!("Error from server (NotFound): pods \"{name}\" not found"));
    }
}

fn raw(tour: &Tour) {
    tour.kubectl.run("create configmap r");
    let path = format!("/api/v1/namespaces/{}/configmaps/r", tour.scenario.namespace);
    tour.shows(&format!("delete --raw {path}"), &[r#""status":"Success""#, r#""kind":"configmaps""#]);
}

fn everything(tour: &Tour) {
    tour.kubectl.run("create service clusterip s --tcp=80");
    tour.kubectl.run("create deployment d --image=busybox --replicas=0");
    tour.shows("delete all --all", &[&tour.deleted("service \"s\""), &tour.deleted("deployment.apps \"d\"")]);
    let name = format!("tour-gone-{}", tour.minor);
    tour.kubectl.run(&format!("create namespace {name}"));
    tour.says(&format!("delete namespace {name} --timeout=60s"), &format!("namespace \"{name}\" deleted"));
    tour.refuses(&format!("create configmap x -n {name}"), &format!("namespaces \"{name}\" not found"));
}
