//! From a question's bytes to an answer's: the zone first, then the cache, then upstream resolvers.
//! Every packet gets an answer unless it is no question at all; none is trusted.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, Record, RecordType},
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, watch};

use super::{
    cache::{Cache, Key},
    index::Index,
    upstream::{Forwarder, SAFE_PAYLOAD},
    zone::{Outcome, Zone},
};

/// Longest chain of aliases that is followed.
const ALIASES_LIMIT: usize = 8;
/// Questions that may be waiting for upstream resolvers at once.
const FORWARDED_LIMIT: usize = 512;
/// What a client that says nothing of EDNS can take over UDP (RFC 1035), bytes.
const CLASSIC_PAYLOAD: u16 = 512;

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// The answer must fit a datagram.
    Udp,
    /// It may be as long as 16 bits can say.
    Tcp,
}

/// What can be said of a packet without waiting.
pub(super) enum Step {
    /// It is not a question: no answer.
    Ignore,
    /// The answer.
    Answer(Vec<u8>),
    /// Others must be asked: pass it to [`Resolver::forward`].
    Forward(Box<Message>),
}

/// Answers questions.
pub(super) struct Resolver {
    pub(super) zone: Zone,
    pub(super) index: RwLock<Index>,
    forwarder: Forwarder,
    cache: Mutex<Cache>,
    /// Questions on their way: the same question is asked once, which also ends loops through
    /// resolvers that ask us back.
    in_flight: Mutex<HashMap<Key, watch::Receiver<Option<Message>>>>,
    forwarded: Semaphore,
    turn: AtomicUsize,
}

impl Resolver {
    pub(super) fn new(zone: Zone, index: Index, forwarder: Forwarder) -> Self {
        Self {
            zone,
            index: RwLock::new(index),
            forwarder,
            cache: Mutex::default(),
            in_flight: Mutex::default(),
            forwarded: Semaphore::new(FORWARDED_LIMIT),
            turn: AtomicUsize::new(0),
        }
    }

    /// Answers what can be answered at once.
    pub(super) fn answer(&self, packet: &[u8], transport: Transport) -> Step {
        let Ok(request) = Message::from_vec(packet) else { return malformed(packet) };
        if request.metadata.message_type != MessageType::Query {
            return Step::Ignore;
        }
        let refusal = refusal(&request);
        let mut response = respond_to(&request);
        if let Some(code) = refusal {
            response.metadata.response_code = code;
            return step(&response, &request, transport);
        }
        let Some(query) = request.queries.first().cloned() else { return Step::Ignore };
        if self.zone_answers(&query, &mut response) {
            return step(&response, &request, transport);
        }
        if let Some(kept) = self.cache.lock().get(&key(&query, &request), Instant::now()) {
            take_over(&mut response, kept);
            return step(&response, &request, transport);
        }
        Step::Forward(Box::new(request))
    }

    /// Asks upstream resolvers; `None` if the answer cannot even be encoded.
    pub(super) async fn forward(&self, request: &Message, transport: Transport) -> Option<Vec<u8>> {
        let mut response = respond_to(request);
        let query = request.queries.first()?;
        if !self.zone_answers(query, &mut response) {
            // After an alias that leads out of the zone, the rest of the chain is asked for:
            // stub resolvers expect all of it in one answer.
            let target = alias_target(&response, query).unwrap_or_else(|| query.clone());
            match self.upstream(&target, dnssec_ok(request)).await {
                Some(found) => take_over(&mut response, found),
                None => response.metadata.response_code = ResponseCode::ServFail,
            }
        }
        encode(&response, request, transport)
    }

    /// Fills in what the zone says; `false` if upstream resolvers must be asked for it, or for
    /// the rest of it.
    fn zone_answers(&self, query: &Query, response: &mut Message) -> bool {
        let index = self.index.read();
        let mut name = query.name().clone();
        response.answers.clear();
        for _ in 0..ALIASES_LIMIT {
            match self.zone.lookup(&index, &name, query.query_type()) {
                Outcome::Elsewhere => return false,
                Outcome::Records { mut answers, additionals } => {
                    self.rotate(&mut answers);
                    response.add_answers(answers);
                    response.add_additionals(additionals);
                    response.metadata.authoritative = true;
                    return true;
                }
                Outcome::Alias { record, target } => {
                    response.add_answer(*record);
                    response.metadata.authoritative = true;
                    if query.query_type() == RecordType::CNAME {
                        return true;
                    }
                    name = target;
                }
                negative => {
                    if negative == Outcome::NoSuchName {
                        response.metadata.response_code = ResponseCode::NXDomain;
                    }
                    response.metadata.authoritative = true;
                    response.add_authority(self.zone.authority(&name));
                    return true;
                }
            }
        }
        response.metadata.response_code = ResponseCode::ServFail;
        true
    }

