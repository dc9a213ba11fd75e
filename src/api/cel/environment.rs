//! What an expression may name.

use std::sync::Arc;

use super::{
    shape::Shape,
    types::{Fields, ObjectType, Opaque, Type},
};

/// The variable whose fields are expressions with names.
pub(super) const VARIABLES: &str = "variables";

/// The variables and types that expressions may name, besides Kubernetes' functions, which are always
/// there.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Vec<(Box<str>, Shape)>,
    defined: Vec<(Box<str>, Type)>,
    composes: bool,
    patches: bool,
}

/// Deeper types of `variables` are dynamic: each may be made of those before.
const NESTING_LIMIT: u32 = 32;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// A variable of this type.
    Variable(Type),
    /// This type.
    Type(Type),
}

impl Environment {
    /// An environment without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable of a type. Names may have dots (`authorizer.requestResource`).
    #[must_use]
    pub fn with(self, name: &str, kind: Type) -> Self {
        self.with_shape(name, kind.into())
    }

    /// Declares a variable of a type with known bounds, which the cost estimate goes by.
    #[must_use]
    pub fn with_shape(mut self, name: &str, shape: Shape) -> Self {
        self.variables.push((name.into(), shape));
        self
    }

    /// Declares the variable `variables`, whose fields [`Environment::define`] adds.
    #[must_use]
    pub fn with_variables(mut self) -> Self {
        self.composes = true;
        self
    }

    /// Declares `variables.<name>`; [`Type::Dyn`] if its expression does not compile.
    pub fn define(&mut self, name: &str, kind: Type) {
        self.defined.retain(|(known, _)| &**known != name);
        let kind = if nesting(&kind) > NESTING_LIMIT { Type::Dyn } else { kind };
        self.defined.push((name.into(), kind));
    }

    /// Makes the types `Object`, `Object.<field>…` and `JSONPatch` and the function `jsonpatch.escapeKey`
    /// known, as mutating policies need them.
    #[must_use]
    pub fn with_patch_types(mut self) -> Self {
        self.patches = true;
        self
    }

    pub(super) fn has_patch_types(&self) -> bool {
        self.patches
    }

    /// What a name stands for outside all macros.
    pub(super) fn meaning(&self, name: &str) -> Option<Meaning> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(shape) = self.shape(name) {
            return Some(Meaning::Variable(shape.kind.clone()));
        }
        if self.composes && name == VARIABLES {
            return Some(Meaning::Variable(self.variables_type()));
        }
        self.type_called(name).map(Meaning::Type)
    }

    /// The shape of a declared variable.
    pub(super) fn shape(&self, name: &str) -> Option<&Shape> {
        self.variables.iter().find(|(known, _)| &**known == name).map(|(_, shape)| shape)
    }

    /// The shape that paths of the cost estimate begin at.
    pub(super) fn first_shape(&self) -> Option<&Shape> {
        self.variables.first().map(|(_, shape)| shape)
    }

    fn variables_type(&self) -> Type {
        Type::object("kubernetes.variables", self.defined.iter().map(|(name, kind)| (&**name, kind.clone())))
    }

    fn type_called(&self, name: &str) -> Option<Type> {
        Some(match name {
            "bool" => Type::Bool,
            "bytes" => Type::Bytes,
            "double" => Type::Double,
            "int" => Type::Int,
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "null_type" => Type::Null,
            "string" => Type::String,
            "type" => Type::Type(Arc::new(Type::Dyn)),
            "uint" => Type::Uint,
            "optional_type" => Type::optional(Type::Dyn),
            "google.protobuf.Duration" => Type::Duration,
            "google.protobuf.Timestamp" => Type::Timestamp,
            "net.IP" => Type::Opaque(Opaque::Ip),
            "net.CIDR" => Type::Opaque(Opaque::Cidr),
            "JSONPatch" if self.patches => structure(name, Fields::JsonPatch),
            _ if self.patches && (name == "Object" || name.starts_with("Object.")) => structure(name, Fields::Any),
            _ => return None,
        })
    }
}

/// How deep a type is nested.
fn nesting(kind: &Type) -> u32 {
    1 + kind.parts().into_iter().flatten().map(nesting).max().unwrap_or_default()
}

fn structure(name: &str, fields: Fields) -> Type {
    Type::Object(Arc::new(ObjectType { name: name.into(), fields }))
}
