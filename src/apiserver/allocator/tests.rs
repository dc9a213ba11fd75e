//! Services against an allocator of small ranges.

use bytes::Bytes;

use super::*;

/// Services, and networks as objects.
#[derive(Default)]
struct Stored {
    services: Vec<Value>,
    networks: Vec<Value>,
}

impl Reader for Stored {
    fn get(&self, _: GroupResource<'_>, _: &str, _: &str) -> Option<Bytes> {
        None
    }

    fn list(&self, resource: GroupResource<'_>, _: Option<&str>) -> Vec<Bytes> {
        let objects = if resource == SERVICES { &self.services } else { &self.networks };
        objects.iter().map(|object| Bytes::from(object.to_string())).collect()
    }

    fn generation(&self, _: GroupResource<'_>) -> u64 {
        self.networks.len() as u64
    }
}

fn allocator() -> Allocator {
    Allocator::new(&["10.43.0.0/24".parse().unwrap()], 30000..=30099)
}

/// A service as it is prepared: the list of addresses says what the one address does.
fn service(mut spec: Value) -> Value {
    if let (Some(one), None) = (spec.get("clusterIP").cloned(), spec.get("clusterIPs")) {
        spec["clusterIPs"] = json!([one]);
    }
    json!({"metadata": {"name": "a"}, "spec": spec})
}

#[test]
fn a_service_gets_an_address_of_the_upper_band() {
    let mut object = service(json!({"type": "ClusterIP", "ports": [{"port": 80}]}));
    allocator().allocate(&mut object, None, &Stored::default()).unwrap();
    let address: std::net::Ipv4Addr = object["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    assert!(address.octets()[3] > 16, "{address}");
    assert_eq!(object["spec"]["clusterIPs"], json!([address.to_string()]));
    assert_eq!(object["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(object["spec"]["ipFamilyPolicy"], "SingleStack");
    assert!(object["spec"]["ports"][0].get("nodePort").is_none());
}

#[test]
fn an_address_is_given_once_until_it_is_released() {
    let allocator = allocator();
    let wanted = || service(json!({"type": "ClusterIP", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]}));
    allocator.allocate(&mut wanted(), None, &Stored::default()).unwrap();
    let status = allocator.allocate(&mut wanted(), None, &Stored::default()).unwrap_err();
    assert_eq!(
        status.message,
        "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.9\"]: failed to allocate IP 10.43.0.9: \
         provided IP is already allocated"
    );
    allocator.allocate(&mut wanted(), Some(&wanted()), &Stored::default()).unwrap();
    allocator.release(&wanted(), None);
    allocator.allocate(&mut wanted(), None, &Stored::default()).unwrap();
}

#[test]
fn an_address_outside_is_refused() {
    let mut object = service(json!({"type": "ClusterIP", "clusterIP": "10.99.0.9"}));
    let status = allocator().allocate(&mut object, None, &Stored::default()).unwrap_err();
    let why = "failed to allocate IP 10.99.0.9: the provided network does not match the current range";
    assert!(status.message.ends_with(why), "{}", status.message);
}

#[test]
fn headless_and_external_services_get_no_address() {
    let allocator = allocator();
    let mut object =
        service(json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}));
    allocator.allocate(&mut object, None, &Stored::default()).unwrap();
    assert_eq!(object["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(object["spec"]["ipFamilies"], json!(["IPv4"]));
    let mut object = service(json!({"type": "ExternalName", "externalName": "example.com"}));
    allocator.allocate(&mut object, None, &Stored::default()).unwrap();
    assert!(object["spec"].get("clusterIP").is_none());
}

#[test]
fn node_ports_are_distinct_and_shared_by_protocols() {
    let allocator = allocator();
    let mut object = service(json!({"type": "NodePort", "ports": [
        {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80, "protocol": "TCP"}]}));
    allocator.allocate(&mut object, None, &Stored::default()).unwrap();
    let port = |index: usize| object["spec"]["ports"][index]["nodePort"].as_u64().unwrap();
    assert_eq!(port(0), port(1));
    assert_ne!(port(0), port(2));
    assert!((30000..=30099).contains(&port(2)));
    let mut other = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port(2)}]}));
    let status = allocator.allocate(&mut other, None, &Stored::default()).unwrap_err();
    assert!(status.message.contains("spec.ports[0].nodePort: Invalid value: "), "{}", status.message);
    assert!(status.message.ends_with("provided port is already allocated"));
    let mut other = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}));
    let status = allocator.allocate(&mut other, None, &Stored::default()).unwrap_err();
    assert!(status.message.ends_with("The range of valid ports is 30000-30099"), "{}", status.message);
}

