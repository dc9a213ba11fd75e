//! Impersonation (Kubernetes reference, "User impersonation"; KEP-5284): the `Impersonate-*` headers name
//! the user to act as. A *mode* says whom one may act as and for which requests (`impersonate:user-info`
//! and `impersonate-on:user-info:list`); the `impersonate` verb alone is for any request, as it always was.
//! What a mode grants is no more than the mode names, so modes are asked before the verb.

use std::collections::BTreeMap;

use http::{HeaderMap, request::Parts};
use percent_encoding::percent_decode_str;

use crate::{
    api::Status,
    apiserver::{attributes::Attributes, authn::ANONYMOUS, authz::Authorizer, query::Query, request_info},
    http::identity::{AUTHENTICATED, UNAUTHENTICATED, User},
};

mod attempt;
mod mode;

use attempt::Attempt;
use mode::MODES;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

/// Somebody acts as somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonation {
    /// As whom.
    pub user: User,
    /// The verb of the mode that allows it; `None` for the verb that is for any request.
    pub constraint: Option<String>,
}

/// Who acts as somebody else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impersonator {
    /// Who it is.
    pub user: User,
    /// As [`Impersonation::constraint`], if they may.
    pub constraint: Option<String>,
}

/// Whom `requestor` acts as, if the request asks for that; 403 if they may not.
pub fn apply(requestor: &User, request: &Parts, authorizer: &Authorizer) -> Result<Option<Impersonation>, Status> {
    let Some(wanted) = requested(&request.headers)? else { return Ok(None) };
    let query = Query::parse(request.uri.query().unwrap_or_default());
    let attributes = request_info::attributes(&request.method, request.uri.path(), &query, requestor.clone());
    allowed(&attributes, &wanted, authorizer).map(Some)
}

/// Whether a request is made on behalf of somebody else.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(USER).is_some_and(|name| !name.is_empty())
}

fn allowed(request: &Attributes, wanted: &User, authorizer: &Authorizer) -> Result<Impersonation, Status> {
    let mut first = None;
    for mode in MODES.iter().filter(|mode| mode.applies(wanted, &request.user)) {
        let granted = mode.check_request(request, authorizer).and_then(|()| {
            let verb = format!("impersonate:{}", mode.name);
            Attempt { requestor: &request.user, verb: &verb, mode: Some(mode), authorizer }.check(wanted)
        });
        match granted {
            Ok(user) => return Ok(complete(user, Some(format!("impersonate:{}", mode.name)))),
            Err(status) => _ = first.get_or_insert(status),
        }
    }
    let any = Attempt { requestor: &request.user, verb: "impersonate", mode: None, authorizer };
    // Who may do neither is told of what is missing for the narrowest.
    any.check(wanted).map(|user| complete(user, None)).map_err(|status| first.unwrap_or(status))
}

/// Adds the group that everybody has.
fn complete(mut user: User, constraint: Option<String>) -> Impersonation {
    let group = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.is_in(group) && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(group.into());
    }
    Impersonation { user, constraint }
}

fn requested(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let text = |value: &http::HeaderValue| {
        value.to_str().map(str::to_owned).map_err(|_| Status::bad_request("impersonation header is not text"))
    };
    let wanted = User {
        name: headers.get(USER).map(text).transpose()?.unwrap_or_default(),
        uid: headers.get(UID).map(text).transpose()?.unwrap_or_default(),
        groups: headers.get_all(GROUP).iter().map(text).collect::<Result<_, _>>()?,
        extra: extra(headers)?,
    };
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted != User::default() {
        return Err(Status::bad_request(format!("requested {} without impersonating a user name", in_go(&wanted))));
    }
    Ok(None)
}

/// A user as upstream shows one.
fn in_go(user: &User) -> String {
    let list = |texts: &[String]| match texts {
        [] => "[]string(nil)".to_owned(),
        texts => {
            let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            format!("[]string{{{}}}", texts.join(", "))
        }
    };
    let extra: Vec<String> = user.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
    let extra = if extra.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", extra.join(", ")) };
    let (name, uid, groups) = (&user.name, &user.uid, list(&user.groups));
    format!("&user.DefaultInfo{{Name:{name:?}, UID:{uid:?}, Groups:{groups}, Extra:map[string][]string{extra}}}")
}

fn extra(headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Status> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
        let value = value.to_str().map_err(|_| Status::bad_request("impersonation header is not text"))?;
        extra.entry(key).or_default().push(value.to_owned());
    }
    Ok(extra)
}

#[cfg(test)]
mod tests;
