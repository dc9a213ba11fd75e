//! From a body or a patch to an object of a kind, by the kind's schema.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    api::{
        Status, go,
        kind::{Descriptor, Name},
        patch::{self, PatchType},
        schema::{self, FieldValidation, Format, Library, Schema},
    },
    apiserver::registry::Call,
};

mod refusal;

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
        let (object, warnings) = schema::settle(object, problems, &schema, call.field_validation)?;
        call.warnings.extend(warnings);
        Ok(object)
    }

    /// What a patch makes of an object.
    pub fn patched(&self, call: &Call<'_>, object: &Value, kind: PatchType, patch: &[u8]) -> Result<Value, Status> {
        let schema = self.decoding_schema(call.kind);
        let patched = patch::apply(kind, object.clone(), patch, &schema)?;
        let refused = |problem: String| match kind {
            PatchType::Strategic => refusal::strategic(patch, &problem),
            // Once more, since it is seldom shown.
            _ => match patch::apply(kind, object.clone(), patch, &schema) {
                Ok(patched) => refusal::of(&go::patched(&schema.api_version, &schema.kind, &patched, object), &problem),
                Err(status) => status,
            },
        };
        refusal::other_kind(call.kind, &patched).map_or(Ok(()), |problem| Err(refused(problem)))?;
        let (mut object, mut problems) = schema::inspect(patched, &schema).map_err(refused)?;
        if let Some(custom) = call.kind.strategy.custom() {
            problems.extend(custom.prune(&mut object));
        }
        // A patch is applied again when it met somebody else's write.
        match call.field_validation {
            FieldValidation::Ignore => call.warnings.replace(Vec::new()),
            FieldValidation::Warn => call.warnings.replace(problems),
            FieldValidation::Strict if problems.is_empty() => call.warnings.replace(problems),
            FieldValidation::Strict => return Err(refused(format!("strict decoding error: {}", problems.join(", ")))),
        }
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
