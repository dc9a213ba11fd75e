//! OpenAPI: the documents by which `kubectl explain`, client-side apply and code generators know
//! the kinds. Version 3 has one document per group-version, version 2 one for all.
//!
//! A document is built when it is first asked for, from what the reference says of the kinds, their names
//! and tables of facts, and kept gzip-compressed only. Building takes some tens of milliseconds of
//! processor time: call [`OpenApi::v3`] and [`OpenApi::v2`] from a lane for blocking work.

mod convert;
mod definitions;
mod facts;
pub mod handler;
mod operation;
mod parameters;
mod paths;
pub mod protobuf;
pub mod remote;
mod roots;

use std::{
    io::{Read, Write},
    sync::OnceLock,
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Map, Value, json};

use facts::Scope;
use remote::{RemoteDocument, V3};

use super::discovery::{Document, classic::group_version, digest};
use crate::api::{encode::encode, kind::Descriptor};

/// Which version of the specification a document follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// Where definitions are in a document.
    fn definitions(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        }
    }

    fn reference(self, definition: &str) -> Value {
        json!({"$ref": format!("{}{definition}", self.definitions())})
    }
}

/// A document in one of its forms.
enum Asked {
    V2,
    V2Protobuf,
    V3(String),
}

/// The OpenAPI documents of a set of kinds.
pub struct OpenApi {
    kinds: Vec<Descriptor>,
    remotes: Vec<RemoteDocument>,
    version: String,
    /// By path below `/openapi/v3/`.
    v3: Vec<(String, OnceLock<Compressed>)>,
    v2: OnceLock<Compressed>,
    v2_protobuf: OnceLock<Compressed>,
}

/// A document, compressed.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// The document, gzip-compressed.
    pub gzip: Bytes,
    /// Value of the `ETag` header, quotes included.
    pub etag: String,
    plain_bytes: usize,
}

impl Compressed {
    /// Compresses a document.
    pub fn new(document: &[u8], etag: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(document).expect("memory is always written to");
        let gzip = encoder.finish().expect("memory is always written to").into_boxed_slice();
        Self { gzip: gzip.into(), etag, plain_bytes: document.len() }
    }

    /// The document itself, for clients that take no gzip.
    pub fn plain(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.plain_bytes);
        GzDecoder::new(&self.gzip[..]).read_to_end(&mut out).expect("it was compressed right here");
        out.into()
    }
}

/// Whether an `Accept` header takes JSON, the only form of version 3 (protobuf is served for version
/// 2 alone). The answer to clients that take nothing else is 406.
pub fn is_acceptable(accept: &str) -> bool {
    let json = |media_type: &str| {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        matches!(media_type, "" | "application/json" | "application/*" | "*/*")
    };
    accept.split(',').any(json)
}

impl OpenApi {
    /// Documents of `kinds`. `version` is the Kubernetes version that the server reports (`v1.36.0`).
    pub fn new(kinds: Vec<Descriptor>, version: impl Into<String>) -> Self {
        Self::of(kinds, Vec::new(), version.into())
    }

    fn of(kinds: Vec<Descriptor>, remotes: Vec<RemoteDocument>, version: String) -> Self {
        let (v2, v2_protobuf) = (OnceLock::new(), OnceLock::new());
        let documents = Self { kinds, remotes, version, v3: Vec::new(), v2, v2_protobuf };
        let v3 = documents.paths().into_iter().map(|path| (path, OnceLock::new())).collect();
        Self { v3, ..documents }
    }

