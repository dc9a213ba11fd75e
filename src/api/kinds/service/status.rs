//! What a load balancer says of itself in the status of a service or an ingress (`ValidateLoadBalancerStatus` and
//! `ValidateIngressLoadBalancerStatus` upstream).

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;

use super::facts;
use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{name, network},
};

const MODES: &[&str] = &["Proxy", "VIP"];

/// Problems of a service's status.
pub fn validate(service: &Service) -> Vec<Cause> {
    let path = Path::new("status.loadBalancer.ingress");
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    if ingress.is_empty() {
        return Vec::new();
    }
    if !service.spec.as_ref().is_some_and(|spec| facts::is_type(spec, "LoadBalancer")) {
        return vec![field::forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'")];
    }
    let mut causes = Vec::new();
    for (index, one) in ingress.iter().enumerate() {
        let path = path.index(index);
        let has_ip = one.ip.as_ref().is_some_and(|ip| !ip.is_empty());
        causes.extend(ip(one.ip.as_deref(), &path.child("ip")));
        let own = path.child("ipMode");
        causes.extend(match one.ip_mode.as_deref() {
            None => has_ip.then(|| field::required(&own, "must be specified when `ip` is set")),
            Some(_) if !has_ip => Some(field::forbidden(&own, "may not be specified when `ip` is not set")),
            Some(mode) => field::one_of(&own, mode, MODES),
        });
        causes.extend(hostname(one.hostname.as_deref(), &path.child("hostname")));
    }
    causes
}

/// Problems of a balancer's address, where there is one.
pub fn ip(ip: Option<&str>, path: &Path) -> Vec<Cause> {
    let given = ip.filter(|ip| !ip.is_empty());
    given.map(|ip| field::invalid_each(path, ip, &network::ip(ip))).unwrap_or_default()
}

/// Problems of a balancer's name, where there is one.
pub fn hostname(hostname: Option<&str>, path: &Path) -> Vec<Cause> {
    let Some(hostname) = hostname.filter(|hostname| !hostname.is_empty()) else { return Vec::new() };
    let mut causes = field::invalid_each(path, hostname, &name::dns1123_subdomain(hostname));
    if hostname.parse::<IpAddr>().is_ok() {
        causes.push(field::invalid(path, hostname, "must be a DNS name, not an IP address"));
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_load_balancer_has_ingress() {
        let problems = |kind: &str, ingress: serde_json::Value| {
            let service = json!({"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [ingress]}}});
            let causes = validate(&serde_json::from_value(service).unwrap());
            causes.into_iter().map(|cause| cause.field.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(problems("ClusterIP", json!({"hostname": "a"})), ["status.loadBalancer.ingress"]);
        assert!(problems("LoadBalancer", json!({"ip": "1.2.3.4", "ipMode": "VIP", "hostname": "a"})).is_empty());
        assert_eq!(problems("LoadBalancer", json!({"ipMode": "VIP"})), ["status.loadBalancer.ingress[0].ipMode"]);
        assert_eq!(problems("LoadBalancer", json!({"hostname": "1.2.3.4"})).len(), 1);
    }
}
