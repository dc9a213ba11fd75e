//! What an expression may name.

use super::{Shape, Type};

/// The variables and types that expressions may name, besides Kubernetes' functions, which are always
/// there. Cheap to clone, as policies extend a common one.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Vec<(Box<str>, Shape)>,
    defined: Vec<(Box<str>, Type)>,
    composes: bool,
    patches: bool,
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
        self.defined.push((name.into(), kind));
    }

    /// Makes the types `Object`, `Object.<field>…` and `JSONPatch` and the function `jsonpatch.escapeKey`
    /// known, as mutating policies need them.
    #[must_use]
    pub fn with_patch_types(mut self) -> Self {
        self.patches = true;
        self
    }
}
