//! JSON patch (RFC 6902) with bounds, and the messages of the implementation upstream uses.

use serde::Deserialize;
use serde_json::Value;

/// Most operations of one patch.
pub const OPERATIONS: usize = 10_000;
/// Most values that `copy` operations of one patch may add: repeated doubling ends here.
const COPIED_VALUES: usize = 100_000;

/// Deepest path: trees that operations build up stay shallow enough to be walked by recursion.
const DEPTH: usize = 256;

/// Why a patch cannot be read or does not fit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No JSON, or no list.
    #[error("{0}")]
    Malformed(String),
    /// An operation that is none.
    #[error("{0}")]
    Operation(#[source] serde_json::Error),
    /// Too many operations.
    #[error("The allowed maximum operations in a JSON patch is {OPERATIONS}, got {count}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// The path leads nowhere.
    #[error("{operation} operation does not apply: doc is missing path: \"{path}\": missing value")]
    Missing {
        /// `add`, `remove`…
        operation: &'static str,
        /// The path.
        path: String,
    },
    /// An index beyond the end, or no number.
    #[error("{operation} operation does not apply: doc is missing path: \"{path}\": invalid index referenced")]
    Index {
        /// `add`, `remove`…
        operation: &'static str,
        /// The path.
        path: String,
    },
    /// A `test` that does not hold.
    #[error("testing value {path} failed: test failed")]
    Test {
        /// The path.
        path: String,
    },
    /// A value moved into itself.
    #[error("move operation does not apply: \"{from}\" contains \"{path}\"")]
    IntoItself {
        /// Where from.
        from: String,
        /// Where to.
        path: String,
    },
    /// Copies that together are too large.
    #[error("copy operations would add more than {COPIED_VALUES} values")]
    TooLarge,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Adds or replaces a member, or inserts an item.
    Add {
        /// Where.
        path: String,
        /// What; null unless it is said.
        #[serde(default)]
        value: Value,
    },
    /// Removes what is there.
    Remove {
        /// Where.
        path: String,
    },
    /// Replaces what is there.
    Replace {
        /// Where.
        path: String,
        /// By what; null unless it is said.
        #[serde(default)]
        value: Value,
    },
    /// Removes from one place and adds at another.
    Move {
        /// Where from.
        from: String,
        /// Where to.
        path: String,
    },
    /// Adds what is at another place.
    Copy {
        /// Where from.
        from: String,
        /// Where to.
        path: String,
    },
    /// Fails the patch unless the value is equal.
    Test {
        /// Where.
        path: String,
        /// To what.
        #[serde(default)]
        value: Value,
    },
}

/// Reads a patch.
pub fn parse(bytes: &[u8]) -> Result<Vec<Operation>, Error> {
    let patch = super::parse(bytes).map_err(Error::Malformed)?;
    let Value::Array(operations) = patch else {
        return Err(Error::Malformed(super::cannot_unmarshal(&patch, "[]handlers.jsonPatchOp")));
    };
    if operations.len() > OPERATIONS {
        return Err(Error::TooMany { count: operations.len() });
    }
    operations.into_iter().map(|operation| serde_json::from_value(operation).map_err(Error::Operation)).collect()
}

/// The object that the operations, all or none, make of `object`.
pub fn apply(mut object: Value, operations: &[Operation]) -> Result<Value, Error> {
    let mut budget = COPIED_VALUES;
    for operation in operations {
        match operation {
            Operation::Add { path, value } => add(&mut object, "add", path, value.clone())?,
            Operation::Remove { path } => drop(remove(&mut object, "remove", path)?),
            Operation::Replace { path, value } => *find_mut(&mut object, "replace", path)? = value.clone(),
            Operation::Move { from, path } => {
                if path.strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                    return Err(Error::IntoItself { from: from.clone(), path: path.clone() });
                }
                let value = remove(&mut object, "move", from)?;
                add(&mut object, "move", path, value)?;
            }
            Operation::Copy { from, path } => {
                let value = find_mut(&mut object, "copy", from)?.clone();
                budget = budget.checked_sub(count(&value)).ok_or(Error::TooLarge)?;
                add(&mut object, "copy", path, value)?;
            }
            Operation::Test { path, value } => test(&mut object, path, value)?,
        }
    }
    Ok(object)
}

fn test(object: &mut Value, path: &str, expected: &Value) -> Result<(), Error> {
    let holds = match find_mut(object, "test", path) {
        Ok(found) => equal(found, expected),
        Err(_) => expected.is_null(),
    };
    if holds { Ok(()) } else { Err(Error::Test { path: path.to_owned() }) }
}

