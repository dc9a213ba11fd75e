//! Ingresses: HTTP routes from outside to services.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressSpec};
use serde_json::{Value, json};

use super::{cells, names, service::status, workload};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    validation::{name, network},
};

/// How an ingress named its class before there was a field for it.
const CLASS: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
/// Most hosts that a table's cell lists.
const SHOWN_HOSTS: usize = 3;

/// `networking.k8s.io/v1.Ingress`
pub struct IngressKind;

impl Kind for IngressKind {
    type Object = Ingress;
    const NAMES: Names = Names {
        short_names: &["ing"],
        subresources: &[Subresource::Status],
        ..names::namespaced(names::NETWORKING, "Ingress", "ingresses", "ingress")
    };
    const GENERATION: Generation = Generation::Spec;
    const COLUMNS: &'static [Column] = &[
        cells::NAME,
        cells::column("Class", "string", "Class of the ingress."),
        cells::column("Hosts", "string", "Names that it answers to."),
        cells::column("Address", "string", "Where it answers."),
        cells::column("Ports", "string", "Ports on which it answers."),
        cells::AGE,
    ];

    fn default(ingress: &mut Ingress) {
        ingress.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }

    fn prepare_for_create(ingress: &mut Ingress) {
        ingress.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }

    fn validate(ingress: &Ingress) -> Vec<Cause> {
        let path = Path::new("spec");
        let spec = ingress.spec.clone().unwrap_or_default();
        let mut causes = Vec::new();
        if spec.rules.as_ref().is_none_or(Vec::is_empty) && spec.default_backend.is_none() {
            causes.push(field::invalid(&path, &spec.rules, "either `defaultBackend` or `rules` must be specified"));
        }
        if let Some(target) = &spec.default_backend {
            causes.extend(backend(target, &path.child("defaultBackend")));
        }
        for (index, one) in spec.rules.iter().flatten().enumerate() {
            causes.extend(rule(one, &path.child("rules").index(index)));
        }
        for (index, tls) in spec.tls.iter().flatten().enumerate() {
            for (number, host) in tls.hosts.iter().flatten().enumerate() {
                let path = path.child("tls").index(index).child("hosts").index(number);
                causes.extend(field::invalid_each(&path, host, &host_problems(host)));
            }
            if let Some(secret) = tls.secret_name.as_deref().filter(|secret| !secret.is_empty()) {
                let path = path.child("tls").index(index).child("secretName");
                causes.extend(field::invalid_each(&path, secret, &name::dns1123_subdomain(secret)));
            }
        }
        if let Some(class) = spec.ingress_class_name.as_deref() {
            causes.extend(field::invalid_each(&path.child("ingressClassName"), class, &name::dns1123_subdomain(class)));
        }
        causes
    }

    fn validate_status_update(new: &Ingress, _old: &Ingress) -> Vec<Cause> {
        let path = Path::new("status.loadBalancer.ingress");
        let balancer = new.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let all = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default().iter().enumerate();
        all.flat_map(|(index, one)| {
            let path = path.index(index);
            let ip = status::ip(one.ip.as_deref(), &path.child("ip"));
            [ip, status::hostname(one.hostname.as_deref(), &path.child("hostname"))].concat()
        })
        .collect()
    }

    fn warnings(new: &Ingress, old: Option<&Ingress>) -> Vec<String> {
        let annotated = new.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CLASS));
        let has_class = new.spec.as_ref().is_some_and(|spec| spec.ingress_class_name.is_some());
        let is_old_style = old.is_none() && annotated && !has_class;
        let warning = || format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead");
        is_old_style.then(warning).into_iter().collect()
    }

    fn cells(ingress: &Ingress, now: Timestamp) -> Vec<Value> {
        let spec = ingress.spec.clone().unwrap_or_default();
        let ports = if spec.tls.as_ref().is_some_and(|tls| !tls.is_empty()) { "80, 443" } else { "80" };
        vec![
            cells::name(&ingress.metadata),
            json!(spec.ingress_class_name.as_deref().unwrap_or(cells::NONE)),
            json!(hosts(&spec)),
            json!(addresses(ingress)),
            json!(ports),
            cells::age(&ingress.metadata, now),
        ]
    }
}

fn hosts(spec: &IngressSpec) -> String {
    let all: Vec<&str> =
        spec.rules.iter().flatten().filter_map(|rule| rule.host.as_deref()).filter(|host| !host.is_empty()).collect();
    match all.len() {
        0 => "*".to_owned(),
        count if count > SHOWN_HOSTS => format!("{} + {} more...", all[..SHOWN_HOSTS].join(","), count - SHOWN_HOSTS),
        _ => all.join(","),
    }
}

