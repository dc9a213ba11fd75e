//! The network against the real kernel, in throw-away network namespaces: a node is a namespace, a
//! thread in it and a network opened from there. Needs root; says so loudly when it must skip.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::{
    services::{Protocol, ServicePort},
    *,
};
use crate::sys::{namespace, nft::Nftables};

/// Whether these tests can run.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: network namespaces need root");
    }
    root
}

/// A network namespace that goes away with its last user.
struct Host {
    path: PathBuf,
}

impl Host {
    fn new(label: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/run/netns/nauplius-test-{}-{number}-{label}", std::process::id()));
        namespace::create_network(&path).unwrap();
        let host = Self { path };
        host.ip("link set lo up");
        host
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::within_network(&self.path, work).unwrap()
    }

    /// Runs async work on a runtime of its own inside the namespace.
    fn block_on<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        self.within(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work))
    }

    fn ip(&self, arguments: &str) {
        let netns = format!("--net={}", self.path.display());
        let done = Command::new("nsenter").arg(netns).arg("ip").args(arguments.split(' ')).status().unwrap();
        assert!(done.success(), "ip {arguments}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = namespace::remove_network(&self.path);
    }
}

/// A switch between hosts: each gets `eth0` with 192.168.7.<number>/24 and a default route.
struct Lan {
    switch: Host,
}

impl Lan {
    fn new() -> Self {
        let switch = Host::new("lan");
        switch.ip("link add lan type bridge forward_delay 0");
        switch.ip("addr add 192.168.7.254/24 dev lan");
        switch.ip("link set lan up");
        Self { switch }
    }

    fn host(&self, number: u8) -> Host {
        let host = Host::new(&format!("host{number}"));
        let name = host.path.file_name().unwrap().to_str().unwrap().to_owned();
        self.switch.ip(&format!("link add port{number} type veth peer name eth0 netns {name}"));
        self.switch.ip(&format!("link set port{number} master lan up"));
        host.ip(&format!("addr add 192.168.7.{number}/24 dev eth0"));
        host.ip("link set eth0 up");
        host.ip("route add default via 192.168.7.254");
        host
    }
}

struct Node {
    network: NodeNetwork,
    state: tempfile::TempDir,
    host: Host,
    pods: Vec<Host>,
}

impl Node {
    fn open(lan: &Lan, number: u8) -> Self {
        let (host, state) = (lan.host(number), tempfile::tempdir().unwrap());
        let network = host.block_on(NodeNetwork::open(config(number, state.path()))).unwrap();
        Self { network, state, host, pods: Vec::new() }
    }

    /// Attaches a pod and returns its namespace and address.
    fn pod(&mut self, label: &str) -> (PathBuf, IpAddr) {
        self.pod_with(label, AttachOptions::default())
    }

    fn pod_with(&mut self, label: &str, options: AttachOptions) -> (PathBuf, IpAddr) {
        let pod = Host::new(label);
        let addresses = self.host.block_on(self.network.attach(&pod.path, label, options)).unwrap();
        let path = pod.path.clone();
        self.pods.push(pod);
        (path, addresses.ipv4.unwrap().into())
    }

    fn update(&self, name: &str, service: ServicePort) {
        let changes = BTreeMap::from([(name.to_owned(), Some(service))]);
        self.host.block_on(self.network.update_services(changes)).unwrap();
    }

    fn dump(&self) -> nft::Dump {
        self.host.within(|| nft::Kernel.dump(TABLE)).unwrap().unwrap()
    }
}

fn config(number: u8, state: &Path) -> Config {
    Config {
        node_ips: vec![IpAddr::from([192, 168, 7, number])],
        pod_cidrs: vec![format!("10.42.{number}.0/24").parse().unwrap()],
        cluster_cidrs: vec!["10.42.0.0/16".parse().unwrap()],
        service_cidrs: vec!["10.43.0.0/16".parse().unwrap()],
        cluster_dns: vec!["10.43.0.10".parse().unwrap()],
        interface: None,
        mtu: None,
        backend: Backend::Vxlan,
        state_dir: state.to_owned(),
    }
}

/// Answers every connection with the address it came from; ends with the test process.
fn serve(namespace: &Path, at: SocketAddr) {
    let listener = namespace::within_network(namespace, || TcpListener::bind(at)).unwrap().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = write!(stream, "{} {}", at.ip(), stream.peer_addr().unwrap().ip());
        }
    });
}

