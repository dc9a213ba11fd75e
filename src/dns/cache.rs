//! Answers of upstream resolvers, kept for as long as they say and no longer than a limit, in a
//! bounded number of bounded entries.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};

/// Most answers kept.
const ENTRIES_LIMIT: usize = 2048;
/// Larger answers are not kept, bytes.
const ENTRY_LIMIT_BYTES: usize = 4096;
/// Longest that an answer, and that the absence of one, is kept, seconds.
const POSITIVE_LIMIT_S: u32 = 3600;
const NEGATIVE_LIMIT_S: u32 = 30;

/// What is asked for; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) class: DNSClass,
    /// Whether signatures are wanted with it.
    pub(super) dnssec_ok: bool,
}

struct Kept {
    encoded: Vec<u8>,
    stored: Instant,
    expires: Instant,
}

/// The cache. Callers keep it behind a lock.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Kept>,
}

impl Cache {
    /// A kept answer with its times to live counted down.
    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Option<Message> {
        let kept = self.entries.get(key)?;
        if kept.expires <= now {
            self.entries.remove(key);
            return None;
        }
        let age = u32::try_from(now.duration_since(kept.stored).as_secs()).unwrap_or(u32::MAX);
        let mut message = Message::from_vec(&kept.encoded).ok()?;
        for record in message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(message)
    }

    /// Keeps an answer if it may be kept.
    pub(super) fn put(&mut self, key: Key, message: &Message, now: Instant) {
        let Some(lifetime_s) = lifetime_s(message) else { return };
        let Ok(encoded) = message.to_vec() else { return };
        if encoded.len() > ENTRY_LIMIT_BYTES {
            return;
        }
        if self.entries.len() >= ENTRIES_LIMIT {
            self.make_room(now);
        }
        let expires = now + Duration::from_secs(u64::from(lifetime_s));
        self.entries.insert(key, Kept { encoded, stored: now, expires });
    }

    /// Drops what has expired; if that is little, also every second of the rest.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, kept| kept.expires > now);
        if self.entries.len() > ENTRIES_LIMIT / 2 {
            let mut keep = false;
            self.entries.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }
}

/// The least time to live of an answer, or what the SOA record of a negative one allows (RFC 2308).
fn lifetime_s(message: &Message) -> Option<u32> {
    if message.metadata.truncation {
        return None;
    }
    let negative = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum).min(NEGATIVE_LIMIT_S)),
        _ => None,
    });
    let lifetime = match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => {
            message.answers.iter().map(|record| record.ttl).min().map(|ttl| ttl.min(POSITIVE_LIMIT_S))
        }
        ResponseCode::NoError | ResponseCode::NXDomain => negative,
        _ => None,
    };
    lifetime.filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{MessageType, OpCode},
        rr::{Record, rdata::A},
    };

    use super::*;

    fn key(name: &str) -> Key {
        let name = Name::from_ascii(name).unwrap();
        Key { name, kind: RecordType::A, class: DNSClass::IN, dnssec_ok: false }
    }

    fn answer(name: &str, ttl: u32) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.add_answer(Record::from_rdata(
            Name::from_ascii(name).unwrap(),
            ttl,
            RData::A(A([192, 0, 2, 1].into())),
        ));
        message
    }

    #[test]
    fn counts_down_and_forgets() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        cache.put(key("a.example."), &answer("a.example.", 10), start);
        let kept = cache.get(&key("a.example."), start + Duration::from_secs(4)).unwrap();
        assert_eq!(kept.answers[0].ttl, 6);
        assert!(cache.get(&key("a.example."), start + Duration::from_secs(10)).is_none());
        cache.put(key("b.example."), &answer("b.example.", 0), start);
        assert!(cache.get(&key("b.example."), start).is_none());
    }

    #[test]
    fn never_holds_more_than_its_limit() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        for number in 0..3 * ENTRIES_LIMIT {
            let name = format!("n{number}.example.");
            cache.put(key(&name), &answer(&name, 60), start);
        }
        assert!(cache.entries.len() <= ENTRIES_LIMIT);
    }
}
