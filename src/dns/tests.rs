//! Questions as clients put them, against an index and resolvers of the test's own.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME},
    },
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use super::{
    index::{EndpointRecord, Entry, Index, Port},
    resolver::{Resolver, Step, Transport},
    upstream::{Forwarder, Upstreams},
    zone::Zone,
};
use crate::sys::{namespace, netlink};

fn port(name: &str, number: u16) -> Port {
    Port { name: name.into(), protocol: "tcp".into(), number }
}

fn index() -> Index {
    let mut index = Index::default();
    let mut add = |namespace: &str, name: &str, entry| index.set((namespace.into(), name.into()), Some(entry));
    let addresses: Vec<IpAddr> = vec!["10.43.0.1".parse().unwrap(), "fd00:43::1".parse().unwrap()];
    add("default", "kubernetes", Entry::Cluster { addresses, ports: vec![port("https", 443)] });
    let endpoint = |last: u8, label: &str| EndpointRecord {
        address: IpAddr::from([10, 42, 0, last]),
        label: label.into(),
        ports: vec![port("redis", 6379)],
    };
    add("db", "redis", Entry::Headless { endpoints: vec![endpoint(2, "redis-0"), endpoint(3, "redis-1")] });
    add("db", "empty", Entry::Headless { endpoints: vec![] });
    add("web", "outside", Entry::Alias { target: "www.example.org".into() });
    add("web", "inside", Entry::Alias { target: "kubernetes.default.svc.cluster.local".into() });
    add("web", "circle", Entry::Alias { target: "circle.web.svc.cluster.local".into() });
    index
}