fn addresses(ingress: &Ingress) -> String {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let all = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let distinct: BTreeSet<&str> = all.filter_map(|one| one.ip.as_deref().or(one.hostname.as_deref())).collect();
    distinct.into_iter().collect::<Vec<_>>().join(",")
}

fn rule(rule: &IngressRule, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(host) = rule.host.as_deref().filter(|host| !host.is_empty()) {
        causes.extend(field::invalid_each(&path.child("host"), host, &host_problems(host)));
    }
    let Some(http) = &rule.http else { return causes };
    let path = path.child("http").child("paths");
    if http.paths.is_empty() {
        causes.push(field::required(&path, ""));
    }
    causes.extend(http.paths.iter().enumerate().flat_map(|(index, one)| http_path(one, &path.index(index))));
    causes
}

fn host_problems(host: &str) -> Vec<String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return vec!["must be a DNS name, not an IP address".to_owned()];
    }
    if host.contains('*') { name::wildcard_dns1123_subdomain(host) } else { name::dns1123_subdomain(host) }
}

fn http_path(one: &HTTPIngressPath, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = one.path.as_deref().unwrap_or_default();
    match one.path_type.as_str() {
        "" => return vec![field::required(&path.child("pathType"), "pathType must be specified")],
        "Exact" | "Prefix" if !text.starts_with('/') => {
            causes.push(field::invalid(&path.child("path"), text, "must be an absolute path"));
        }
        "Exact" | "Prefix" => {
            let bad = ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|bad| text.contains(bad));
            causes
                .extend(bad.map(|bad| field::invalid(&path.child("path"), text, &format!("must not contain '{bad}'"))));
            let bad = ["/..", "/."].into_iter().filter(|bad| text.ends_with(bad));
            causes
                .extend(bad.map(|bad| field::invalid(&path.child("path"), text, &format!("cannot end with '{bad}'"))));
        }
        "ImplementationSpecific" if !text.is_empty() && !text.starts_with('/') => {
            causes.push(field::invalid(&path.child("path"), text, "must be an absolute path"));
        }
        "ImplementationSpecific" => {}
        kind => causes.push(field::unsupported(&path.child("pathType"), kind, PATH_TYPES)),
    }
    causes.extend(backend(&one.backend, &path.child("backend")));
    causes
}

fn backend(backend: &IngressBackend, path: &Path) -> Vec<Cause> {
    let service = match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => return vec![field::invalid(path, "", "cannot set both resource and service backends")],
        (None, Some(object)) => {
            let path = path.child("resource");
            return workload::object_reference(object.api_group.as_deref(), &object.kind, &object.name, &path);
        }
        (None, None) => return vec![field::invalid(path, "", "resource or service backend is required")],
        (Some(service), None) => service,
    };
    let owner = path;
    let path = path.child("service");
    let mut causes = Vec::new();
    match service.name.as_str() {
        "" => causes.push(field::required(&path.child("name"), "")),
        text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text))),
    }
    let port = service.port.clone().unwrap_or_default();
    match (port.name.as_deref().filter(|name| !name.is_empty()), port.number.filter(|number| *number != 0)) {
        (Some(_), Some(_)) => causes.push(field::invalid(owner, "", "cannot set both port name & port number")),
        (Some(text), None) => {
            causes.extend(field::invalid_each(&path.child("port").child("name"), text, &network::port_name(text)));
        }
        (None, Some(number)) => {
            let problems = network::port(number.into());
            causes.extend(field::invalid_each(&path.child("port").child("number"), number, &problems));
        }
        (None, None) => causes.push(field::required(owner, "port name or number is required")),
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn a_path_leads_somewhere() {
        let strategy = descriptor::<IngressKind>().strategy;
        let ingress = |path: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"rules": [{"host": "a.example", "http": {"paths": [path]}}]}});
        let service = json!({"service": {"name": "s", "port": {"number": 80}}});
        let good = ingress(json!({"path": "/", "pathType": "Prefix", "backend": service})).into();
        assert_eq!(strategy.validate(&good), []);
        assert_eq!(
            strategy.cells(&good, Timestamp::UNIX_EPOCH)[1..5],
            ["<none>", "a.example", "", "80"].map(Value::from)
        );
        let causes = strategy.validate(&ingress(json!({"path": "a", "pathType": "Exact", "backend": {}})).into());
        let messages: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "Invalid value: \"a\": must be an absolute path",
                "Invalid value: \"\": resource or service backend is required"
            ]
        );
    }
}
