//! Serves the documents under `/openapi`. They are built on a lane of their own, so that no
//! request waits behind one that is the first to ask.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::sync::Notify;

use super::{Asked, Compressed, OpenApi, is_acceptable, protobuf, remote::RemoteDocument};
use crate::{
    api::{
        Status,
        kind::Descriptor,
        status::{Details, Reason},
    },
    apiserver::{attributes::Attributes, handler::Handler, respond},
    base::lane::Lane,
    http::body::{self, Body},
};

/// Documents that are built at once.
const BUILDING_LIMIT: usize = 1;
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// The handler of `/openapi`.
pub struct OpenApiHandler {
    documents: ArcSwap<OpenApi>,
    building: Lane,
    spent: Arc<Notify>,
}

impl OpenApiHandler {
    /// Serves the documents of `kinds`; `version` is the Kubernetes version that they name. Building one takes
    /// many times the memory that it needs afterwards: `spent` is told each time.
    pub fn new(kinds: Vec<Descriptor>, version: impl Into<String>, spent: Arc<Notify>) -> Self {
        let documents = ArcSwap::from_pointee(OpenApi::new(kinds, version));
        Self { documents, building: Lane::new(BUILDING_LIMIT), spent }
    }

    /// Serves the documents of `kinds` from now on; those that did not change are kept.
    pub fn serve(&self, kinds: Vec<Descriptor>) {
        self.documents.store(Arc::new(self.documents.load().with_kinds(kinds)));
    }

    /// Shows documents of servers behind this one, in the place of those that were shown before.
    pub fn aggregate(&self, documents: Vec<RemoteDocument>) {
        let current = self.documents.load();
        if current.remotes() != documents {
            self.documents.store(Arc::new(current.with_remotes(documents)));
        }
    }

    async fn answer(&self, path: &str, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        let accept = text(headers, header::ACCEPT);
        let protobuf = path == "/openapi/v2" && protobuf::is_preferred(accept);
        if !protobuf && !is_acceptable(accept) {
            return Err(not_acceptable());
        }
        let asked = match path.strip_prefix("/openapi/") {
            Some("v3") => return Ok(self.index(headers)),
            Some("v2") if protobuf => Asked::V2Protobuf,
            Some("v2") => Asked::V2,
            Some(path) => match path.strip_prefix("v3/") {
                Some(path) => Asked::V3(path.to_owned()),
                None => return Ok(respond::no_such_page()),
            },
            None => return Ok(respond::no_such_page()),
        };
        let content_type = if protobuf { protobuf::MEDIA_TYPE } else { respond::JSON };
        let gzip = text(headers, header::ACCEPT_ENCODING).contains("gzip");
        let (document, plain) = self.build(asked, gzip).await.ok_or_else(respond::no_such_path)?;
        let content = plain.unwrap_or_else(|| document.gzip.clone());
        let mut response = tagged(headers, &document.etag, content_type, content);
        if gzip && response.status() == StatusCode::OK {
            response.headers_mut().insert(header::CONTENT_ENCODING, GZIP);
        }
        Ok(response)
    }

    fn index(&self, headers: &HeaderMap) -> Response<Body> {
        let index = self.documents.load().index();
        tagged(headers, &index.etag, respond::JSON, index.body)
    }

    /// The document, and its plain form for clients that take no gzip.
    async fn build(&self, asked: Asked, gzip: bool) -> Option<(Compressed, Option<Bytes>)> {
        let (documents, spent) = (self.documents.load_full(), self.spent.clone());
        let work = move || {
            let is_new = !documents.is_built(&asked);
            let document = match asked {
                Asked::V2 => documents.v2(),
                Asked::V2Protobuf => documents.v2_protobuf(),
                Asked::V3(path) => documents.v3(&path)?,
            };
            if is_new {
                spent.notify_one();
            }
            Some((document.clone(), (!gzip).then(|| document.plain())))
        };
        self.building.run(work).await
    }
}

impl Handler for OpenApiHandler {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        Box::pin(async move {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return Err(respond::no_such_method());
            }
            self.answer(attributes.path.trim_end_matches('/'), request.headers()).await
        })
    }
}

/// 200 with the content, or 304 if the client has it.
fn tagged(headers: &HeaderMap, etag: &str, content_type: &'static str, content: Bytes) -> Response<Body> {
    let known = text(headers, header::IF_NONE_MATCH).split(',').any(|tag| tag.trim() == etag);
    let (code, content) = if known { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, content) };
    let mut response = respond::streamed(code, content_type, body::full(content));
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    response
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn not_acceptable() -> Status {
    let message = "only the following media types are accepted: application/json";
    Status { reason: Reason::NotAcceptable, message: message.into(), details: Some(Box::new(Details::default())) }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::api::kinds;

    async fn get(path: &str, headers: &[(header::HeaderName, &str)]) -> Result<Response<Body>, Status> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let attributes = Attributes { path: path.to_owned(), ..Attributes::default() };
        OpenApiHandler::new(kinds::all(), "v1.36.0", Arc::default())
            .handle(&attributes, request.body(body::empty()).unwrap())
            .await
    }

    #[tokio::test]
    async fn documents_are_sent_compressed_to_those_who_take_it() {
        let plain = get("/openapi/v3/api/v1", &[]).await.unwrap();
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
        let plain = plain.into_body().collect().await.unwrap().to_bytes();
        let packed = get("/openapi/v3/api/v1", &[(header::ACCEPT_ENCODING, "gzip")]).await.unwrap();
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        let packed = packed.into_body().collect().await.unwrap().to_bytes();
        assert!(packed.len() * 3 < plain.len());
    }

    #[tokio::test]
    async fn a_client_that_has_the_document_is_told_so() {
        let etag = get("/openapi/v3", &[]).await.unwrap().headers()[header::ETAG].clone();
        let again = get("/openapi/v3", &[(header::IF_NONE_MATCH, etag.to_str().unwrap())]).await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn forms_are_negotiated() {
        let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        let response = get("/openapi/v2", &[(header::ACCEPT, protobuf)]).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], protobuf::MEDIA_TYPE);
        let refused = get("/openapi/v3/api/v1", &[(header::ACCEPT, protobuf)]).await.unwrap_err();
        assert_eq!(refused.code(), 406);
        assert_eq!(get("/openapi/v3/apis/none/v1", &[]).await.unwrap_err().code(), 404);
        assert_eq!(get("/openapi/v1", &[]).await.unwrap().status(), 404);
    }
}