#[test]
fn a_refused_service_takes_nothing() {
    let allocator = allocator();
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ports": [{"port": 80, "nodePort": 1}]});
    allocator.allocate(&mut service(spec), None, &Stored::default()).unwrap_err();
    allocator
        .allocate(&mut service(json!({"type": "ClusterIP", "clusterIP": "10.43.0.9"})), None, &Stored::default())
        .unwrap();
}

#[test]
fn an_update_gives_back_what_it_drops() {
    let allocator = allocator();
    let mut old = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]}));
    allocator.allocate(&mut old, None, &Stored::default()).unwrap();
    let mut new = old.clone();
    new["spec"]["type"] = json!("ClusterIP");
    new["spec"]["ports"] = json!([{"port": 80}]);
    allocator.allocate(&mut new, Some(&old), &Stored::default()).unwrap();
    allocator.release(&old, Some(&new));
    let mut other = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]}));
    allocator.allocate(&mut other, None, &Stored::default()).unwrap();
    let mut other = service(json!({"type": "ClusterIP", "clusterIP": new["spec"]["clusterIP"]}));
    allocator.allocate(&mut other, None, &Stored::default()).unwrap_err();
}

#[test]
fn stored_services_are_known_after_a_start() {
    let allocator = allocator();
    let stored =
        service(json!({"type": "NodePort", "clusterIP": "10.43.0.1", "ports": [{"port": 80, "nodePort": 30001}]}));
    let strange = service(json!({"type": "ClusterIP", "clusterIP": "10.99.0.1"}));
    let conflicts = allocator.rebuild(&Stored { services: vec![stored, strange], networks: Vec::new() });
    assert_eq!(conflicts, ["service address 10.99.0.1 is not in the valid range"]);
    allocator
        .allocate(&mut service(json!({"type": "ClusterIP", "clusterIP": "10.43.0.1"})), None, &Stored::default())
        .unwrap_err();
}

#[test]
fn a_full_range_says_so() {
    let allocator = Allocator::new(&["10.43.0.0/30".parse().unwrap()], 30000..=30000);
    let wanted = || service(json!({"type": "ClusterIP"}));
    allocator.allocate(&mut wanted(), None, &Stored::default()).unwrap();
    let status = allocator.allocate(&mut wanted(), None, &Stored::default()).unwrap_err();
    assert_eq!(status.message, "Internal error occurred: failed to allocate a serviceIP: range is full");
}

#[test]
fn networks_of_objects_extend_a_full_range() {
    let allocator = Allocator::new(&["10.43.0.0/30".parse().unwrap()], 30000..=30000);
    let wanted = || service(json!({"type": "ClusterIP"}));
    allocator.allocate(&mut wanted(), None, &Stored::default()).unwrap();
    let network = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.44.0.0/24"]}});
    let more = Stored { services: Vec::new(), networks: vec![network] };
    let mut object = wanted();
    allocator.allocate(&mut object, None, &more).unwrap();
    assert!(object["spec"]["clusterIP"].as_str().unwrap().starts_with("10.44.0."), "{object}");
    let mut chosen = service(json!({"type": "ClusterIP", "clusterIP": "10.44.0.3"}));
    allocator.allocate(&mut chosen, None, &more).unwrap();
    allocator.allocate(&mut chosen, None, &more).unwrap_err();
}

#[test]
fn two_families_give_two_addresses() {
    let networks = ["10.43.0.0/24".parse().unwrap(), "fd00:43::/112".parse().unwrap()];
    let allocator = Allocator::new(&networks, 30000..=30099);
    let mut object = service(json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"}));
    allocator.allocate(&mut object, None, &Stored::default()).unwrap();
    let addresses = object["spec"]["clusterIPs"].as_array().unwrap();
    assert!(addresses[0].as_str().unwrap().starts_with("10.43.0."));
    assert!(addresses[1].as_str().unwrap().starts_with("fd00:43::"));
}
