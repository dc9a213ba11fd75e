//! Services and names: cluster addresses, node ports, headless services, and the DNS that pods ask.

use crate::harness::{Image, Kubectl, PATIENCE, eventually, scenario};
use crate::pods::script;

/// Waits until a command in the pod `client` prints `part`.
fn sees(kubectl: &Kubectl, line: &str, part: &str) {
    eventually(&format!("{line} prints {part}"), PATIENCE, || {
        match kubectl.try_run(&format!("exec client -- sh -c '{line}'")) {
            Ok(output) if output.contains(part) => Ok(()),
            Ok(output) => Err(output),
            Err(failure) => Err(failure.to_string()),
        }
    });
}

const SERVICES: &str = "
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {role: web}, ports: [{name: http, port: 80, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: nodes}, spec: {type: NodePort, selector: {role: web}, ports: [{port: 80, targetPort: 8080, nodePort: 31234}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: heads}, spec: {clusterIP: None, selector: {role: web}, ports: [{name: http, port: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: alias}, spec: {type: ExternalName, externalName: web.services.svc.cluster.local}}
---
";

#[test]
fn services_and_names_lead_to_their_pods() {
    let Some(scenario) = scenario("services") else { return };
    let kubectl = &scenario.kubectl;
    scenario.host.add_image(Image::Tools);
    for name in ["one", "two"] {
        let line = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www";
        let spec = format!("hostname: {name}, subdomain: heads,");
        kubectl.apply(&script(name, &spec, "", line).replace(&format!("app: {name}"), "role: web"));
    }
    kubectl.apply(&script("client", "", "", "sleep 3600").replace("image: busybox", "image: tools"));
    kubectl.apply(SERVICES);
    kubectl.run("wait --for=condition=Ready pod --all --timeout=60s");

    for url in ["http://web/", "http://web.services/", "http://web.services.svc.cluster.local/", "http://alias/"] {
        for backend in ["one", "two"] {
            sees(kubectl, &format!("for i in 1 2 3 4 5 6 7 8 9 10; do curl -s -m 2 {url}; done"), backend);
        }
    }
    let fetch = format!("curl -s -m 2 http://{}:31234/", scenario.host.address());
    eventually("the node port answers on the node", PATIENCE, || scenario.host.sees(&fetch, "o"));
    sees(kubectl, &format!("curl -s -m 2 http://{}:31234/", scenario.host.address()), "o");

    let address = kubectl.path("service web", "{.spec.clusterIP}");
    let pod = kubectl.path("pod one", "{.status.podIP}");
    sees(kubectl, "nslookup web.services.svc.cluster.local", &address);
    sees(kubectl, "nslookup heads.services.svc.cluster.local", &pod);
    sees(kubectl, "nslookup one.heads.services.svc.cluster.local", &pod);
    sees(kubectl, "nslookup -type=srv _http._tcp.web.services.svc.cluster.local", "web.services.svc.cluster.local");
    sees(kubectl, &format!("nslookup {address}"), "web.services.svc.cluster.local");
    sees(kubectl, "nslookup none.services.svc.cluster.local 2>&1 || true", "NXDOMAIN");
    sees(kubectl, "cat /etc/resolv.conf", "search services.svc.cluster.local svc.cluster.local cluster.local");
    sees(kubectl, "nslookup kubernetes.default.svc.cluster.local", "10.43.0.1");

    kubectl.run("delete pod one two");
    eventually("a Service without pods refuses at once", PATIENCE, || {
        match kubectl.output(&format!("exec client -- curl -sS -m 5 http://{address}/"), b"") {
            output if String::from_utf8_lossy(&output.stderr).contains("Failed to connect") => Ok(()),
            output => Err(crate::harness::text(&output)),
        }
    });
}
