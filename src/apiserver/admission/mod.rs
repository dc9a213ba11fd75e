//! Admission: what may still change or refuse a write after it was authorized and decoded. An
//! ordered list of plugins, one file each, in upstream's order, after them the policies that users put
//! into force, and then webhooks; all may first change the object, and then, defaulted and validated, all
//! may refuse it.

use std::{cmp::Reverse, sync::Arc};

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    api::{
        Status,
        kind::{Descriptor, GroupResource, Subresource},
        meta,
        schema::FieldValidation,
    },
    apiserver::{
        attributes::Attributes, authz::Authorizer, conversion::Converter, outbound::Outbound, reader::Reader,
        registry::delete::DeleteOptions,
    },
};

mod certificates;
mod claim_resize;
mod claim_status;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
pub mod describe;
mod device_admin;
pub mod expressions;
mod limit_ranger;
pub mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
pub mod policies;
mod priority;
mod rbac_escalation;
mod resource_quota;
mod runtime_class;
mod service_account;
mod storage_in_use;
mod taint_nodes;
mod versions;
mod webhooks;

use policies::{Policies, Rounds};
use webhooks::{Asked, Webhooks};

/// Warnings for the client, each of which becomes a `Warning` header.
pub type Warnings = Vec<String>;

/// Something that is set aside for a write, and given back when it is dropped.
pub type Reservation = Box<dyn Send>;

/// What is about to happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// A deletion.
    Delete,
    /// A subresource that opens a stream (exec, attach, portforward, proxy).
    Connect,
}

impl Operation {
    /// As rules and reviews name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A write under review.
pub struct Request<'a> {
    /// Who asks for what.
    pub attributes: &'a Attributes,
    /// What happens.
    pub operation: Operation,
    /// The kind of the object.
    pub kind: &'a Descriptor,
    /// The object as it is stored; `None` on create.
    pub old: Option<&'a Value>,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// What else is asked for.
    pub options: Options<'a>,
}

/// What a request asks for beside the object (`CreateOptions` and its like).
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Who writes, as owners of fields are named.
    pub manager: &'a str,
    /// What to do about unknown fields.
    pub field_validation: FieldValidation,
    /// How to delete.
    pub delete: Option<&'a DeleteOptions>,
}

impl Request<'_> {
    /// Whether the request is about `resource` (`pods`, `pods/status`) of `group`.
    fn is_for(&self, group: &str, resource: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = self.attributes;
        attributes.group == group && attributes.resource == resource && attributes.subresource == subresource
    }

    /// Whether an object of `resource` itself is created or updated.
    fn writes(&self, group: &str, resource: &str) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update) && self.is_for(group, resource)
    }

    /// Whether the object under review is one of [`Request::kind`]: subresources that are no part of
    /// theirs have kinds of their own.
    pub fn shows_its_kind(&self) -> bool {
        let subresource = self.attributes.subresource.as_str();
        subresource.is_empty()
            || self.kind.subresources.iter().any(|known| match known {
                Subresource::Status => subresource == "status",
                Subresource::Part(name) => subresource == *name,
                Subresource::Scale | Subresource::Custom(_) => false,
            })
    }

    /// The namespace that the request is made in: a Namespace is in itself.
    pub fn namespace(&self) -> &str {
        let attributes = self.attributes;
        if self.is_for_namespace_itself() { &attributes.name } else { &attributes.namespace }
    }

    fn is_for_namespace_itself(&self) -> bool {
        self.attributes.group.is_empty() && self.attributes.resource == "namespaces"
    }

    /// 403 `pods "web" is forbidden: …`. An object without a name yet goes by what it will begin with.
    fn forbid(&self, object: &Value, why: &str) -> Status {
        let attributes = self.attributes;
        let names = [attributes.name.as_str(), meta::name(object), meta::generate_name(object), "Unknown"];
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        Status::forbidden(&attributes.group, &attributes.resource, name, why)
    }
}

/// One concern of admission. For deletions `object` is the stored object.
trait Plugin: Send + Sync {
    /// Waits, for a bounded time, until what [`Plugin::mutate`] is going to look up is there.
    fn wait<'a>(&'a self, _request: &'a Request<'_>, _object: &'a Value) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// May change the object, or refuse early what later plugins could not make sense of. It has
    /// its defaults already, unless its status alone is written.
    fn mutate(&self, _request: &Request<'_>, _object: &mut Value) -> Result<Warnings, Status> {
        Ok(Warnings::new())
    }

    /// May refuse the object as it is going to be stored.
    fn validate(&self, _request: &Request<'_>, _object: &Value) -> Result<Warnings, Status> {
        Ok(Warnings::new())
    }

    /// May refuse the object as too much beside what there is, and else sets its part aside until
    /// it is stored or has failed.
    fn reserve(&self, _request: &Request<'_>, _object: &Value) -> Result<Option<Reservation>, Status> {
        Ok(None)
    }
}

/// All plugins, the policies that users put into force, and webhooks.
pub struct Admission {
    plugins: Vec<Box<dyn Plugin>>,
    policies: Policies,
    webhooks: Webhooks,
}

