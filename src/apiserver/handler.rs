//! What serves a request that the generic registry does not: subresources with a protocol of their
//! own (log, exec, token…), reviews, and paths outside `/api` and `/apis`. Handlers are called
//! after authentication and authorization.

use futures_util::future::BoxFuture;
use http::{Request, Response};

use crate::{api::Status, apiserver::attributes::Attributes, http::body::Body};

/// A handler of its own kind of request. A returned `Status` becomes the HTTP answer.
pub trait Handler: Send + Sync {
    /// Serves `request`. The body has not been read and is not yet limited in size.
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>>;
}
