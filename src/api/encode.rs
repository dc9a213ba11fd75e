//! Encoding of objects as JSON. `serde_json` keeps fields sorted; readers (people, and decoders
//! that peek at the type) expect `apiVersion`, `kind` and `metadata` first, so these are written
//! before the rest.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];
const USUAL_SIZE_BYTES: usize = 1024;

/// `value` as compact JSON, `apiVersion`, `kind` and `metadata` leading.
pub fn encode(value: &Value) -> Bytes {
    let mut out = BytesMut::with_capacity(USUAL_SIZE_BYTES);
    let Value::Object(fields) = value else {
        write(&mut out, value);
        return out.freeze();
    };
    let first = FIRST.iter().filter_map(|name| fields.get_key_value(*name));
    let rest = fields.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    out.put_u8(b'{');
    for (position, (name, value)) in first.chain(rest).enumerate() {
        if position > 0 {
            out.put_u8(b',');
        }
        write(&mut out, name);
        out.put_u8(b':');
        write(&mut out, value);
    }
    out.put_u8(b'}');
    out.freeze()
}

fn write(out: &mut BytesMut, value: &impl serde::Serialize) {
    serde_json::to_writer(out.writer(), value).expect("trees with string keys always encode, and the buffer grows");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identity_leads() {
        let object = json!({"data": {"a": "b"}, "binaryData": {}, "kind": "ConfigMap", "apiVersion": "v1",
                            "metadata": {"name": "x"}});
        let text = encode(&object);
        assert_eq!(
            text,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"binaryData":{},"data":{"a":"b"}}"#
        );
    }
}
