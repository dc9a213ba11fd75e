//! Rules of a pod's name resolution.

use k8s_openapi::api::core::v1::PodSpec;

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{name, network},
};

const POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const MOST_NAMESERVERS: usize = 3;
const MOST_SEARCH_PATHS: usize = 32;
const MOST_SEARCH_BYTES: usize = 2048;

/// Problems of `dnsPolicy`, `dnsConfig` and `hostAliases`.
pub fn validate(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let mut causes = super::chosen(spec.dns_policy.as_deref(), POLICIES, &path.child("dnsPolicy"));
    causes.extend(config(spec, &path.child("dnsConfig")));
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.child("hostAliases").index(index);
        causes.extend(field::invalid_each(&path.child("ip"), &alias.ip, &network::ip(&alias.ip)));
        for (number, hostname) in alias.hostnames.iter().flatten().enumerate() {
            let path = path.child("hostnames").index(number);
            causes.extend(field::invalid_each(&path, hostname, &name::dns1123_subdomain(hostname)));
        }
    }
    causes
}

fn config(spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let none = spec.dns_policy.as_deref() == Some("None");
    let Some(config) = &spec.dns_config else {
        let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
        return if none { vec![field::required(path, detail)] } else { Vec::new() };
    };
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let own = path.child("nameservers");
    if none && servers.is_empty() {
        return vec![field::required(&own, "must provide at least one DNS nameserver when `dnsPolicy` is None")];
    }
    let mut causes = Vec::new();
    if servers.len() > MOST_NAMESERVERS {
        let detail = format!("must not have more than {MOST_NAMESERVERS} nameservers");
        causes.push(field::invalid(&own, servers, &detail));
    }
    for (index, server) in servers.iter().enumerate() {
        causes.extend(field::invalid_each(&own.index(index), server, &network::ip(server)));
    }
    causes.extend(searches(config.searches.as_deref().unwrap_or_default(), &path.child("searches")));
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or_default().is_empty() {
            causes.push(field::required(&path.child("options").index(index), "must not be empty"));
        }
    }
    causes
}

fn searches(searches: &[String], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if searches.len() > MOST_SEARCH_PATHS {
        let detail = format!("must not have more than {MOST_SEARCH_PATHS} search paths");
        causes.push(field::invalid(path, searches, &detail));
    }
    if searches.join(" ").len() > MOST_SEARCH_BYTES {
        let detail =
            format!("must not have more than {MOST_SEARCH_BYTES} characters (including spaces) in the search list");
        causes.push(field::invalid(path, searches, &detail));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let plain = search.strip_suffix('.').unwrap_or(search);
        causes.extend(field::invalid_each(&path.index(index), plain, &name::dns1123_subdomain_with_underscore(plain)));
    }
    causes
}
