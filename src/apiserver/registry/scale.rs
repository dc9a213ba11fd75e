//! The scale subresource: an autoscaling/v1 Scale over `spec.replicas`.

use serde_json::{Value, json};

use crate::{
    api::{
        Status, custom::kind::ScalePaths, field, kind::Descriptor, kinds::scale::DESCRIPTOR, meta,
        selector::LabelSelector,
    },
    apiserver::registry::{Call, Registry, ownership::Configuration, update::Endpoint},
};

impl Registry {
    /// The Scale of an object.
    pub async fn get_scale(&self, call: &Call<'_>) -> Result<Value, Status> {
        let object = serde_json::from_slice(&self.get(call).await?).map_err(Status::internal)?;
        scale_of(call.kind, &object)
    }

    /// Makes of the current Scale what `produce` says, and returns the new one.
    pub async fn set_scale(
        &self,
        call: &Call<'_>,
        produce: impl Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let stored = self
            .modify(call, Endpoint::Main, |object| {
                let scale = DESCRIPTOR.strategy.decode(produce(&scale_of(call.kind, object)?)?)?;
                let replicas = replicas(call.kind, &call.attributes.name, &scale)?;
                let mut object = object.clone();
                set_replicas(call.kind, &mut object, replicas)?;
                for field in ["uid", "resourceVersion"] {
                    if !meta::text(&scale, field).is_empty() {
                        meta::set(&mut object, field, meta::text(&scale, field));
                    }
                }
                Ok(object)
            })
            .await?;
        let object = serde_json::from_slice(&stored).map_err(Status::internal)?;
        scale_of(call.kind, &object)
    }

    /// Applies a Scale, and returns the new one: an apply of the number of replicas, and of nothing
    /// else, to the object.
    pub async fn apply_scale(&self, call: &Call<'_>, scale: &Configuration) -> Result<Value, Status> {
        let configuration = Configuration { object: config_of(call, &scale.object)?, force: scale.force };
        let stored = self
            .modify(call, Endpoint::Main, |object| self.applied(call, Endpoint::Main, &configuration, Some(object)))
            .await?;
        let object = serde_json::from_slice(&stored).map_err(Status::internal)?;
        scale_of(call.kind, &object)
    }
}

/// What applying a Scale means for the object that is scaled.
fn config_of(call: &Call<'_>, scale: &Value) -> Result<Value, Status> {
    let kind = call.kind;
    if (meta::api_version(scale), meta::kind(scale)) != ("autoscaling/v1", "Scale") {
        let given = format!("{}, Kind={}", meta::api_version(scale), meta::kind(scale));
        return Err(Status::bad_request(format!("invalid object type: {given}")));
    }
    let mut config = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {}});
    for field in ["name", "namespace", "uid", "resourceVersion", "managedFields"] {
        let given = meta::metadata(scale).and_then(|metadata| metadata.get(field)).cloned();
        meta::set(&mut config, field, given.unwrap_or_default());
    }
    if let Some(wanted) = scale.pointer("/spec/replicas") {
        replicas(kind, meta::name(scale), scale)?;
        match custom_paths(kind) {
            Some(paths) => _ = paths.spec_replicas.set(&mut config, wanted.clone()),
            None => config["spec"] = json!({"replicas": wanted}),
        }
    }
    Ok(config)
}

/// The Scale of an object of `kind`.
pub fn scale_of(kind: &Descriptor, object: &Value) -> Result<Value, Status> {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !meta::text(object, field).is_empty() {
            metadata[field] = meta::text(object, field).into();
        }
    }
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    if let Some(paths) = custom_paths(kind) {
        return custom_scale(paths, object, metadata);
    }
    let mut status = json!({"replicas": number("/status/replicas")});
    if let Some(selector) = object.pointer("/spec/selector") {
        status["selector"] = selector_text(selector).into();
    }
    Ok(json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
              "spec": {"replicas": number("/spec/replicas")}, "status": status}))
}

fn custom_paths(kind: &Descriptor) -> Option<&ScalePaths> {
    kind.strategy.custom().and_then(|custom| custom.scale.as_ref())
}

/// The Scale of a custom resource is where its definition says.
fn custom_scale(paths: &ScalePaths, object: &Value, metadata: Value) -> Result<Value, Status> {
    let missing =
        || Status::internal(format!("the spec replicas field \"{}\" does not exist", paths.spec_replicas_text));
    let replicas = paths.spec_replicas.find(object).and_then(Value::as_i64).ok_or_else(missing)?;
    let there = paths.status_replicas.find(object).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({"replicas": there});
    let selector = paths.label_selector.as_ref().and_then(|path| path.find(object)).and_then(Value::as_str);
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status["selector"] = selector.into();
    }
    Ok(json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
              "spec": {"replicas": replicas}, "status": status}))
}

/// Gives an object of `kind` that many replicas.
pub fn set_replicas(kind: &Descriptor, object: &mut Value, replicas: i64) -> Result<(), Status> {
    let Some(paths) = custom_paths(kind) else {
        object["spec"]["replicas"] = replicas.into();
        return Ok(());
    };
    if paths.spec_replicas.set(object, replicas.into()) {
        return Ok(());
    }
    Err(Status::internal(format!("the spec replicas field \"{}\" cannot be set", paths.spec_replicas_text)))
}

/// Selectors are objects with `matchLabels`, or bare maps in the oldest kinds.
fn selector_text(selector: &Value) -> String {
    let typed = serde_json::from_value(selector.clone()).ok();
    match typed.and_then(|typed| LabelSelector::from_object(&typed).ok()) {
        Some(parsed) if !parsed.requirements().is_empty() => parsed.to_string(),
        _ => {
            let pairs = selector.as_object().into_iter().flatten();
            let pairs = pairs.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
            LabelSelector::from_map(pairs).to_string()
        }
    }
}

/// The replicas that a Scale asks for; 422 for what is no number of replicas.
pub fn replicas(kind: &Descriptor, name: &str, scale: &Value) -> Result<i64, Status> {
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas >= 0 && i32::try_from(replicas).is_ok() {
        return Ok(replicas);
    }
    let path = field::Path::new("spec").child("replicas");
    let cause = field::invalid(&path, replicas, "must be greater than or equal to 0");
    Err(Status::invalid("autoscaling", "Scale", name, vec![cause])).inspect_err(|_: &Status| {
        tracing::debug!(kind = &*kind.kind, name, "a scale was refused");
    })
}