/// Who answered, and as whom they saw us.
fn ask(namespace: &Path, to: &str) -> Result<(String, String), std::io::ErrorKind> {
    let to: SocketAddr = to.parse().unwrap();
    namespace::within_network(namespace, move || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).map_err(|error| error.kind())?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.kind())?;
        let (who, seen) = answer.split_once(' ').unwrap();
        Ok((who.to_owned(), seen.to_owned()))
    })
    .unwrap()
}

fn answered(who: IpAddr, seen: &str) -> Result<(String, String), std::io::ErrorKind> {
    Ok((who.to_string(), seen.to_owned()))
}

fn web(cluster_ip: &str, endpoints: &[IpAddr]) -> ServicePort {
    ServicePort {
        cluster_ips: vec![cluster_ip.parse().unwrap()],
        endpoints: endpoints.iter().map(|address| SocketAddr::new(*address, 8080)).collect(),
        ..ServicePort::new(Protocol::Tcp, 80)
    }
}

#[test]
fn pods_reach_each_other_services_themselves_and_the_outside() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    let ((one, one_ip), (two, two_ip)) = (node.pod("one"), node.pod("two"));
    serve(&one, SocketAddr::new(one_ip, 8080));
    serve(&two, SocketAddr::new(two_ip, 8080));
    serve(&lan.switch.path, "192.168.7.254:9000".parse().unwrap());

    let seen_as = one_ip.to_string();
    assert_eq!(ask(&one, &format!("{two_ip}:8080")), answered(two_ip, &seen_as), "pod to pod");
    assert_eq!(ask(&node.host.path, &format!("{one_ip}:8080")).unwrap().1, "10.42.1.1", "host to pod");

    node.update("default/two/http", web("10.43.0.2", &[two_ip]));
    assert_eq!(ask(&one, "10.43.0.2:80"), answered(two_ip, &seen_as), "pod to service on the same node");
    assert_eq!(ask(&node.host.path, "10.43.0.2:80").unwrap().0, two_ip.to_string(), "host to service");

    node.update("default/one/http", web("10.43.0.1", &[one_ip]));
    assert_eq!(ask(&one, "10.43.0.1:80").unwrap().0, one_ip.to_string(), "pod to itself through a service");

    let outside = IpAddr::from([192, 168, 7, 254]);
    assert_eq!(ask(&one, "192.168.7.254:9000"), answered(outside, "192.168.7.1"), "outside sees the node");

    node.update("default/none/http", web("10.43.0.3", &[]));
    let started = Instant::now();
    for refused in ["10.43.0.3:80", "10.43.0.2:81", "10.43.77.1:80"] {
        assert_eq!(ask(&one, refused), Err(std::io::ErrorKind::ConnectionRefused), "{refused} from a pod");
        assert_eq!(
            ask(&node.host.path, refused),
            Err(std::io::ErrorKind::ConnectionRefused),
            "{refused} from the host"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(1), "refusals come at once");
}

#[test]
fn node_ports_and_host_ports_answer_at_the_nodes_address() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    let host_port = HostPort { host_ip: None, host_port: 8081, container_port: 8080, protocol: Protocol::Tcp };
    let (pod, address) = node.pod_with("web", AttachOptions { host_ports: vec![host_port] });
    serve(&pod, SocketAddr::new(address, 8080));
    let mut service = web("10.43.0.2", &[address]);
    service.node_port = Some(30080);
    node.update("default/web/http", service.clone());
    let client = &lan.switch.path;
    assert_eq!(ask(client, "192.168.7.1:30080"), answered(address, "192.168.7.1"), "cluster policy hides the client");
    assert_eq!(ask(client, "192.168.7.1:8081"), answered(address, "192.168.7.254"), "host port shows the client");
    assert_eq!(ask(&node.host.path, "192.168.7.1:30080").unwrap().0, address.to_string());

    service.external_local = true;
    node.update("default/web/http", service.clone());
    assert!(ask(client, "192.168.7.1:30080").is_err(), "no endpoint here is known");
    service.local_endpoints = service.endpoints.clone();
    node.update("default/web/http", service.clone());
    assert_eq!(ask(client, "192.168.7.1:30080"), answered(address, "192.168.7.254"), "local policy shows the client");

    service.load_balancer_ips = vec![IpAddr::from([192, 168, 7, 1])];
    service.source_ranges = vec!["192.168.8.0/24".parse().unwrap()];
    node.update("default/web/http", service.clone());
    assert!(ask(client, "192.168.7.1:80").is_err(), "not in the source ranges");
    service.source_ranges = vec!["192.168.7.0/24".parse().unwrap()];
    node.update("default/web/http", service);
    assert_eq!(ask(client, "192.168.7.1:80"), answered(address, "192.168.7.254"));
}

