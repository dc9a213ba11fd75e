//! A request in the form that those see who are asked about it: `AdmissionRequest` of
//! `admission.k8s.io/v1`, which reviews carry and the variable `request` of expressions shows.

use serde_json::{Map, Value, json};

use crate::{
    api::{meta, schema::FieldValidation},
    apiserver::{
        admission::{Operation, Options, Request, matching::Matched},
        registry::delete::{DeleteOptions, Propagation},
    },
    http::identity::User,
};

/// The request as it is shown to who matched it as `shown`, without its objects. `object` is the new
/// object, if there is one.
pub fn describe(request: &Request<'_>, shown: &Matched, object: Option<&Value>) -> Map<String, Value> {
    let attributes = request.attributes;
    let requested = Matched::of(request.kind);
    let subresource = attributes.subresource.as_str();
    let mut described = Map::new();
    let mut put = |field: &str, value: Value| _ = described.insert(field.to_owned(), value);
    put("kind", kind(shown, subresource));
    put("resource", resource(shown));
    put("requestKind", kind(&requested, subresource));
    put("requestResource", resource(&requested));
    let name = if attributes.name.is_empty() { object.map(meta::name).unwrap_or_default() } else { &attributes.name };
    let texts = [
        ("subResource", subresource),
        ("requestSubResource", subresource),
        ("name", name),
        ("namespace", request.namespace()),
    ];
    for (field, text) in texts {
        if !text.is_empty() {
            put(field, text.into());
        }
    }
    put("operation", request.operation.name().into());
    put("userInfo", user(&attributes.user));
    put("dryRun", request.dry_run.into());
    put("options", options(request));
    described
}

/// What a request asks about: with a subresource that has a kind of its own, that.
fn kind(shown: &Matched, subresource: &str) -> Value {
    let (group, version, kind) = match (&*shown.group, &*shown.resource, subresource) {
        (_, _, "scale") => ("autoscaling", "v1", "Scale"),
        ("", "pods", "binding") => ("", "v1", "Binding"),
        ("", "pods", "eviction") => ("policy", "v1", "Eviction"),
        ("", "pods", "exec") => ("", "v1", "PodExecOptions"),
        ("", "pods", "attach") => ("", "v1", "PodAttachOptions"),
        ("", "pods", "portforward") => ("", "v1", "PodPortForwardOptions"),
        ("", "pods", "proxy") => ("", "v1", "PodProxyOptions"),
        ("", "services", "proxy") => ("", "v1", "ServiceProxyOptions"),
        ("", "nodes", "proxy") => ("", "v1", "NodeProxyOptions"),
        ("", "serviceaccounts", "token") => ("authentication.k8s.io", "v1", "TokenRequest"),
        _ => (&*shown.group, &*shown.version, &*shown.kind),
    };
    json!({"group": group, "version": version, "kind": kind})
}

fn resource(shown: &Matched) -> Value {
    json!({"group": shown.group, "version": shown.version, "resource": shown.resource})
}

fn user(user: &User) -> Value {
    let mut described = json!({"username": user.name});
    if !user.uid.is_empty() {
        described["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        described["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        described["extra"] = json!(user.extra);
    }
    described
}

/// `CreateOptions` and its like of meta/v1.
fn options(request: &Request<'_>) -> Value {
    let Options { manager, field_validation, delete } = request.options;
    let kind = match (request.operation, request.attributes.verb.as_str()) {
        (Operation::Connect, _) => return Value::Null,
        (Operation::Delete, _) => "DeleteOptions",
        (Operation::Update, "patch") => "PatchOptions",
        (Operation::Update, _) => "UpdateOptions",
        (Operation::Create, _) => "CreateOptions",
    };
    let mut described = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if request.dry_run {
        described["dryRun"] = json!(["All"]);
    }
    if let Some(delete) = delete {
        describe_deletion(delete, &mut described);
        return described;
    }
    if !manager.is_empty() {
        described["fieldManager"] = manager.into();
    }
    let validation = match field_validation {
        FieldValidation::Ignore => "Ignore",
        FieldValidation::Warn => "Warn",
        FieldValidation::Strict => "Strict",
    };
    described["fieldValidation"] = validation.into();
    described
}

fn describe_deletion(options: &DeleteOptions, described: &mut Value) {
    if let Some(seconds) = options.grace_period_seconds {
        described["gracePeriodSeconds"] = seconds.into();
    }
    for (field, value) in [("uid", &options.uid), ("resourceVersion", &options.resource_version)] {
        if let Some(value) = value {
            described["preconditions"][field] = value.as_str().into();
        }
    }
    if let Some(propagation) = options.propagation {
        let policy = match propagation {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        };
        described["propagationPolicy"] = policy.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::kinds,
        apiserver::admission::fixture::{attributes, request, user},
    };

    #[test]
    fn a_request_is_shown_with_who_asks_for_what() {
        let attributes = attributes(user("jane", &["dev"]), "create", "", "pods/exec", "n", "web");
        let kind = kinds::all().into_iter().find(|kind| kind.kind == "Pod").unwrap();
        let request = request(&attributes, Operation::Connect, &kind, None);
        let described = Value::Object(describe(&request, &Matched::of(&kind), None));
        assert_eq!(described["kind"], json!({"group": "", "version": "v1", "kind": "PodExecOptions"}));
        assert_eq!(described["resource"], json!({"group": "", "version": "v1", "resource": "pods"}));
        assert_eq!((&described["subResource"], &described["name"]), (&json!("exec"), &json!("web")));
        assert_eq!(described["userInfo"], json!({"username": "jane", "groups": ["dev"]}));
        assert_eq!((&described["operation"], &described["options"]), (&json!("CONNECT"), &Value::Null));
    }

    #[test]
    fn options_are_those_of_the_operation() {
        let attributes = attributes(user("jane", &[]), "delete", "", "pods", "n", "web");
        let kind = kinds::all().into_iter().find(|kind| kind.kind == "Pod").unwrap();
        let delete = DeleteOptions {
            grace_period_seconds: Some(3),
            uid: Some("u".into()),
            propagation: Some(Propagation::Orphan),
            ..DeleteOptions::default()
        };
        let mut request = request(&attributes, Operation::Delete, &kind, None);
        request.dry_run = true;
        request.options.delete = Some(&delete);
        assert_eq!(
            options(&request),
            json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"], "gracePeriodSeconds": 3,
                   "preconditions": {"uid": "u"}, "propagationPolicy": "Orphan"})
        );
    }
}
