//! Paths of kinds: collections, objects and subresources, with the operations that their verbs
//! allow.

use serde_json::{Map, Value, json};

use super::{
    Dialect, definitions,
    operation::{Operation, body_of},
    parameters::{self, Parameter},
    path_of,
};
use crate::{
    api::{
        kind::{Descriptor, Scope, Subresource},
        patch,
    },
    apiserver::discovery::subresource,
};

/// Every path of `kinds`.
pub(super) fn all(kinds: &[&Descriptor], dialect: Dialect) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let kind = Kind::new(kind, dialect);
        kind.collection(&mut paths);
        kind.object(&mut paths);
        for name in kind.descriptor.subresources {
            kind.subresource(*name, &mut paths);
        }
    }
    paths
}

/// How a verb on a path appears.
struct Verb {
    verb: &'static str,
    method: &'static str,
    /// Beginning of the operation's name.
    name: &'static str,
    parameters: &'static [Parameter],
}

const COLLECTION: [Verb; 3] = [
    Verb { verb: "list", method: "get", name: "list", parameters: parameters::LIST },
    Verb { verb: "create", method: "post", name: "create", parameters: parameters::WRITE },
    Verb { verb: "deletecollection", method: "delete", name: "delete", parameters: parameters::DELETE },
];

const OBJECT: [Verb; 4] = [
    Verb { verb: "get", method: "get", name: "read", parameters: &[] },
    Verb { verb: "update", method: "put", name: "replace", parameters: parameters::WRITE },
    Verb { verb: "patch", method: "patch", name: "patch", parameters: parameters::PATCH },
    Verb { verb: "delete", method: "delete", name: "delete", parameters: parameters::DELETE },
];

const SUBRESOURCE: [Verb; 5] = [
    Verb { verb: "get", method: "get", name: "read", parameters: &[] },
    Verb { verb: "create", method: "post", name: "create", parameters: parameters::WRITE },
    Verb { verb: "update", method: "put", name: "replace", parameters: parameters::WRITE },
    Verb { verb: "patch", method: "patch", name: "patch", parameters: parameters::PATCH },
    Verb { verb: "delete", method: "delete", name: "delete", parameters: parameters::DELETE },
];

struct Kind<'a> {
    descriptor: &'a Descriptor,
    definition: String,
    dialect: Dialect,
}

impl<'a> Kind<'a> {
    fn new(descriptor: &'a Descriptor, dialect: Dialect) -> Self {
        Self { descriptor, definition: definitions::name_of(descriptor), dialect }
    }

    fn collection(&self, paths: &mut Map<String, Value>) {
        let mut item = self.item(&[]);
        for verb in COLLECTION.iter().filter(|verb| self.has(verb.verb)) {
            let name = if verb.verb == "deletecollection" { "Collection" } else { "" };
            let mut operation = self.operation(verb, &format!("{name}{}", self.scoped()), "");
            if verb.verb == "list" {
                operation.action = "list";
                operation.response = Some(format!("{}List", self.definition));
            }
            if verb.verb == "deletecollection" {
                operation.action = "deletecollection";
            }
            item.insert(verb.method.into(), operation.value(self.dialect));
        }
        paths.insert(self.path(), Value::Object(item));
        if self.descriptor.scope == Scope::Namespaced && self.has("list") {
            self.across_namespaces(paths);
        }
    }

    /// `/api/v1/pods`
    fn across_namespaces(&self, paths: &mut Map<String, Value>) {
        let kind = format!("{}ForAllNamespaces", self.descriptor.kind);
        let mut operation = self.operation(&COLLECTION[0], &kind, "");
        operation.action = "list";
        operation.response = Some(format!("{}List", self.definition));
        let mut item = Map::new();
        item.insert("parameters".into(), json!([parameters::value(&parameters::PRETTY, self.dialect)]));
        item.insert("get".into(), operation.value(self.dialect));
        let root = path_of(&self.descriptor.group, &self.descriptor.version);
        paths.insert(format!("/{root}/{}", self.descriptor.plural), Value::Object(item));
    }

    fn object(&self, paths: &mut Map<String, Value>) {
        let verbs: Vec<&Verb> = OBJECT.iter().filter(|verb| self.has(verb.verb)).collect();
        if verbs.is_empty() {
            return;
        }
        let mut item = self.item(&[parameters::NAME]);
        for verb in verbs {
            let operation = self.operation(verb, &self.scoped(), "");
            item.insert(verb.method.into(), operation.value(self.dialect));
        }
        paths.insert(format!("{}/{{name}}", self.path()), Value::Object(item));
    }

