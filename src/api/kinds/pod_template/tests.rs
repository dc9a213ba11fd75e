//! Pods with one mistake each, and what the server says about it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{
    kind::{Strategy, descriptor},
    kinds::pod::PodKind,
    patch::merge,
};

/// Problems of a minimal pod whose spec is merged with `spec`.
fn problems(spec: Value) -> Vec<String> {
    let strategy: Arc<dyn Strategy> = descriptor::<PodKind>().strategy;
    let mut pod =
        json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pod["spec"] = merge::apply(pod["spec"].take(), spec);
    let causes = strategy.validate(&strategy.decode(pod).unwrap());
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// Problems of a pod whose only container is merged with `container`.
fn of_container(container: Value) -> Vec<String> {
    let whole = merge::apply(json!({"name": "c", "image": "i"}), container);
    problems(json!({"containers": [whole], "volumes": [{"name": "v"}]}))
}

/// Problems of an ephemeral container, beside that a new pod has none.
fn of_ephemeral(container: Value) -> Vec<String> {
    let whole = merge::apply(json!({"name": "d", "image": "i"}), container);
    let mut problems = problems(json!({"ephemeralContainers": [whole]}));
    assert_eq!(problems.pop().as_deref(), Some("spec.ephemeralContainers: Forbidden: cannot be set on create"));
    problems
}

#[test]
fn a_minimal_pod_is_valid() {
    assert_eq!(problems(json!({})), [""; 0]);
}

#[test]
fn containers_have_names_and_images() {
    assert_eq!(problems(json!({"containers": []})), ["spec.containers: Required value"]);
    assert_eq!(
        problems(json!({"containers": [{}]})),
        ["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"]
    );
    assert_eq!(
        of_container(json!({"image": " i"}))[0],
        "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"
    );
    assert_eq!(
        problems(json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]})),
        ["spec.containers[1].name: Duplicate value: \"c\""]
    );
    assert_eq!(
        of_container(json!({"imagePullPolicy": "x"})),
        [
            "spec.containers[0].imagePullPolicy: Unsupported value: \"x\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
        ]
    );
}

#[test]
fn only_sidecars_among_init_containers_have_probes() {
    let probe = json!({"tcpSocket": {"port": 80}});
    let init = |policy: Value| {
        problems(
            json!({"initContainers": [{"name": "i", "image": "i", "restartPolicy": policy, "livenessProbe": probe}]}),
        )
    };
    assert_eq!(init(json!("Always")), [""; 0]);
    assert_eq!(
        init(Value::Null),
        [
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"
        ]
    );
}

#[test]
fn mounts_name_volumes() {
    assert_eq!(of_container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})), [""; 0]);
    assert_eq!(
        of_container(json!({"volumeMounts": [{"name": "w", "mountPath": "/v"}]})),
        ["spec.containers[0].volumeMounts[0].name: Not found: \"w\""]
    );
    assert_eq!(
        of_container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]})),
        ["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique"]
    );
    assert_eq!(
        of_container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/../b"}]})),
        ["spec.containers[0].volumeMounts.subPath: Invalid value: \"a/../b\": must not contain '..'"]
    );
}

#[test]
fn an_environment_variable_has_one_source() {
    let env = |variable: Value| of_container(json!({"env": [variable]}));
    assert_eq!(env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}})), [""; 0]);
    assert_eq!(
        env(json!({"name": "A", "valueFrom": {}})),
        [
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, \
          `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        ]
    );
    assert_eq!(
        env(json!({"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})),
        ["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"]
    );
    assert_eq!(
        env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}})),
        [
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.foo\": error converting fieldPath: \
          field label not supported: spec.foo"
        ]
    );
}

#[test]
fn requests_are_not_above_limits() {
    let resources = |resources: Value| of_container(json!({"resources": resources}));
    assert_eq!(
        resources(json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "128Mi"}})),
        [
            "spec.containers[0].resources.requests: Invalid value: \"128Mi\": must be less than or equal to memory limit of 64Mi"
        ]
    );
    assert_eq!(
        resources(json!({"requests": {"cpu": "-1"}}))[0],
        "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"
    );
    assert_eq!(
        resources(json!({"requests": {"foo": "1"}}))[..2],
        [
            "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource for containers"
        ]
    );
    assert_eq!(resources(json!({"limits": {"example.com/gpu": "1"}})), [""; 0]);
}

#[test]
fn a_probe_has_one_handler() {
    let probe = |probe: Value| of_container(json!({"livenessProbe": probe}));
    assert_eq!(probe(json!({"httpGet": {"port": "http"}})), [""; 0]);
    assert_eq!(probe(json!({})), ["spec.containers[0].livenessProbe: Required value: must specify a handler type"]);
    assert_eq!(
        probe(json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})),
        ["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"]
    );
    assert_eq!(
        probe(json!({"tcpSocket": {"port": 1}, "successThreshold": 2})),
        ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"]
    );
}

#[test]
fn ports_do_not_collide() {
    let ports = |ports: Value| of_container(json!({"ports": ports}));
    assert_eq!(
        ports(json!([{"containerPort": 70000}])),
        ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]
    );
    assert_eq!(
        ports(json!([{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}])),
        ["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\""]
    );
    assert_eq!(
        problems(json!({"hostNetwork": true,
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}]})),
        [
            "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"
        ]
    );
}

#[test]
fn a_volume_has_one_source() {
    let volume = |volume: Value| problems(json!({"volumes": [volume]}));
    assert_eq!(volume(json!({"name": "v", "hostPath": {"path": "/a"}})), [""; 0]);
    assert_eq!(
        volume(json!({"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}})),
        ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"]
    );
    assert_eq!(volume(json!({"name": "v", "secret": {}})), ["spec.volumes[0].secret.secretName: Required value"]);
    assert_eq!(
        volume(json!({"name": "v", "configMap": {"name": "m", "defaultMode": 512}})),
        [
            "spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both \
          inclusive"
        ]
    );
}

#[test]
fn tolerations_and_affinity_make_sense() {
    assert_eq!(
        problems(json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]})),
        ["spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"]
    );
    assert_eq!(
        problems(json!({"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 1}]})),
        ["spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set"]
    );
    let required =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}});
    assert_eq!(
        problems(json!({"affinity": required})),
        [
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: \
          must have at least one node selector term"
        ]
    );
    assert_eq!(
        problems(
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "x"}]})
        ),
        [
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"x\": supported values: \
             \"DoNotSchedule\", \"ScheduleAnyway\"",
        ]
    );
}

#[test]
fn ephemeral_containers_have_no_ports() {
    assert_eq!(of_ephemeral(json!({"targetContainerName": "c"})), [""; 0]);
    assert_eq!(
        of_ephemeral(json!({"ports": [{"containerPort": 1}]})),
        ["spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"]
    );
    assert_eq!(
        of_ephemeral(json!({"targetContainerName": "x"})),
        ["spec.ephemeralContainers[0].targetContainerName: Not found: \"x\""]
    );
}

#[test]
fn a_promise_of_no_privileges_is_kept() {
    assert_eq!(
        of_container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}})),
        ["spec.containers[0].securityContext.allowPrivilegeEscalation: Invalid value: false: cannot set \
          `allowPrivilegeEscalation` to false and `privileged` to true"]
    );
    assert_eq!(
        problems(json!({"dnsPolicy": "None"})),
        ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]
    );
}
