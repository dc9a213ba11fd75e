//! Controller revisions: earlier templates of daemon sets and stateful sets.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    status::Cause,
    update_check::UpdateCheck,
    validation::value,
};

/// `apps/v1.ControllerRevision`
pub struct ControllerRevisionKind;

impl Kind for ControllerRevisionKind {
    type Object = ControllerRevision;
    const NAMES: Names =
        names::namespaced(names::APPS, "ControllerRevision", "controllerrevisions", "controllerrevision");
    const UPDATE_CHECKS: &'static [UpdateCheck] = &[
        UpdateCheck::MetadataChange,
        UpdateCheck::Metadata,
        UpdateCheck::Object,
        UpdateCheck::MetadataChange,
        UpdateCheck::Change,
    ];
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Controller", "string", "Whose revision it is."),
        cells::column("Revision", "string", "Number of the revision."),
        cells::AGE,
    ];

    fn validate(object: &ControllerRevision) -> Vec<Cause> {
        let data = Path::new("data");
        let mut causes = match object.data.as_ref().map(|data| &data.0) {
            None | Some(Value::Null) => vec![field::required(&data, "data is mandatory")],
            Some(Value::Object(_)) => Vec::new(),
            Some(_) => vec![field::required(&data, "data must be a valid JSON object")],
        };
        causes.extend(field::invalid_each(
            &Path::new("revision"),
            object.revision,
            &value::non_negative(object.revision),
        ));
        causes
    }

    fn validate_update(new: &ControllerRevision, old: &ControllerRevision) -> Vec<Cause> {
        field::immutable(&Path::new("data"), &new.data, &old.data)
    }

    fn cells(object: &ControllerRevision, now: Timestamp) -> Vec<Value> {
        let owners = object.metadata.owner_references.iter().flatten();
        let mut controller = owners.filter(|owner| owner.controller == Some(true)).map(|owner| {
            let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
            let kind = owner.kind.to_lowercase();
            if group.is_empty() { format!("{kind}/{}", owner.name) } else { format!("{kind}.{group}/{}", owner.name) }
        });
        vec![
            cells::name(&object.metadata),
            json!(controller.next().unwrap_or_else(|| cells::NONE.to_owned())),
            json!(object.revision.to_string()),
            cells::age(&object.metadata, now),
        ]
    }
}