    /// Clients take the first address: each answer begins with another one.
    fn rotate(&self, answers: &mut [Record]) {
        if answers.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            answers.rotate_left(turn % answers.len());
        }
    }

    async fn upstream(&self, query: &Query, dnssec_ok: bool) -> Option<Message> {
        let key = Key { dnssec_ok, ..key_of(query) };
        if let Some(kept) = self.cache.lock().get(&key, Instant::now()) {
            return Some(kept);
        }
        let joined = self.in_flight.lock().get(&key).cloned();
        if let Some(mut joined) = joined {
            // The one who asks drops its end without a value when it fails.
            return joined.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        }
        let _permit = self.forwarded.try_acquire().ok()?;
        let (sender, receiver) = watch::channel(None);
        let flight = Flight { resolver: self, key: key.clone() };
        self.in_flight.lock().insert(key.clone(), receiver);
        let answer = self.forwarder.ask(query, dnssec_ok).await;
        drop(flight);
        let answer =
            answer.inspect_err(|error| tracing::debug!(name = %query.name(), %error, "look-up failed")).ok()?;
        self.cache.lock().put(key, &answer, Instant::now());
        sender.send_replace(Some(answer.clone()));
        Some(answer)
    }
}

/// Takes a question off the list of those on their way, also when whoever asked was dropped.
struct Flight<'a> {
    resolver: &'a Resolver,
    key: Key,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.resolver.in_flight.lock().remove(&self.key);
    }
}

fn refusal(request: &Message) -> Option<ResponseCode> {
    match request.queries.as_slice() {
        _ if request.metadata.op_code != OpCode::Query => Some(ResponseCode::NotImp),
        _ if request.version() > 0 => Some(ResponseCode::BADVERS),
        [query] => match (query.query_class(), query.query_type()) {
            (DNSClass::IN, RecordType::AXFR | RecordType::IXFR) => Some(ResponseCode::Refused),
            (DNSClass::IN, _) => None,
            _ => Some(ResponseCode::Refused),
        },
        _ => Some(ResponseCode::FormErr),
    }
}

/// A packet whose header can be read, and is a question, is told that the rest cannot.
fn malformed(packet: &[u8]) -> Step {
    const HEADER_LEN: usize = 12;
    const RESPONSE_BIT: u8 = 0x80;
    let Some(header) = packet.get(..HEADER_LEN).filter(|header| header[2] & RESPONSE_BIT == 0) else {
        return Step::Ignore;
    };
    let id = u16::from_be_bytes([header[0], header[1]]);
    let answer = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    answer.to_vec().map_or(Step::Ignore, Step::Answer)
}

fn respond_to(request: &Message) -> Message {
    let mut response = Message::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(SAFE_PAYLOAD).set_dnssec_ok(dnssec_ok(request));
        response.set_edns(edns);
    }
    response
}

/// Appends what an upstream resolver said to what is there (aliases that led to it).
fn take_over(response: &mut Message, found: Message) {
    response.metadata.response_code = found.metadata.response_code;
    response.metadata.authoritative = false;
    response.add_answers(found.answers);
    response.add_authorities(found.authorities);
    response.add_additionals(found.additionals);
}

fn alias_target(response: &Message, query: &Query) -> Option<Query> {
    let last: &Record = response.answers.last()?;
    let hickory_proto::rr::RData::CNAME(target) = &last.data else { return None };
    let mut next = query.clone();
    next.set_name(target.0.clone());
    Some(next)
}

fn step(response: &Message, request: &Message, transport: Transport) -> Step {
    encode(response, request, transport).map_or(Step::Ignore, Step::Answer)
}

/// Encodes an answer; over UDP one that is too long is cut to its head, and the client comes back
/// over TCP.
fn encode(response: &Message, request: &Message, transport: Transport) -> Option<Vec<u8>> {
    let encoded = response.to_vec().ok()?;
    let limit = match transport {
        Transport::Tcp => u16::MAX,
        Transport::Udp if request.edns.is_some() => request.max_payload().clamp(CLASSIC_PAYLOAD, SAFE_PAYLOAD),
        Transport::Udp => CLASSIC_PAYLOAD,
    };
    if encoded.len() <= usize::from(limit) { Some(encoded) } else { response.truncate().to_vec().ok() }
}

fn dnssec_ok(request: &Message) -> bool {
    request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok)
}

fn key(query: &Query, request: &Message) -> Key {
    Key { dnssec_ok: dnssec_ok(request), ..key_of(query) }
}

fn key_of(query: &Query) -> Key {
    let name: Name = query.name().to_lowercase();
    Key { name, kind: query.query_type(), class: query.query_class(), dnssec_ok: false }
}
