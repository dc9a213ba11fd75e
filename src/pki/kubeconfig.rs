//! The administrator's kubeconfig, with everything embedded so that it can be copied elsewhere.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::pki::authority::Issued;

/// The YAML of a kubeconfig with one cluster, user and context, all called `default` as k3s does.
/// `server` is a URL such as `https://127.0.0.1:6443`.
pub fn render(server: &str, authority_pem: &str, identity: &Issued) -> String {
    let data = |pem: &str| STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "default",
            "cluster": { "server": server, "certificate-authority-data": data(authority_pem) },
        }],
        "users": [{
            "name": "default",
            "user": {
                "client-certificate-data": data(&identity.certificate),
                "client-key-data": data(&identity.key),
            },
        }],
        "contexts": [{ "name": "default", "context": { "cluster": "default", "user": "default" } }],
        "current-context": "default",
        "preferences": {},
    });
    serde_yaml::to_string(&config).expect("a tree of strings can be written as YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_yaml_that_names_the_server() {
        let issued = Issued { certificate: "C".into(), key: "K".into() };
        let text = render("https://127.0.0.1:6443", "CA", &issued);
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(value["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
        assert_eq!(value["users"][0]["user"]["client-key-data"], "Sw==");
    }
}
