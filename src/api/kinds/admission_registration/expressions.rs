//! What expressions of policies and webhooks may name, and of what type their results must be.

use std::sync::LazyLock;

use crate::api::cel::{CompileError, Environment, Opaque, Program, Shape, Type};

/// The object as it is going to be; null for deletions.
pub const OBJECT: &str = "object";
/// The object as it was; null for creations.
pub const OLD_OBJECT: &str = "oldObject";
/// What is asked for, and by whom.
pub const REQUEST: &str = "request";
/// The namespace of the object; null for cluster-wide objects.
pub const NAMESPACE: &str = "namespaceObject";
/// The parameter that a binding brings; null if there is none.
pub const PARAMETERS: &str = "params";
/// What may the requester do?
pub const AUTHORIZER: &str = "authorizer";
/// What may the requester do with the object?
pub const RESOURCE_AUTHORIZER: &str = "authorizer.requestResource";

/// What every expression may name. The types take some work to make, and many policies share them.
static COMMON: LazyLock<Environment> =
    LazyLock::new(|| Environment::new().with(NAMESPACE, namespace()).with(REQUEST, request()));

/// Compiles the expressions of one policy or webhook.
pub struct Compiler {
    /// What most expressions may name.
    full: Environment,
    /// What messages may name: nobody asks for permission to word a message.
    messages: Environment,
    /// What decides whether the policy is about a request at all.
    conditions: Environment,
}

impl Compiler {
    /// A compiler of match conditions and such. `parameters` says that there are parameters.
    pub fn new(parameters: bool) -> Self {
        Self::typed(&Type::Dyn.into(), parameters.then(|| Type::Dyn.into()))
    }

    /// A compiler that knows what the objects are, and the parameters if there are any.
    pub fn typed(object: &Shape, parameters: Option<Shape>) -> Self {
        let known = COMMON.clone().with_shape(OBJECT, object.clone()).with_shape(OLD_OBJECT, object.clone());
        let messages = match parameters {
            Some(parameters) => known.with_shape(PARAMETERS, parameters),
            None => known,
        };
        let full = messages
            .clone()
            .with(AUTHORIZER, Type::Opaque(Opaque::Authorizer))
            .with(RESOURCE_AUTHORIZER, Type::Opaque(Opaque::ResourceCheck));
        Self { conditions: full.clone(), full, messages }
    }

    /// Expressions may name `variables`, which [`Compiler::variable`] adds.
    #[must_use]
    pub fn composing(self) -> Self {
        Self { full: self.full.with_variables(), messages: self.messages.with_variables(), ..self }
    }

    /// Expressions may make patches.
    #[must_use]
    pub fn patching(self) -> Self {
        Self { full: self.full.with_patch_types(), ..self }
    }

    /// A variable, which expressions that are compiled after this may name.
    pub fn variable(&mut self, name: &str, text: &str) -> Result<Program, CompileError> {
        let program = Program::compile(text, &self.full, &[]);
        let kind = program.as_ref().map_or(Type::Dyn, |program| program.output().clone());
        self.messages.define(name, kind.clone());
        self.full.define(name, kind);
        program
    }

    /// Any expression at all.
    pub fn any(&self, text: &str) -> Result<Program, CompileError> {
        Program::compile(text, &self.full, &[])
    }

    /// A match condition.
    pub fn condition(&self, text: &str) -> Result<Program, CompileError> {
        Program::compile(text, &self.conditions, &[Type::Bool])
    }

    /// A rule that requests must satisfy.
    pub fn validation(&self, text: &str) -> Result<Program, CompileError> {
        Program::compile(text, &self.full, &[Type::Bool])
    }

    /// What is said of requests that do not.
    pub fn message(&self, text: &str) -> Result<Program, CompileError> {
        Program::compile(text, &self.messages, &[Type::String])
    }

    /// The value of an audit annotation.
    pub fn annotation(&self, text: &str) -> Result<Program, CompileError> {
        Program::compile(text, &self.full, &[Type::String, Type::Null])
    }

    /// A configuration that is merged into the object.
    pub fn configuration(&self, text: &str) -> Result<Program, CompileError> {
        Program::compile(text, &self.full, &[Type::object("Object", [])])
    }

    /// A JSON patch.
    pub fn patch(&self, text: &str) -> Result<Program, CompileError> {
        Program::compile(text, &self.full, &[Type::list(Type::object("JSONPatch", []))])
    }
}

fn texts_map(values: Type) -> Type {
    Type::map(Type::String, values)
}

fn texts<const N: usize>(names: [&str; N]) -> [(&str, Type); N] {
    names.map(|name| (name, Type::String))
}

/// The type of `request`. What it would say of the objects is in variables of their own.
pub fn request() -> Type {
    let kind = Type::object("kubernetes.GroupVersionKind", texts(["group", "version", "kind"]));
    let resource = Type::object("kubernetes.GroupVersionResource", texts(["group", "version", "resource"]));
    let lists = [("groups", Type::list(Type::String)), ("extra", texts_map(Type::list(Type::String)))];
    let user = Type::object("kubernetes.UserInfo", texts(["username", "uid"]).into_iter().chain(lists));
    let own = [
        ("kind", kind.clone()),
        ("resource", resource.clone()),
        ("requestKind", kind),
        ("requestResource", resource),
        ("userInfo", user),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ];
    let texts = texts(["subResource", "requestSubResource", "name", "namespace", "operation"]);
    Type::object("kubernetes.AdmissionRequest", texts.into_iter().chain(own))
}

/// The type of `namespaceObject`.
pub fn namespace() -> Type {
    let condition = texts(["status", "type", "message", "reason"]);
    let condition = condition.into_iter().chain([("lastTransitionTime", Type::Timestamp)]);
    let conditions = Type::list(Type::object("kubernetes.NamespaceCondition", condition));
    let status = Type::object("kubernetes.NamespaceStatus", [("conditions", conditions), ("phase", Type::String)]);
    let spec = Type::object("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::String))]);
    let own = [
        ("labels", texts_map(Type::String)),
        ("annotations", texts_map(Type::String)),
        ("creationTimestamp", Type::Timestamp),
        ("deletionGracePeriodSeconds", Type::Int),
        ("deletionTimestamp", Type::Timestamp),
        ("generation", Type::Int),
        ("finalizers", Type::list(Type::String)),
    ];
    let texts = texts(["name", "generateName", "namespace", "UID", "resourceVersion"]);
    let metadata = Type::object("kubernetes.NamespaceMetadata", texts.into_iter().chain(own));
    Type::object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
}