    /// Paths of the documents of version 3. Groups of custom kinds have none of their own.
    fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = roots::FIXED.iter().map(|path| (*path).to_owned()).collect();
        for kind in &self.kinds {
            paths.push(path_of(&kind.group, &kind.version));
            if !kind.group.is_empty() && kind.strategy.custom().is_none() {
                paths.push(format!("apis/{}", kind.group));
            }
        }
        let converted = self.remotes.iter().filter(|remote| remote.is_converted());
        paths.extend(converted.map(|remote| remote.path.clone()));
        paths.sort();
        paths.dedup();
        paths
    }

    /// Documents of other kinds. Those that stay as they were are not built again.
    pub fn with_kinds(&self, kinds: Vec<Descriptor>) -> Self {
        self.changed(kinds, self.remotes.clone())
    }

    /// Documents with those of other servers behind this one, likewise.
    pub fn with_remotes(&self, remotes: Vec<RemoteDocument>) -> Self {
        self.changed(self.kinds.clone(), remotes)
    }

    /// The documents of servers behind this one.
    pub fn remotes(&self) -> &[RemoteDocument] {
        &self.remotes
    }

    fn changed(&self, kinds: Vec<Descriptor>, remotes: Vec<RemoteDocument>) -> Self {
        let documents = Self::of(kinds, remotes, self.version.clone());
        let keep = |cell: &OnceLock<Compressed>, built: Option<&Compressed>, name: &str| {
            if let Some(built) = built.filter(|built| built.etag == format!("\"{}\"", documents.hash(name))) {
                _ = cell.set(built.clone());
            }
        };
        for (path, cell) in &documents.v3 {
            let built = self.v3.iter().find(|(known, _)| known == path).and_then(|(_, cell)| cell.get());
            keep(cell, built, path);
        }
        keep(&documents.v2, self.v2.get(), "v2");
        keep(&documents.v2_protobuf, self.v2_protobuf.get(), "v2 protobuf");
        documents
    }

    /// `/openapi/v3`: the group-versions and where their documents are. The hash in an address
    /// changes with the content, so that clients may keep a document for ever.
    pub fn index(&self) -> Document {
        let entry = |(path, _): &(String, OnceLock<Compressed>)| {
            let url = format!("/openapi/v3/{path}?hash={}", self.hash(path));
            (path.clone(), json!({"serverRelativeURL": url}))
        };
        let mut paths: Map<String, Value> = self.v3.iter().map(entry).collect();
        for remote in &self.remotes {
            if let V3::At(url) = &remote.v3 {
                paths.insert(remote.path.clone(), json!({"serverRelativeURL": url}));
            }
        }
        let value = json!({"paths": paths});
        Document { body: encode(&value), etag: format!("\"{}\"", digest(&encode(&value))) }
    }

    /// `/openapi/v3/<path>`, such as `api/v1` or `apis/apps/v1`; `None` if there is none.
    pub fn v3(&self, path: &str) -> Option<&Compressed> {
        let (_, cell) = self.v3.iter().find(|(known, _)| known == path)?;
        Some(cell.get_or_init(|| Compressed::new(&encode(&self.v3_value(path)), format!("\"{}\"", self.hash(path)))))
    }

    fn is_built(&self, asked: &Asked) -> bool {
        match asked {
            Asked::V2 => self.v2.get().is_some(),
            Asked::V2Protobuf => self.v2_protobuf.get().is_some(),
            Asked::V3(path) => self.v3.iter().any(|(known, cell)| known == path && cell.get().is_some()),
        }
    }

    fn v3_value(&self, path: &str) -> Value {
        if let Some(remote) = self.remotes.iter().find(|remote| remote.path == path && remote.is_converted()) {
            return remote.converted();
        }
        let of_path = |kind: &&Descriptor| path_of(&kind.group, &kind.version) == path;
        let kinds: Vec<&Descriptor> = self.kinds.iter().filter(of_path).collect();
        let is_custom = !kinds.is_empty() && kinds.iter().all(|kind| kind.strategy.custom().is_some());
        let version = path.strip_prefix("apis/").or(path.strip_prefix("api/")).unwrap_or_default();
        let scope = if is_custom { Scope::Custom } else { Scope::Version(version) };
        let definitions = definitions::of(&kinds, Dialect::V3, scope);
        let mut paths = paths::all(&kinds, &definitions.kinds, Dialect::V3);
        if !is_custom {
            paths.extend(roots::of(path, Dialect::V3));
        }
        let mut schemas = definitions.all;
        definitions::prune(&mut schemas, paths.values());
        let mut components = Map::new();
        if !schemas.is_empty() {
            components.insert("schemas".into(), schemas.into());
        }
        if !is_custom {
            components.insert("securitySchemes".into(), json!({"BearerToken": bearer_token()}));
        }
        let info = if is_custom { custom_info() } else { self.info() };
        json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": components})
    }

    /// `/openapi/v2` as JSON.
    pub fn v2(&self) -> &Compressed {
        self.v2.get_or_init(|| Compressed::new(&encode(&self.v2_value()), format!("\"{}\"", self.hash("v2"))))
    }

    /// `/openapi/v2` as protobuf, for clients that prefer it ([`protobuf::is_preferred`]).
    pub fn v2_protobuf(&self) -> &Compressed {
        let build =
            || Compressed::new(&protobuf::encode(&self.v2_value()), format!("\"{}\"", self.hash("v2 protobuf")));
        self.v2_protobuf.get_or_init(build)
    }

    fn v2_value(&self) -> Value {
        let kinds: Vec<&Descriptor> = self.kinds.iter().collect();
        let definitions = definitions::of(&kinds, Dialect::V2, Scope::All);
        let mut paths = paths::all(&kinds, &definitions.kinds, Dialect::V2);
        let is_custom = |path: &str| {
            let of_path = |kind: &&Descriptor| path_of(&kind.group, &kind.version) == path;
            self.kinds.iter().find(of_path).is_some_and(|kind| kind.strategy.custom().is_some())
        };
        for path in self.paths().iter().filter(|path| !is_custom(path)) {
            paths.extend(roots::of(path, Dialect::V2));
        }
        let mut schemas = definitions.all;
        definitions::prune(&mut schemas, paths.values());
        let parameters = parameters::share(&mut paths);
        let mut document = json!({
            "swagger": "2.0",
            "info": self.info(),
            "paths": paths,
            "definitions": schemas,
            "parameters": parameters,
            "securityDefinitions": {"BearerToken": bearer_token()},
            "security": [{"BearerToken": []}],
        });
        self.remotes.iter().for_each(|remote| remote::merge(&mut document, remote));
        document
    }

    /// Major and minor version, as upstream's documents have it.
    fn info(&self) -> Value {
        let version: Vec<&str> = self.version.trim_start_matches('v').splitn(3, '.').take(2).collect();
        json!({"title": "Kubernetes", "version": version.join(".")})
    }

    /// What a document depends on: this program, its facts, and the kinds in it. Version 3 has a document per
    /// group-version, version 2 one for all, those of other servers included.
    fn hash(&self, path: &str) -> String {
        let mut text = format!("{} {} {path} {}", env!("CARGO_PKG_VERSION"), self.version, facts::edition());
        let whole = path.starts_with("v2");
        for kind in self.kinds.iter().filter(|kind| whole || path_of(&kind.group, &kind.version) == path) {
            let subresources: Vec<&str> = kind.subresources.iter().map(|subresource| subresource.name()).collect();
            let tag = kind.strategy.custom().map_or("", |custom| &*custom.tag);
            text.push_str(&format!(" {}/{}/{}/{subresources:?}/{tag}", kind.group, kind.version, kind.kind));
        }
        let remotes = self.remotes.iter().filter(|remote| whole || (remote.path == path && remote.is_converted()));
        for (remote, v2) in remotes.filter_map(|remote| Some((remote, remote.v2.as_ref()?))) {
            text.push_str(&format!(" {} {}", remote.path, digest(&v2.gzip)));
        }
        digest(text.as_bytes())
    }
}