#[test]
fn a_client_with_affinity_stays_with_its_endpoint_until_that_goes() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    let (client, _) = node.pod("client");
    let mut addresses = Vec::new();
    for label in ["a", "b", "c"] {
        let (pod, address) = node.pod(label);
        serve(&pod, SocketAddr::new(address, 8080));
        addresses.push(address);
    }
    let mut service = web("10.43.0.2", &addresses);
    node.update("default/web/http", service.clone());
    let spread: std::collections::BTreeSet<_> = (0..60).map(|_| ask(&client, "10.43.0.2:80").unwrap().0).collect();
    assert_eq!(spread.len(), 3, "without affinity all endpoints answer");

    service.affinity = Some(Duration::from_secs(60));
    node.update("default/web/http", service.clone());
    for _ in 0..2 {
        let first = ask(&client, "10.43.0.2:80").unwrap().0;
        for _ in 0..20 {
            assert_eq!(ask(&client, "10.43.0.2:80").unwrap().0, first);
        }
        service.endpoints.retain(|endpoint| endpoint.ip().to_string() != first);
        node.update("default/web/http", service.clone());
    }
}

#[test]
fn udp_goes_through_a_service_and_answers_come_from_its_address() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    let ((client, _), (server, address)) = (node.pod("client"), node.pod("server"));
    echo(&server, SocketAddr::new(address, 5353));
    let service = ServicePort {
        cluster_ips: vec!["10.43.0.2".parse().unwrap()],
        endpoints: vec![SocketAddr::new(address, 5353)],
        ..ServicePort::new(Protocol::Udp, 53)
    };
    node.update("default/dns/dns", service);
    let answer = namespace::within_network(&client, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.connect("10.43.0.2:53").unwrap();
        socket.send(b"hello").unwrap();
        let mut buffer = [0; 64];
        socket.recv(&mut buffer).map(|len| buffer[..len].to_vec())
    });
    assert_eq!(answer.unwrap().unwrap(), address.to_string().as_bytes());
}

/// Answers every datagram with the address it came to.
fn echo(namespace: &Path, at: SocketAddr) {
    let socket = namespace::within_network(namespace, || UdpSocket::bind(at)).unwrap().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(at.ip().to_string().as_bytes(), from);
        }
    });
}

#[test]
fn a_udp_flow_moves_on_when_its_endpoint_goes_or_the_first_one_comes() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    let ((client, _), (one, one_ip), (two, two_ip)) = (node.pod("client"), node.pod("one"), node.pod("two"));
    echo(&one, SocketAddr::new(one_ip, 5353));
    echo(&two, SocketAddr::new(two_ip, 5353));
    let with = |endpoints: &[IpAddr]| ServicePort {
        cluster_ips: vec!["10.43.0.2".parse().unwrap()],
        endpoints: endpoints.iter().map(|address| SocketAddr::new(*address, 5353)).collect(),
        ..ServicePort::new(Protocol::Udp, 53)
    };
    let socket = namespace::within_network(&client, || {
        let socket = UdpSocket::bind("0.0.0.0:4000").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket.connect("10.43.0.2:53").unwrap();
        socket
    })
    .unwrap();
    let answered = || {
        let mut buffer = [0; 64];
        // An earlier refusal may be reported first.
        let mut ask = || socket.send(b"who?").and_then(|_| socket.recv(&mut buffer));
        let len = ask().or_else(|_| ask()).ok()?;
        String::from_utf8(buffer[..len].to_vec()).ok()
    };
    node.update("default/dns/dns", with(&[]));
    assert_eq!(answered(), None);
    for endpoint in [one_ip, two_ip, one_ip] {
        node.update("default/dns/dns", with(&[endpoint]));
        assert_eq!(answered(), Some(endpoint.to_string()));
    }
}

