//! What a container may do, from its security context and its pod's.

use std::path::Path;

use k8s_openapi::api::core::v1::{Capabilities, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};

use crate::{oci::Seccomp, sys::capability};

/// Capabilities a container has unless its pod says otherwise: Docker's set, which containerd and
/// CRI-O took over.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A security context with the pod's filling the container's gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// `runAsUser`
    pub user: Option<i64>,
    /// `runAsGroup`
    pub group: Option<i64>,
    /// `runAsNonRoot`
    pub non_root: bool,
    /// `fsGroup` and `supplementalGroups`.
    pub groups: Vec<i64>,
    /// Groups that the image gives the user are left out (`supplementalGroupsPolicy: Strict`).
    pub strict_groups: bool,
    /// `privileged`
    pub privileged: bool,
    /// `readOnlyRootFilesystem`
    pub read_only_rootfs: bool,
    /// `allowPrivilegeEscalation: false`
    pub no_new_privileges: bool,
    /// Capabilities with their `CAP_` prefix.
    pub capabilities: Vec<String>,
    /// `seccompProfile`
    pub seccomp: Seccomp,
    /// `procMount: Unmasked`
    pub unmasked_proc: bool,
}

/// The security context in force for a container. Localhost seccomp profiles lie below
/// `profiles`.
pub fn of(pod: &Pod, container: &Container, profiles: &Path) -> Security {
    let none = SecurityContext::default();
    let pod_none = PodSecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&none);
    let shared = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).unwrap_or(&pod_none);
    let privileged = own.privileged == Some(true);
    Security {
        user: own.run_as_user.or(shared.run_as_user),
        group: own.run_as_group.or(shared.run_as_group),
        non_root: own.run_as_non_root.or(shared.run_as_non_root) == Some(true),
        groups: shared.fs_group.into_iter().chain(shared.supplemental_groups.iter().flatten().copied()).collect(),
        strict_groups: shared.supplemental_groups_policy.as_deref() == Some("Strict"),
        privileged,
        read_only_rootfs: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        capabilities: capabilities(own.capabilities.as_ref(), privileged),
        seccomp: seccomp(own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref()), profiles),
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    }
}

fn capabilities(wishes: Option<&Capabilities>, privileged: bool) -> Vec<String> {
    let with_prefix = |names: Vec<&str>| names.into_iter().map(|name| format!("CAP_{name}")).collect();
    if privileged {
        return with_prefix(capability::NAMES.to_vec());
    }
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        let upper = |name: &String| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned();
        list.into_iter().flatten().map(upper).collect()
    };
    let add = names(wishes.and_then(|wishes| wishes.add.as_ref()));
    let drop = names(wishes.and_then(|wishes| wishes.drop.as_ref()));
    let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
    let base: &[&str] = match (has(&add, "ALL"), has(&drop, "ALL")) {
        (true, _) => &capability::NAMES,
        (false, true) => &[],
        (false, false) => DEFAULT_CAPABILITIES,
    };
    let granted = |name: &&&str| (base.contains(*name) && !has(&drop, name)) || has(&add, name);
    with_prefix(capability::NAMES.iter().filter(granted).copied().collect())
}

/// Without a wish the runtime's default profile applies, as with an upstream kubelet with
/// `--seccomp-default` (KEP-2413): least privilege is what nobody has to ask for.
fn seccomp(profile: Option<&SeccompProfile>, profiles: &Path) -> Seccomp {
    match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        Some(("Localhost", Some(name))) => Seccomp::Localhost(profiles.join(name)),
        Some(("Unconfined", _)) => Seccomp::Unconfined,
        _ => Seccomp::RuntimeDefault,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn security(pod: Value, container: Value) -> Security {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"securityContext": pod,
            "containers": [{"name": "c", "securityContext": container}]}}))
        .unwrap();
        of(&pod, &pod.spec.as_ref().unwrap().containers[0], Path::new("/profiles"))
    }

    #[test]
    fn the_container_comes_before_the_pod() {
        let security = security(json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3}), json!({"runAsUser": 9}));
        assert_eq!((security.user, security.group, security.groups), (Some(9), Some(2), vec![3]));
    }

    #[test]
    fn capabilities_are_the_default_set_with_wishes_applied() {
        let of = |add: &[&str], drop: &[&str]| {
            security(json!({}), json!({"capabilities": {"add": add, "drop": drop}})).capabilities
        };
        assert_eq!(of(&[], &[]).len(), DEFAULT_CAPABILITIES.len());
        assert_eq!(of(&["NET_BIND_SERVICE"], &["ALL"]), ["CAP_NET_BIND_SERVICE"]);
        assert!(of(&["CAP_NET_ADMIN"], &[]).contains(&"CAP_NET_ADMIN".to_owned()));
        assert!(!of(&[], &["CHOWN"]).contains(&"CAP_CHOWN".to_owned()));
        assert_eq!(of(&["ALL"], &["SYS_ADMIN"]).len(), capability::NAMES.len() - 1);
    }

    #[test]
    fn seccomp_filters_unless_wished_away() {
        assert_eq!(security(json!({}), json!({})).seccomp, Seccomp::RuntimeDefault);
        let unconfined = json!({"seccompProfile": {"type": "Unconfined"}});
        assert_eq!(security(unconfined, json!({})).seccomp, Seccomp::Unconfined);
        let local = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}});
        assert_eq!(security(json!({}), local).seccomp, Seccomp::Localhost("/profiles/a.json".into()));
    }
}
