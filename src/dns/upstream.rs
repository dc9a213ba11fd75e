//! The resolvers that everything outside the cluster's zone is asked of: those given, or those of the
//! host's resolv.conf, which is read again when it changes. Never one of our own addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use hickory_proto::op::{Edns, Message, Query};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How long one resolver is waited for.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the whole list is gone through.
const ROUNDS: usize = 2;
/// Most resolvers that are taken from resolv.conf; the C library takes three.
const RESOLVERS_LIMIT: usize = 5;
/// The payload that needs no fragments anywhere (DNS flag day 2020), bytes.
pub(super) const SAFE_PAYLOAD: u16 = 1232;
const DNS_PORT: u16 = 53;
/// Longest resolv.conf that is read, bytes.
const RESOLV_CONF_LIMIT: usize = 64 << 10;

/// Where the resolvers come from.
#[derive(Debug, Clone)]
pub enum Upstreams {
    /// These.
    Given(Vec<SocketAddr>),
    /// The `nameserver` lines of a file.
    ResolvConf(PathBuf),
}

/// Asks upstream resolvers.
pub(super) struct Forwarder {
    source: Upstreams,
    own: Vec<IpAddr>,
    read: Mutex<Option<(SystemTime, Vec<SocketAddr>)>>,
    /// The resolver that answered last is asked first.
    preferred: AtomicUsize,
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no upstream resolver")]
    NoUpstream,
    #[error("no upstream resolver answered")]
    NoAnswer,
}

impl Forwarder {
    /// `own` are the addresses we answer at: asking them would be asking ourselves.
    pub(super) fn new(source: Upstreams, own: Vec<IpAddr>) -> Self {
        Self { source, own, read: Mutex::new(None), preferred: AtomicUsize::new(0) }
    }

    /// Asks one resolver after the other until one answers.
    pub(super) async fn ask(&self, query: &Query, dnssec_ok: bool) -> Result<Message, Error> {
        let resolvers = self.resolvers();
        if resolvers.is_empty() {
            return Err(Error::NoUpstream);
        }
        let first = self.preferred.load(Ordering::Relaxed);
        for attempt in 0..ROUNDS * resolvers.len() {
            let position = (first + attempt) % resolvers.len();
            if let Some(answer) = exchange(resolvers[position], query, dnssec_ok).await {
                self.preferred.store(position, Ordering::Relaxed);
                return Ok(answer);
            }
        }
        Err(Error::NoAnswer)
    }

    fn resolvers(&self) -> Vec<SocketAddr> {
        let path = match &self.source {
            Upstreams::Given(resolvers) => return self.without_own(resolvers),
            Upstreams::ResolvConf(path) => path,
        };
        let changed =
            std::fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut read = self.read.lock();
        if let Some((_, resolvers)) = read.as_ref().filter(|(seen, _)| *seen == changed) {
            return resolvers.clone();
        }
        let text = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..text.len().min(RESOLV_CONF_LIMIT)]).into_owned();
        let resolvers = self.without_own(&name_servers(&text));
        *read = Some((changed, resolvers.clone()));
        resolvers
    }

    fn without_own(&self, resolvers: &[SocketAddr]) -> Vec<SocketAddr> {
        resolvers.iter().filter(|resolver| !self.own.contains(&resolver.ip())).copied().collect()
    }
}

/// The `nameserver` lines of a resolv.conf.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.split_whitespace().next()?.split('%').next()?.parse::<IpAddr>().ok());
    addresses.take(RESOLVERS_LIMIT).map(|address| SocketAddr::new(address, DNS_PORT)).collect()
}

/// One question to one resolver: over UDP, and over TCP if the answer did not fit.
async fn exchange(resolver: SocketAddr, query: &Query, dnssec_ok: bool) -> Option<Message> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(SAFE_PAYLOAD).set_dnssec_ok(dnssec_ok);
    message.set_edns(edns);
    let encoded = message.to_vec().ok()?;
    let answer = timeout(ATTEMPT_TIMEOUT, over_udp(resolver, &encoded, &message)).await.ok()??;
    if !answer.metadata.truncation {
        return Some(answer);
    }
    timeout(ATTEMPT_TIMEOUT, over_tcp(resolver, &encoded, &message)).await.ok().flatten().or(Some(answer))
}

async fn over_udp(resolver: SocketAddr, encoded: &[u8], question: &Message) -> Option<Message> {
    let any: IpAddr = if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket per question has a port that cannot be guessed, and hears this resolver only.
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(resolver).await.ok()?;
    socket.send(encoded).await.ok()?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let len = socket.recv(&mut buffer).await.ok()?;
        if let Some(answer) = Message::from_vec(&buffer[..len]).ok().filter(|answer| answers(question, answer)) {
            return Some(answer);
        }
    }
}

async fn over_tcp(resolver: SocketAddr, encoded: &[u8], question: &Message) -> Option<Message> {
    let mut stream = TcpStream::connect(resolver).await.ok()?;
    let len = u16::try_from(encoded.len()).ok()?;
    stream.write_all(&[&len.to_be_bytes()[..], encoded].concat()).await.ok()?;
    let len = stream.read_u16().await.ok()?;
    let mut buffer = vec![0; usize::from(len)];
    stream.read_exact(&mut buffer).await.ok()?;
    Message::from_vec(&buffer).ok().filter(|answer| answers(question, answer))
}

fn answers(question: &Message, answer: &Message) -> bool {
    question.metadata.id == answer.metadata.id && question.queries == answer.queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resolv_conf_as_the_c_library_does() {
        let text = "# comment\nsearch example.org\nnameserver 192.0.2.1\nnameserver\tfe80::1%eth0\n nameserver 192.0.2.2 # x\nnameserver bad\n";
        let addresses: Vec<String> = name_servers(text).iter().map(|server| server.ip().to_string()).collect();
        assert_eq!(addresses, ["192.0.2.1", "fe80::1", "192.0.2.2"]);
    }

    #[test]
    fn never_asks_itself_and_notices_a_changed_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        std::fs::write(&path, "nameserver 10.43.0.10\n").unwrap();
        let forwarder = Forwarder::new(Upstreams::ResolvConf(path.clone()), vec!["10.43.0.10".parse().unwrap()]);
        assert!(forwarder.resolvers().is_empty());
        std::fs::write(&path, "nameserver 10.43.0.10\nnameserver 192.0.2.1\n").unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(forwarder.resolvers(), ["192.0.2.1:53".parse().unwrap()]);
    }
}
