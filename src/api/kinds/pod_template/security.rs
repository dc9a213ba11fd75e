//! Rules of security contexts of pods and containers.

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};

use serde::Serialize;

use super::{app_armor, containers, mounts::local_descending, windows};
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::value,
};

const SECCOMP_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const FS_GROUP_POLICIES: &[&str] = &["Always", "OnRootMismatch"];
const GROUPS_POLICIES: &[&str] = &["Merge", "Strict"];
const PROC_MOUNTS: &[&str] = &["Default", "Unmasked"];
const WITH_OWN_USERS: &str = "when `hostUsers` is false";
const SYSCTL_LIMIT_BYTES: usize = 253;

/// Problems of a container's context.
pub fn container(context: &SecurityContext, path: &Path) -> Vec<Cause> {
    let mut causes = ids(&[("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)], path);
    if let Some(word) = context.proc_mount.as_deref()
        && !PROC_MOUNTS.contains(&word)
    {
        causes.push(field::unsupported(&path.child("procMount"), word, PROC_MOUNTS));
    }
    if let Some(profile) = &context.seccomp_profile {
        causes.extend(seccomp(profile, &path.child("seccompProfile")));
    }
    causes.extend(escalation(context, path));
    if let Some(options) = &context.windows_options {
        causes.extend(windows::options(options, &path.child("windowsOptions")));
    }
    if let Some(profile) = &context.app_armor_profile {
        causes.extend(app_armor::validate(profile, &path.child("appArmorProfile")));
    }
    causes
}

/// Problems of a pod's context, with the host namespaces beside it.
pub fn pod(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = host_users(spec, path);
    let path = path.child("securityContext");
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        causes.push(field::invalid(&path.child("shareProcessNamespace"), true, detail));
    }
    let Some(context) = &spec.security_context else { return causes };
    let numbers =
        [("fsGroup", context.fs_group), ("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)];
    causes.extend(ids(&numbers, &path));
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        let path = path.child("supplementalGroups").index(index);
        causes.extend(field::invalid_each(&path, group, &value::user_id(*group)));
    }
    let words = [
        ("fsGroupChangePolicy", &context.fs_group_change_policy, FS_GROUP_POLICIES),
        ("supplementalGroupsPolicy", &context.supplemental_groups_policy, GROUPS_POLICIES),
    ];
    for (name, word, supported) in words {
        if let Some(word) = word.as_deref()
            && !supported.contains(&word)
        {
            causes.push(field::unsupported(&path.child(name), word, supported));
        }
    }
    if let Some(profile) = &context.seccomp_profile {
        causes.extend(seccomp(profile, &path.child("seccompProfile")));
    }
    if let Some(options) = &context.windows_options {
        causes.extend(windows::options(options, &path.child("windowsOptions")));
    }
    if let Some(profile) = &context.app_armor_profile {
        causes.extend(app_armor::validate(profile, &path.child("appArmorProfile")));
    }
    causes.extend(sysctls(context, spec, &path.child("sysctls")));
    causes
}

/// What raises privileges contradicts a promise not to.
fn escalation(context: &SecurityContext, path: &Path) -> Vec<Cause> {
    if context.allow_privilege_escalation != Some(false) {
        return Vec::new();
    }
    let path = path.child("allowPrivilegeEscalation");
    let mut causes = Vec::new();
    if context.privileged == Some(true) {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        causes.push(field::invalid(&path, false, detail));
    }
    let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_ref());
    if added.into_iter().flatten().any(|capability| capability == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        causes.push(field::invalid(&path, false, detail));
    }
    causes
}

/// A pod with users of its own (KEP-127) shares no other namespace with the host.
fn host_users(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    if spec.host_users != Some(false) {
        return Vec::new();
    }
    let shared = [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
    let given = shared.iter().filter(|(_, shared)| *shared == Some(true));
    let mut causes: Vec<Cause> = given.map(|(name, _)| field::forbidden(&path.child(name), WITH_OWN_USERS)).collect();
    for (path, container) in containers::with_paths(spec, path) {
        if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            causes.push(field::forbidden(&path.child("volumeDevices"), WITH_OWN_USERS));
        }
    }
    causes
}

fn ids(numbers: &[(&str, Option<i64>)], path: &Path) -> Vec<Cause> {
    let given = numbers.iter().filter_map(|(name, number)| Some((name, (*number)?)));
    given.flat_map(|(name, number)| field::invalid_each(&path.child(name), number, &value::user_id(number))).collect()
}

fn seccomp(profile: &SeccompProfile, path: &Path) -> Vec<Cause> {
    let local = path.child("localhostProfile");
    let mut causes: Vec<Cause> = match profile.type_.as_str() {
        "" => vec![field::required(&path.child("type"), "type is required when seccompProfile is set")],
        kind => field::one_of(&path.child("type"), kind, SECCOMP_TYPES).into_iter().collect(),
    };
    match profile.localhost_profile.as_deref() {
        None if profile.type_ == "Localhost" => {
            causes.push(field::required(&local, "must be set when seccomp type is Localhost"));
        }
        Some(file) if profile.type_ == "Localhost" => causes.extend(local_descending(file, &local)),
        Some(_) => {
            let shown =
                ShownSeccomp { r#type: &profile.type_, localhost_profile: profile.localhost_profile.as_deref() };
            causes.push(field::invalid(&local, shown, "can only be set when seccomp type is Localhost"));
        }
        None => {}
    }
    causes
}

/// A profile as errors show it: with the names of upstream's internal type.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownSeccomp<'a> {
    r#type: &'a str,
    localhost_profile: Option<&'a str>,
}

fn sysctls(context: &PodSecurityContext, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let all = context.sysctls.as_deref().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, sysctl) in all.iter().enumerate() {
        let path = path.index(index).child("name");
        if sysctl.name.is_empty() {
            causes.push(field::required(&path, ""));
        } else if !is_sysctl(&sysctl.name) {
            let detail = format!(
                "must have at most {SYSCTL_LIMIT_BYTES} characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*\
                 [a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            causes.push(field::invalid(&path, &sysctl.name, &detail));
        } else if all[..index].iter().any(|other| other.name == sysctl.name) {
            causes.push(field::duplicate(&path, &sysctl.name));
        }
        let of_network = sysctl.name.starts_with("net.");
        let of_ipc = sysctl.name.starts_with("kernel.shm") || sysctl.name.starts_with("fs.mqueue.");
        if (of_network && spec.host_network == Some(true)) || (of_ipc && spec.host_ipc == Some(true)) {
            let shared = if of_network { "hostNetwork" } else { "hostIPC" };
            causes.push(field::invalid(&path, &sysctl.name, &format!("may not be specified when '{shared}' is true")));
        }
    }
    causes
}

fn is_sysctl(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| legal(*byte))
            && bytes.last().is_some_and(|byte| legal(*byte))
            && bytes.iter().all(|byte| legal(*byte) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= SYSCTL_LIMIT_BYTES && name.split(['.', '/']).all(part)
}
