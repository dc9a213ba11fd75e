//! Checks the expressions of a policy against the types of what it is about.

use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, NamedRuleWithOperations, ValidatingAdmissionPolicySpec,
};

use crate::api::{
    cel::{CompileError, Shape, Type},
    kinds::admission_registration::expressions::Compiler,
};

/// Most kinds of a rule that are looked at.
const KINDS_OF_RULE: usize = 10;

/// A resource that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub resource: String,
}

/// The types of what a policy is about.
pub struct Checked {
    /// By group, version and kind, in that order.
    pub objects: Vec<((String, String, String), Shape)>,
    /// The type of its parameters, if it has any; `None` inside for a type that is not known.
    pub parameters: Option<Option<Shape>>,
}

/// The resources that a policy names. Wildcards name none.
pub fn resources(spec: &ValidatingAdmissionPolicySpec) -> Vec<Resource> {
    let rules = spec.match_constraints.iter().flat_map(|matched| matched.resource_rules.iter().flatten());
    rules.flat_map(of_rule).collect()
}

fn of_rule(rule: &NamedRuleWithOperations) -> Vec<Resource> {
    let list = |list: &Option<Vec<String>>| {
        let mut list = list.clone().unwrap_or_default();
        list.sort();
        list
    };
    let (groups, versions) = (list(&rule.api_groups), list(&rule.api_versions));
    if groups.iter().chain(&versions).any(|text| text.contains('*')) {
        return Vec::new();
    }
    let resources: Vec<String> =
        list(&rule.resources).into_iter().filter(|resource| !resource.contains(['*', '/'])).collect();
    let mut found = Vec::new();
    for group in &groups {
        for version in &versions {
            found.extend(resources.iter().map(|resource| Resource {
                group: group.clone(),
                version: version.clone(),
                resource: resource.clone(),
            }));
        }
    }
    found.truncate(KINDS_OF_RULE);
    found
}

/// A warning for every expression that does not fit one of the types.
pub fn check(spec: &ValidatingAdmissionPolicySpec, types: &Checked) -> Vec<ExpressionWarning> {
    let compilers: Vec<(String, Compiler)> = types
        .objects
        .iter()
        .map(|((group, version, kind), shape)| {
            (format!("{group}/{version}, Kind={kind}"), compiler(spec, shape, types.parameters.as_ref()))
        })
        .collect();
    let mut warnings = Vec::new();
    for (index, rule) in spec.validations.iter().flatten().enumerate() {
        let message = rule.message_expression.as_deref().filter(|text| !text.is_empty());
        let expressions = [("expression", Some(rule.expression.as_str())), ("messageExpression", message)];
        for (field, text) in expressions.into_iter().filter_map(|(field, text)| Some((field, text?))) {
            let problems: Vec<String> =
                compilers.iter().filter_map(|(kind, compiler)| problem(kind, compiler, text)).collect();
            if !problems.is_empty() {
                let field_ref = format!("spec.validations[{index}].{field}");
                warnings.push(ExpressionWarning { field_ref, warning: problems.join("\n") });
            }
        }
    }
    warnings
}

fn compiler(spec: &ValidatingAdmissionPolicySpec, object: &Shape, parameters: Option<&Option<Shape>>) -> Compiler {
    let parameters = parameters.map(|known| known.clone().unwrap_or_else(|| Type::Dyn.into()));
    let mut compiler = Compiler::typed(object, parameters).composing();
    for variable in spec.variables.iter().flatten() {
        // What is wrong with a variable shows where it is used.
        let _ = compiler.variable(&variable.name, &variable.expression);
    }
    compiler
}

fn problem(kind: &str, compiler: &Compiler, text: &str) -> Option<String> {
    let problem = match compiler.any(text).err()? {
        CompileError::Issues { text, .. } => text,
        other => other.to_string(),
    };
    Some(format!("{kind}: {problem}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{kinds, schema::Library};

    fn spec(validations: Value) -> ValidatingAdmissionPolicySpec {
        let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"],
                          "resources": ["deployments", "deployments/status"]});
        let variables = json!([{"name": "replicas", "expression": "object.spec.replicas"}]);
        serde_json::from_value(json!({"matchConstraints": {"resourceRules": [rule]}, "validations": validations,
                                      "variables": variables}))
        .unwrap()
    }

    fn warnings(validations: Value) -> Vec<(String, String)> {
        let kind = kinds::all().into_iter().find(|kind| kind.kind == "Deployment").unwrap();
        let shape = Shape::of_kind(&Library::default().schema(&kind));
        let objects = vec![(("apps".into(), "v1".into(), "Deployment".into()), shape)];
        let found = check(&spec(validations), &Checked { objects, parameters: None });
        found.into_iter().map(|warning| (warning.field_ref, warning.warning)).collect()
    }

    #[test]
    fn resources_are_named_without_wildcards() {
        let spec = spec(json!([]));
        let deployments = Resource { group: "apps".into(), version: "v1".into(), resource: "deployments".into() };
        assert_eq!(resources(&spec), [deployments]);
    }

    #[test]
    fn expressions_that_fit_are_not_warned_of() {
        let found = warnings(json!([
            {"expression": "object.spec.replicas > 1 && variables.replicas < 5",
             "messageExpression": "'got ' + string(object.spec.replicas)"},
            {"expression": "object.metadata.labels['a'] == 'b' && request.userInfo.username != ''"},
            {"expression": "oldObject == null || authorizer.requestResource.check('update').allowed()"},
        ]));
        assert_eq!(found, []);
    }

    #[test]
    fn confused_types_and_unknown_fields_are_warned_of() {
        let found = warnings(json!([
            {"expression": "object.spec.replicas > '1'", "messageExpression": "'got ' + object.spec.replicas"},
            {"expression": "variables.replicas == object.spec.maxRetries"},
        ]));
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.validations[0].expression",
                "spec.validations[0].messageExpression",
                "spec.validations[1].expression"
            ]
        );
        assert!(found[0].1.starts_with("apps/v1, Kind=Deployment: ERROR: "), "{}", found[0].1);
        assert!(found[0].1.contains("found no matching overload for '_>_' applied to '(int, string)'"));
        assert!(found[1].1.contains("found no matching overload for '_+_' applied to '(string, int)'"));
        assert!(found[2].1.contains("undefined field 'maxRetries'"));
    }
}
