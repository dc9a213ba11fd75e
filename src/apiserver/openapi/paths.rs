//! Paths of kinds: collections, objects, subresources and the deprecated ones of watches, with the
//! operations that their verbs allow.

use serde_json::{Map, Value};

use super::{
    Dialect, definitions,
    operation::{ANY, CUSTOM, OBJECTS, Operation, STREAMS, item},
    parameters::{self, Parameter},
    path_of,
};
use crate::{
    api::{
        kind::{Descriptor, Scope, Subresource},
        patch,
    },
    apiserver::{
        discovery::subresource::{self, Facts},
        registry::delete,
    },
};

/// Methods of the targets of a proxy.
const PROXY_METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
/// What upstream says of the paths of watches.
const DEPRECATED: &str = "deprecated: use the 'watch' parameter with a list operation instead";

/// Every path of `kinds`, whose definitions have these `names`.
pub(super) fn all(kinds: &[&Descriptor], names: &[String], dialect: Dialect) -> Map<String, Value> {
    let mut paths = Paths { items: Map::new(), dialect };
    for (descriptor, definition) in kinds.iter().zip(names) {
        let kind = Kind { descriptor, definition };
        kind.collection(&mut paths);
        kind.object(&mut paths);
        descriptor.subresources.iter().for_each(|name| kind.subresource(*name, &mut paths));
        kind.watches(&mut paths);
    }
    paths.items
}

/// `core`, `apps`, `rbacAuthorization`
pub(super) fn tag(group: &str) -> String {
    let mut parts = group.trim_end_matches(".k8s.io").split('.');
    let first = parts.next().filter(|first| !first.is_empty()).unwrap_or("core").to_owned();
    parts.fold(first, |tag, part| tag + &capitalized(part))
}

/// `Core`, `Apps`, `RbacAuthorization`
pub(super) fn title(group: &str) -> String {
    capitalized(&tag(group))
}

/// The word with its first letter in upper case.
pub(super) fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

struct Paths {
    items: Map<String, Value>,
    dialect: Dialect,
}

impl Paths {
    fn add(&mut self, path: String, operations: Vec<Operation>) {
        if !operations.is_empty() {
            self.items.insert(path, item(operations, self.dialect));
        }
    }
}

struct Kind<'a> {
    descriptor: &'a Descriptor,
    definition: &'a str,
}

