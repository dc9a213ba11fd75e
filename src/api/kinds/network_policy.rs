//! Network policies: which traffic pods may send and receive.

use jiff::Timestamp;
use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Value, json};

use super::{cells, label_selector, names};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names},
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::network,
};

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
const DIRECTIONS: &[&str] = &["Ingress", "Egress"];

/// `networking.k8s.io/v1.NetworkPolicy`
pub struct NetworkPolicyKind;

impl Kind for NetworkPolicyKind {
    type Object = NetworkPolicy;
    const NAMES: Names = Names {
        short_names: &["netpol"],
        ..names::namespaced(names::NETWORKING, "NetworkPolicy", "networkpolicies", "networkpolicy")
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;
    const COLUMNS: &'static [Column] =
        &[cells::NAME, cells::column("Pod-Selector", "string", "Labels of the pods that it is for."), cells::AGE];

    fn default(policy: &mut NetworkPolicy) {
        let spec = policy.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        let incoming = spec.ingress.iter_mut().flatten().flat_map(|rule| rule.ports.iter_mut().flatten());
        let outgoing = spec.egress.iter_mut().flatten().flat_map(|rule| rule.ports.iter_mut().flatten());
        for port in incoming.chain(outgoing) {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
        if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
            let mut types = vec!["Ingress".to_owned()];
            types.extend(spec.egress.as_ref().filter(|rules| !rules.is_empty()).map(|_| "Egress".to_owned()));
            spec.policy_types = Some(types);
        }
    }

    fn validate(policy: &NetworkPolicy) -> Vec<Cause> {
        validate(&policy.spec.clone().unwrap_or_default(), &Path::new("spec"))
    }

    fn warnings(new: &NetworkPolicy, _old: Option<&NetworkPolicy>) -> Vec<String> {
        let spec = new.spec.clone().unwrap_or_default();
        let incoming = spec.ingress.iter().flatten().map(|rule| ("ingress", "from", &rule.from));
        let outgoing = spec.egress.iter().flatten().map(|rule| ("egress", "to", &rule.to));
        let rules = incoming.enumerate().chain(outgoing.enumerate());
        rules
            .flat_map(|(index, (list, name, peers))| {
                let path = Path::new("spec").child(list).index(index).child(name);
                let blocks = peers.iter().flatten().enumerate();
                blocks.filter_map(move |(index, peer)| {
                    Some((path.index(index).child("ipBlock"), peer.ip_block.as_ref()?))
                })
            })
            .flat_map(|(path, block)| block_warnings(block, &path))
            .collect()
    }

    fn cells(policy: &NetworkPolicy, now: Timestamp) -> Vec<Value> {
        let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        vec![cells::name(&policy.metadata), json!(cells::selector(selector)), cells::age(&policy.metadata, now)]
    }
}

fn block_warnings(block: &IPBlock, path: &Path) -> Vec<String> {
    let excepted = block.except.iter().flatten().enumerate();
    let excepted = excepted.filter_map(|(index, cidr)| network::cidr_warning(cidr, &path.child("except").index(index)));
    network::cidr_warning(&block.cidr, &path.child("cidr")).into_iter().chain(excepted).collect()
}

fn validate(spec: &NetworkPolicySpec, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(selector) = &spec.pod_selector {
        causes.extend(label_selector::validate(selector, &path.child("podSelector")));
    }
    for (index, rule) in spec.ingress.iter().flatten().enumerate() {
        let path = path.child("ingress").index(index);
        causes.extend(ports(rule.ports.as_ref(), &path));
        causes.extend(peers(rule.from.as_ref(), &path.child("from")));
    }
    for (index, rule) in spec.egress.iter().flatten().enumerate() {
        let path = path.child("egress").index(index);
        causes.extend(ports(rule.ports.as_ref(), &path));
        causes.extend(peers(rule.to.as_ref(), &path.child("to")));
    }
    let directions = spec.policy_types.as_deref().unwrap_or_default();
    if directions.len() > DIRECTIONS.len() {
        causes.push(field::invalid(
            &path.child("policyTypes"),
            directions,
            "may not specify more than two policyTypes",
        ));
        return causes;
    }
    for (index, direction) in spec.policy_types.iter().flatten().enumerate() {
        if !DIRECTIONS.contains(&direction.as_str()) {
            causes.push(field::unsupported(&path.child("policyTypes").index(index), direction, DIRECTIONS));
        }
    }
    causes
}

fn ports(ports: Option<&Vec<NetworkPolicyPort>>, path: &Path) -> Vec<Cause> {
    let all = ports.into_iter().flatten().enumerate();
    all.flat_map(|(index, one)| port(one, &path.child("ports").index(index))).collect()
}

fn port(port: &NetworkPolicyPort, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(protocol) = port.protocol.as_deref()
        && !PROTOCOLS.contains(&protocol)
    {
        causes.push(field::unsupported(&path.child("protocol"), protocol, PROTOCOLS));
    }
    match (&port.port, port.end_port) {
        (Some(IntOrString::Int(first)), end) => {
            causes.extend(field::invalid_each(&path.child("port"), first, &network::port((*first).into())));
            let own = path.child("endPort");
            if end.is_some_and(|end| end < *first) {
                // Upstream shows the port.
                causes.push(field::invalid(&own, first, "must be greater than or equal to `port`"));
            }
            causes
                .extend(end.map(|end| field::invalid_each(&own, end, &network::port(end.into()))).unwrap_or_default());
        }
        (Some(IntOrString::String(text)), end) => {
            let detail = "may not be specified when `port` is non-numeric";
            causes.extend(end.map(|end| field::invalid(&path.child("endPort"), end, detail)));
            causes.extend(field::invalid_each(&path.child("port"), text, &network::port_name(text)));
        }
        (None, Some(end)) => {
            let detail = "may not be specified when `port` is not specified";
            causes.push(field::invalid(&path.child("endPort"), end, detail));
        }
        (None, None) => {}
    }
    causes
}

fn peers(peers: Option<&Vec<NetworkPolicyPeer>>, path: &Path) -> Vec<Cause> {
    peers.into_iter().flatten().enumerate().flat_map(|(index, one)| peer(one, &path.index(index))).collect()
}

fn peer(peer: &NetworkPolicyPeer, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    let selectors = [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)];
    let given = selectors.iter().filter(|(_, selector)| selector.is_some()).count();
    for (name, selector) in selectors {
        if let Some(selector) = selector {
            causes.extend(label_selector::validate(selector, &path.child(name)));
        }
    }
    match &peer.ip_block {
        Some(_) if given > 0 => {
            causes.push(field::forbidden(path, "may not specify both ipBlock and another peer"));
        }
        Some(block) => causes.extend(ip_block(block, &path.child("ipBlock"))),
        None if given == 0 => causes.push(field::required(path, "must specify a peer")),
        None => {}
    }
    causes
}

