//! Ports of a service: their rules and their cell.

use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};
use serde::Serialize;

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

/// Problems of each port.
pub fn validate(ports: &[ServicePort], path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let has_name = |port: &ServicePort| port.name.as_ref().is_some_and(|name| !name.is_empty());
        let is_again = has_name(port) && ports[..index].iter().any(|other| other.name == port.name);
        causes.extend(one(port, ports.len() > 1, is_again, &path));
    }
    causes
}

/// Node ports of a service whose type has none.
pub fn no_node_ports(ports: &[ServicePort], path: &Path) -> Vec<Cause> {
    let set = ports.iter().enumerate().filter(|(_, port)| port.node_port.unwrap_or_default() != 0);
    let detail = "may not be used when `type` is 'ClusterIP'";
    set.map(|(index, _)| field::forbidden(&path.index(index).child("nodePort"), detail)).collect()
}

/// Numbers that are there twice for one protocol.
pub fn distinct(ports: &[ServicePort], path: &Path) -> Vec<Cause> {
    let of = |port: &ServicePort| port.protocol.clone().unwrap_or_default();
    let mut causes = Vec::new();
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| port.node_port.unwrap_or_default() != 0) {
        if ports[..index].iter().any(|other| (other.node_port, of(other)) == (port.node_port, of(port))) {
            causes.push(field::duplicate(&path.index(index).child("nodePort"), port.node_port));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        if ports[..index].iter().any(|other| (other.port, of(other)) == (port.port, of(port))) {
            causes.push(field::duplicate(&path.index(index), Shown::new(&of(port), port.port)));
        }
    }
    causes
}

/// A port as upstream shows it: its internal type, of which nothing but the key is set.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'static str,
    protocol: &'a str,
    app_protocol: Option<&'static str>,
    port: i32,
    target_port: i32,
    node_port: i32,
}

impl<'a> Shown<'a> {
    fn new(protocol: &'a str, port: i32) -> Self {
        Self { name: "", protocol, app_protocol: None, port, target_port: 0, node_port: 0 }
    }
}

fn one(port: &ServicePort, must_have_name: bool, is_again: bool, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    match port.name.as_deref().unwrap_or_default() {
        "" if must_have_name => causes.push(field::required(&path.child("name"), "")),
        "" => {}
        text => causes.extend(field::invalid_each(&path.child("name"), text, &name::dns1123_label(text))),
    }
    if is_again {
        causes.push(field::duplicate(&path.child("name"), &port.name));
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
