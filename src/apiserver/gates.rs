//! What stands between a request and its effect, as the pipeline sees it: three small traits, so
//! that the pipeline is tested without certificates, roles or plugins.

use futures_util::future::BoxFuture;
use http::request::Parts;
use serde_json::Value;

use crate::{
    api::Status,
    apiserver::{
        admission::{Admission, Request, Reservation, Warnings},
        attributes::Attributes,
        authn::{Authenticator, Impersonator},
        authz::Authorizer,
    },
    http::identity::User,
};

/// Finds out who asks.
pub trait Authenticate: Send + Sync {
    /// The user, or 401.
    fn authenticate(&self, request: &Parts) -> Result<User, Status>;
    /// Fetches what is missing to tell who asks, within a bounded time; `None` where nothing is.
    fn prepare<'a>(&'a self, _request: &'a Parts) -> Option<BoxFuture<'a, ()>> {
        None
    }
    /// Who really asks, when they act as somebody else.
    fn impersonator(&self, _request: &Parts) -> Option<Impersonator> {
        None
    }
}

/// Decides whether they may.
pub trait Authorize: Send + Sync {
    /// Nothing, or 403.
    fn authorize(&self, attributes: &Attributes) -> Result<(), Status>;
    /// Why a request is allowed, as far as there is something to say.
    fn reason(&self, _attributes: &Attributes) -> String {
        String::new()
    }
}

/// Changes and refuses writes.
pub trait Admit: Send + Sync {
    /// Changes the object that is to be written; gives warnings for the client.
    fn mutate<'a>(&'a self, request: &'a Request<'_>, object: &'a mut Value)
    -> BoxFuture<'a, Result<Warnings, Status>>;
    /// Refuses the write, or gives warnings for the client.
    fn validate<'a>(&'a self, request: &'a Request<'_>, object: &'a Value) -> BoxFuture<'a, Result<Warnings, Status>>;
    /// Refuses what is too much, or sets it aside until the result is dropped.
    fn reserve(&self, _request: &Request<'_>, _object: &Value) -> Result<Vec<Reservation>, Status> {
        Ok(Vec::new())
    }
}

impl Authenticate for Authenticator {
    fn authenticate(&self, request: &Parts) -> Result<User, Status> {
        Authenticator::authenticate(self, request)
    }

    fn prepare<'a>(&'a self, request: &'a Parts) -> Option<BoxFuture<'a, ()>> {
        Authenticator::prepare(self, request)
    }

    fn impersonator(&self, request: &Parts) -> Option<Impersonator> {
        Authenticator::impersonator(self, request)
    }
}

impl Authorize for Authorizer {
    fn authorize(&self, attributes: &Attributes) -> Result<(), Status> {
        Authorizer::authorize(self, attributes)
    }

    fn reason(&self, attributes: &Attributes) -> String {
        Authorizer::reason(self, attributes)
    }
}

impl Admit for Admission {
    fn mutate<'a>(
        &'a self,
        request: &'a Request<'_>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<Warnings, Status>> {
        Box::pin(Admission::mutate(self, request, object))
    }

    fn validate<'a>(&'a self, request: &'a Request<'_>, object: &'a Value) -> BoxFuture<'a, Result<Warnings, Status>> {
        Box::pin(Admission::validate(self, request, object))
    }

    fn reserve(&self, request: &Request<'_>, object: &Value) -> Result<Vec<Reservation>, Status> {
        Admission::reserve(self, request, object)
    }
}
