//! From a body or a patch to an object of a kind, by the kind's schema.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    api::{
        Status,
        kind::{Descriptor, Name},
        patch::{self, PatchType},
        schema::{self, Format, Library, Schema},
    },
    apiserver::registry::Call,
};

/// Decodes bodies. Schemas are built when their kind is first written.
#[derive(Default)]
pub struct Decoder {
    library: Library,
    schemas: Mutex<HashMap<(String, Name), Arc<Schema>>>,
}

impl Decoder {
    /// The object in a body.
    pub fn object(&self, call: &Call<'_>, bytes: &[u8], format: Format) -> Result<Value, Status> {
        let schema = self.schema(call.kind);
        let (object, warnings) = schema::decode(bytes, format, &schema, call.field_validation)?;
        call.warnings.extend(warnings);
        Ok(object)
    }

    /// What a patch makes of an object.
    pub fn patched(&self, call: &Call<'_>, object: &Value, kind: PatchType, patch: &[u8]) -> Result<Value, Status> {
        let schema = self.schema(call.kind);
        let patched = patch::apply(kind, object.clone(), patch, &schema)?;
        let (object, warnings) = schema::check(patched, &schema, call.field_validation)?;
        // A patch is applied again when it met somebody else's write.
        call.warnings.replace(warnings);
        Ok(object)
    }

    /// The schema of a kind.
    pub fn schema(&self, kind: &Descriptor) -> Arc<Schema> {
        let mut schemas = self.schemas.lock();
        schemas
            .entry((kind.api_version(), kind.kind.clone()))
            .or_insert_with(|| Arc::new(self.library.schema(kind)))
            .clone()
    }
}
