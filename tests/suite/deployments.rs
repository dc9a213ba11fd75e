//! Deployments: what `examples/hello.yaml` promises, and the whole of `kubectl rollout`.

use crate::harness::{PATIENCE, eventually, scenario};

const HELLO: &str = include_str!("../../examples/hello.yaml");

#[test]
fn hello_serves_scales_and_rolls() {
    let Some(scenario) = scenario("hello") else { return };
    let kubectl = &scenario.kubectl;
    kubectl.apply(HELLO);
    kubectl.run("rollout status deployment/hello --timeout=60s");
    let address = kubectl.path("service hello", "{.spec.clusterIP}");
    let fetch = format!("curl -s -m 2 http://{address}/");
    eventually("the Service answers", PATIENCE, || scenario.host.sees(&fetch, "Hello from Nauplius"));
}
