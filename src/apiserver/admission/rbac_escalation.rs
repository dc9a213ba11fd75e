//! RBAC's own rule of admission: nobody grants what they do not have, unless they hold the verbs
//! `escalate` (on roles) or `bind` (on the role that a binding refers to).

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::Status,
    apiserver::{
        admission::{Plugin, Request, Warnings},
        attributes::Attributes,
        authz::{Authorizer, Rule, coverage, rbac::GROUP},
    },
    http::identity::{MASTERS, User},
};

pub struct RbacEscalation {
    authorizer: Arc<Authorizer>,
}

impl RbacEscalation {
    pub fn new(authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer }
    }

    fn check_role(&self, request: &Request<'_>, role: &Value) -> Result<(), Status> {
        let attributes = request.attributes;
        let unchanged =
            |old: &Value| old["rules"] == role["rules"] && old["aggregationRule"] == role["aggregationRule"];
        if request.old.is_some_and(unchanged) || self.may(attributes, "escalate", &attributes.resource, "") {
            return Ok(());
        }
        let mut wanted = rules_of(role);
        if role["aggregationRule"].is_object() {
            // Whoever labels a role that is selected adds to this one: only who has all may allow it.
            wanted.extend(everything());
        }
        self.check_held(request, role, &wanted)
    }

    fn check_binding(&self, request: &Request<'_>, binding: &Value) -> Result<(), Status> {
        let unchanged = |old: &Value| old["roleRef"] == binding["roleRef"] && old["subjects"] == binding["subjects"];
        if request.old.is_some_and(unchanged) {
            return Ok(());
        }
        let kind = binding["roleRef"]["kind"].as_str().unwrap_or_default();
        let name = binding["roleRef"]["name"].as_str().unwrap_or_default();
        let resource = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
        if self.may(request.attributes, "bind", resource, name) {
            return Ok(());
        }
        let rules = self.authorizer.role_rules(kind, name, &request.attributes.namespace);
        let wanted = rules.ok_or_else(|| Status::not_found(GROUP, resource, name))?;
        self.check_held(request, binding, &wanted)
    }

    fn check_held(&self, request: &Request<'_>, object: &Value, wanted: &[Rule]) -> Result<(), Status> {
        let attributes = request.attributes;
        let held = self.authorizer.rules(&attributes.user, &attributes.namespace);
        let missing = coverage::missing(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        Err(request.forbid(object, &refusal(&attributes.user, &missing)))
    }

    fn may(&self, attributes: &Attributes, verb: &str, resource: &str, name: &str) -> bool {
        attributes.user.is_in(MASTERS)
            || self.authorizer.allows(&Attributes {
                verb: verb.into(),
                resource: resource.into(),
                subresource: String::new(),
                name: if name.is_empty() { attributes.name.clone() } else { name.into() },
                ..attributes.clone()
            })
    }
}

impl Plugin for RbacEscalation {
    fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        if request.writes(GROUP, "roles") || request.writes(GROUP, "clusterroles") {
            self.check_role(request, object)?;
        }
        if request.writes(GROUP, "rolebindings") || request.writes(GROUP, "clusterrolebindings") {
            self.check_binding(request, object)?;
        }
        Ok(Warnings::new())
    }
}

fn rules_of(role: &Value) -> Vec<Rule> {
    serde_json::from_value(role["rules"].clone()).unwrap_or_default()
}

fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

fn refusal(user: &User, missing: &[Rule]) -> String {
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    let rules: Vec<String> = missing.iter().map(coverage::describe).collect();
    format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        rules.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{
        admission::{Operation, fixture},
        reader::fake::FakeReader,
    };

    fn plugin(verbs: &[&str], group: &str, resources: &[&str]) -> RbacEscalation {
        let reader = FakeReader::default();
        let rules = json!([{"verbs": verbs, "apiGroups": [group], "resources": resources}]);
        reader.put(GROUP, "clusterroles", json!({"metadata": {"name": "held"}, "rules": rules}));
        let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        reader.put(GROUP, "clusterroles", json!({"metadata": {"name": "all"}, "rules": all}));
        reader.put(
            GROUP,
            "clusterrolebindings",
            json!({
            "metadata": {"name": "held"}, "roleRef": {"kind": "ClusterRole", "name": "held"},
            "subjects": [{"kind": "User", "name": "jane"}]}),
        );
        RbacEscalation::new(Arc::new(Authorizer::new(Arc::new(reader))))
    }

    async fn outcome(plugin: &RbacEscalation, resource: &str, object: Value) -> Result<(), String> {
        let attributes = fixture::attributes(fixture::user("jane", &["devs"]), "create", GROUP, resource, "", "x");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, Operation::Create, &kind, None);
        plugin.validate(&request, &object).map(|_| ()).map_err(|status| status.message)
    }

    fn role(verb: &str) -> Value {
        json!({"metadata": {"name": "x"}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]})
    }

    #[tokio::test]
    async fn a_role_grants_no_more_than_its_maker_has() {
        let plugin = plugin(&["get"], "", &["pods"]);
        assert_eq!(outcome(&plugin, "clusterroles", role("get")).await, Ok(()));
        let refused = outcome(&plugin, "clusterroles", role("delete")).await.unwrap_err();
        assert_eq!(
            refused,
            "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: user \"jane\" (groups=[\"devs\"]) is attempting \
             to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"
        );
        let aggregating = json!({"metadata": {"name": "x"}, "aggregationRule": {"clusterRoleSelectors": []}});
        assert!(outcome(&plugin, "clusterroles", aggregating).await.is_err());
    }

    #[tokio::test]
    async fn a_binding_gives_no_more_than_its_maker_has() {
        let binding = |name: &str| json!({"roleRef": {"kind": "ClusterRole", "name": name}, "subjects": []});
        let plain = plugin(&["get"], "", &["pods"]);
        assert_eq!(outcome(&plain, "clusterrolebindings", binding("held")).await, Ok(()));
        assert!(outcome(&plain, "clusterrolebindings", binding("all")).await.is_err());
        let missing = outcome(&plain, "clusterrolebindings", binding("none")).await.unwrap_err();
        assert_eq!(missing, r#"clusterroles.rbac.authorization.k8s.io "none" not found"#);
        let binder = plugin(&["bind"], GROUP, &["clusterroles"]);
        assert_eq!(outcome(&binder, "clusterrolebindings", binding("all")).await, Ok(()));
    }

    #[tokio::test]
    async fn who_may_escalate_may() {
        let plugin = plugin(&["escalate"], GROUP, &["clusterroles"]);
        assert_eq!(outcome(&plugin, "clusterroles", role("delete")).await, Ok(()));
    }
}
