//! What administrators allow in a namespace: quotas, limit ranges and pod security.

use crate::harness::scenario;

const LIMITS: &str = "{apiVersion: v1, kind: LimitRange, metadata: {name: l}, spec: {limits: [
    {type: Container, default: {cpu: 200m}, defaultRequest: {cpu: 100m}, max: {cpu: 500m}}]}}";

fn pod(name: &str, resources: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [
           {{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '1000'], resources: {{{resources}}}}}]}}}}"
    )
}

#[test]
fn quotas_and_limit_ranges_bound_a_namespace() {
    let Some(scenario) = scenario("bounded") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.run("create quota q --hard=pods=1,requests.cpu=1");
    kubectl.apply(LIMITS);
    kubectl.apply(&pod("one", ""));
    assert_eq!(
        kubectl.path("pod one", "{.spec.containers[0].resources}"),
        r#"{"limits":{"cpu":"200m"},"requests":{"cpu":"100m"}}"#
    );
    let exceeded = kubectl.fails_with("apply -f -", pod("two", "").as_bytes());
    assert!(exceeded.contains("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"), "{exceeded}");
    kubectl.run("wait --for=jsonpath={.status.used.requests\\.cpu}=100m quota/q --timeout=30s");
    kubectl.run("delete pod one --force --grace-period=0");
    let large = kubectl.fails_with("apply -f -", pod("two", "limits: {cpu: '1'}").as_bytes());
    assert!(large.contains("maximum cpu usage per Container is 500m, but limit is 1"), "{large}");
    kubectl.run("wait --for=jsonpath={.status.used.pods}=0 quota/q --timeout=30s");
    kubectl.apply(&pod("two", ""));
}

#[test]
fn pod_security_keeps_a_namespace_restricted() {
    let Some(scenario) = scenario("restricted") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.run("label namespace restricted pod-security.kubernetes.io/enforce=restricted");
    let refused = kubectl.fails_with("apply -f -", pod("one", "").as_bytes());
    for part in [
        "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
        "runAsNonRoot != true (pod or container \"main\" must set securityContext.runAsNonRoot=true)",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
}
