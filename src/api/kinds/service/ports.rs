//! Ports of a service: their rules and their cell.

use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};
use serde_json::json;

use crate::api::{
    field::{self, Path},
    kinds::cells,
    status::Cause,
    validation::{name, network},
};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// `80/TCP,443:30443/TCP`, or `<none>`.
pub fn shown(ports: &[ServicePort]) -> String {
    let one = |port: &ServicePort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        match port.node_port.filter(|number| *number > 0) {
            Some(node) => format!("{}:{node}/{protocol}", port.port),
            None => format!("{}/{protocol}", port.port),
        }
    };
    let all: Vec<String> = ports.iter().map(one).collect();
    cells::list(all.iter().map(String::as_str))
}

/// Problems of all ports.
pub fn validate(ports: &[ServicePort], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        causes.extend(one(port, ports.len() > 1, &path));
        let earlier = &ports[..index];
        if port.name.as_ref().is_some_and(|name| !name.is_empty())
            && earlier.iter().any(|other| other.name == port.name)
        {
            causes.push(field::duplicate(&path.child("name"), &port.name));
        }
        if earlier.iter().any(|other| (other.port, &other.protocol) == (port.port, &port.protocol)) {
            causes.push(field::duplicate(&path, json!({"port": port.port, "protocol": port.protocol})));
        }
        let node = port.node_port.unwrap_or_default();
        if node != 0 && earlier.iter().any(|other| (other.node_port, &other.protocol) == (Some(node), &port.protocol)) {
            causes.push(field::duplicate(&path.child("nodePort"), node));
        }
    }
    causes
}

fn one(port: &ServicePort, must_have_name: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    match port.name.as_deref().unwrap_or_default() {
        "" if must_have_name => causes.push(field::required(&path.child("name"), "")),
        "" => {}
        text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text))),
    }
    causes.extend(field::invalid_each(&path.child("port"), port.port, &network::port(port.port.into())));
    let protocol = port.protocol.as_deref().unwrap_or_default();
    if protocol.is_empty() {
        causes.push(field::required(&path.child("protocol"), ""));
    } else if !PROTOCOLS.contains(&protocol) {
        causes.push(field::unsupported(&path.child("protocol"), protocol, PROTOCOLS));
    }
    let target = path.child("targetPort");
    match &port.target_port {
        Some(IntOrString::Int(number)) => {
            causes.extend(field::invalid_each(&target, number, &network::port((*number).into())));
        }
        Some(IntOrString::String(text)) => causes.extend(field::invalid_each(&target, text, &network::port_name(text))),
        None => {}
    }
    if let Some(protocol) = &port.app_protocol {
        causes.extend(field::invalid_each(&path.child("appProtocol"), protocol, &name::qualified_name(protocol)));
    }
    causes
}
