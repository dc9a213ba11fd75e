//! What bindings of both scopes share: their role reference and their subjects.

use jiff::Timestamp;
use k8s_openapi::{
    api::rbac::v1::{RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use crate::api::{
    field::{self, Path},
    kind::{Column, Scope},
    kinds::{cells, names::RBAC},
    status::Cause,
    validation::name,
};

/// Columns of bindings of either scope.
pub const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::column("Role", "string", "The role that is bound."),
    cells::AGE,
    cells::wide("Users", "string", "Users that it is bound to."),
    cells::wide("Groups", "string", "Groups that it is bound to."),
    cells::wide("ServiceAccounts", "string", "Service accounts that it is bound to."),
];

/// The row of a binding of either scope.
pub fn cells(meta: &ObjectMeta, role: &RoleRef, subjects: Option<&Vec<Subject>>, now: Timestamp) -> Vec<Value> {
    let of = |kind: &'static str| subjects.into_iter().flatten().filter(move |subject| subject.kind == kind);
    let plain = |kind| of(kind).map(|subject| subject.name.clone()).collect::<Vec<_>>().join(", ");
    let accounts: Vec<String> = of("ServiceAccount")
        .map(|subject| format!("{}/{}", subject.namespace.as_deref().unwrap_or_default(), subject.name))
        .collect();
    vec![
        cells::name(meta),
        json!(format!("{}/{}", role.kind, role.name)),
        cells::age(meta, now),
        json!(plain("User")),
        json!(plain("Group")),
        json!(accounts.join(", ")),
    ]
}

/// Fills in API groups.
pub fn default(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    if role.api_group.as_deref().unwrap_or_default().is_empty() {
        role.api_group = Some(RBAC.group.to_owned());
    }
    for subject in subjects.into_iter().flatten() {
        if subject.api_group.is_none() && matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group = Some(RBAC.group.to_owned());
        }
    }
}

/// Problems of a binding in `scope`, which may refer to `roles`.
pub fn validate(role: &RoleRef, subjects: Option<&Vec<Subject>>, scope: Scope, roles: &[&str]) -> Vec<Cause> {
    let path = Path::new("roleRef");
    let mut causes = Vec::new();
    let group = role.api_group.as_deref().unwrap_or_default();
    if group != RBAC.group {
        causes.push(field::unsupported(&path.child("apiGroup"), group, &[RBAC.group]));
    }
    if !roles.contains(&role.kind.as_str()) {
        causes.push(field::unsupported(&path.child("kind"), &role.kind, roles));
    }
    if role.name.is_empty() {
        causes.push(field::required(&path.child("name"), ""));
    } else {
        causes.extend(field::invalid_each(&path.child("name"), &role.name, &name::path_segment(&role.name)));
    }
    let path = Path::new("subjects");
    for (index, one) in subjects.into_iter().flatten().enumerate() {
        causes.extend(subject(one, scope, &path.index(index)));
    }
    causes
}

/// A binding keeps its role: whoever may change subjects must not gain other rights.
pub fn validate_update(new: &RoleRef, old: &RoleRef) -> Vec<Cause> {
    if new == old {
        return Vec::new();
    }
    vec![field::invalid_internal(&Path::new("roleRef"), "rbac.v1.RoleRef", new, "cannot change roleRef")]
}

fn subject(subject: &Subject, scope: Scope, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if subject.name.is_empty() {
        causes.push(field::required(&path.child("name"), ""));
    }
    let group = subject.api_group.as_deref().unwrap_or_default();
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                let problems = name::dns1123_subdomain(&subject.name);
                causes.extend(field::invalid_each(&path.child("name"), &subject.name, &problems));
            }
            if !group.is_empty() {
                causes.push(field::unsupported(&path.child("apiGroup"), group, &[""]));
            }
            if scope == Scope::Cluster && subject.namespace.as_deref().unwrap_or_default().is_empty() {
                causes.push(field::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" if group != RBAC.group => {
            causes.push(field::unsupported(&path.child("apiGroup"), group, &[RBAC.group]));
        }
        "User" | "Group" => {}
        kind => causes.push(field::unsupported(&path.child("kind"), kind, &["ServiceAccount", "User", "Group"])),
    }
    causes
}
