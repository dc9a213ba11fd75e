//! An object on its way through the generic path: untyped, because that path serves every kind, and
//! typed as well once somebody asked. The typed form is kept, so that an object is taken apart once
//! per write, however many steps look into it.

use std::{any::Any, ops::Deref, sync::OnceLock};

use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

use crate::api::codec;

/// An untyped object that remembers its typed form. Reads as its [`Value`].
#[derive(Debug, Default)]
pub struct Decoded {
    value: Value,
    typed: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Decoded {
    /// An object with both its forms, which say the same.
    pub fn both(value: Value, typed: impl Any + Send + Sync) -> Self {
        let typed: Box<dyn Any + Send + Sync> = Box::new(typed);
        Self { value, typed: typed.into() }
    }

    /// The typed form; made now if nobody has asked before. An object has one type: asking for
    /// another one is an error.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<&T, codec::Error> {
        if self.typed.get().is_none() {
            let typed: T = codec::decode(&self.value)?;
            // Somebody else may have been quicker, with the same.
            _ = self.typed.set(Box::new(typed));
        }
        let typed = self.typed.get().and_then(|typed| typed.downcast_ref());
        typed.ok_or_else(|| codec::Error::custom("the object was decoded as another type"))
    }

    /// The untyped form, to be changed: the typed one is forgotten.
    pub fn change(&mut self) -> &mut Value {
        self.typed = OnceLock::new();
        &mut self.value
    }

    /// The untyped form alone.
    pub fn into_value(self) -> Value {
        self.value
    }
}

impl From<Value> for Decoded {
    fn from(value: Value) -> Self {
        Self { value, typed: OnceLock::new() }
    }
}

impl Deref for Decoded {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_typed_form_is_made_once_and_forgotten_when_the_object_changes() {
        let mut object = Decoded::from(json!({"metadata": {"name": "a"}}));
        let first: *const ConfigMap = object.typed().unwrap();
        assert_eq!(first, std::ptr::from_ref(object.typed::<ConfigMap>().unwrap()));
        object.change()["metadata"]["name"] = "b".into();
        assert_eq!(object.typed::<ConfigMap>().unwrap().metadata.name.as_deref(), Some("b"));
    }

    #[test]
    fn an_object_has_one_type() {
        let object = Decoded::from(json!({}));
        object.typed::<ConfigMap>().unwrap();
        assert!(object.typed::<Secret>().is_err());
    }
}
