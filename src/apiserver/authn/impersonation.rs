//! Impersonation (Kubernetes reference, "User impersonation"): the `Impersonate-*` headers name the
//! user to act as; each of them needs the `impersonate` verb on what it names.

use std::collections::BTreeMap;

use http::{HeaderMap, request::Parts};
use percent_encoding::percent_decode_str;

use crate::{
    api::Status,
    apiserver::{attributes::Attributes, authn::ANONYMOUS, authz::Authorizer},
    http::identity::{AUTHENTICATED, UNAUTHENTICATED, User},
};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
/// Group of the virtual resources `uids` and `userextras`.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user that `request` asks to act as, or `user` itself if it asks for nobody.
pub fn apply(user: User, request: &Parts, authorizer: &Authorizer) -> Result<User, Status> {
    let Some(mut target) = requested(&request.headers)? else { return Ok(user) };
    check(&user, &target, authorizer)?;
    complete(&mut target);
    Ok(target)
}

/// Whether a request is made on behalf of somebody else.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.contains_key(USER)
}

fn requested(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let text = |value: &http::HeaderValue| {
        value.to_str().map(str::to_owned).map_err(|_| Status::bad_request("impersonation header is not text"))
    };
    let target = User {
        name: headers.get(USER).map(text).transpose()?.unwrap_or_default(),
        uid: headers.get(UID).map(text).transpose()?.unwrap_or_default(),
        groups: headers.get_all(GROUP).iter().map(text).collect::<Result<_, _>>()?,
        extra: extra(headers)?,
    };
    if !target.name.is_empty() {
        return Ok(Some(target));
    }
    if target != User::default() {
        return Err(Status::bad_request("requested impersonation of groups, UID or extra without a user"));
    }
    Ok(None)
}

fn extra(headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Status> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
        let value = value.to_str().map_err(|_| Status::bad_request("impersonation header is not text"))?;
        extra.entry(key).or_default().push(value.to_owned());
    }
    Ok(extra)
}

fn check(user: &User, target: &User, authorizer: &Authorizer) -> Result<(), Status> {
    let allowed = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        authorizer.authorize(&Attributes {
            user: user.clone(),
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        })
    };
    match service_account(&target.name) {
        Some((namespace, name)) => allowed("", "serviceaccounts", "", namespace, name)?,
        None => allowed("", "users", "", "", &target.name)?,
    }
    for group in &target.groups {
        allowed("", "groups", "", "", group)?;
    }
    for (key, values) in &target.extra {
        for value in values {
            allowed(AUTHENTICATION, "userextras", key, "", value)?;
        }
    }
    if !target.uid.is_empty() {
        allowed(AUTHENTICATION, "uids", "", "", &target.uid)?;
    }
    Ok(())
}

/// Adds the groups that the target would have if it had authenticated itself.
fn complete(target: &mut User) {
    if target.groups.is_empty()
        && let Some((namespace, _)) = service_account(&target.name)
    {
        target.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let group = if target.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !target.is_in(AUTHENTICATED) && !target.is_in(UNAUTHENTICATED) {
        target.groups.push(group.into());
    }
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("system:serviceaccount:")?.split_once(':')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;
    use serde_json::json;

    use super::*;
    use crate::apiserver::{authz::rbac, reader::fake::FakeReader};

    fn authorizer() -> Authorizer {
        let reader = FakeReader::default();
        let rules =
            json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["joe"]}]);
        reader.put(rbac::GROUP, "clusterroles", json!({"metadata": {"name": "speaker"}, "rules": rules}));
        reader.put(
            rbac::GROUP,
            "clusterrolebindings",
            json!({
            "metadata": {"name": "speaker"}, "roleRef": {"kind": "ClusterRole", "name": "speaker"},
            "subjects": [{"kind": "User", "name": "jane"}]}),
        );
        Authorizer::new(Arc::new(reader))
    }

    fn request(headers: &[(&str, &str)]) -> Parts {
        let builder = headers.iter().fold(Request::get("/api"), |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn who_may_speaks_for_another() {
        let user = apply(User::component("jane"), &request(&[("Impersonate-User", "joe")]), &authorizer()).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("joe", vec![AUTHENTICATED.to_owned()]));
    }

    #[test]
    fn every_part_needs_its_permission() {
        let authorizer = authorizer();
        let attempts: [&[(&str, &str)]; 3] = [
            &[("Impersonate-User", "root")],
            &[("Impersonate-User", "joe"), ("Impersonate-Group", "system:masters")],
            &[("Impersonate-User", "joe"), ("Impersonate-Extra-scopes", "all")],
        ];
        for headers in attempts {
            let status = apply(User::component("jane"), &request(headers), &authorizer).unwrap_err();
            assert_eq!(status.code(), 403, "{headers:?}");
        }
        let status = apply(User::component("jane"), &request(&[("Impersonate-Group", "a")]), &authorizer).unwrap_err();
        assert_eq!(status.code(), 400);
    }
}
