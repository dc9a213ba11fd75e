//! Audit events (`audit.k8s.io/v1` Event) as they are written: one JSON object each. Made on the
//! writer's thread, from what the request left behind.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    api::{schema::Format, time},
    apiserver::{
        attributes::Attributes,
        audit::policy::{API_VERSION, Level, Stage},
        authn::Impersonator,
        payload,
    },
    http::identity::User,
};

/// What is known of a request from its beginning.
#[derive(Debug)]
pub struct Origin {
    /// How much is to be written down.
    pub level: Level,
    /// Whether bodies are written without their managed fields.
    pub omit_managed_fields: bool,
    /// Identifier of the request.
    pub id: String,
    /// Path and query.
    pub uri: String,
    /// What is asked for, as the user who is acted for.
    pub attributes: Attributes,
    /// Who acts as that user.
    pub impersonator: Option<Impersonator>,
    /// Where the request came from, the nearest last.
    pub sources: Vec<String>,
    /// The client.
    pub user_agent: String,
    /// When the request came in.
    pub received: Timestamp,
}

/// A body as it went over the wire.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// The pieces it came in.
    pub pieces: Vec<Bytes>,
    /// How it is encoded; `None` for what is no object.
    pub format: Option<Format>,
}

/// A request at one of its stages.
#[derive(Debug)]
pub struct Entry {
    /// The request.
    pub origin: Arc<Origin>,
    /// Where it is.
    pub stage: Stage,
    /// When it got there.
    pub at: Timestamp,
    /// HTTP status, once known.
    pub code: Option<u16>,
    /// A status message that no body carries.
    pub message: Option<String>,
    /// Body of the request.
    pub request: Content,
    /// Body of the response.
    pub response: Content,
    /// What was said about the request on the way.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: Level,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: Stage,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: UserInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<UserInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_metadata: Option<Metadata<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[_]>::is_empty")]
    source_ips: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectReference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<Value>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// `AuthenticationMetadata`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    impersonation_constraint: &'a str,
}

#[derive(Serialize)]
struct UserInfo<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectReference<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    resource_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

/// What the request's object says of itself.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    metadata: NamedMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NamedMetadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
}

impl Content {
    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn parse(&self) -> Option<Value> {
        let format = self.format?;
        match self.pieces.as_slice() {
            [] => None,
            [whole] => payload::parse(whole, format).ok(),
            pieces => payload::parse(&pieces.concat(), format).ok(),
        }
    }
}

impl Entry {
    /// The event as one line.
    pub fn render(&self) -> Vec<u8> {
        let origin = &*self.origin;
        let level = origin.level;
        let mut request = self.request.parse();
        let named = request.as_ref().and_then(|object| Named::deserialize(object).ok()).unwrap_or_default();
        let mut response = self.response.parse();
        let status = self.code.map(|code| self.status(code, response.as_ref()));
        if origin.omit_managed_fields {
            [&mut request, &mut response].into_iter().flatten().for_each(without_managed_fields);
        }
        let user = UserInfo::of(&origin.attributes.user);
        let acts = origin.impersonator.as_ref().map(|acts| UserInfo::of(&acts.user));
        let constraint = origin.impersonator.as_ref().and_then(|acts| acts.constraint.as_deref());
        let (user, impersonated_user) = match acts {
            Some(acts) => (acts, Some(user)),
            None => (user, None),
        };
        let event = Event {
            kind: "Event",
            api_version: API_VERSION,
            level,
            audit_id: &origin.id,
            stage: self.stage,
            request_uri: &origin.uri,
            verb: &origin.attributes.verb,
            user,
            impersonated_user,
            authentication_metadata: constraint.map(|impersonation_constraint| Metadata { impersonation_constraint }),
            source_ips: &origin.sources,
            user_agent: &origin.user_agent,
            object_ref: reference(&origin.attributes, &named.metadata),
            response_status: status,
            request_object: request.filter(|_| level >= Level::Request),
            response_object: response.filter(|_| level >= Level::RequestResponse),
            request_received_timestamp: time::format_micro(origin.received),
            stage_timestamp: time::format_micro(self.at),
            annotations: &self.annotations,
        };
        let mut line = serde_json::to_vec(&event).expect("strings and JSON values can be written as JSON");
        line.push(b'\n');
        line
    }

    fn status(&self, code: u16, response: Option<&Value>) -> Value {
        let mut status = json!({"metadata": {}, "code": code});
        let told = response.filter(|object| object["kind"] == "Status");
        for field in ["status", "message", "reason", "details"] {
            if let Some(value) = told.map(|told| &told[field]).filter(|value| !value.is_null()) {
                status[field] = value.clone();
            }
        }
        if let Some(message) = &self.message {
            status["message"] = message.as_str().into();
        }
        status
    }
}

impl<'a> UserInfo<'a> {
    fn of(user: &'a User) -> Self {
        Self { username: &user.name, uid: &user.uid, groups: &user.groups, extra: &user.extra }
    }
}

fn reference<'a>(attributes: &'a Attributes, named: &'a NamedMetadata) -> Option<ObjectReference<'a>> {
    let or = |first: &'a str, second: &'a str| if first.is_empty() { second } else { first };
    attributes.is_resource().then(|| ObjectReference {
        resource: &attributes.resource,
        namespace: or(&attributes.namespace, &named.namespace),
        name: or(&attributes.name, &named.name),
        uid: &named.uid,
        api_group: &attributes.group,
        api_version: &attributes.version,
        resource_version: &named.resource_version,
        subresource: &attributes.subresource,
    })
}

/// Of an object, of the items of a list and of the objects in a table's rows.
fn without_managed_fields(object: &mut Value) {
    let strip = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    if !object.is_object() {
        return;
    }
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().filter(|item| item.is_object()).for_each(strip);
    }
    if let Some(rows) = object.get_mut("rows").and_then(Value::as_array_mut) {
        rows.iter_mut().filter_map(|row| row.get_mut("object")).filter(|item| item.is_object()).for_each(strip);
    }
    strip(object);
}
