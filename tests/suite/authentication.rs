//! Who somebody is: people with tokens of an identity provider, and those who act as others.

use serde_json::{Value, json};

use crate::harness::{Host, Issuer, Kubectl, can_make_hosts, scenario};

/// What the server makes of the issuer's tokens.
fn configuration(issuer: &Issuer) -> String {
    let mappings = json!({
        "username": {"expression": "'oidc:' + claims.preferred_username"},
        "groups": {"expression": "claims.roles.map(role, 'oidc:' + role)"},
        "uid": {"expression": "claims.sub"},
        "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
    });
    let rules = json!([{"expression": "claims.tenant == 'edge'", "message": "another tenant"}]);
    let reserved = json!([{"expression": "!user.username.contains('root')", "message": "a reserved name"}]);
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": issuer.url, "audiences": ["nauplius"], "certificateAuthority": issuer.authority},
            "claimMappings": mappings, "claimValidationRules": rules, "userValidationRules": reserved,
        }],
    })
    .to_string()
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "7", "preferred_username": "ann", "roles": ["viewers"], "tenant": "edge"});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn whoami(kubectl: &Kubectl) -> Value {
    let review: Value = serde_json::from_str(&kubectl.run("auth whoami -o json")).unwrap();
    review["status"]["userInfo"].clone()
}

#[test]
fn tokens_of_an_identity_provider_name_users_and_groups() {
    if !can_make_hosts() {
        return;
    }
    let host = Host::new();
    let (issuer, stranger) = (Issuer::new(&host), Issuer::new(&host));
    let path = host.directory().join("authentication.json");
    std::fs::write(&path, configuration(&issuer)).unwrap();
    host.start_server(&[
        "--disable-agent",
        "--kube-apiserver-arg",
        &format!("authentication-config={}", path.display()),
    ]);
    host.wait_for_api();
    let admin = host.kubectl();
    admin.run("create clusterrolebinding viewers --clusterrole=view --group=oidc:viewers");
    admin.run("create configmap own --from-literal=a=b");
    let with = |more: Value| host.kubectl_with_token(&issuer.token(claims(more)));

    let ann = with(json!({"jti": "t1"}));
    let user = whoami(&ann);
    assert_eq!((&user["username"], &user["uid"]), (&json!("oidc:ann"), &json!("7")));
    assert_eq!(user["groups"], json!(["oidc:viewers", "system:authenticated"]));
    assert_eq!(user["extra"]["example.com/tenant"], json!(["edge"]));
    assert_eq!(user["extra"]["authentication.kubernetes.io/credential-id"], json!(["JTI=t1"]));
    assert!(ann.run("get configmaps").contains("own"));
    let secrets = ann.fails("get secrets");
    assert!(secrets.contains("User \"oidc:ann\" cannot list resource \"secrets\""), "{secrets}");
    let outsider = with(json!({"roles": []}));
    assert!(outsider.fails("get configmaps").contains("User \"oidc:ann\" cannot list resource \"configmaps\""));

    for (why, kubectl) in [
        ("expired", with(json!({"exp": 1_000_000_000}))),
        ("for somebody else", with(json!({"aud": "other"}))),
        ("of another tenant", with(json!({"tenant": "core"}))),
        ("of a reserved name", with(json!({"preferred_username": "root"}))),
        ("of a stranger", host.kubectl_with_token(&stranger.token(claims(json!({}))))),
        ("forged", host.kubectl_with_token(&stranger.token(claims(json!({"iss": issuer.url}))))),
    ] {
        let refused = kubectl.fails("get configmaps");
        assert!(refused.contains("error: You must be logged in to the server ("), "{why}: {refused}");
    }
}

const SPEAKER: &str = "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: speaker}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: impersonation-speaker}
rules:
- {apiGroups: [''], resources: [users], verbs: [impersonate], resourceNames: [joe]}
- {apiGroups: [''], resources: [groups], verbs: [impersonate], resourceNames: [devs]}
- {apiGroups: [authentication.k8s.io], resources: [uids], verbs: [impersonate], resourceNames: [u1]}
- {apiGroups: [authentication.k8s.io], resources: [users], verbs: ['impersonate:user-info'], resourceNames: [jim]}
- {apiGroups: [''], resources: [configmaps], verbs: ['impersonate-on:user-info:list']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: impersonation-speaker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: impersonation-speaker}
subjects: [{kind: ServiceAccount, name: speaker, namespace: impersonation}]
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: maps}, rules: [
  {apiGroups: [''], resources: [configmaps], verbs: [get, list]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: maps}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: maps}
subjects: [{kind: Group, name: devs}, {kind: User, name: jim}]
";

#[test]
fn who_may_act_as_others_does_so_and_nobody_else() {
    let Some(scenario) = scenario("impersonation") else { return };
    scenario.kubectl.apply(SPEAKER);
    scenario.kubectl.run("create configmap own --from-literal=a=b");
    let token = scenario.kubectl.run("create token speaker");
    let speaker = scenario.host.kubectl_with_token(token.trim()).namespace("impersonation");
    assert!(speaker.fails("get configmaps").contains("cannot list resource \"configmaps\""));
    assert!(speaker.run("get configmaps --as=joe --as-group=devs").contains("own"));
    let user = whoami(&speaker.flag("--as=joe").flag("--as-group=devs").flag("--as-uid=u1"));
    assert_eq!(user, json!({"username": "joe", "uid": "u1", "groups": ["devs", "system:authenticated"]}));
    assert!(speaker.fails("get configmaps --as=joe").contains("User \"joe\" cannot list resource \"configmaps\""));

    // Jim may be acted as to list maps, and for nothing else.
    assert!(speaker.run("get configmaps --as=jim").contains("own"));
    let account = "User \"system:serviceaccount:impersonation:speaker\"";
    for (what, verb, resource) in [
        ("configmap own --as=jim", "get", "configmaps"),
        ("configmaps --as=root", "", "users"),
        ("configmaps --as=joe --as-group=others", "", "users"),
        ("secrets --as=joe --as-uid=u2", "list", "secrets"),
    ] {
        let refused = speaker.fails(&format!("get {what}"));
        let verb =
            if verb.is_empty() { "impersonate:user-info".into() } else { format!("impersonate-on:user-info:{verb}") };
        let expected = format!("{account} cannot {verb} resource \"{resource}\"");
        assert!(refused.contains("(Forbidden)") && refused.contains(&expected), "{refused}");
    }
    let masters = speaker.fails("get configmaps --as=jim --as-group=system:masters");
    assert!(masters.ends_with("impersonating the system:masters group is not allowed"), "{masters}");
    scenario.kubectl.run("delete clusterrole,clusterrolebinding impersonation-speaker");
}
