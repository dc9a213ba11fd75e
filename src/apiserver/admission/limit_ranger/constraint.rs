//! Bounds of one item of a LimitRange, in upstream's words.

use serde_json::Value;

use crate::api::{
    pod_resources::{self, Amounts},
    quantity::Quantity,
};

/// What a container or a pod asks for.
pub struct Asked {
    /// What is set aside for it.
    pub requests: Amounts,
    /// What it may use at most.
    pub limits: Amounts,
}

/// Every bound of `item` that is not kept.
pub fn problems(item: &Value, asked: &Asked) -> Vec<String> {
    let mut problems = Vec::new();
    for (resource, bound) in pod_resources::list(&item["min"]) {
        problems.extend(Bound::new(item, &resource, bound).minimum(asked));
    }
    for (resource, bound) in pod_resources::list(&item["max"]) {
        problems.extend(Bound::new(item, &resource, bound).maximum(asked));
    }
    for (resource, bound) in pod_resources::list(&item["maxLimitRequestRatio"]) {
        problems.extend(Bound::new(item, &resource, bound).ratio(asked));
    }
    problems
}

/// Every bound of `item` that requests alone do not keep.
pub fn problems_of_requests(item: &Value, requests: &Amounts) -> Vec<String> {
    let asked = Asked { requests: requests.clone(), limits: Amounts::new() };
    let mut problems = Vec::new();
    for (resource, bound) in pod_resources::list(&item["min"]) {
        problems.extend(Bound::new(item, &resource, bound).minimum(&asked));
    }
    for (resource, bound) in pod_resources::list(&item["max"]) {
        problems.extend(Bound::new(item, &resource, bound).maximum_request(&asked));
    }
    problems
}

/// One bound on one resource.
struct Bound<'a> {
    kind: &'a str,
    resource: &'a str,
    bound: Quantity,
}

impl<'a> Bound<'a> {
    fn new(item: &'a Value, resource: &'a str, bound: Quantity) -> Self {
        Self { kind: item["type"].as_str().unwrap_or_default(), resource, bound }
    }

    fn minimum(&self, asked: &Asked) -> Option<String> {
        let (request, limit) = self.amounts(asked);
        match (request, limit) {
            (None, _) => Some(self.missing("minimum", "request")),
            (Some(request), _) if request < self.bound => Some(self.outside("minimum", "request", request)),
            (_, Some(limit)) if limit < self.bound => Some(self.outside("minimum", "limit", limit)),
            _ => None,
        }
    }

    fn maximum(&self, asked: &Asked) -> Option<String> {
        let (request, limit) = self.amounts(asked);
        match (request, limit) {
            (_, None) => Some(self.missing("maximum", "limit")),
            (_, Some(limit)) if limit > self.bound => Some(self.outside("maximum", "limit", limit)),
            (Some(request), _) if request > self.bound => Some(self.outside("maximum", "request", request)),
            _ => None,
        }
    }

    fn maximum_request(&self, asked: &Asked) -> Option<String> {
        match self.amounts(asked).0 {
            None => Some(self.missing("maximum", "request")),
            Some(request) if request > self.bound => Some(self.outside("maximum", "request", request)),
            Some(_) => None,
        }
    }

    fn ratio(&self, asked: &Asked) -> Option<String> {
        let (request, limit) = self.amounts(asked);
        let Self { kind, resource, bound } = self;
        let what = format!("{resource} max limit to request ratio per {kind} is {bound}");
        let Some(request) = request.filter(|request| !request.is_zero()) else {
            return Some(format!("{what}, but no request is specified or request is 0"));
        };
        let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
            return Some(format!("{what}, but no limit is specified or limit is 0"));
        };
        let ratio = as_float(limit) / as_float(request);
        (ratio > as_float(*bound)).then(|| format!("{what}, but provided ratio is {ratio:.6}"))
    }

    fn amounts(&self, asked: &Asked) -> (Option<Quantity>, Option<Quantity>) {
        (asked.requests.get(self.resource).copied(), asked.limits.get(self.resource).copied())
    }

    fn missing(&self, which: &str, what: &str) -> String {
        let Self { kind, resource, bound } = self;
        format!("{which} {resource} usage per {kind} is {bound}.  No {what} is specified")
    }

    fn outside(&self, which: &str, what: &str, amount: Quantity) -> String {
        let Self { kind, resource, bound } = self;
        format!("{which} {resource} usage per {kind} is {bound}, but {what} is {amount}")
    }
}

/// Good enough to compare ratios with, as upstream does.
#[expect(clippy::cast_precision_loss, reason = "ratios are compared as floating point numbers, as upstream does")]
fn as_float(amount: Quantity) -> f64 {
    let milli = amount.milli_value();
    if milli == i64::MAX { amount.value() as f64 } else { milli as f64 / 1000.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ratio_problems(requests: Value, limits: Value) -> Vec<String> {
        let item = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "1500m"}});
        problems(&item, &Asked { requests: pod_resources::list(&requests), limits: pod_resources::list(&limits) })
    }

    #[test]
    fn a_limit_is_not_many_times_the_request() {
        assert!(ratio_problems(json!({"cpu": "1"}), json!({"cpu": "1500m"})).is_empty());
        assert_eq!(
            ratio_problems(json!({"cpu": "1"}), json!({"cpu": "2"})),
            ["cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.000000"]
        );
        assert_eq!(
            ratio_problems(json!({}), json!({"cpu": "2"})),
            ["cpu max limit to request ratio per Container is 1500m, but no request is specified or request is 0"]
        );
        assert_eq!(
            ratio_problems(json!({"cpu": "1"}), json!({"cpu": "0"})),
            ["cpu max limit to request ratio per Container is 1500m, but no limit is specified or limit is 0"]
        );
    }

    #[test]
    fn a_limit_counts_as_use_too() {
        let item = json!({"type": "Pod", "min": {"memory": "1Gi"}});
        let asked = Asked {
            requests: pod_resources::list(&json!({"memory": "1Gi"})),
            limits: pod_resources::list(&json!({"memory": "512Mi"})),
        };
        assert_eq!(problems(&item, &asked), ["minimum memory usage per Pod is 1Gi, but limit is 512Mi"]);
    }
}
