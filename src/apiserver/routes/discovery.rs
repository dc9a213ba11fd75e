//! Documents about the API itself, made once and kept: discovery, classic and aggregated.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{
    api::{Status, kind::Descriptor},
    apiserver::{
        discovery::{
            Document, aggregated,
            catalog::{Catalog, Remote, Source},
            classic,
        },
        negotiate::{self, Accept, accept::Encoding},
        respond,
    },
    http::body::{self, Body},
};

/// Paths outside the API's groups that `/` lists.
const OTHER_PATHS: [&str; 7] = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];

/// Documents by path.
pub struct Documents {
    classic: HashMap<String, Document>,
    aggregated: HashMap<&'static str, Document>,
    index: String,
}

impl Documents {
    /// Documents for `kinds`, and for what is served behind this server; `address` is where clients
    /// reach the server, `host:port`.
    pub fn new(kinds: &[Descriptor], remotes: &[Remote], address: &str) -> Self {
        let catalog = Catalog::new(kinds, remotes);
        let mut documents = HashMap::new();
        documents.insert("/api".to_owned(), classic::core_versions(&catalog, address));
        documents.insert("/apis".to_owned(), classic::groups(&catalog));
        for group in &catalog.groups {
            let prefix = if group.name.is_empty() { "/api".to_owned() } else { format!("/apis/{}", group.name) };
            for version in &group.versions {
                // Of others, the resources are asked for where they are served.
                if let Source::Local(kinds) = &version.source {
                    let resources = classic::resources(group.name, version.name, kinds);
                    documents.insert(format!("{prefix}/{}", version.name), resources);
                }
            }
            if !group.name.is_empty() {
                documents.insert(prefix, classic::group(group));
            }
        }
        let mut paths: Vec<&str> = documents.keys().map(String::as_str).chain(OTHER_PATHS).collect();
        paths.sort_unstable();
        let index = serde_json::json!({"paths": paths}).to_string();
        let aggregated = [("/api", aggregated::core(&catalog)), ("/apis", aggregated::groups(&catalog))];
        Self { classic: documents, aggregated: HashMap::from(aggregated), index }
    }

    /// Whether there is a document at `path`.
    pub fn has(&self, path: &str) -> bool {
        let path = below_root(path);
        path.is_some_and(|path| path.is_empty() || self.classic.contains_key(path))
    }

    /// Whether `path` is a version of a group that there is, or would be.
    pub fn is_below_group(&self, path: &str) -> bool {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        parent != "/apis" && self.classic.contains_key(parent)
    }

    /// The document at `path`: 304 if the client has it already, 404 if there is none, 406 if it is in no form that
    /// the client accepts.
    pub fn serve(&self, path: &str, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        let path = below_root(path).ok_or_else(respond::no_such_path)?;
        if path.is_empty() {
            return Ok(respond::whole(StatusCode::OK, respond::JSON, self.index.clone()));
        }
        let preferred = aggregated::is_preferred(&text(headers, header::ACCEPT));
        if let Some(document) = self.aggregated.get(path).filter(|_| preferred) {
            return Ok(tagged(document, aggregated::CONTENT_TYPE, headers));
        }
        let document = self.classic.get(path).ok_or_else(respond::no_such_path)?;
        match Accept::of(headers).document()? {
            Encoding::Json => Ok(tagged(document, respond::JSON, headers)),
            encoding => negotiate::document(StatusCode::OK, document.body.clone(), encoding),
        }
    }
}

/// The path without the slash that may stand behind it; there is nothing below two in front of it.
fn below_root(path: &str) -> Option<&str> {
    let bare = path.strip_suffix('/').unwrap_or(path);
    (!bare.ends_with('/') && !bare.starts_with("//")).then_some(bare)
}

/// A document, or 304 if the client has it already.
fn tagged(document: &Document, content_type: &'static str, headers: &HeaderMap) -> Response<Body> {
    let if_none_match = text(headers, header::IF_NONE_MATCH);
    let known = !if_none_match.is_empty() && document.matches(&if_none_match);
    let code = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let content = if known { body::empty() } else { body::full(document.body.clone()) };
    let mut response = respond::streamed(code, content_type, content);
    if let Ok(tag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// All values of a header as one list.
fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}
