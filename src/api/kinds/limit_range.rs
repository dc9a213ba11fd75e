//! Limit ranges: defaults and bounds of what containers, pods and claims of a namespace ask for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem},
    apimachinery::pkg::{api::resource::Quantity as Encoded, apis::meta::v1::Time},
};
use serde_json::{Value, json};

use super::{cells, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Kind, Names},
    quantity::{Format, Quantity},
    status::Cause,
    time,
    update_check::{self, UpdateCheck},
    validation::{name, resource},
};

const KINDS: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];

/// `v1.LimitRange`
pub struct LimitRangeKind;

impl Kind for LimitRangeKind {
    type Object = LimitRange;
    const NAMES: Names =
        Names { short_names: &["limits"], ..names::namespaced(names::CORE, "LimitRange", "limitranges", "limitrange") };
    const COLUMNS: &'static [Column] = &[cells::NAME, cells::column("Created At", "date", cells::CREATED)];
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE;

    fn default(range: &mut LimitRange) {
        let limits = range.spec.iter_mut().flat_map(|spec| spec.limits.iter_mut());
        limits.filter(|limit| limit.type_ == "Container").for_each(default);
    }

    fn validate(range: &LimitRange) -> Vec<Cause> {
        let path = Path::new("spec.limits");
        let limits = range.spec.as_ref().map(|spec| spec.limits.as_slice()).unwrap_or_default();
        let mut causes = Vec::new();
        for (index, limit) in limits.iter().enumerate() {
            let own = path.index(index);
            causes.extend(kind_of_limit(&limit.type_, &own.child("type")));
            if limits[..index].iter().any(|other| other.type_ == limit.type_) {
                causes.push(field::duplicate(&own.child("type"), &limit.type_));
            }
            causes.extend(item(limit, &own));
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

type Amounts = BTreeMap<String, Encoded>;

fn item(item: &LimitRangeItem, path: &Path) -> Vec<Cause> {
    let is_pod = item.type_ == "Pod";
    let mut causes = resource_names(item, &[("max", &item.max), ("min", &item.min)], path);
    let defaults = [("default", &item.default), ("defaultRequest", &item.default_request)];
    if is_pod {
        let given = defaults.iter().filter(|(_, list)| list.as_ref().is_some_and(|list| !list.is_empty()));
        let detail = "may not be specified when `type` is 'Pod'";
        causes.extend(given.map(|(name, _)| field::forbidden(&path.child(name), detail)));
    } else {
        causes.extend(resource_names(item, &defaults, path));
    }
    let has_storage = |list: &Option<Amounts>| list.as_ref().is_some_and(|list| list.contains_key("storage"));
    if item.type_ == "PersistentVolumeClaim" && !has_storage(&item.min) && !has_storage(&item.max) {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        causes.push(field::required(&path.child("limits"), detail));
    }
    causes.extend(resource_names(item, &[("maxLimitRequestRatio", &item.max_limit_request_ratio)], path));
    let lists = [&item.max, &item.min, &item.default, &item.default_request, &item.max_limit_request_ratio];
    let resources: BTreeSet<&String> = lists.into_iter().flatten().flat_map(BTreeMap::keys).collect();
    causes.extend(resources.into_iter().flat_map(|resource| Bounds::of(item, resource).validate(path)));
    causes
}

fn resource_names(item: &LimitRangeItem, lists: &[(&str, &Option<Amounts>)], path: &Path) -> Vec<Cause> {
    let check = match item.type_.as_str() {
        "Pod" | "Container" => resource::container_resource_name,
        _ => resource::resource_name,
    };
    let all = lists.iter().flat_map(|(name, list)| list.iter().flatten().map(move |(resource, _)| (*name, resource)));
    all.flat_map(|(name, resource)| check(resource, &path.child(name).key(resource))).collect()
}

/// What an item says about one resource.
struct Bounds<'a> {
    resource: &'a str,
    min: Option<Quantity>,
    max: Option<Quantity>,
    default: Option<Quantity>,
    request: Option<Quantity>,
    ratio: Option<Quantity>,
}

impl<'a> Bounds<'a> {
    fn of(item: &LimitRangeItem, resource: &'a str) -> Self {
        let amount = |list: &Option<Amounts>| list.as_ref().and_then(|list| list.get(resource)?.0.parse().ok());
        let defaults = |list| if item.type_ == "Pod" { None } else { amount(list) };
        Self {
            resource,
            min: amount(&item.min),
            max: amount(&item.max),
            default: defaults(&item.default),
            request: defaults(&item.default_request),
            ratio: amount(&item.max_limit_request_ratio),
        }
    }

    /// Which amounts may not be above which others. Upstream does not always show the one at fault.
    fn validate(&self, path: &Path) -> Vec<Cause> {
        let (min, max) = (("min", self.min), ("max", self.max));
        let (default, request) = (("default", self.default), ("default request", self.request));
        let orders = [
            (min, max, "min", self.min),
            (min, request, "defaultRequest", self.request),
            (request, max, "defaultRequest", self.request),
            (request, ("default limit", self.default), "defaultRequest", self.request),
            (min, default, "default", self.min),
            (default, max, "default", self.max),
        ];
        let mut causes = Vec::new();
        for ((low_name, low), (high_name, high), at, shown) in orders {
            if let (Some(low), Some(high), Some(shown)) = (low, high, shown)
                && low > high
            {
                let detail = format!("{low_name} value {low} is greater than {high_name} value {high}");
                causes.push(self.invalid(path, at, shown, &detail));
            }
        }
        causes.extend(self.ratio.map(|ratio| self.validate_ratio(ratio, path)).unwrap_or_default());
        if let (Some(default), Some(request)) = (self.default, self.request)
            && default != request
            && !resource::may_be_overcommitted(self.resource)
        {
            let detail =
                format!("default value {default} must equal to defaultRequest value {request} in {}", self.resource);
            causes.push(self.invalid(path, "defaultRequest", request, &detail));
        }
        causes
    }

    fn validate_ratio(&self, ratio: Quantity, path: &Path) -> Vec<Cause> {
        let mut causes = Vec::new();
        if ratio < Quantity::new(1, Format::DecimalSi) {
            let detail = format!("ratio {ratio} is less than 1");
            causes.push(self.invalid(path, "maxLimitRequestRatio", ratio, &detail));
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            let most = max.approximate() / min.approximate();
            if ratio.approximate() > most {
                let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
                causes.push(self.invalid(path, "maxLimitRequestRatio", ratio, &detail));
            }
        }
        causes
    }

    fn invalid(&self, path: &Path, list: &str, amount: Quantity, detail: &str) -> Cause {
        field::invalid(&path.child(list).key(self.resource), amount.to_string(), detail)
    }
}

fn kind_of_limit(kind: &str, path: &Path) -> Vec<Cause> {
    let problems = name::qualified_name(kind);
    if problems.is_empty() && !kind.contains('/') && !KINDS.contains(&kind) {
        return vec![field::invalid(path, kind, "must be a standard limit type or fully qualified")];
    }
    field::invalid_each(path, kind, &problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    fn problems(limit: Value) -> Vec<String> {
        let object = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"limits": [limit]}});
        let causes = descriptor::<LimitRangeKind>().strategy.validate(&object.into());
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn bounds_are_in_order() {
        assert_eq!(
            problems(json!({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}})),
            ["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"]
        );
        assert_eq!(
            problems(
                json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}})
            ),
            [
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000"
            ]
        );
    }

    #[test]
    fn limits_are_of_known_kinds_and_resources() {
        assert_eq!(
            problems(json!({"type": "other"})),
            ["spec.limits[0].type: Invalid value: \"other\": must be a standard limit type or fully qualified"]
        );
        assert!(problems(json!({"type": "Pod", "max": {"storage": "1"}}))[0].ends_with("for containers"));
        assert!(problems(json!({"type": "PersistentVolumeClaim"}))[0].starts_with("spec.limits[0].limits: Required"));
    }
}
