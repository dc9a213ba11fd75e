//! Requests to the registry that the server makes on its own behalf.

use crate::{
    api::{kind::Descriptor, schema::FieldValidation},
    apiserver::{
        attributes::Attributes,
        registry::{Call, Warnings},
    },
    http::identity::{MASTERS, User},
};

/// A request of the server itself about an object, or about none yet if `name` is empty.
pub fn attributes(kind: &Descriptor, namespace: &str, name: &str) -> Attributes {
    Attributes {
        user: User { name: "system:apiserver".into(), groups: vec![MASTERS.into()], ..User::default() },
        group: kind.group.to_string(),
        version: kind.version.to_string(),
        resource: kind.plural.to_string(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
}

/// A call with these attributes.
pub fn call<'a>(attributes: &'a Attributes, kind: &'a Descriptor, warnings: &'a Warnings) -> Call<'a> {
    Call { attributes, kind, dry_run: false, field_validation: FieldValidation::Ignore, warnings, manager: "" }
}
