//! Who may act as whom.

use std::sync::Arc;

use http::Request;
use serde_json::{Value, json};

use super::*;
use crate::apiserver::{authz::rbac, reader::fake::FakeReader};

/// Jane may do what these rules say.
fn authorizer(rules: Value) -> Authorizer {
    let reader = FakeReader::default();
    reader.put(rbac::GROUP, "clusterroles", json!({"metadata": {"name": "speaker"}, "rules": rules}));
    reader.put(
        rbac::GROUP,
        "clusterrolebindings",
        json!({
        "metadata": {"name": "speaker"}, "roleRef": {"kind": "ClusterRole", "name": "speaker"},
        "subjects": [{"kind": "User", "name": "jane"}, {"kind": "User", "name": "system:serviceaccount:a:agent"}]}),
    );
    Authorizer::new(Arc::new(reader))
}

fn speaker() -> Authorizer {
    authorizer(json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["joe"]}]))
}

fn request(headers: &[(&str, &str)]) -> Parts {
    let builder = Request::get("/api/v1/namespaces/a/pods");
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(()).unwrap().into_parts().0
}

fn attempt(requestor: &User, headers: &[(&str, &str)], authorizer: &Authorizer) -> Result<Impersonation, Status> {
    apply(requestor, &request(headers), authorizer).map(Option::unwrap)
}

#[test]
fn who_may_speaks_for_another() {
    let jane = User::component("jane");
    let Impersonation { user, constraint } = attempt(&jane, &[("Impersonate-User", "joe")], &speaker()).unwrap();
    assert_eq!((user.name.as_str(), user.groups), ("joe", vec![AUTHENTICATED.to_owned()]));
    assert_eq!(constraint, None);
    assert_eq!(apply(&jane, &request(&[]), &speaker()).unwrap(), None);
}

#[test]
fn every_part_needs_its_permission() {
    let (jane, authorizer) = (User::component("jane"), speaker());
    let attempts: [&[(&str, &str)]; 4] = [
        &[("Impersonate-User", "root")],
        &[("Impersonate-User", "joe"), ("Impersonate-Group", "system:masters")],
        &[("Impersonate-User", "joe"), ("Impersonate-Extra-scopes", "all")],
        &[("Impersonate-User", "joe"), ("Impersonate-Uid", "1")],
    ];
    for headers in attempts {
        assert_eq!(attempt(&jane, headers, &authorizer).unwrap_err().code(), 403, "{headers:?}");
    }
    let status = apply(&jane, &request(&[("Impersonate-Group", "a")]), &authorizer).unwrap_err();
    assert_eq!(status.code(), 400);
    assert_eq!(
        status.message,
        "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"a\"}, Extra:map[string][]string(nil)} without \
         impersonating a user name"
    );
}

#[test]
fn a_mode_is_for_certain_requests_alone() {
    let jane = User::component("jane");
    let whom = json!({"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"],
        "resources": ["users", "groups"], "resourceNames": ["joe", "devs", "system:masters"]});
    let what = |verb: &str| {
        authorizer(json!([whom.clone(), {"verbs": [format!("impersonate-on:user-info:{verb}")], "apiGroups": [""],
            "resources": ["pods"]}]))
    };
    let joe = [("Impersonate-User", "joe"), ("Impersonate-Group", "devs")];
    let acting = attempt(&jane, &joe, &what("list")).unwrap();
    assert_eq!(acting.constraint.as_deref(), Some("impersonate:user-info"));
    assert_eq!(acting.user.groups, ["devs", AUTHENTICATED]);
    let refused = attempt(&jane, &joe, &what("get")).unwrap_err();
    assert_eq!(
        refused.message,
        r#"pods is forbidden: User "jane" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "a""#
    );
    let masters = [("Impersonate-User", "joe"), ("Impersonate-Group", "system:masters")];
    let refused = attempt(&jane, &masters, &what("list")).unwrap_err();
    assert!(refused.message.ends_with("impersonating the system:masters group is not allowed"));
}

#[test]
fn nodes_and_service_accounts_have_modes_of_their_own() {
    let on = |mode: &str| json!({"verbs": [format!("impersonate-on:{mode}:list")], "apiGroups": [""], "resources": ["pods"]});
    let whom = |mode: &str, resource: &str| json!({"verbs": [format!("impersonate:{mode}")], "apiGroups": ["authentication.k8s.io"], "resources": [resource]});
    let jane = User::component("jane");
    let node = [("Impersonate-User", "system:node:edge1")];
    let nodes = authorizer(json!([on("arbitrary-node"), whom("arbitrary-node", "nodes")]));
    assert_eq!(attempt(&jane, &node, &nodes).unwrap().user.groups, ["system:nodes", AUTHENTICATED]);
    let account = [("Impersonate-User", "system:serviceaccount:a:b")];
    let accounts = authorizer(json!([on("serviceaccount"), whom("serviceaccount", "serviceaccounts")]));
    let groups = attempt(&jane, &account, &accounts).unwrap().user.groups;
    assert_eq!(groups, ["system:serviceaccounts", "system:serviceaccounts:a", AUTHENTICATED]);
    assert!(attempt(&jane, &account, &nodes).is_err() && attempt(&jane, &node, &accounts).is_err());

    let own = authorizer(json!([on("associated-node"), whom("associated-node", "nodes")]));
    let mut agent = User::component("system:serviceaccount:a:agent");
    assert!(attempt(&agent, &node, &own).is_err());
    agent.extra.insert("authentication.kubernetes.io/node-name".into(), vec!["edge1".into()]);
    let acting = attempt(&agent, &node, &own).unwrap();
    assert_eq!(acting.constraint.as_deref(), Some("impersonate:associated-node"));
    assert!(attempt(&agent, &[("Impersonate-User", "system:node:edge2")], &own).is_err());
}
