//! `Status`: the one error that leaves the API. Its reason, code and details are what clients act
//! on (API conventions, "Response Status Kind").

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// Why a request failed, in the words clients compare with (`metav1.StatusReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 406
    NotAcceptable,
    /// 409, a create of what exists
    AlreadyExists,
    /// 409
    Conflict,
    /// 410, the resource version is no longer in the history
    Expired,
    /// 410
    Gone,
    /// 413
    RequestEntityTooLarge,
    /// 415
    UnsupportedMediaType,
    /// 422
    Invalid,
    /// 429
    TooManyRequests,
    /// 500
    InternalError,
    /// 503
    ServiceUnavailable,
    /// 504
    Timeout,
    /// 500, a server that could not answer in time asks the client to retry
    ServerTimeout,
    /// 500, an error that upstream gives no reason
    #[serde(rename = "")]
    Unknown,
}

impl Reason {
    /// The HTTP status code that goes with the reason.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired | Self::Gone => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::ServerTimeout | Self::Unknown => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// One cause of an `Invalid` status (`metav1.StatusCause`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Machine-readable kind: `FieldValueInvalid`, `FieldValueRequired`, …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field, such as `spec.containers[0].image`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Whether it is only warned of: it was so before, and is no part of what is changed.
    #[serde(skip)]
    pub is_tolerated: bool,
}

/// What the error is about (`metav1.StatusDetails`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (plural) or kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object, where there is a single one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Every problem found, for `Invalid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which a retry makes sense; 0 for no hint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
    /// Where a list may go on although it is no longer consistent; shown as the status's own metadata.
    #[serde(skip)]
    pub continue_token: String,
    /// What somebody else has answered, where that is passed on.
    #[serde(skip)]
    pub answered: Option<Answered>,
}

/// Another one's refusal, whose code and reason need not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status code.
    pub code: u16,
    /// The reason, in that one's words.
    pub reason: String,
}

fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// About what. Boxed: errors are rare and results are passed by value.
    pub details: Option<Box<Details>>,
}

impl Status {
    /// A status with a message and no details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None }
    }

    /// 400 with `message`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 500 with `message`.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// 404 `pods "a" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(group, resource));
        Self::about(Reason::NotFound, group, resource, name, message)
    }

    /// 409 `pods "a" already exists`.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(group, resource));
        Self::about(Reason::AlreadyExists, group, resource, name, message)
    }

    /// 409 `Operation cannot be fulfilled on pods "a": …`.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(group, resource));
        Self::about(Reason::Conflict, group, resource, name, message)
    }

    /// 403 `pods "a" is forbidden: …`; without a name `pods is forbidden: …`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, resource);
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{what} is forbidden: {why}"),
            (false, false) => format!("{what} \"{name}\" is forbidden: {why}"),
        };
        Self::about(Reason::Forbidden, group, resource, name, message)
    }

    /// 422 with one cause per problem, in upstream's wording:
    /// `Pod "a" is invalid: spec.containers: Required value`. The message says once what several causes say.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let mut each: Vec<String> = Vec::with_capacity(causes.len());
        let mut said = HashSet::with_capacity(causes.len());
        for cause in &causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if said.insert(text.clone()) {
                each.push(text);
            }
        }
        let problems = match each.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {problems}", qualified(group, kind));
        let mut status = Self::about(Reason::Invalid, group, kind, name, message);
        if let Some(details) = &mut status.details {
            details.causes = causes;
        }
        status
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.answered().map_or(self.reason.code(), |answered| answered.code)
    }

    fn answered(&self) -> Option<&Answered> {
        self.details.as_ref().and_then(|details| details.answered.as_ref())
    }

    /// The `v1.Status` object that goes over the wire.
    pub fn to_json(&self) -> serde_json::Value {
        let mut status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code(),
        });
        if let Some(details) = &self.details {
            if !details.continue_token.is_empty() {
                status["metadata"]["continue"] = details.continue_token.as_str().into();
            }
            status["details"] = serde_json::json!(details);
        }
        if let Some(answered) = self.answered() {
            status["reason"] = answered.reason.as_str().into();
        }
        if let (true, Some(fields)) = (status["reason"] == "", status.as_object_mut()) {
            fields.remove("reason");
        }
        status
    }

    fn about(reason: Reason, group: &str, kind: &str, name: &str, message: String) -> Self {
        let details = Details { name: name.into(), group: group.into(), kind: kind.into(), ..Details::default() };
        Self { reason, message, details: Some(Box::new(details)) }
    }
}

/// `deployments.apps`, or `pods` for the core group.
fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_clients_know() {
        let status = Status::not_found("apps", "deployments", "web");
        assert_eq!(status.message, "deployments.apps \"web\" not found");
        assert_eq!(status.code(), 404);
        assert_eq!(status.to_json()["details"]["kind"], "deployments");
    }

    #[test]
    fn several_causes_are_listed_in_brackets() {
        let cause = |field: &str| Cause {
            field: field.into(),
            message: "Required value".into(),
            reason: "FieldValueRequired".into(),
            ..Cause::default()
        };
        let status = Status::invalid("", "Pod", "a", vec![cause("spec.x"), cause("spec.y")]);
        assert_eq!(status.message, "Pod \"a\" is invalid: [spec.x: Required value, spec.y: Required value]");
        let status = Status::invalid("", "Pod", "a", vec![cause("spec.x"), cause("spec.x")]);
        assert_eq!(status.message, "Pod \"a\" is invalid: spec.x: Required value");
        assert_eq!(status.details.unwrap().causes.len(), 2);
    }
}
