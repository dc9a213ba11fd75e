//! Whether one set of rules contains another: nobody may grant more than they have
//! (`rbac.authorization.k8s.io`, "Privilege escalation prevention").

use crate::apiserver::authz::rule::{ALL, Rule, has, path_matches};

/// The parts of `wanted` that `held` does not contain, each with one verb and one resource or path.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for single in wanted.iter().flat_map(singles) {
        if !held.iter().any(|rule| covers(rule, &single)) && !missing.contains(&single) {
            missing.push(single);
        }
    }
    missing
}

/// A rule as upstream prints it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
pub fn describe(rule: &Rule) -> String {
    let list = |name: &str, values: &[String]| {
        (!values.is_empty()).then(|| {
            let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            format!("{name}:[{}]", quoted.join(" "))
        })
    };
    let parts = [
        list("APIGroups", &rule.api_groups),
        list("Resources", &rule.resources),
        list("ResourceNames", &rule.resource_names),
        list("NonResourceURLs", &rule.non_resource_urls),
        list("Verbs", &rule.verbs),
    ];
    format!("{{{}}}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn singles(rule: &Rule) -> Vec<Rule> {
    let mut singles = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for path in &rule.non_resource_urls {
            singles.push(Rule { verbs: verbs.clone(), non_resource_urls: vec![path.clone()], ..Rule::default() });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                singles.push(Rule {
                    verbs: verbs.clone(),
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    resource_names: rule.resource_names.clone(),
                    ..Rule::default()
                });
            }
        }
    }
    singles
}

fn covers(held: &Rule, single: &Rule) -> bool {
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    if !has(&held.verbs, &first(&single.verbs)) {
        return false;
    }
    if let Some(path) = single.non_resource_urls.first() {
        return held.non_resource_urls.iter().any(|pattern| path_matches(pattern, path));
    }
    has(&held.api_groups, &first(&single.api_groups))
        && covers_resource(&held.resources, &first(&single.resources))
        && covers_names(&held.resource_names, &single.resource_names)
}

fn covers_resource(held: &[String], wanted: &str) -> bool {
    let subresource = wanted.split_once('/').map(|(_, subresource)| format!("{ALL}/{subresource}"));
    held.iter().any(|item| item == ALL || item == wanted || Some(item) == subresource.as_ref())
}

fn covers_names(held: &[String], wanted: &[String]) -> bool {
    held.is_empty() || (!wanted.is_empty() && wanted.iter().all(|name| held.contains(name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            ..Rule::default()
        }
    }

    #[test]
    fn what_is_held_can_be_given() {
        let held =
            [rule(&["get", "list"], &[""], &["pods", "*/scale"], &[]), rule(&["get"], &[""], &["secrets"], &["a"])];
        let given = |wanted: Rule| missing(&held, &[wanted]).is_empty();
        assert!(given(rule(&["get"], &[""], &["pods"], &["x"])));
        assert!(given(rule(&["list"], &[""], &["things/scale"], &[])));
        assert!(given(rule(&["get"], &[""], &["secrets"], &["a"])));
        assert!(!given(rule(&["get"], &[""], &["secrets"], &[])));
        assert!(!given(rule(&["get"], &[""], &["secrets"], &["a", "b"])));
        assert!(!given(rule(&["*"], &[""], &["pods"], &[])));
        assert!(!given(rule(&["get"], &["*"], &["pods"], &[])));
    }

    #[test]
    fn what_is_missing_is_named() {
        let held = [rule(&["get"], &[""], &["pods"], &[])];
        let missing = missing(&held, &[rule(&["get", "delete"], &[""], &["pods"], &[])]);
        assert_eq!(
            missing.iter().map(describe).collect::<Vec<_>>(),
            [r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#]
        );
    }

    proptest! {
        #[test]
        fn everything_covers_anything_and_anything_itself(verb in "[a-z]{1,5}|\\*", group in "[a-z]{0,5}|\\*", resource in "[a-z]{1,5}(/[a-z]{1,5})?|\\*") {
            let wanted = [rule(&[&verb], &[&group], &[&resource], &[])];
            prop_assert!(missing(&[rule(&["*"], &["*"], &["*"], &[])], &wanted).is_empty());
            prop_assert!(missing(&wanted, &wanted).is_empty());
            prop_assert_eq!(missing(&[], &wanted).len(), 1);
        }
    }
}
