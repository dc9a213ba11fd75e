//! Parameters of policies: objects of the kind that a policy names, chosen by its bindings.

use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use serde_json::Value;

use crate::{
    api::{
        custom,
        kind::{Descriptor, GroupResource, Scope},
        kinds, meta,
        selector::LabelSelector,
    },
    apiserver::{definitions::established, reader::Reader},
};

/// The definitions of custom resources, among which parameters' kinds are.
pub const DEFINITIONS: GroupResource<'static> = GroupResource { group: custom::GROUP, resource: custom::DEFINITIONS };

/// A kind of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    group: String,
    resource: String,
    api_version: String,
    scope: Scope,
}

/// Kinds that parameters may be of: the built-in ones, and those of definitions.
pub struct Kinds<'r> {
    reader: &'r dyn Reader,
}

/// Which parameters a binding brings.
#[derive(Debug)]
pub struct Reference {
    name: String,
    namespace: String,
    selector: Option<Result<LabelSelector, String>>,
    /// Whether requests are refused if there are none.
    denies: bool,
}

impl<'r> Kinds<'r> {
    /// The kinds that are served as `reader` sees it.
    pub fn new(reader: &'r dyn Reader) -> Self {
        Self { reader }
    }

    /// A kind by its name, or what is wrong with the name.
    pub fn find(&self, wanted: &ParamKind) -> Result<Kind, String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (api_version, kind) = (text(&wanted.api_version), text(&wanted.kind));
        let is_wanted = |one: &Descriptor| one.kind == kind && one.api_version() == api_version && is_stored(one);
        let built_in = kinds::all().into_iter().find(is_wanted);
        let found = built_in.or_else(|| self.custom(&api_version).find(is_wanted));
        let found = found.ok_or_else(|| {
            let named = if api_version.contains('/') { api_version.clone() } else { format!("/{api_version}") };
            format!("failed to find resource referenced by paramKind: '{named}, Kind={kind}'")
        })?;
        Ok(Kind { group: found.group.to_string(), resource: found.plural.to_string(), api_version, scope: found.scope })
    }

    /// The kinds of the definitions in a group.
    fn custom(&self, api_version: &str) -> impl Iterator<Item = Descriptor> + use<> {
        let group = format!(".{}", api_version.split('/').next().unwrap_or_default());
        let in_group = |definition: &Value| meta::name(definition).ends_with(&group);
        let mut found = Vec::new();
        for bytes in self.reader.list(DEFINITIONS, None) {
            let Ok(definition) = serde_json::from_slice::<Value>(&bytes) else { continue };
            if in_group(&definition) && established(&definition) {
                found.extend(custom::kinds(&bytes));
            }
        }
        found.into_iter()
    }
}

impl Reference {
    /// Of what a binding says.
    pub fn new(reference: &ParamRef) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let selector = reference.selector.as_ref().map(LabelSelector::from_object);
        Self {
            name: text(&reference.name),
            namespace: text(&reference.namespace),
            selector: selector.map(|selector| selector.map_err(|error| error.to_string())),
            denies: reference.parameter_not_found_action.as_deref() == Some("Deny"),
        }
    }

    /// The parameters of a request in `namespace`.
    pub fn resolve(&self, kind: &Kind, reader: &dyn Reader, namespace: &str) -> Result<Vec<Value>, String> {
        let namespace = self.namespace(kind, namespace)?;
        let resource = GroupResource { group: &kind.group, resource: &kind.resource };
        let parsed = |bytes: &[u8]| {
            let mut parameter: Value = serde_json::from_slice(bytes).ok()?;
            parameter["apiVersion"] = kind.api_version.as_str().into();
            Some(parameter)
        };
        let found: Vec<Value> = match &self.selector {
            Some(_) if !self.name.is_empty() => {
                return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned());
            }
            Some(selector) => {
                let selector = selector.as_ref().map_err(Clone::clone)?;
                let within = (kind.scope == Scope::Namespaced).then_some(namespace);
                let all = reader.list(resource, within).into_iter().filter_map(|bytes| parsed(&bytes));
                all.filter(|parameter| selector.matches(|key| meta::label(parameter, key))).collect()
            }
            None if self.name.is_empty() => return Err("one of name or selector must be provided".to_owned()),
            None => reader.get(resource, namespace, &self.name).and_then(|bytes| parsed(&bytes)).into_iter().collect(),
        };
        if found.is_empty() && self.denies {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
        }
        Ok(found)
    }

    /// The namespace of the parameters: that of the request unless the binding names one.
    fn namespace<'n>(&'n self, kind: &Kind, request: &'n str) -> Result<&'n str, String> {
        match (kind.scope, self.namespace.as_str()) {
            (Scope::Cluster, "") => Ok(""),
            (Scope::Cluster, _) => {
                Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned())
            }
            (Scope::Namespaced, "") if request.is_empty() => {
                Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned())
            }
            (Scope::Namespaced, "") => Ok(request),
            (Scope::Namespaced, own) => Ok(own),
        }
    }
}

fn is_stored(kind: &Descriptor) -> bool {
    kind.verbs.contains(&"get")
}
