//! Flow schemas: which requests go to which priority level.

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaSpec};
use serde_json::{Value, json};

use super::{EXEMPT, GROUP_VERSION, mandatory, rules};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    kinds::{cells, names, status},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

const DEFAULT_PRECEDENCE: i32 = 1000;
const MOST_PRECEDENCE: i32 = 10_000;
const DISTINGUISHERS: &[&str] = &["ByNamespace", "ByUser"];

/// `flowcontrol.apiserver.k8s.io/v1.FlowSchema`
pub struct FlowSchemaKind;

impl Kind for FlowSchemaKind {
    type Object = FlowSchema;
    const NAMES: Names = Names {
        subresources: &[Subresource::Status],
        ..names::cluster(GROUP_VERSION, "FlowSchema", "flowschemas", "flowschema")
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("PriorityLevel", "string", "The level its requests go to."),
        cells::column("MatchingPrecedence", "string", "Schemas with lower numbers are asked first."),
        cells::column("DistinguisherMethod", "string", "What tells its flows apart."),
        cells::AGE,
        cells::column("MissingPL", "string", "Whether the level is not there."),
    ];

    fn default(schema: &mut FlowSchema) {
        let spec = schema.spec.get_or_insert_default();
        if spec.matching_precedence.unwrap_or_default() == 0 {
            spec.matching_precedence = Some(DEFAULT_PRECEDENCE);
        }
    }

    fn prepare_for_create(schema: &mut FlowSchema) {
        schema.status = Some(Default::default());
    }

    fn prepare_for_status_update(new: &mut FlowSchema, old: &FlowSchema) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(schema: &FlowSchema) -> Vec<Cause> {
        let spec = schema.spec.clone().unwrap_or_default();
        let name = schema.metadata.name.as_deref().unwrap_or_default();
        let mut causes = validate(&spec, name, &Path::new("spec"));
        if mandatory::schema(name).is_some_and(|fixed| fixed != spec) {
            let detail = format!("spec of '{name}' must equal the fixed value");
            causes.push(field::invalid(&Path::new("spec"), &spec, &detail));
        }
        causes.extend(conditions(schema));
        causes
    }

    fn validate_status_update(schema: &FlowSchema, _old: &FlowSchema) -> Vec<Cause> {
        conditions(schema)
    }

    fn cells(schema: &FlowSchema, now: Timestamp) -> Vec<Value> {
        let spec = schema.spec.clone().unwrap_or_default();
        let method = spec.distinguisher_method.map_or_else(|| cells::NONE.to_owned(), |method| method.type_);
        vec![
            cells::name(&schema.metadata),
            json!(spec.priority_level_configuration.name),
            json!(spec.matching_precedence.unwrap_or_default()),
            json!(method),
            cells::age(&schema.metadata, now),
            json!(dangling(schema)),
        ]
    }
}

fn conditions(schema: &FlowSchema) -> Vec<Cause> {
    let conditions = schema.status.iter().flat_map(|status| status.conditions.iter().flatten());
    super::conditions(conditions.map(|condition| condition.type_.as_deref().unwrap_or_default()))
}

fn dangling(schema: &FlowSchema) -> String {
    let conditions = schema.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let condition = conditions.into_iter().find(|condition| condition.type_.as_deref() == Some("Dangling"));
    condition.and_then(|condition| condition.status.clone()).unwrap_or_else(|| "?".to_owned())
}

fn validate(spec: &FlowSchemaSpec, name: &str, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (precedence, precedence_path) =
        (spec.matching_precedence.unwrap_or_default(), path.child("matchingPrecedence"));
    if precedence <= 0 {
        causes.push(field::invalid(&precedence_path, precedence, "must be a positive value"));
    }
    if precedence > MOST_PRECEDENCE {
        let detail = format!("must not be greater than {MOST_PRECEDENCE}");
        causes.push(field::invalid(&precedence_path, precedence, &detail));
    }
    if precedence == 1 && name != EXEMPT {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        causes.push(field::invalid(&precedence_path, precedence, detail));
    }
    if let Some(method) = &spec.distinguisher_method
        && !DISTINGUISHERS.contains(&method.type_.as_str())
    {
        let path = path.child("distinguisherMethod").child("type");
        causes.push(field::unsupported(&path, json!({"Type": method.type_}), DISTINGUISHERS));
    }
    let level = spec.priority_level_configuration.name.as_str();
    let level_path = path.child("priorityLevelConfiguration").child("name");
    if level.is_empty() {
        causes.push(field::required(&level_path, "must reference a priority level"));
    } else {
        causes.extend(field::invalid_each(&level_path, level, &name::dns1123_subdomain(level)));
    }
    for (index, one) in spec.rules.iter().flatten().enumerate() {
        causes.extend(rules::validate(one, &path.child("rules").index(index)));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::{Strategy, Typed};

    #[test]
    fn a_schema_names_its_level_and_who_belongs_to_it() {
        let strategy = Typed::<FlowSchemaKind>::default();
        let problems = |spec: Value| -> Vec<String> {
            let schema = strategy.decode(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
            strategy.validate(&schema).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
        };
        let everybody = json!([{"kind": "Group", "group": {"name": "system:authenticated"}}]);
        let good = json!({"priorityLevelConfiguration": {"name": "l"}, "rules": [{"subjects": everybody,
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]});
        assert_eq!(problems(good), Vec::<String>::new());
        let bad = json!({"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": ""},
            "rules": [{"subjects": [{"kind": "User"}], "resourceRules": [{"verbs": ["fly"], "apiGroups": ["*", "a"],
            "resources": []}]}]});
        assert_eq!(
            problems(bad),
            [
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"fly\"]: supported values: \"create\", \
                 \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                "spec.rules[0].resourceRules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not \
                 specify other api groups",
                "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must \
                 supply at least one namespace",
            ]
        );
    }
}
