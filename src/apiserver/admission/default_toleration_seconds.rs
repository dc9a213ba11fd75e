//! DefaultTolerationSeconds: a pod stays on a node that is not ready or unreachable for five minutes,
//! unless it says otherwise.

use serde_json::{Value, json};

use crate::{
    api::Status,
    apiserver::admission::{Plugin, Request, Warnings},
};

const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

pub struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<Warnings, Status> {
        if request.writes("", "pods") && pod["spec"].is_object() {
            for key in KEYS {
                tolerate(&mut pod["spec"]["tolerations"], key);
            }
        }
        Ok(Warnings::new())
    }
}

fn tolerate(tolerations: &mut Value, key: &str) {
    let missing = |field: &Value| field.as_str().is_none_or(str::is_empty);
    let says_otherwise = |toleration: &Value| {
        (toleration["key"] == key || missing(&toleration["key"]))
            && (toleration["effect"] == "NoExecute" || missing(&toleration["effect"]))
    };
    if tolerations.as_array().is_some_and(|list| list.iter().any(says_otherwise)) {
        return;
    }
    let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
    match tolerations.as_array_mut() {
        Some(list) => list.push(toleration),
        None => *tolerations = json!([toleration]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pod_says_stays() {
        let mut tolerations = json!([{"key": KEYS[0], "operator": "Exists", "effect": "NoExecute"}]);
        for key in KEYS {
            tolerate(&mut tolerations, key);
        }
        assert_eq!(tolerations.as_array().unwrap().len(), 2);
        assert!(tolerations[0].get("tolerationSeconds").is_none());
        assert_eq!(tolerations[1]["key"], KEYS[1]);
        let mut everything = json!([{"operator": "Exists"}]);
        tolerate(&mut everything, KEYS[0]);
        assert_eq!(everything.as_array().unwrap().len(), 1);
    }
}