fn ip_block(block: &IPBlock, path: &Path) -> Vec<Cause> {
    let own = path.child("cidr");
    if block.cidr.is_empty() {
        return vec![field::required(&own, "")];
    }
    let mut causes = field::invalid_each(&own, &block.cidr, &network::cidr(&block.cidr));
    let whole: Option<ipnet::IpNet> = block.cidr.parse().ok();
    for (index, except) in block.except.iter().flatten().enumerate() {
        let path = path.child("except").index(index);
        match (except.parse::<ipnet::IpNet>(), whole) {
            (Err(_), _) => causes.extend(field::invalid_each(&path, except, &network::cidr(except))),
            (Ok(part), Some(whole)) if !whole.contains(&part) || whole == part => {
                let detail = format!("must be a strict subset of `cidr`: \"{}\"", block.cidr);
                causes.push(field::invalid(&path, except, &detail));
            }
            _ => {}
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::descriptor;

    #[test]
    fn a_policy_is_about_what_it_has_rules_for() {
        let strategy = descriptor::<NetworkPolicyKind>().strategy;
        let policy =
            |spec: Value| strategy.decode(json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})).unwrap();
        assert_eq!(policy(json!({}))["spec"]["policyTypes"], json!(["Ingress"]));
        assert_eq!(policy(json!({"egress": [{}]}))["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        let causes = strategy.validate(&policy(json!({"ingress": [{"from": [{}]}]})));
        assert_eq!(causes[0].field, "spec.ingress[0].from[0]");
        let block = json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}]});
        let causes = strategy.validate(&policy(block));
        assert!(causes[0].message.ends_with("must be a strict subset of `cidr`: \"10.0.0.0/8\""));
    }
}
