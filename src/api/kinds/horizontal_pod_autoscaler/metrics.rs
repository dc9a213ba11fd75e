//! Metrics as the annotations of `autoscaling/v1` have them: the fields of each source are flat there,
//! and in groups in `autoscaling/v2`.

use serde_json::{Map, Value};

/// Where a field of the flat shape is in the other one.
struct Field {
    flat: &'static str,
    grouped: &'static str,
    /// The flat shape always has it: an amount of nothing if the other has none.
    always: bool,
}

const fn field(flat: &'static str, grouped: &'static str) -> Field {
    Field { flat, grouped, always: false }
}

const fn amount(flat: &'static str, grouped: &'static str) -> Field {
    Field { flat, grouped, always: true }
}

/// Fields by source.
type Sources = [(&'static str, &'static [Field])];

const SPEC: &Sources = &[
    (
        "resource",
        &[
            field("name", "name"),
            field("targetAverageUtilization", "target/averageUtilization"),
            field("targetAverageValue", "target/averageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            field("name", "name"),
            field("container", "container"),
            field("targetAverageUtilization", "target/averageUtilization"),
            field("targetAverageValue", "target/averageValue"),
        ],
    ),
    (
        "pods",
        &[
            field("metricName", "metric/name"),
            field("selector", "metric/selector"),
            amount("targetAverageValue", "target/averageValue"),
        ],
    ),
    (
        "object",
        &[
            field("target", "describedObject"),
            field("metricName", "metric/name"),
            field("selector", "metric/selector"),
            amount("targetValue", "target/value"),
            field("averageValue", "target/averageValue"),
        ],
    ),
    (
        "external",
        &[
            field("metricName", "metric/name"),
            field("metricSelector", "metric/selector"),
            field("targetValue", "target/value"),
            field("targetAverageValue", "target/averageValue"),
        ],
    ),
];

const STATUS: &Sources = &[
    (
        "resource",
        &[
            field("name", "name"),
            field("currentAverageUtilization", "current/averageUtilization"),
            amount("currentAverageValue", "current/averageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            field("name", "name"),
            field("container", "container"),
            field("currentAverageUtilization", "current/averageUtilization"),
            amount("currentAverageValue", "current/averageValue"),
        ],
    ),
    (
        "pods",
        &[
            field("metricName", "metric/name"),
            field("selector", "metric/selector"),
            amount("currentAverageValue", "current/averageValue"),
        ],
    ),
    (
        "object",
        &[
            field("target", "describedObject"),
            field("metricName", "metric/name"),
            field("selector", "metric/selector"),
            amount("currentValue", "current/value"),
            field("averageValue", "current/averageValue"),
        ],
    ),
    (
        "external",
        &[
            field("metricName", "metric/name"),
            field("metricSelector", "metric/selector"),
            amount("currentValue", "current/value"),
            field("currentAverageValue", "current/averageValue"),
        ],
    ),
];

/// A `MetricSpec` of `autoscaling/v1` as one of `autoscaling/v2`.
pub(super) fn spec_to_v2(metric: Value) -> Value {
    let mut metric = shape(metric, SPEC, group);
    for (source, _) in SPEC {
        if let Some(target) = metric.pointer_mut(&format!("/{source}/target")) {
            complete_target(source, target);
        }
    }
    metric
}

/// A `MetricSpec` of `autoscaling/v2` as one of `autoscaling/v1`.
pub(super) fn spec_to_v1(metric: Value) -> Value {
    shape(metric, SPEC, flatten)
}

/// A `MetricStatus` of `autoscaling/v1` as one of `autoscaling/v2`.
pub(super) fn status_to_v2(metric: Value) -> Value {
    shape(metric, STATUS, group)
}

/// A `MetricStatus` of `autoscaling/v2` as one of `autoscaling/v1`.
pub(super) fn status_to_v1(metric: Value) -> Value {
    shape(metric, STATUS, flatten)
}

/// Gives each source of a metric its other shape.
fn shape(mut metric: Value, sources: &Sources, change: fn(&Value, &[Field]) -> Value) -> Value {
    for (source, fields) in sources {
        if let Some(found) = metric.get_mut(*source).filter(|found| found.is_object()) {
            *found = change(found, fields);
        }
    }
    metric
}

fn group(source: &Value, fields: &[Field]) -> Value {
    let mut grouped = Map::new();
    for field in fields {
        let Some(value) = source.get(field.flat).filter(|value| !value.is_null()) else { continue };
        match field.grouped.split_once('/') {
            Some((group, name)) => grouped.entry(group).or_insert_with(|| Map::new().into())[name] = value.clone(),
            None => _ = grouped.insert(field.grouped.to_owned(), value.clone()),
        }
    }
    grouped.into()
}

fn flatten(source: &Value, fields: &[Field]) -> Value {
    let mut flat = Map::new();
    for field in fields {
        let found = source.pointer(&format!("/{}", field.grouped)).filter(|value| !value.is_null()).cloned();
        let value = found.or_else(|| field.always.then(|| "0".into()));
        flat.extend(value.map(|value| (field.flat.to_owned(), value)));
    }
    flat.into()
}

/// Which of the amounts is meant follows, in the flat shape, from those that are there.
fn complete_target(source: &str, target: &mut Value) {
    let has = |field: &str| target.get(field).is_some();
    let kind = match source {
        "object" if !has("averageValue") => "Value",
        "external" if has("value") => "Value",
        _ if has("averageUtilization") => "Utilization",
        _ => "AverageValue",
    };
    // The flat shape of an object's metric cannot leave its amount out.
    let is_filler = source == "object" && kind == "AverageValue" && target["value"] == "0";
    if let Some(fields) = target.as_object_mut() {
        fields.insert("type".to_owned(), kind.into());
        if is_filler {
            fields.remove("value");
        }
    }
}