fn resolver(upstreams: Vec<SocketAddr>) -> Resolver {
    let zone = Zone::new(Name::from_ascii("cluster.local.").unwrap(), vec!["10.43.0.0/16".parse().unwrap()]);
    Resolver::new(zone, index(), Forwarder::new(Upstreams::Given(upstreams), vec!["10.43.0.10".parse().unwrap()]))
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask_zone(name: &str, kind: RecordType) -> Message {
    match resolver(vec![]).answer(&question(name, kind).to_vec().unwrap(), Transport::Udp) {
        Step::Answer(answer) => Message::from_vec(&answer).unwrap(),
        Step::Ignore => panic!("{name} was ignored"),
        Step::Forward(_) => panic!("{name} was to be forwarded"),
    }
}

fn data(message: &Message) -> Vec<String> {
    let mut data: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
    data.sort();
    data
}

#[test]
fn names_of_services_have_the_records_of_the_specification() {
    let table: &[(&str, RecordType, &[&str])] = &[
        ("kubernetes.default.svc.cluster.local.", RecordType::A, &["10.43.0.1"]),
        ("KUBERNETES.default.SVC.cluster.local.", RecordType::AAAA, &["fd00:43::1"]),
        (
            "_https._tcp.kubernetes.default.svc.cluster.local.",
            RecordType::SRV,
            &["0 100 443 kubernetes.default.svc.cluster.local."],
        ),
        ("redis.db.svc.cluster.local.", RecordType::A, &["10.42.0.2", "10.42.0.3"]),
        ("redis-1.redis.db.svc.cluster.local.", RecordType::A, &["10.42.0.3"]),
        (
            "_redis._tcp.redis.db.svc.cluster.local.",
            RecordType::SRV,
            &["0 100 6379 redis-0.redis.db.svc.cluster.local.", "0 100 6379 redis-1.redis.db.svc.cluster.local."],
        ),
        ("1.0.43.10.in-addr.arpa.", RecordType::PTR, &["kubernetes.default.svc.cluster.local."]),
        ("2.0.42.10.in-addr.arpa.", RecordType::PTR, &["redis-0.redis.db.svc.cluster.local."]),
        ("10-42-0-9.default.pod.cluster.local.", RecordType::A, &["10.42.0.9"]),
        ("dns-version.cluster.local.", RecordType::TXT, &["1.1.0"]),
        ("inside.web.svc.cluster.local.", RecordType::A, &["10.43.0.1", "kubernetes.default.svc.cluster.local."]),
    ];
    for (name, kind, expected) in table {
        let answer = ask_zone(name, *kind);
        assert_eq!(data(&answer), *expected, "{name} {kind}");
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{name} {kind}");
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    }
}

#[test]
fn negative_answers_tell_absent_names_from_absent_types() {
    let (absent, no_data) = (ResponseCode::NXDomain, ResponseCode::NoError);
    let table = [
        ("nothing.default.svc.cluster.local.", RecordType::A, absent),
        ("example.com.default.svc.cluster.local.", RecordType::A, absent),
        ("example.com.svc.cluster.local.", RecordType::AAAA, absent),
        ("example.com.cluster.local.", RecordType::A, absent),
        ("empty.db.svc.cluster.local.", RecordType::A, absent),
        ("_http._tcp.kubernetes.default.svc.cluster.local.", RecordType::SRV, absent),
        ("redis-7.redis.db.svc.cluster.local.", RecordType::A, absent),
        ("not-an-address.default.pod.cluster.local.", RecordType::A, absent),
        ("9.9.43.10.in-addr.arpa.", RecordType::PTR, absent),
        ("redis.db.svc.cluster.local.", RecordType::AAAA, no_data),
        ("kubernetes.default.svc.cluster.local.", RecordType::MX, no_data),
        ("default.svc.cluster.local.", RecordType::A, no_data),
        ("_tcp.kubernetes.default.svc.cluster.local.", RecordType::A, no_data),
        ("cluster.local.", RecordType::A, no_data),
    ];
    for (name, kind, code) in table {
        let answer = ask_zone(name, kind);
        assert_eq!(answer.metadata.response_code, code, "{name} {kind}");
        assert!(answer.answers.is_empty(), "{name} {kind}");
        assert!(matches!(answer.authorities[0].data, RData::SOA(_)), "{name} {kind}");
    }
}

#[test]
fn an_alias_of_itself_ends() {
    assert_eq!(ask_zone("circle.web.svc.cluster.local.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn what_is_no_question_for_us_is_refused() {
    let resolver = resolver(vec![]);
    let code = |message: &Message| match resolver.answer(&message.to_vec().unwrap(), Transport::Udp) {
        Step::Answer(answer) => Some(Message::from_vec(&answer).unwrap().metadata.response_code),
        _ => None,
    };
    let mut update = question("cluster.local.", RecordType::A);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&update), Some(ResponseCode::NotImp));
    assert_eq!(code(&Message::query()), Some(ResponseCode::FormErr));
    assert_eq!(code(&question("cluster.local.", RecordType::AXFR)), Some(ResponseCode::Refused));
    let mut response = question("cluster.local.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    assert_eq!(code(&response), None, "answering an answer makes loops");
}

#[test]
fn a_long_answer_is_cut_over_udp_only() {
    let resolver = resolver(vec![]);
    let endpoints = (0..100).map(|last| EndpointRecord {
        address: IpAddr::from([10, 42, 1, last]),
        label: format!("pod-{last}"),
        ports: vec![],
    });
    let many = Entry::Headless { endpoints: endpoints.collect() };
    resolver.index.write().set(("db".into(), "many".into()), Some(many));
    let mut request = question("many.db.svc.cluster.local.", RecordType::A);
    let ask = |request: &Message, transport| match resolver.answer(&request.to_vec().unwrap(), transport) {
        Step::Answer(answer) => (answer.len(), Message::from_vec(&answer).unwrap()),
        _ => panic!("no answer"),
    };
    let (len, cut) = ask(&request, Transport::Udp);
    assert!(len <= 512 && cut.metadata.truncation && cut.metadata.message_type == MessageType::Response);
    assert_eq!(ask(&request, Transport::Tcp).1.answers.len(), 100);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    request.set_edns(edns);
    assert!(ask(&request, Transport::Udp).0 <= 1232);
}

#[test]
fn the_first_address_takes_turns() {
    let resolver = resolver(vec![]);
    let packet = question("redis.db.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let first: std::collections::BTreeSet<String> = (0..4)
        .map(|_| match resolver.answer(&packet, Transport::Udp) {
            Step::Answer(answer) => Message::from_vec(&answer).unwrap().answers[0].data.to_string(),
            _ => panic!("no answer"),
        })
        .collect();
    assert_eq!(first.len(), 2);
}

/// An upstream resolver that answers everything with one address, over TCP only if `tcp_only`.
async fn upstream(tcp_only: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let answer = |packet: &[u8]| {
        let mut message = Message::from_vec(packet).unwrap().into_response();
        let name = message.queries[0].name().clone();
        message.add_answer(Record::from_rdata(name, 60, RData::A(A([192, 0, 2, 7].into()))));
        message
    };
    let tasks = crate::base::task::Supervisor::new();
    tasks.spawn("udp", async move {
        let mut buffer = [0; 2048];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            let message = answer(&buffer[..len]);
            let message = if tcp_only { message.truncate() } else { message };
            socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
        }
    });
    tasks.spawn("tcp", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let len = stream.read_u16().await.unwrap();
            let mut packet = vec![0; usize::from(len)];
            stream.read_exact(&mut packet).await.unwrap();
            let encoded = answer(&packet).to_vec().unwrap();
            stream.write_u16(u16::try_from(encoded.len()).unwrap()).await.unwrap();
            stream.write_all(&encoded).await.unwrap();
        }
    });
    std::mem::forget(tasks);
    (address, asked)
}

async fn ask_through(resolver: &Resolver, name: &str) -> Message {
    let answer = match resolver.answer(&question(name, RecordType::A).to_vec().unwrap(), Transport::Udp) {
        Step::Answer(answer) => answer,
        Step::Forward(request) => resolver.forward(&request, Transport::Udp).await.unwrap(),
        Step::Ignore => panic!("ignored"),
    };
    Message::from_vec(&answer).unwrap()
}

