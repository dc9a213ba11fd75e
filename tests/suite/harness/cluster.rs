//! One single-node cluster that all tests share which need no more, so that the suite stays fast.
//! Each test has a namespace of its own there. It is removed after the test process has ended.

use std::sync::OnceLock;

use super::{Host, Image, Kubectl, can_make_hosts};

/// A namespace on the shared cluster. It is deleted when it goes out of scope.
pub struct Scenario {
    /// The cluster's host.
    pub host: &'static Host,
    /// kubectl for the namespace.
    pub kubectl: Kubectl,
    /// Name of the namespace.
    pub namespace: String,
}

/// A namespace `name` on the shared cluster; nothing where there can be no hosts.
pub fn scenario(name: &str) -> Option<Scenario> {
    let host = shared()?;
    let cluster = host.kubectl();
    cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"));
    let scenario = Scenario { host, kubectl: cluster.namespace(name), namespace: name.to_owned() };
    // Pods are refused until the controller has made it.
    scenario.kubectl.run("wait --for=create serviceaccount/default --timeout=60s");
    Some(scenario)
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.host.show_log();
            for what in ["get pods,deployments,replicasets,services -o wide", "get events", "describe pods"] {
                let output = self.kubectl.try_run(what).unwrap_or_else(|failure| failure.to_string());
                eprintln!("---- kubectl {what}\n{output}");
            }
        }
        let delete = format!("delete namespace {} --wait=false", self.namespace);
        if let Err(failure) = self.host.kubectl().try_run(&delete) {
            eprintln!("{failure}");
        }
    }
}

fn shared() -> Option<&'static Host> {
    static HOST: OnceLock<Option<Host>> = OnceLock::new();
    let start = || {
        can_make_hosts().then(|| {
            let host = Host::new();
            host.add_image(Image::Busybox);
            host.start_server(&[]);
            host.wait_for_api();
            host.wait_for_node(&host);
            host
        })
    };
    HOST.get_or_init(start).as_ref()
}