fn add(object: &mut Value, operation: &'static str, path: &str, value: Value) -> Result<(), Error> {
    let missing = || Error::Missing { operation, path: path.to_owned() };
    let Some((parent, last)) = path.rsplit_once('/') else {
        if !path.is_empty() {
            return Err(missing());
        }
        *object = value;
        return Ok(());
    };
    match find_mut(object, operation, parent).map_err(|_| missing())? {
        Value::Object(fields) => {
            fields.insert(unescape(last), value);
            Ok(())
        }
        Value::Array(items) if last == "-" => {
            items.push(value);
            Ok(())
        }
        Value::Array(items) => {
            let at = index(last).filter(|at| *at <= items.len());
            items.insert(at.ok_or_else(|| Error::Index { operation, path: path.to_owned() })?, value);
            Ok(())
        }
        _ => Err(missing()),
    }
}

fn remove(object: &mut Value, operation: &'static str, path: &str) -> Result<Value, Error> {
    let missing = || Error::Missing { operation, path: path.to_owned() };
    let (parent, last) = path.rsplit_once('/').ok_or_else(missing)?;
    match find_mut(object, operation, parent).map_err(|_| missing())? {
        Value::Object(fields) => fields.remove(&unescape(last)).ok_or_else(missing),
        Value::Array(items) => match index(last).filter(|at| *at < items.len()) {
            Some(at) => Ok(items.remove(at)),
            None => Err(Error::Index { operation, path: path.to_owned() }),
        },
        _ => Err(missing()),
    }
}

fn find_mut<'a>(object: &'a mut Value, operation: &'static str, path: &str) -> Result<&'a mut Value, Error> {
    let missing = || Error::Missing { operation, path: path.to_owned() };
    if path.is_empty() {
        return Ok(object);
    }
    if path.bytes().filter(|byte| *byte == b'/').count() > DEPTH {
        return Err(missing());
    }
    let mut here = object;
    for segment in path.strip_prefix('/').ok_or_else(missing)?.split('/') {
        here = match here {
            Value::Object(fields) => fields.get_mut(&unescape(segment)),
            Value::Array(items) => index(segment).and_then(|at| items.get_mut(at)),
            _ => None,
        }
        .ok_or_else(missing)?;
    }
    Ok(here)
}

/// Digits without a leading zero (RFC 6901, section 4).
fn index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || !segment.starts_with(['0', '+']);
    if plain { segment.parse().ok() } else { None }
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// Equality by meaning: `1` and `1.0` are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: Value, patch: Value) -> Result<Value, String> {
        let operations = parse(patch.to_string().as_bytes()).map_err(|error| error.to_string())?;
        apply(object, &operations).map_err(|error| error.to_string())
    }

    #[test]
    fn every_operation_works() {
        let patch = json!([
            {"op": "test", "path": "/a/0", "value": 1.0},
            {"op": "add", "path": "/a/1", "value": 5},
            {"op": "add", "path": "/a/-", "value": 6},
            {"op": "replace", "path": "/m~1n", "value": "x"},
            {"op": "copy", "from": "/a", "path": "/c"},
            {"op": "move", "from": "/m~1n", "path": "/d"},
            {"op": "remove", "path": "/a/0"},
        ]);
        let result = patched(json!({"a": [1, 2], "m/n": 0}), patch).unwrap();
        assert_eq!(result, json!({"a": [5, 2, 6], "c": [1, 5, 2, 6], "d": "x"}));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (operation, message) in [
            (
                json!({"op": "remove", "path": "/x"}),
                "remove operation does not apply: doc is missing path: \"/x\": missing value",
            ),
            (
                json!({"op": "add", "path": "/x/y", "value": 1}),
                "add operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (json!({"op": "test", "path": "/a", "value": 1}), "testing value /a failed: test failed"),
            (
                json!({"op": "add", "path": "/a/9", "value": 1}),
                "add operation does not apply: doc is missing path: \"/a/9\": invalid index referenced",
            ),
        ] {
            assert_eq!(patched(json!({"a": []}), json!([operation])).unwrap_err(), message);
        }
        assert!(patched(json!({}), json!([{"op": "jump", "path": "/a"}])).is_err());
        assert!(patched(json!({}), json!({"op": "remove"})).is_err());
    }

    #[test]
    fn repeated_doubling_is_stopped() {
        let copy = |number: usize| json!({"op": "copy", "from": "", "path": format!("/{number}")});
        let doubling: Vec<Value> = (0..40).map(copy).collect();
        assert!(patched(json!({}), Value::from(doubling)).unwrap_err().starts_with("copy operations would add"));
    }

    #[test]
    fn too_many_operations_are_refused() {
        let many = vec![json!({"op": "test", "path": "", "value": {}}); OPERATIONS + 1];
        assert!(patched(json!({}), Value::from(many)).unwrap_err().starts_with("The allowed maximum operations"));
    }
}
