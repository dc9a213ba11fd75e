//! Elements of field paths, as `fieldsV1` spells them: `f:name` is a field, `k:{"name":"a"}` an item
//! of a list told apart by keys, `v:"a"` an item of a set, `i:0` an item by its place.
//!
//! Elements are kept in this spelling. It is canonical (keys are sorted, values are compact JSON),
//! so that equal elements are equal texts, and sets of fields need no translation on their way from
//! and to objects.

use serde_json::{Map, Value};

/// One step of a path, in canonical spelling.
pub type Element = Box<str>;

/// Keys of list items that need not be given, since the API fills them in.
const KEY_DEFAULTS: [(&str, &str); 1] = [("protocol", "TCP")];

/// Keys that an item may be without, and then is told apart by the others.
const OPTIONAL_KEYS: [&str; 1] = ["shareID"];

/// The element of a field or map entry.
pub fn field(name: &str) -> Element {
    ["f:", name].concat().into()
}

/// The element of an item of a set.
pub fn value(item: &Value) -> Element {
    format!("v:{item}").into()
}

/// The element of an item by its place.
pub fn index(place: usize) -> Element {
    format!("i:{place}").into()
}

/// The element of an item that is told apart by `keys`, or why it has none.
pub fn keyed(item: &Value, keys: &[&'static str]) -> Result<Element, String> {
    let fields = match item {
        Value::Object(fields) => fields,
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        _ => return Err("associative list with keys may not have non-map elements".into()),
    };
    let mut given = Map::new();
    let left_out = |key: &str| OPTIONAL_KEYS.contains(&key) && !fields.contains_key(key);
    for key in keys.iter().filter(|key| !left_out(key)) {
        given.insert((*key).to_owned(), key_value(fields, key)?);
    }
    Ok(format!("k:{}", Value::Object(given)).into())
}

/// The canonical spelling of an element that a client sent; `None` for kinds of elements that are
/// not known, which are dropped.
pub fn canonical(given: &str) -> Result<Option<Element>, String> {
    let Some((kind, rest)) = given.split_at_checked(2) else { return Ok(None) };
    match kind {
        "f:" => Ok(Some(given.into())),
        "k:" => match serde_json::from_str(rest) {
            Ok(keys @ Value::Object(_)) => Ok(Some(format!("k:{keys}").into())),
            _ => Err(format!("parsing key: {rest}")),
        },
        "v:" => serde_json::from_str(rest).map(|item| Some(value(&item))).map_err(|error| error.to_string()),
        "i:" => rest.parse().map(|place| Some(index(place))).map_err(|_| format!("parsing index: {rest}")),
        _ => Ok(None),
    }
}

/// The name of the field, if the element is one.
pub fn field_name(element: &str) -> Option<&str> {
    element.strip_prefix("f:")
}

/// The element as people read it: `.name`, `[name="a"]`, `[="a"]`, `[0]`.
pub fn shown(element: &str) -> String {
    let (kind, rest) = element.split_at_checked(2).unwrap_or_default();
    match kind {
        "f:" => format!(".{rest}"),
        "v:" => format!("[={rest}]"),
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let each: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", each.join(","))
        }
        _ => format!("[{rest}]"),
    }
}

fn key_value(fields: &Map<String, Value>, key: &str) -> Result<Value, String> {
    if let Some(value) = fields.get(key) {
        return Ok(value.clone());
    }
    let default = KEY_DEFAULTS.iter().find(|(name, _)| *name == key);
    default.map(|(_, value)| Value::from(*value)).ok_or_else(|| {
        format!(
            "associative list with keys has an element that omits key field \"{key}\" (and doesn't have default value)"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_filled_in() {
        let item = json!({"containerPort": 80, "name": "http"});
        let element = keyed(&item, &["containerPort", "protocol"]).unwrap();
        assert_eq!(&*element, r#"k:{"containerPort":80,"protocol":"TCP"}"#);
        assert_eq!(shown(&element), r#"[containerPort=80,protocol="TCP"]"#);
        assert!(keyed(&json!({}), &["name"]).unwrap_err().contains("omits key field \"name\""));
        assert_eq!(&*keyed(&json!({"pool": "p"}), &["pool", "shareID"]).unwrap(), r#"k:{"pool":"p"}"#);
        assert!(keyed(&json!(1), &["name"]).unwrap_err().contains("non-map"));
    }

    #[test]
    fn spellings_of_clients_become_canonical() {
        let given = r#"k:{"protocol": "TCP", "containerPort": 80}"#;
        assert_eq!(canonical(given).unwrap().as_deref(), Some(r#"k:{"containerPort":80,"protocol":"TCP"}"#));
        assert_eq!(canonical("i:007").unwrap().as_deref(), Some("i:7"));
        assert_eq!(canonical("x:new").unwrap(), None);
        assert!(canonical("v:{").is_err() && canonical("k:1").is_err() && canonical("i:x").is_err());
    }

    #[test]
    fn elements_read_as_upstream_shows_them() {
        assert_eq!(shown("f:spec"), ".spec");
        assert_eq!(shown(r#"v:"a/b""#), r#"[="a/b"]"#);
        assert_eq!(shown("i:3"), "[3]");
    }
}
