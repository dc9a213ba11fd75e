//! Which secrets a pod may use: all of its namespace, unless its service account is annotated with
//! `kubernetes.io/enforce-mountable-secrets`; then those that the account lists.

use serde_json::Value;

use crate::api::meta;

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// Whether the account limits its pods to the secrets that it lists.
pub fn are_limited(account: &Value) -> bool {
    matches!(meta::annotation(account, ENFORCE), Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// Why a pod may not use what it names.
pub fn check_pod(pod: &Value, account: &Value) -> Result<(), String> {
    let (allowed, name) = (names(&account["secrets"]), meta::name(account));
    for volume in items(&pod["spec"]["volumes"]) {
        let secret = &volume["secret"];
        let secret_name = secret["secretName"].as_str().unwrap_or_default();
        if secret.is_object() && !allowed.contains(&secret_name) {
            return Err(format!(
                "volume with secret.secretName=\"{secret_name}\" is not allowed because service account {name} does not \
                 reference that secret"
            ));
        }
    }
    check_containers(&pod["spec"]["initContainers"], "init container", account)?;
    check_containers(&pod["spec"]["containers"], "container", account)?;
    let pull = names(&account["imagePullSecrets"]);
    for (index, secret) in items(&pod["spec"]["imagePullSecrets"]).iter().enumerate() {
        let secret = secret["name"].as_str().unwrap_or_default();
        if !pull.contains(&secret) {
            return Err(format!(
                "imagePullSecrets[{index}].name=\"{secret}\" is not allowed because service account {name} does not \
                 reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

/// As [`check_pod`], for the containers that are added to a running pod.
pub fn check_ephemeral(pod: &Value, account: &Value) -> Result<(), String> {
    check_containers(&pod["spec"]["ephemeralContainers"], "ephemeral container", account)
}

fn check_containers(containers: &Value, what: &str, account: &Value) -> Result<(), String> {
    let (allowed, account) = (names(&account["secrets"]), meta::name(account));
    let refused = |secret: &Value| {
        let name = secret["name"].as_str().unwrap_or_default();
        (secret.is_object() && !allowed.contains(&name)).then(|| {
            format!(
                "referencing secret.secretName=\"{name}\" is not allowed because service account {account} does not \
                 reference that secret"
            )
        })
    };
    for container in items(containers) {
        let name = container["name"].as_str().unwrap_or_default();
        for variable in items(&container["env"]) {
            if let Some(why) = refused(&variable["valueFrom"]["secretKeyRef"]) {
                let variable = variable["name"].as_str().unwrap_or_default();
                return Err(format!("{what} {name} with envVar {variable} {why}"));
            }
        }
        if let Some(why) = items(&container["envFrom"]).iter().find_map(|source| refused(&source["secretRef"])) {
            return Err(format!("{what} {name} with envFrom {why}"));
        }
    }
    Ok(())
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn names(list: &Value) -> Vec<&str> {
    items(list).iter().filter_map(|item| item["name"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_of_a_limited_account_use_what_it_lists() {
        let annotations = json!({ENFORCE: "true"});
        let account = json!({"metadata": {"name": "web", "annotations": annotations}, "secrets": [{"name": "a"}],
            "imagePullSecrets": [{"name": "p"}]});
        assert!(are_limited(&account) && !are_limited(&json!({"metadata": {}})));
        let check = |spec: Value| check_pod(&json!({"spec": spec}), &account);
        let rest = "is not allowed because service account web does not reference that";
        assert_eq!(
            check(json!({"volumes": [{"secret": {"secretName": "a"}}], "imagePullSecrets": [{"name": "p"}]})),
            Ok(())
        );
        assert_eq!(
            check(json!({"volumes": [{"secret": {"secretName": "b"}}]})),
            Err(format!("volume with secret.secretName=\"b\" {rest} secret"))
        );
        let variable = json!({"name": "V", "valueFrom": {"secretKeyRef": {"name": "b"}}});
        assert_eq!(
            check(json!({"initContainers": [{"name": "i", "env": [variable]}]})),
            Err(format!("init container i with envVar V referencing secret.secretName=\"b\" {rest} secret"))
        );
        assert_eq!(
            check(json!({"imagePullSecrets": [{"name": "q"}]})),
            Err(format!("imagePullSecrets[0].name=\"q\" {rest} imagePullSecret"))
        );
        let ephemeral =
            json!({"spec": {"ephemeralContainers": [{"name": "e", "envFrom": [{"secretRef": {"name": "b"}}]}]}});
        assert!(check_ephemeral(&ephemeral, &account).unwrap_err().starts_with("ephemeral container e with envFrom"));
    }
}