impl Kind<'_> {
    fn collection(&self, paths: &mut Paths) {
        let mut operations = Vec::new();
        if self.has("list") {
            operations.push(self.list(&self.scoped(), self.namespace()));
        }
        if self.has("create") {
            operations.push(self.write("post", "", &self.own_facts(), self.namespace()));
        }
        if self.has("deletecollection") {
            operations.push(self.delete_collection());
        }
        paths.add(self.path(), operations);
        if self.is_namespaced() && self.has("list") {
            let list = self.list(&format!("{}ForAllNamespaces", self.descriptor.kind), Vec::new());
            paths.add(format!("/{}/{}", self.root(), self.descriptor.plural), vec![list]);
        }
    }

    fn object(&self, paths: &mut Paths) {
        let facts = self.own_facts();
        let verbs = [("get", "get"), ("update", "put"), ("delete", "delete"), ("patch", "patch")];
        let methods = verbs.iter().filter(|(verb, _)| self.has(verb)).map(|(_, method)| *method);
        let operations = methods.map(|method| match method {
            "delete" => self.delete(),
            method => self.write(method, "", &facts, self.place(&facts)),
        });
        paths.add(format!("{}/{{name}}", self.path()), operations.collect());
    }

    fn subresource(&self, name: Subresource, paths: &mut Paths) {
        let mut facts = subresource::facts(self.descriptor, name);
        let name = name.name();
        let path = format!("{}/{{name}}/{name}", self.path());
        if facts.kind.ends_with("Options") {
            paths.add(path.clone(), self.connects(name, "", &facts));
            if name == "proxy" {
                paths.add(format!("{path}/{{path}}"), self.connects(name, "WithPath", &facts));
            }
            return;
        }
        let body = definitions::body_name(facts.kind);
        if self.is_custom() {
            let own = self.own_facts();
            facts = Facts { verbs: facts.verbs, ..own };
        }
        let verbs = [("get", "get"), ("create", "post"), ("update", "put"), ("patch", "patch")];
        let methods = verbs.iter().filter(|(verb, _)| facts.verbs.contains(verb)).map(|(_, method)| *method);
        let operations = methods.map(|method| {
            let mut operation = self.write(method, name, &facts, self.place(&facts));
            if let Some(body) = &body {
                operation.body =
                    operation.body.map(|(own, must)| (if method == "patch" { own } else { body.clone() }, must));
                operation.response = Some(body.clone());
            }
            if name == "log" {
                operation.parameters.extend(parameters::query(parameters::of_subresource(name)));
                (operation.response, operation.produces) = (None, LOG);
            }
            operation
        });
        paths.add(path, operations.collect());
    }

    /// `/api/v1/watch/…`
    fn watches(&self, paths: &mut Paths) {
        if !self.has("watch") || self.is_custom() {
            return;
        }
        let (root, plural) = (format!("/{}/watch", self.root()), &self.descriptor.plural);
        let list = |id: String, place| {
            let description = format!("watch individual changes to a list of {}. {DEPRECATED}.", self.descriptor.kind);
            self.watch("watchlist", &id, description, place)
        };
        let collection = if self.is_namespaced() {
            let operation = list(format!("{}ListForAllNamespaces", self.descriptor.kind), Vec::new());
            paths.add(format!("{root}/{plural}"), vec![operation]);
            format!("{root}/namespaces/{{namespace}}/{plural}")
        } else {
            format!("{root}/{plural}")
        };
        let description = format!(
            "watch changes to an object of kind {}. {DEPRECATED}, filtered to a single item with the 'fieldSelector' \
             parameter.",
            self.descriptor.kind
        );
        let one = self.watch("watch", &self.scoped(), description, self.place(&self.own_facts()));
        paths.add(format!("{collection}/{{name}}"), vec![one]);
        paths.add(collection, vec![list(format!("{}List", self.scoped()), self.namespace())]);
    }

    fn list(&self, kind: &str, place: Vec<Parameter>) -> Operation {
        let verb = if self.has("watch") && !self.is_custom() { "list or watch" } else { "list" };
        let mut operation = self.operation("get", "list", &self.own_facts(), place);
        operation.id = self.id("list", kind, "");
        operation.description = format!("{verb} objects of kind {}", self.descriptor.kind);
        operation.parameters.extend(parameters::query(parameters::SELECT).chain(parameters::query(parameters::WATCH)));
        operation.response = Some(format!("{}List", self.definition));
        if !self.is_custom() {
            operation.produces = STREAMS;
        }
        operation
    }

    fn watch(&self, action: &'static str, kind: &str, description: String, place: Vec<Parameter>) -> Operation {
        let mut operation = self.list(kind, place);
        operation.action = operation.action.map(|(_, gvk)| (action, gvk));
        operation.id = self.id("watch", kind, "");
        operation.description = description;
        operation.response = Some(definitions::WATCH_EVENT.into());
        operation
    }

    /// Reading an object, and any way of writing one but deleting it.
    fn write(&self, method: &'static str, subresource: &str, facts: &Facts<'_>, place: Vec<Parameter>) -> Operation {
        let (name, about) = match method {
            "get" => ("read", "read"),
            "put" => ("replace", "replace"),
            "patch" => ("patch", "partially update"),
            _ => ("create", "create"),
        };
        let kind = &self.descriptor.kind;
        let noun = if method == "post" { with_article(kind) } else { format!("the specified {kind}") };
        let of = if subresource.is_empty() { String::new() } else { format!("{subresource} of ") };
        let mut operation = self.operation(method, method, facts, place);
        operation.id = self.id(name, &self.scoped(), &capitalized(subresource));
        operation.description = format!("{about} {of}{noun}");
        let options = match method {
            "get" if self.is_custom() => parameters::READ_CUSTOM,
            "get" => &[],
            "patch" => parameters::PATCH,
            _ => parameters::WRITE,
        };
        operation.parameters.extend(parameters::query(options));
        operation.codes = match method {
            "post" => &[200, 201, 202],
            "put" => &[200, 201],
            "patch" if !self.is_custom() => &[200, 201],
            _ => &[200],
        };
        operation.body = match method {
            "get" => None,
            "patch" => Some((definitions::PATCH.into(), true)),
            _ => Some((self.definition.into(), true)),
        };
        if method == "patch" {
            operation.consumes = patch::content_types(self.is_custom());
        }
        operation
    }

    fn delete(&self) -> Operation {
        let facts = self.own_facts();
        let mut operation = self.operation("delete", "delete", &facts, self.place(&facts));
        operation.id = self.id("delete", &self.scoped(), "");
        operation.description = format!("delete {}", with_article(&self.descriptor.kind));
        operation.parameters.extend(parameters::query(parameters::DELETE));
        operation.codes = &[200, 202];
        operation.body = Some((definitions::DELETE_OPTIONS.into(), false));
        if !delete::is_answered_with_object(self.descriptor) {
            operation.response = Some(definitions::STATUS.into());
        }
        operation
    }

    fn delete_collection(&self) -> Operation {
        let mut operation = self.operation("delete", "deletecollection", &self.own_facts(), self.namespace());
        operation.id = self.id("delete", &format!("Collection{}", self.scoped()), "");
        operation.description = format!("delete collection of {}", self.descriptor.kind);
        operation.parameters.extend(parameters::query(parameters::SELECT));
        // Upstream says of custom resources what it says of their lists, though it takes the rest too.
        if self.is_custom() {
            operation.parameters.extend(parameters::query(parameters::WATCH));
        } else {
            operation.parameters.extend(parameters::query(parameters::DELETE));
            operation.body = Some((definitions::DELETE_OPTIONS.into(), false));
        }
        operation.response = Some(definitions::STATUS.into());
        operation
    }

    /// What a subresource's connection may begin with.
    fn connects(&self, name: &str, ending: &str, facts: &Facts<'_>) -> Vec<Operation> {
        let methods: &[&str] = if name == "proxy" { &PROXY_METHODS } else { &["get", "post"] };
        let connect = |method: &&'static str| {
            let mut operation = self.operation(method, "connect", facts, Vec::new());
            let kind = format!("{}{}", capitalized(method), self.scoped());
            operation.id = self.id("connect", &kind, &format!("{}{ending}", capitalized(name)));
            let Descriptor { kind, .. } = self.descriptor;
            operation.description = format!("connect {} requests to {name} of {kind}", method.to_uppercase());
            operation.parameters = parameters::query(parameters::of_subresource(name)).collect();
            operation.parameters.extend(self.namespace());
            operation.parameters.insert(parameters::path("name", format!("name of the {}", facts.kind)));
            if !ending.is_empty() {
                operation.parameters.insert(parameters::path("path", "path to the resource"));
            }
            (operation.produces, operation.response) = (ANY, None);
            operation
        };
        methods.iter().map(connect).collect()
    }

    /// An operation that gives the kind's object.
    fn operation(
        &self,
        method: &'static str,
        action: &'static str,
        facts: &Facts<'_>,
        place: Vec<Parameter>,
    ) -> Operation {
        let Descriptor { group, version, .. } = self.descriptor;
        Operation {
            method,
            action: Some((action, definitions::gvk(facts.group, facts.version, facts.kind))),
            id: String::new(),
            description: String::new(),
            tag: format!("{}_{version}", tag(group)),
            consumes: if self.is_custom() { CUSTOM } else { ANY },
            produces: if self.is_custom() { CUSTOM } else { OBJECTS },
            parameters: place.into_iter().chain(parameters::query(parameters::PRETTY)).collect(),
            body: None,
            codes: &[200],
            response: Some(self.definition.to_owned()),
        }
    }

    /// `readCoreV1NamespacedPodStatus`
    fn id(&self, name: &str, kind: &str, ending: &str) -> String {
        let Descriptor { group, version, .. } = self.descriptor;
        format!("{name}{}{}{kind}{ending}", title(group), capitalized(version))
    }

    /// `NamespacedPod`, or `Node`.
    fn scoped(&self) -> String {
        if self.is_namespaced() {
            format!("Namespaced{}", self.descriptor.kind)
        } else {
            self.descriptor.kind.to_string()
        }
    }

    fn own_facts(&self) -> Facts<'_> {
        let Descriptor { group, version, kind, .. } = self.descriptor;
        Facts { group, version, kind, verbs: self.descriptor.verbs }
    }

    /// The parameters of an object's path.
    fn place(&self, facts: &Facts<'_>) -> Vec<Parameter> {
        let mut place = self.namespace();
        place.push(parameters::path("name", format!("name of the {}", facts.kind)));
        place
    }

    /// The parameters of a collection's path.
    fn namespace(&self) -> Vec<Parameter> {
        let about = "object name and auth scope, such as for teams and projects";
        if self.is_namespaced() { vec![parameters::path("namespace", about)] } else { Vec::new() }
    }

    fn has(&self, verb: &str) -> bool {
        self.descriptor.verbs.contains(&verb)
    }

    fn is_namespaced(&self) -> bool {
        self.descriptor.scope == Scope::Namespaced
    }

    fn is_custom(&self) -> bool {
        self.descriptor.strategy.custom().is_some()
    }

    /// `api/v1`
    fn root(&self) -> String {
        path_of(&self.descriptor.group, &self.descriptor.version)
    }

    /// `/api/v1/namespaces/{namespace}/pods`
    fn path(&self) -> String {
        let (root, plural) = (self.root(), &self.descriptor.plural);
        if self.is_namespaced() {
            format!("/{root}/namespaces/{{namespace}}/{plural}")
        } else {
            format!("/{root}/{plural}")
        }
    }
}

/// Media types of logs.
const LOG: &[&str] = &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// `a Pod`, `an Eviction`; `Endpoints`, which are many.
fn with_article(noun: &str) -> String {
    if noun.ends_with('s') && !noun.ends_with("ss") {
        return noun.to_owned();
    }
    let article = if noun.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    format!("{article} {noun}")
}
