//! Limit ranges: defaults and bounds of what containers, pods and claims of a namespace ask for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem},
    apimachinery::pkg::{api::resource::Quantity as Encoded, apis::meta::v1::Time},
};
use serde_json::{Value, json};

use super::{cells, names, pod_template::resources};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    quantity::Quantity,
    status::Cause,
    time,
};

/// `v1.LimitRange`
pub struct LimitRangeKind;

impl Kind for LimitRangeKind {
    type Object = LimitRange;
    const NAMES: Names =
        Names { short_names: &["limits"], ..names::namespaced(names::CORE, "LimitRange", "limitranges", "limitrange") };
    const COLUMNS: &'static [Column] = &[cells::NAME, cells::column("Created At", "date", cells::CREATED)];

    fn default(range: &mut LimitRange) {
        let limits = range.spec.iter_mut().flat_map(|spec| spec.limits.iter_mut());
        limits.filter(|limit| limit.type_ == "Container").for_each(default);
    }

    fn validate(range: &LimitRange) -> Vec<Cause> {
        let path = Path::new("spec.limits");
        let limits = range.spec.as_ref().map(|spec| spec.limits.as_slice()).unwrap_or_default();
        let mut causes = Vec::new();
        for (index, limit) in limits.iter().enumerate() {
            causes.extend(item(limit, &path.index(index)));
            if limits[..index].iter().any(|other| other.type_ == limit.type_) {
                causes.push(field::duplicate(&path.index(index).child("type"), &limit.type_));
            }
        }
        causes
    }

    fn cells(range: &LimitRange, _now: Timestamp) -> Vec<Value> {
        let created = range.metadata.creation_timestamp.as_ref().map(|Time(created)| time::format(*created));
        vec![cells::name(&range.metadata), json!(created.unwrap_or_default())]
    }
}

/// A default limit follows from the maximum, a default request from the default limit or the minimum.
fn default(item: &mut LimitRangeItem) {
    let fill = |to: &mut BTreeMap<String, Encoded>, from: &BTreeMap<String, Encoded>| {
        for (name, amount) in from {
            to.entry(name.clone()).or_insert_with(|| amount.clone());
        }
    };
    let limits = item.default.get_or_insert_default();
    fill(limits, item.max.as_ref().unwrap_or(&BTreeMap::new()));
    let requests = item.default_request.get_or_insert_default();
    fill(requests, limits);
    fill(requests, item.min.as_ref().unwrap_or(&BTreeMap::new()));
}

fn item(item: &LimitRangeItem, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let lists = [
        ("max", &item.max),
        ("min", &item.min),
        ("default", &item.default),
        ("defaultRequest", &item.default_request),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio),
    ];
    for (name, list) in lists {
        let path = path.child(name);
        let all = list.iter().flatten();
        causes.extend(all.filter_map(|(resource, amount)| resources::quantity(amount, &path.key(resource))));
    }
    if item.type_ == "Pod" {
        let given = |list: &Option<BTreeMap<String, Encoded>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if given(&item.default) {
            causes.push(field::forbidden(&path.child("default"), "may not be specified when `type` is 'Pod'"));
        }
        if given(&item.default_request) {
            causes.push(field::forbidden(&path.child("defaultRequest"), "may not be specified when `type` is 'Pod'"));
        }
    }
    causes.extend(ordered(("min", &item.min), ("max", &item.max), path));
    causes.extend(ordered(("default", &item.default), ("max", &item.max), path));
    causes.extend(ordered(("min", &item.min), ("defaultRequest", &item.default_request), path));
    causes.extend(ordered(("defaultRequest", &item.default_request), ("default", &item.default), path));
    causes
}

type Named<'a> = (&'a str, &'a Option<BTreeMap<String, Encoded>>);

/// No amount of the lower list is above that of the upper.
fn ordered((low_name, low): Named<'_>, (high_name, high): Named<'_>, path: &Path) -> Vec<Cause> {
    let parse = |amount: &Encoded| amount.0.parse::<Quantity>().ok();
    let mut causes = Vec::new();
    for (resource, amount) in low.iter().flatten() {
        let other = high.as_ref().and_then(|high| high.get(resource));
        if let (Some(small), Some(large)) = (parse(amount), other.and_then(parse))
            && small > large
        {
            let detail = format!("{low_name} value {small} is greater than {high_name} value {large}");
            causes.push(field::invalid(&path.child(low_name).key(resource), small.to_string(), &detail));
        }
    }
    causes
}
