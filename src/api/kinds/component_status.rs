//! Component statuses: an old list of the control plane's parts that clients may still ask for. None is
//! stored: the API server makes them of its health checks.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ComponentStatus;
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::kind::{Column, Kind, Names};

/// `v1.ComponentStatus`
pub struct ComponentStatusKind;

impl Kind for ComponentStatusKind {
    type Object = ComponentStatus;
    const NAMES: Names = Names {
        short_names: &["cs"],
        verbs: &["get", "list"],
        ..names::cluster(names::CORE, "ComponentStatus", "componentstatuses", "componentstatus")
    };
    const DEPRECATION: Option<&'static str> = Some("v1 ComponentStatus is deprecated in v1.19+");
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Status", "string", "Whether the component is healthy."),
        cells::column("Message", "string", "What it says of itself."),
        cells::column("Error", "string", "What is wrong with it."),
    ];

    fn cells(status: &ComponentStatus, _now: Timestamp) -> Vec<Value> {
        let conditions = status.conditions.iter().flatten();
        let health = conditions.into_iter().find(|condition| condition.type_ == "Healthy");
        let shown = match health.map(|condition| condition.status.as_str()) {
            Some("True") => "Healthy",
            Some("False") => "Unhealthy",
            _ => "Unknown",
        };
        let message = health.and_then(|condition| condition.message.as_deref()).unwrap_or_default();
        let error = health.and_then(|condition| condition.error.as_deref()).unwrap_or_default();
        vec![cells::name(&status.metadata), json!(shown), json!(message), json!(error)]
    }
}
