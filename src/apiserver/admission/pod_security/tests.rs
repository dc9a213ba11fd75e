//! Tests of PodSecurity as clients meet it: what is refused, warned about, and in which words.

use serde_json::json;

use super::*;
use crate::apiserver::{admission::fixture, reader::fake::FakeReader};

fn namespace(name: &str, labels: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), json!(value))).collect();
    json!({"metadata": {"name": name, "labels": labels}})
}

fn outcome(labels: &[(&str, &str)], group: &str, resource: &str, object: &Value) -> Result<Warnings, String> {
    let reader = FakeReader::default();
    reader.put("", "namespaces", namespace("a", labels));
    let attributes = fixture::attributes(fixture::user("jane", &[]), "create", group, resource, "a", "x");
    let kind = fixture::any_kind();
    let request = fixture::request(&attributes, Operation::Create, &kind, None);
    PodSecurity::new(Arc::new(reader)).validate(&request, object).map_err(|status| status.message)
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "x"}, "spec": spec})
}

fn hardened() -> Value {
    json!({"containers": [{"name": "a", "image": "i", "securityContext": {
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"}}}]})
}

/// The violations of a pod spec at a level of an edition.
fn violations(level: &str, version: &str, spec: Value) -> String {
    let labels = [("enforce", level), ("enforce-version", version), ("warn", "privileged")];
    match outcome(&labels, "", "pods", &pod(spec)) {
        Ok(_) => String::new(),
        Err(message) => message.split_once(&format!("\"{level}:{version}\": ")).unwrap().1.to_owned(),
    }
}

#[test]
fn a_plain_pod_is_not_restricted_enough() {
    let refused = outcome(&[("enforce", "restricted")], "", "pods", &pod(json!({"containers": [{"name": "a"}]})));
    assert_eq!(
        refused.unwrap_err(),
        "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": \
         allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\")"
    );
    assert_eq!(outcome(&[("enforce", "restricted")], "", "pods", &pod(hardened())), Ok(vec![]));
    assert_eq!(outcome(&[], "", "pods", &pod(json!({"hostPID": true, "containers": []}))), Ok(vec![]));
}

#[test]
fn the_baseline_names_what_is_dangerous() {
    let spec = json!({
        "hostNetwork": true, "hostPID": true,
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "securityContext": {"sysctls": [{"name": "kernel.msgmax"}], "seLinuxOptions": {"type": "spc_t", "user": "u"},
                            "windowsOptions": {"hostProcess": true}},
        "initContainers": [{"name": "i", "ports": [{"hostPort": 80}, {"hostPort": 1080}],
                            "securityContext": {"privileged": true, "procMount": "Unmasked"}}],
        "containers": [{"name": "c", "ports": [{"hostPort": 80}], "livenessProbe": {"httpGet": {"host": "h"}},
                        "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]},
                                            "appArmorProfile": {"type": "Unconfined"},
                                            "seccompProfile": {"type": "Unconfined"}}}]});
    assert_eq!(
        violations("baseline", "latest", spec),
        "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\"), \
         non-default capabilities (container \"c\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add), \
         host namespaces (hostNetwork=true, hostPID=true), \
         hostPath volumes (volume \"v\"), \
         hostPort (containers \"i\", \"c\" use hostPorts 1080, 80), \
         probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\"), \
         privileged (container \"i\" must not set securityContext.privileged=true), \
         procMount (container \"i\" must not set securityContext.procMount to \"Unmasked\"), \
         seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set), \
         seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\"), \
         forbidden sysctls (kernel.msgmax), \
         hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"
    );
}

#[test]
fn editions_differ() {
    let sysctl = |name: &str| json!({"containers": [], "securityContext": {"sysctls": [{"name": name}]}});
    assert_eq!(violations("baseline", "v1.28", sysctl("net.ipv4.tcp_rmem")), "forbidden sysctls (net.ipv4.tcp_rmem)");
    assert_eq!(violations("baseline", "v1.32", sysctl("net.ipv4.tcp_rmem")), "");
    let probe = json!({"containers": [{"name": "c", "livenessProbe": {"tcpSocket": {"host": "h"}}}]});
    assert_eq!(violations("baseline", "v1.33", probe), "");
    let engine = json!({"containers": [], "securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}});
    assert!(violations("baseline", "v1.30", engine.clone()).starts_with("seLinuxOptions"));
    assert_eq!(violations("baseline", "v1.31", engine), "");
    let windows = json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true},
                         "containers": [{"name": "c"}]});
    assert!(violations("restricted", "v1.24", windows.clone()).starts_with("allowPrivilegeEscalation != false"));
    assert_eq!(violations("restricted", "v1.25", windows), "");
    let root = |version: &str| {
        let mut spec = hardened();
        spec["containers"][0]["securityContext"]["runAsUser"] = json!(0);
        violations("restricted", version, spec)
    };
    assert_eq!(
        (root("v1.22").as_str(), root("v1.23").as_str()),
        ("", "runAsUser=0 (container \"a\" must not set runAsUser=0)")
    );
}

#[test]
fn a_pod_with_users_of_its_own_may_be_root() {
    let mut spec = hardened();
    spec["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false);
    let refused = violations("restricted", "latest", spec.clone());
    assert_eq!(refused, "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false)");
    spec["hostUsers"] = json!(false);
    assert_eq!(violations("restricted", "latest", spec), "");
}

#[test]
fn restricted_allows_few_kinds_of_volumes() {
    let mut spec = hardened();
    spec["volumes"] = json!([{"name": "h", "hostPath": {}}, {"name": "n", "nfs": {}}, {"name": "s", "secret": {}}]);
    assert_eq!(
        violations("restricted", "latest", spec),
        "restricted volume types (volumes \"h\", \"n\" use restricted volume types \"hostPath\", \"nfs\")"
    );
}

#[test]
fn workloads_are_warned_about() {
    let template = pod(json!({"hostPID": true, "containers": []}));
    let deployment = json!({"metadata": {"name": "x"}, "spec": {"template": template}});
    let warnings = vec!["would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)".to_owned()];
    assert_eq!(outcome(&[("enforce", "baseline")], "apps", "deployments", &deployment), Ok(warnings.clone()));
    let job = json!({"metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {"template": template}}}});
    assert_eq!(outcome(&[("warn", "baseline")], "batch", "cronjobs", &job), Ok(warnings));
}

#[test]
fn a_stricter_namespace_warns_of_pods_it_has() {
    let reader = FakeReader::default();
    for name in ["p2", "p1", "p3"] {
        let spec = json!({"hostPID": true, "containers": []});
        reader.put("", "pods", json!({"metadata": {"namespace": "a", "name": name}, "spec": spec}));
    }
    let plugin = PodSecurity::new(Arc::new(reader));
    let attributes = fixture::attributes(fixture::user("jane", &[]), "update", "", "namespaces", "a", "a");
    let (kind, old) = (fixture::any_kind(), namespace("a", &[]));
    let request = fixture::request(&attributes, Operation::Update, &kind, Some(&old));
    let warnings = plugin.validate(&request, &namespace("a", &[("enforce", "baseline")])).unwrap();
    assert_eq!(
        warnings,
        [
            "existing pods in namespace \"a\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "p1 (and 2 other pods): host namespaces"
        ]
    );
    let refused = plugin.validate(&request, &namespace("a", &[("enforce", "high")])).unwrap_err();
    assert_eq!(refused.code(), 422);
}