/// What documents of custom kinds say of themselves.
fn custom_info() -> Value {
    json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"})
}

fn bearer_token() -> Value {
    json!({"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"})
}

/// `api/v1` or `apis/apps/v1`.
fn path_of(group: &str, version: &str) -> String {
    let prefix = if group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", group_version(group, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn documents() -> OpenApi {
        OpenApi::new(kinds::all(), "v1.36.0")
    }

    fn parsed(document: &Compressed) -> Value {
        serde_json::from_slice(&document.plain()).unwrap()
    }

    /// Every reference in a document leads somewhere in it.
    fn check_references(value: &Value, document: &Value) {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| check_references(value, document)),
            Value::Array(items) => items.iter().for_each(|value| check_references(value, document)),
            _ => {}
        }
    }

    #[test]
    fn only_what_is_required_is_said_to_be() {
        let core = parsed(documents().v3("api/v1").unwrap());
        let required = |kind: &str| &core["components"]["schemas"][format!("io.k8s.api.core.v1.{kind}")]["required"];
        for (kind, expected) in [
            ("ConfigMap", Value::Null),
            ("Event", json!(["metadata", "involvedObject"])),
            ("Binding", json!(["target"])),
            ("ConfigMapKeySelector", json!(["key"])),
            ("LocalObjectReference", Value::Null),
        ] {
            assert_eq!(*required(kind), expected, "{kind}");
        }
    }

    #[test]
    fn the_index_names_every_group_version() {
        let index: Value = serde_json::from_slice(&documents().index().body).unwrap();
        let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with("/openapi/v3/api/v1?hash="));
        assert!(documents().v3("apis/nothing/v1").is_none());
    }

    #[test]
    fn version_three_has_what_kubectl_reads() {
        let documents = documents();
        let core = parsed(documents.v3("api/v1").unwrap());
        check_references(&core, &core);
        let pod = &core["components"]["schemas"]["io.k8s.api.core.v1.Pod"];
        assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "version": "v1", "kind": "Pod"}]));
        assert_eq!(
            pod["properties"]["spec"]["allOf"],
            json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}])
        );
        let containers = &core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        let patch = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-action"], "patch");
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
        let names: Vec<_> = patch["parameters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert!(names.contains(&&json!("fieldValidation")) && names.contains(&&json!("dryRun")));
    }

    #[test]
    fn version_two_is_whole() {
        let documents = documents();
        let all = parsed(documents.v2());
        check_references(&all, &all);
        assert_eq!(all["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"], "string");
        assert_eq!(all["paths"]["/api/v1/nodes"]["get"]["operationId"], "listCoreV1Node");
        assert!(documents.v2().gzip.len() * 4 < documents.v2().plain().len());
    }

    #[test]
    fn fields_have_values_and_defaults() {
        let documents = documents();
        let core = parsed(documents.v3("api/v1").unwrap());
        let spec = &core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(spec["restartPolicy"]["enum"], json!(["Always", "Never", "OnFailure"]));
        let pod = &core["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"];
        assert_eq!(pod["spec"]["default"], json!({}));
        assert!(
            parsed(documents.v2())["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["default"].is_null()
        );
    }

    #[test]
    fn paths_are_those_of_upstream() {
        let documents = documents();
        let core = parsed(documents.v3("api/v1").unwrap());
        let names = |value: &Value| -> Vec<String> {
            let list = value["parameters"].as_array().into_iter().flatten();
            list.map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
        };
        let pods = &core["paths"]["/api/v1/namespaces/{namespace}/pods"];
        assert_eq!(names(pods), ["namespace", "pretty"]);
        let all = names(&pods["delete"]);
        for expected in ["continue", "dryRun", "gracePeriodSeconds", "limit", "propagationPolicy", "shardSelector"] {
            assert!(all.iter().any(|name| name == expected), "{expected}");
        }
        let watch = &core["paths"]["/api/v1/watch/namespaces/{namespace}/pods/{name}"]["get"];
        assert_eq!(
            (&watch["x-kubernetes-action"], &watch["operationId"]),
            (&json!("watch"), &json!("watchCoreV1NamespacedPod"))
        );
        assert!(core["paths"]["/api/v1/"]["get"].is_object());
        assert!(parsed(documents.v3("version").unwrap())["paths"]["/version/"].is_object());
        let all = parsed(documents.v2());
        let list = &all["paths"]["/api/v1/nodes"]["get"]["parameters"][0]["$ref"];
        let name = list.as_str().and_then(|pointer| pointer.strip_prefix("#/parameters/")).unwrap();
        assert_eq!(all["parameters"][name]["name"], "allowWatchBookmarks");
    }

    #[test]
    fn operations_have_distinct_names() {
        let all = parsed(documents().v2());
        let mut seen = std::collections::HashSet::new();
        for item in all["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                if let Some(id) = operation.get("operationId").and_then(Value::as_str) {
                    assert!(seen.insert(id.to_owned()), "{id}");
                }
            }
        }
    }

    #[test]
    fn only_json_is_served() {
        assert!(is_acceptable("") && is_acceptable("application/json, */*"));
        assert!(!is_acceptable("application/com.github.proto-openapi.spec.v2@v1.0+protobuf"));
    }
}
