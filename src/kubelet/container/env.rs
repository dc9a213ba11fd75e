//! A container's environment variables.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, Pod};

use crate::kubelet::{
    container::{
        downward::{self, Context},
        expand::expand,
    },
    objects::{Kind, Object, Reference, Snapshot},
};

/// Why the environment cannot be made. The messages are upstream's: they become the container's
/// waiting message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A ConfigMap or Secret is not there.
    #[error("{} \"{name}\" not found", kind.lower())]
    NotFound {
        /// Kind of the object.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// An object lacks a key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    Key {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace of the object.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// A field or resource of the pod cannot be given.
    #[error(transparent)]
    Downward(#[from] downward::Error),
}

/// Everything values come from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its container.
    pub container: &'a Container,
    /// ConfigMaps and Secrets.
    pub objects: &'a Snapshot,
    /// Variables that lead to Services; weaker than all others.
    pub services: &'a [(String, String)],
    /// Addresses and the node's resources.
    pub context: &'a Context,
}

/// The variables of a container, in upstream's order and precedence: `envFrom`, then `env`, and
/// those of Services that nothing else defines.
pub fn build(sources: &Sources<'_>) -> Result<Vec<(String, String)>, Error> {
    let mut variables = Variables::default();
    for source in sources.container.env_from.iter().flatten() {
        add_all(sources, source, &mut variables)?;
    }
    for variable in sources.container.env.iter().flatten() {
        if let Some(value) = value_of(sources, variable, &variables)? {
            variables.set(&variable.name, value);
        }
    }
    for (name, value) in sources.services {
        if variables.get(name).is_none() {
            variables.set(name, value.clone());
        }
    }
    Ok(variables.0)
}

#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, existing)) => *existing = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

fn add_all(sources: &Sources<'_>, source: &EnvFromSource, variables: &mut Variables) -> Result<(), Error> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let (reference, optional) = match (&source.config_map_ref, &source.secret_ref) {
        (Some(source), _) => (Reference::config_map(&source.name), source.optional),
        (None, Some(source)) => (Reference::secret(&source.name), source.optional),
        (None, None) => return Ok(()),
    };
    let Some(object) = object(sources, &reference, optional)? else { return Ok(()) };
    for (key, value) in &object.data {
        let name = format!("{prefix}{key}");
        if is_name(&name) {
            variables.set(&name, text(&value.0));
        }
    }
    Ok(())
}

/// `None` when an optional source is missing: the variable is then not set at all.
fn value_of(sources: &Sources<'_>, variable: &EnvVar, known: &Variables) -> Result<Option<String>, Error> {
    if let Some(value) = variable.value.as_ref().filter(|value| !value.is_empty()) {
        let service =
            |name: &str| sources.services.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        return Ok(Some(expand(value, |name| known.get(name).or_else(|| service(name)))));
    }
    match &variable.value_from {
        Some(source) => from_source(sources, source),
        None => Ok(Some(String::new())),
    }
}

fn from_source(sources: &Sources<'_>, source: &EnvVarSource) -> Result<Option<String>, Error> {
    if let Some(field) = &source.field_ref {
        return Ok(Some(downward::field(sources.pod, &field.field_path, sources.context)?));
    }
    if let Some(resource) = &source.resource_field_ref {
        return Ok(Some(downward::resource(sources.pod, Some(sources.container), resource, sources.context)?));
    }
    if let Some(selector) = &source.config_map_key_ref {
        return from_key(sources, &Reference::config_map(&selector.name), &selector.key, selector.optional);
    }
    if let Some(selector) = &source.secret_key_ref {
        return from_key(sources, &Reference::secret(&selector.name), &selector.key, selector.optional);
    }
    Ok(Some(String::new()))
}

fn from_key(
    sources: &Sources<'_>,
    reference: &Reference,
    key: &str,
    optional: Option<bool>,
) -> Result<Option<String>, Error> {
    let Some(object) = object(sources, reference, optional)? else { return Ok(None) };
    match object.data.get(key) {
        Some(value) => Ok(Some(text(&value.0))),
        None if optional == Some(true) => Ok(None),
        None => Err(Error::Key {
            key: key.to_owned(),
            kind: match reference.kind {
                Kind::ConfigMap => "ConfigMap",
                Kind::Secret => "Secret",
            },
            namespace: sources.pod.metadata.namespace.clone().unwrap_or_default(),
            name: reference.name.clone(),
        }),
    }
}

fn object(sources: &Sources<'_>, reference: &Reference, optional: Option<bool>) -> Result<Option<Arc<Object>>, Error> {
    match sources.objects.get(reference).cloned().flatten() {
        Some(object) => Ok(Some(object)),
        None if optional == Some(true) => Ok(None),
        None => Err(Error::NotFound { kind: reference.kind, name: reference.name.clone() }),
    }
}

/// What an environment can carry: printable ASCII without `=` (KEP-4369).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=')
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn build_from(container: Value, objects: &Snapshot) -> Result<Vec<(String, String)>, Error> {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [container]}}),
        )
        .unwrap();
        let services = [("KUBERNETES_SERVICE_HOST".to_owned(), "10.43.0.1".to_owned())];
        let context = Context::default();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        build(&Sources { pod: &pod, container, objects, services: &services, context: &context })
    }

    fn objects() -> Snapshot {
        let data = BTreeMap::from([("k".to_owned(), ByteString(b"v".to_vec()))]);
        let object = Some(Arc::new(Object { data, kind: String::new() }));
        Snapshot::from([(Reference::config_map("cm"), object), (Reference::secret("none"), None)])
    }

    fn get<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
        variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn later_values_see_and_replace_earlier_ones() {
        let variables = build_from(
            json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}], "env": [
                {"name": "A", "value": "$(P_k)-$(KUBERNETES_SERVICE_HOST)"},
                {"name": "B", "value": "$(A)$(LATER)"},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "LATER", "value": "x"}]}),
            &objects(),
        )
        .unwrap();
        assert_eq!(get(&variables, "A"), Some("v-10.43.0.1"));
        assert_eq!(get(&variables, "B"), Some("v-10.43.0.1$(LATER)"));
        assert_eq!(get(&variables, "N"), Some("p"));
        assert_eq!(get(&variables, "KUBERNETES_SERVICE_HOST"), Some("10.43.0.1"));
    }

    #[test]
    fn missing_objects_and_keys_are_named_unless_optional() {
        let secret = |optional: bool| {
            json!({"name": "c", "env": [{"name": "A", "valueFrom": {
                "secretKeyRef": {"name": "none", "key": "k", "optional": optional}}}]})
        };
        let error = build_from(secret(false), &objects()).unwrap_err();
        assert_eq!(error.to_string(), "secret \"none\" not found");
        assert_eq!(get(&build_from(secret(true), &objects()).unwrap(), "A"), None);
        let key = json!({"name": "c", "env": [{"name": "A", "valueFrom": {
            "configMapKeyRef": {"name": "cm", "key": "absent"}}}]});
        let error = build_from(key, &objects()).unwrap_err();
        assert_eq!(error.to_string(), "couldn't find key absent in ConfigMap n/cm");
    }
}