impl Admission {
    /// Plugins that look things up in `reader` and ask `authorizer` what the user may. Webhooks are
    /// called through `outbound`.
    pub fn new(
        reader: Arc<dyn Reader>,
        authorizer: Arc<Authorizer>,
        outbound: Outbound,
        converter: Arc<Converter>,
    ) -> Self {
        Self {
            webhooks: Webhooks::new(reader.clone(), authorizer.clone(), outbound, converter.clone()),
            policies: Policies::new(reader.clone(), authorizer.clone(), converter.clone()),
            plugins: vec![
                Box::new(namespace_lifecycle::NamespaceLifecycle::new(reader.clone())),
                Box::new(limit_ranger::LimitRanger::new(reader.clone())),
                Box::new(service_account::ServiceAccount::new(reader.clone())),
                Box::new(node_restriction::NodeRestriction::new(reader.clone(), authorizer.clone())),
                Box::new(taint_nodes::TaintNodesByCondition),
                Box::new(pod_security::PodSecurity::new(reader.clone())),
                Box::new(priority::Priority::new(reader.clone())),
                Box::new(default_toleration_seconds::DefaultTolerationSeconds),
                Box::new(default_storage_class::DefaultStorageClass::new(reader.clone())),
                Box::new(storage_in_use::StorageObjectInUseProtection),
                Box::new(claim_resize::ClaimResize::new(reader.clone())),
                Box::new(runtime_class::RuntimeClass::new(reader.clone())),
                Box::new(certificates::Certificates::new(authorizer.clone())),
                Box::new(default_ingress_class::DefaultIngressClass::new(reader.clone())),
                Box::new(device_admin::DeviceAdmin::new(reader.clone())),
                Box::new(claim_status::ClaimStatus::new(authorizer.clone())),
                Box::new(rbac_escalation::RbacEscalation::new(authorizer)),
                Box::new(resource_quota::ResourceQuota::new(reader)),
            ],
        }
    }

    /// Lets every plugin, policy and webhook change `object`, and some of them once more if others did
    /// after them. Called for creates, updates and connects, before defaults and validation.
    pub async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<Warnings, Status> {
        let (mut rounds, mut asked) = (Rounds::default(), Asked::default());
        let mut warnings = self.mutate_once(request, object, &mut rounds, &mut asked).await?;
        if rounds.need_another() {
            rounds.repeat();
            let repeated = self.mutate_once(request, object, &mut rounds, &mut asked).await?;
            warnings.extend(repeated.into_iter().filter(|warning| !warnings.contains(warning)).collect::<Vec<_>>());
        }
        Ok(warnings)
    }

    async fn mutate_once(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        rounds: &mut Rounds,
        asked: &mut Asked,
    ) -> Result<Warnings, Status> {
        let mut warnings = Warnings::new();
        for plugin in &self.plugins {
            plugin.wait(request, object).await;
            warnings.extend(plugin.mutate(request, object)?);
        }
        self.policies.mutate(request, object, rounds).await?;
        let mut shown = Some(std::mem::take(object));
        let said = self.webhooks.mutate(request, &mut shown, rounds, asked).await;
        *object = shown.unwrap_or_default();
        warnings.extend(said?);
        Ok(warnings)
    }

    /// Lets every plugin, policy and webhook refuse `object`. Called for every write, after validation;
    /// for a deletion `object` is the stored object, and mutating webhooks, which have nothing to change
    /// then, are asked here as well.
    pub async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<Warnings, Status> {
        let mut warnings = Warnings::new();
        let is_deletion = request.operation == Operation::Delete;
        if is_deletion {
            let (mut rounds, mut asked) = (Rounds::default(), Asked::default());
            warnings.extend(self.webhooks.mutate(request, &mut None, &mut rounds, &mut asked).await?);
        }
        for plugin in &self.plugins {
            warnings.extend(plugin.validate(request, object)?);
        }
        warnings.extend(self.policies.validate(request, object).await?);
        let new = Some(object).filter(|_| !is_deletion);
        warnings.extend(self.webhooks.validate(request, new).await?);
        Ok(warnings)
    }

    /// Lets every plugin set aside what `object` takes. Called for creates and updates when nobody
    /// has refused them; the result is to be kept until the object is stored or has failed.
    pub fn reserve(&self, request: &Request<'_>, object: &Value) -> Result<Vec<Reservation>, Status> {
        self.plugins.iter().filter_map(|plugin| plugin.reserve(request, object).transpose()).collect()
    }
}

/// Name of the newest object of `classes` that one of the `marks` (annotations of value `true`) makes
/// the default; of equally old ones the first by name.
fn default_class(reader: &dyn Reader, classes: GroupResource<'_>, marks: &[&str]) -> Option<String> {
    let classes = reader.list(classes, None);
    let classes = classes.iter().filter_map(|class| serde_json::from_slice::<Value>(class).ok());
    let defaults = classes.filter(|class| marks.iter().any(|mark| meta::annotation(class, mark) == Some("true")));
    let age = |class: &Value| (Reverse(meta::creation_timestamp(class).to_owned()), meta::name(class).to_owned());
    defaults.min_by_key(age).map(|class| meta::name(&class).to_owned())
}

/// Several problems as one, in upstream's form of an aggregate: `[a, b]`, each once.
fn one_of_many(problems: Vec<String>) -> String {
    let mut each: Vec<String> = Vec::with_capacity(problems.len());
    for problem in problems {
        if !each.contains(&problem) {
            each.push(problem);
        }
    }
    match each.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod fixture {
    //! Requests for tests of plugins.

    use super::*;
    use crate::{api::kinds, http::identity::User};

    pub fn user(name: &str, groups: &[&str]) -> User {
        User { name: name.into(), groups: groups.iter().map(|group| (*group).to_owned()).collect(), ..User::default() }
    }

    pub fn attributes(user: User, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            user,
            verb: verb.into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    /// Plugins go by the attributes; the descriptor only has to be one.
    pub fn request<'a>(
        attributes: &'a Attributes,
        operation: Operation,
        kind: &'a Descriptor,
        old: Option<&'a Value>,
    ) -> Request<'a> {
        Request { attributes, operation, kind, old, dry_run: false, options: Options::default() }
    }

    pub fn any_kind() -> Descriptor {
        kinds::all().into_iter().next().expect("there are kinds")
    }
}