    fn subresource(&self, name: Subresource, paths: &mut Map<String, Value>) {
        let path = format!("{}/{{name}}/{}", self.path(), name.name());
        let item = self.subresource_item(name, &[parameters::NAME], "");
        paths.insert(path.clone(), Value::Object(item));
        if name.name() == "proxy" {
            let item = self.subresource_item(name, &[parameters::NAME, parameters::PROXY_PATH], "WithPath");
            paths.insert(format!("{path}/{{path}}"), Value::Object(item));
        }
    }

    fn subresource_item(&self, name: Subresource, path: &[Parameter], suffix: &str) -> Map<String, Value> {
        let facts = subresource::facts(self.descriptor, name);
        let connects = facts.kind.ends_with("Options");
        let mut item = self.item(path);
        for verb in SUBRESOURCE.iter().filter(|verb| facts.verbs.contains(&verb.verb)) {
            let ending = format!("{}{suffix}", capitalized(name.name()));
            let mut operation = self.operation(verb, &self.scoped(), &ending);
            operation.gvk = definitions::gvk(facts.group, facts.version, facts.kind);
            if let Some(body) = definitions::body_name(facts.kind) {
                operation.body = body_of(verb.method, &body);
                operation.response = Some(body);
            }
            if connects {
                operation.id = self.id(&format!("connect{}", capitalized(verb.method)), &self.scoped(), &ending);
                (operation.action, operation.body, operation.response) = ("connect", None, None);
                operation.parameters = connect_parameters(name.name());
            }
            if name.name() == "log" {
                (operation.parameters, operation.response) = (parameters::LOG, None);
            }
            item.insert(verb.method.into(), operation.value(self.dialect));
        }
        item
    }

    fn operation(&self, verb: &Verb, kind: &str, ending: &str) -> Operation {
        let Descriptor { group, version, kind: plain, .. } = self.descriptor;
        let about = if ending.is_empty() { plain.to_string() } else { format!("{} of {plain}", ending.to_lowercase()) };
        Operation {
            method: verb.method,
            action: verb.method,
            id: self.id(verb.name, kind, ending),
            description: format!("{} {about}", verb.verb),
            gvk: definitions::gvk(group, version, plain),
            tag: format!("{}_{version}", tag(group)),
            patches: patch::content_types(self.descriptor.strategy.custom().is_some()),
            parameters: verb.parameters,
            body: body_of(verb.method, &self.definition),
            response: Some(match verb.method {
                "delete" => definitions::STATUS.to_owned(),
                _ => self.definition.clone(),
            }),
        }
    }

    /// `readCoreV1NamespacedPodStatus`
    fn id(&self, name: &str, kind: &str, ending: &str) -> String {
        let Descriptor { group, version, .. } = self.descriptor;
        let group: String = if group.is_empty() {
            "Core".into()
        } else {
            group.trim_end_matches(".k8s.io").split('.').map(capitalized).collect()
        };
        // "delete" + "CoreV1" + "CollectionNamespacedPod", as upstream orders them.
        format!("{name}{group}{}{kind}{ending}", capitalized(version))
    }

    /// `NamespacedPod`, or `Node`.
    fn scoped(&self) -> String {
        match self.descriptor.scope {
            Scope::Namespaced => format!("Namespaced{}", self.descriptor.kind),
            Scope::Cluster => self.descriptor.kind.to_string(),
        }
    }

    fn has(&self, verb: &str) -> bool {
        self.descriptor.verbs.contains(&verb)
    }

    /// `/api/v1/namespaces/{namespace}/pods`
    fn path(&self) -> String {
        let Descriptor { group, version, plural, scope, .. } = self.descriptor;
        let root = path_of(group, version);
        match scope {
            Scope::Namespaced => format!("/{root}/namespaces/{{namespace}}/{plural}"),
            Scope::Cluster => format!("/{root}/{plural}"),
        }
    }

    /// A path item with its common parameters.
    fn item(&self, path: &[Parameter]) -> Map<String, Value> {
        let namespace = (self.descriptor.scope == Scope::Namespaced).then_some(&parameters::NAMESPACE);
        let common = path.iter().chain(namespace).chain([&parameters::PRETTY]);
        let common: Vec<Value> = common.map(|parameter| parameters::value(parameter, self.dialect)).collect();
        let mut item = Map::new();
        item.insert("parameters".into(), common.into());
        item
    }
}

fn connect_parameters(name: &str) -> &'static [Parameter] {
    if matches!(name, "exec" | "attach") { parameters::EXEC } else { &[] }
}

/// `core`, `apps`, `rbacAuthorization`
fn tag(group: &str) -> String {
    let mut parts = group.trim_end_matches(".k8s.io").split('.');
    let first = parts.next().filter(|first| !first.is_empty()).unwrap_or("core").to_owned();
    parts.fold(first, |tag, part| tag + &capitalized(part))
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
