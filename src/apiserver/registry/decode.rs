//! From a body or a patch to an object of a kind, by the kind's schema.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    api::{
        Status, go,
        kind::{Descriptor, Name},
        meta,
        patch::{self, PatchType},
        schema::{self, FieldValidation, Format, Library, Schema, Wording},
    },
    apiserver::registry::Call,
};

/// Where upstream's schemes are made, which it tells its clients.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";
const OTHER_SCHEMES: [(&str, &str); 2] = [
    ("apiextensions.k8s.io", "pkg/apiserver/apiserver.go:55"),
    ("apiregistration.k8s.io", "pkg/apiserver/scheme/scheme.go:28"),
];

/// Decodes bodies. Schemas are built when their kind is first written.
#[derive(Default)]
pub struct Decoder {
    library: Library,
    schemas: Mutex<HashMap<(String, Name), Arc<Schema>>>,
}

impl Decoder {
    /// The object in a body.
    pub fn object(&self, call: &Call<'_>, bytes: &[u8], format: Format) -> Result<Value, Status> {
        let schema = self.decoding_schema(call.kind);
        let Some(custom) = call.kind.strategy.custom() else {
            let (object, warnings) = schema::decode(bytes, format, &schema, call.field_validation)?;
            call.warnings.extend(warnings);
            return Ok(object);
        };
        let (mut object, mut problems) = schema::decode(bytes, format, &schema, FieldValidation::Warn)?;
        problems.extend(custom.prune(&mut object));
        let settled = schema::settle(object, problems, call.field_validation);
        let (object, warnings) = settled.map_err(|problem| schema::unfit(&schema, &problem))?;
        call.warnings.extend(warnings);
        Ok(object)
    }

    /// What a patch makes of an object.
    pub fn patched(&self, call: &Call<'_>, object: &Value, kind: PatchType, patch: &[u8]) -> Result<Value, Status> {
        let schema = self.decoding_schema(call.kind);
        let patched = || patch::apply(kind, object.clone(), patch, &schema);
        let wording = if kind == PatchType::Strategic { Wording::Conversion } else { Wording::Decoder };
        let made = patched()?;
        let checked = match (other_kind(call.kind, &made), call.kind.strategy.custom()) {
            (Some(problem), _) => Err(problem),
            (None, None) => schema::check(made, &schema, call.field_validation, wording),
            (None, Some(custom)) => {
                let checked = schema::check(made, &schema, FieldValidation::Warn, wording);
                checked.and_then(|(mut object, mut problems)| {
                    problems.extend(custom.prune(&mut object));
                    schema::settle(object, problems, call.field_validation)
                })
            }
        };
        let (object, warnings) = checked.or_else(|problem| {
            let shown = go::patched(&schema.api_version, &schema.kind, &patched()?, object);
            Err(patch::makes_nothing(kind, patch, shown, &problem))
        })?;
        // A patch is applied again when it met somebody else's write.
        let deprecation = call.kind.strategy.deprecation().map(Cow::into_owned);
        call.warnings.replace(deprecation.into_iter().chain(warnings).collect());
        Ok(object)
    }

    /// The schema that bodies are decoded with.
    fn decoding_schema(&self, kind: &Descriptor) -> Arc<Schema> {
        kind.strategy.custom().map_or_else(|| self.schema(kind), |custom| custom.decoding_schema().clone())
    }

    /// The schema of a kind, with all types and how lists merge.
    pub fn schema(&self, kind: &Descriptor) -> Arc<Schema> {
        if let Some(custom) = kind.strategy.custom() {
            return custom.merging_schema().clone();
        }
        let mut schemas = self.schemas.lock();
        schemas
            .entry((kind.api_version(), kind.kind.clone()))
            .or_insert_with(|| Arc::new(self.library.schema(kind)))
            .clone()
    }
}

/// What is wrong with the kind that a patch has left, if it is another one.
fn other_kind(kind: &Descriptor, patched: &Value) -> Option<String> {
    let (version, name) = (meta::api_version(patched), meta::kind(patched));
    if name.is_empty() || name == kind.kind || kind.strategy.custom().is_some() {
        return None;
    }
    let scheme = OTHER_SCHEMES.iter().find(|(group, _)| *group == kind.group).map_or(SCHEME, |(_, scheme)| scheme);
    Some(format!("no kind \"{name}\" is registered for version \"{version}\" in scheme \"{scheme}\""))
}