#[tokio::test]
async fn forwards_once_and_then_answers_from_the_cache() {
    let (address, asked) = upstream(false).await;
    let resolver = resolver(vec![address]);
    for _ in 0..3 {
        let answer = ask_through(&resolver, "www.example.org.").await;
        assert_eq!(data(&answer), ["192.0.2.7"]);
        assert!(!answer.metadata.authoritative);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_alias_to_the_outside_comes_with_its_address() {
    let (address, _) = upstream(false).await;
    let answer = ask_through(&resolver(vec![address]), "outside.web.svc.cluster.local.").await;
    let target = Name::from_ascii("www.example.org.").unwrap();
    assert_eq!(answer.answers[0].data, RData::CNAME(CNAME(target.clone())));
    assert_eq!((&answer.answers[1].name, answer.answers[1].data.to_string()), (&target, "192.0.2.7".to_owned()));
}

#[tokio::test]
async fn a_cut_answer_is_fetched_over_tcp_and_a_silent_resolver_passed_over() {
    // Nothing listens at the first: the error comes back at once.
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (address, _) = upstream(true).await;
    let answer = ask_through(&resolver(vec![closed, address]), "www.example.org.").await;
    assert_eq!(data(&answer), ["192.0.2.7"]);
}

#[tokio::test]
async fn without_resolvers_the_outside_fails_and_the_zone_does_not() {
    let own = resolver(vec!["10.43.0.10:53".parse().unwrap()]);
    assert_eq!(ask_through(&own, "www.example.org.").await.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(data(&ask_through(&own, "kubernetes.default.svc.cluster.local.").await), ["10.43.0.1"]);
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn answers_at_the_cluster_address_over_udp_and_tcp() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: network namespaces need root");
        return;
    }
    let path = std::path::PathBuf::from(format!("/run/netns/nauplius-test-dns-{}", std::process::id()));
    namespace::create_network(&path).unwrap();
    let work =
        || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(ask_over_sockets());
    let result = std::panic::catch_unwind(|| namespace::within_network(&path, work));
    namespace::remove_network(&path).unwrap();
    assert_eq!(result.unwrap().unwrap(), [vec!["10.43.0.1".to_owned()], vec!["10.43.0.1".to_owned()]]);
}

/// The server is started before its address is there, as after a boot in the wrong order.
async fn ask_over_sockets() -> [Vec<String>; 2] {
    let address: SocketAddr = "10.43.0.10:53".parse().unwrap();
    let tasks = crate::base::task::Supervisor::new();
    super::server::start(&tasks, address, &Arc::new(resolver(vec![])));
    tokio::task::yield_now().await;
    let addressed = netlink::with(|connection| async move {
        let loopback = connection.link("lo").await?.unwrap();
        connection.set_up(loopback.index).await?;
        connection.add_address(loopback.index, address.ip(), 32).await
    });
    addressed.await.unwrap();
    let encoded = question("kubernetes.default.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let mut buffer = [0; 512];
    let mut stream = loop {
        match tokio::net::TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    stream.write_u16(u16::try_from(encoded.len()).unwrap()).await.unwrap();
    stream.write_all(&encoded).await.unwrap();
    let len = usize::from(stream.read_u16().await.unwrap());
    stream.read_exact(&mut buffer[..len]).await.unwrap();
    let over_tcp = data(&Message::from_vec(&buffer[..len]).unwrap());
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    socket.connect(address).await.unwrap();
    let len = loop {
        let answer = socket.send(&encoded).await.and(Ok(()));
        let received = tokio::time::timeout(std::time::Duration::from_millis(200), socket.recv(&mut buffer)).await;
        if let (Ok(()), Ok(Ok(len))) = (answer, received) {
            break len;
        }
    };
    [data(&Message::from_vec(&buffer[..len]).unwrap()), over_tcp]
}

proptest! {
    #[test]
    fn arbitrary_packets_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        let resolver = resolver(vec![]);
        resolver.answer(&packet, Transport::Udp);
        resolver.answer(&packet, Transport::Tcp);
    }

    #[test]
    fn damaged_questions_never_panic(at in 0usize..60, value in any::<u8>(), kind in any::<u16>()) {
        let mut packet = question("_x._tcp.redis.db.svc.cluster.local.", RecordType::from(kind)).to_vec().unwrap();
        let len = packet.len();
        packet[at % len] = value;
        resolver(vec![]).answer(&packet, Transport::Udp);
    }

    #[test]
    fn arbitrary_labels_never_panic(labels in proptest::collection::vec("[ -~]{1,20}", 0..6)) {
        if let Ok(name) = Name::from_labels(labels.iter().map(String::as_bytes).chain([&b"cluster"[..], b"local"])) {
            let mut message = Message::query();
            message.add_query(Query::query(name, RecordType::A));
            resolver(vec![]).answer(&message.to_vec().unwrap(), Transport::Udp);
        }
    }
}
