//! Who may do what: a service account is held to its roles, and told so in upstream's words.

use crate::harness::{PATIENCE, eventually, scenario};
use crate::pods::script;

#[test]
fn a_service_account_may_do_what_its_role_says_and_no_more() {
    let Some(scenario) = scenario("rbac") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(
        "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: read}, rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: read}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: read}
subjects: [{kind: ServiceAccount, name: reader, namespace: rbac}]
",
    );
    kubectl.apply(&script("caller", "serviceAccountName: reader,", "", "sleep 3600"));
    kubectl.run("wait --for=condition=Ready pod/caller --timeout=60s");
    let token = kubectl.run("exec caller -- cat /var/run/secrets/kubernetes.io/serviceaccount/token");
    let reader = scenario.host.kubectl_with_token(&token).namespace("rbac");
    assert!(reader.run("get pods").contains("caller"));
    assert_eq!(
        reader.fails("get secrets"),
        "Error from server (Forbidden): secrets is forbidden: User \"system:serviceaccount:rbac:reader\" cannot list \
         resource \"secrets\" in API group \"\" in the namespace \"rbac\""
    );
    assert_eq!(
        reader.fails("delete pod caller"),
        "Error from server (Forbidden): pods \"caller\" is forbidden: User \"system:serviceaccount:rbac:reader\" cannot \
         delete resource \"pods\" in API group \"\" in the namespace \"rbac\""
    );
    assert!(
        reader.fails("get nodes").contains("cannot list resource \"nodes\" in API group \"\" at the cluster scope")
    );
    assert!(kubectl.run("get pods --as=system:serviceaccount:rbac:reader").contains("caller"));

    kubectl.run("delete rolebinding read");
    eventually("the permission is gone", PATIENCE, || match reader.try_run("get pods") {
        Ok(output) => Err(output),
        Err(failure) if failure.stderr.contains("Forbidden") => Ok(()),
        Err(failure) => Err(failure.to_string()),
    });
    kubectl.run("delete pod caller");
    eventually("the token of a deleted pod is refused", PATIENCE, || match reader.try_run("get pods") {
        Err(failure) if failure.stderr.contains("Unauthorized") || failure.stderr.contains("must be logged in") => {
            Ok(())
        }
        Err(failure) => Err(failure.to_string()),
        Ok(output) => Err(output),
    });
}

#[test]
fn nobody_in_particular_sees_health_and_version_alone() {
    let Some(scenario) = scenario("anonymous") else { return };
    let code =
        |path: &str| scenario.host.sh(&format!("curl -sk -o /dev/null -w %{{http_code}} https://127.0.0.1:6443{path}"));
    for (path, expected) in [
        ("/livez", "200"),
        ("/readyz", "200"),
        ("/version", "200"),
        ("/api", "401"),
        ("/metrics", "401"),
        ("/api/v1/secrets", "401"),
    ] {
        assert_eq!(code(path), expected, "{path}");
    }
}