#[test]
fn nodes_reach_each_others_pods_over_vxlan() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let (mut left, mut right) = (Node::open(&lan, 1), Node::open(&lan, 2));
    let peer = |node: &Node, number: u8| Peer {
        name: format!("node{number}"),
        node_ips: vec![IpAddr::from([192, 168, 7, number])],
        pod_cidrs: vec![format!("10.42.{number}.0/24").parse().unwrap()],
        vtep_mac: node.network.vtep_mac(),
    };
    left.host.block_on(left.network.set_peers(vec![peer(&right, 2)])).unwrap();
    right.host.block_on(right.network.set_peers(vec![peer(&left, 1)])).unwrap();
    let ((client, client_ip), (server, server_ip)) = (left.pod("client"), right.pod("server"));
    serve(&server, SocketAddr::new(server_ip, 8080));
    assert_eq!(ask(&client, &format!("{server_ip}:8080")), answered(server_ip, &client_ip.to_string()));
    left.update("default/web/http", web("10.43.0.2", &[server_ip]));
    assert_eq!(ask(&client, "10.43.0.2:80"), answered(server_ip, &client_ip.to_string()), "service across nodes");
    assert_eq!(ask(&left.host.path, "10.43.0.2:80"), answered(server_ip, "10.42.1.0"), "host to remote pod");

    left.host.block_on(left.network.set_peers(vec![])).unwrap();
    assert!(ask(&client, &format!("{server_ip}:8080")).is_err(), "a removed peer is gone");
}

#[test]
fn increments_lead_to_the_same_table_as_a_new_start() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    node.pod("one");
    let addresses: Vec<IpAddr> = (2..9).map(|last| IpAddr::from([10, 42, 1, last])).collect();
    for round in 0..3usize {
        for number in 0..20u8 {
            let mut service = web(&format!("10.43.1.{number}"), &addresses[..(usize::from(number) + round) % 7]);
            service.node_port = (number % 3 == 0).then_some(30000 + u16::from(number));
            service.affinity = (number % 4 == 1).then_some(Duration::from_secs(100));
            service.external_local = (usize::from(number) + round) % 5 == 2;
            node.update(&format!("default/s{number}/http"), service);
        }
    }
    let gone = BTreeMap::from([("default/s3/http".to_owned(), None), ("default/s4/http".to_owned(), None)]);
    node.host.block_on(node.network.update_services(gone)).unwrap();
    let incremental = node.dump();
    node.host.block_on(node.network.save_services()).unwrap();
    let again = node.host.block_on(NodeNetwork::open(config(1, node.state.path()))).unwrap();
    assert_eq!(again.services(), node.network.services());
    assert_eq!(node.dump(), incremental);
}

#[test]
fn purge_leaves_nothing() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    let (pod, _) = node.pod("one");
    node.update("default/web/http", web("10.43.0.2", &[]));
    let peer = Peer {
        name: "other".into(),
        node_ips: vec!["192.168.7.2".parse().unwrap()],
        pod_cidrs: vec!["10.42.2.0/24".parse().unwrap()],
        vtep_mac: Some([2, 0, 0, 0, 0, 9]),
    };
    node.host.block_on(node.network.set_peers(vec![peer])).unwrap();
    let options = PurgeOptions { state_dir: node.state.path().to_owned(), namespaces_dir: None };
    node.host.block_on(purge(&options)).unwrap();
    assert_eq!(node.host.within(|| nft::Kernel.dump(TABLE)).unwrap(), None);
    let links = node.host.block_on(netlink::with(|connection| async move { connection.links().await }));
    let names: Vec<String> = links.unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(names, ["lo", "eth0"]);
    assert!(!pod.exists());
    node.host.block_on(purge(&options)).unwrap();
}

#[test]
fn a_restart_keeps_addresses_and_retain_frees_those_of_pods_that_ended() {
    if !root() {
        return;
    }
    let lan = Lan::new();
    let mut node = Node::open(&lan, 1);
    let ((one, one_ip), (_, two_ip)) = (node.pod("one"), node.pod("two"));
    serve(&one, SocketAddr::new(one_ip, 8080));
    node.network = node.host.block_on(NodeNetwork::open(config(1, node.state.path()))).unwrap();
    let again = node.host.block_on(node.network.attach(&one, "one", AttachOptions::default())).unwrap();
    assert_eq!(again.all(), [one_ip]);
    assert!(ask(&node.host.path, &format!("{one_ip}:8080")).is_ok(), "the running pod was not disturbed");
    assert!(node.network.addresses("two").is_some_and(|addresses| addresses.all() == [two_ip]));
    node.host.block_on(node.network.retain(&["one".to_owned()].into())).unwrap();
    assert_eq!(node.network.addresses("two"), None);
}
