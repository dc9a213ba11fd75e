//! Bodies in protobuf, both ways: nothing panics, and what is decoded is the same again after it was encoded.
//!
//! The first byte says what the rest is: a whole body, or two bytes that choose a kind and the content of its
//! message, or likewise its JSON.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nauplius::api::{kinds, protobuf};

/// `apiVersion` and `kind` of everything that has the form.
static KINDS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let all = kinds::all().into_iter().map(|kind| (kind.api_version(), kind.kind.to_string()));
    all.filter(|(version, kind)| protobuf::is_known(version, kind)).collect()
});

fuzz_target!(|input: &[u8]| {
    match input {
        [0, body @ ..] => decode(body),
        [way, high, low, content @ ..] => {
            let place = usize::from(u16::from_be_bytes([*high, *low])) % KINDS.len();
            let (version, kind) = &KINDS[place];
            if way % 2 == 1 { decode(&sealed(version, kind, content)) } else { encode(version, kind, content) }
        }
        _ => {}
    }
});

fn decode(body: &[u8]) {
    let Ok(object) = protobuf::decode(body) else { return };
    let again = protobuf::encode(&object.api_version, &object.kind, &object.value).expect("it is of a known kind");
    assert_eq!(protobuf::decode(&again).expect("what was encoded is read"), object);
}

fn encode(version: &str, kind: &str, json: &[u8]) {
    let mut body = Vec::new();
    if protobuf::put_object(&mut body, version, kind, json).is_ok() {
        decode(&body);
    }
}

/// The envelope (`runtime.Unknown`) around a message.
fn sealed(version: &str, kind: &str, content: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    put(&mut kinds, 1, version.as_bytes());
    put(&mut kinds, 2, kind.as_bytes());
    let mut body = b"k8s\0".to_vec();
    put(&mut body, 1, &kinds);
    put(&mut body, 2, content);
    body
}

fn put(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}
