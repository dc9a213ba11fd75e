//! What expressions of policies and webhooks find when they are evaluated: the request, its
//! objects, and who may do what.

pub mod conditions;
mod requester;

use serde_json::Value;

use crate::{
    api::{
        Status,
        cel::{self, Activation, Question},
        kind::GroupResource,
        kinds::admission_registration::expressions as names,
    },
    apiserver::{
        admission::{Request, describe::describe, matching::Matched},
        authz::Authorizer,
        reader::Reader,
    },
};

pub use conditions::Conditions;

use requester::Requester;

const NAMESPACES: GroupResource<'static> = GroupResource { group: "", resource: "namespaces" };

/// What expressions may look at in one request.
pub struct Facts<'a> {
    /// The object as it is going to be, in the version that the policy is about; null for deletions.
    pub object: &'a Value,
    /// The object as it was; null for creations.
    pub old: &'a Value,
    /// The namespace of the object; null for cluster-wide objects.
    pub namespace: &'a Value,
    request: Value,
    requester: Requester<'a>,
    resource: Question,
}

impl<'a> Facts<'a> {
    /// Facts of a request that is shown as `matched`.
    pub fn new(
        request: &Request<'a>,
        matched: &Matched,
        authorizer: &'a Authorizer,
        [object, old, namespace]: [&'a Value; 3],
    ) -> Self {
        Self {
            object,
            old,
            namespace,
            request: Value::Object(describe(request, matched, Some(object))),
            requester: Requester { authorizer, user: &request.attributes.user },
            resource: requester::resource(request.attributes),
        }
    }

    /// Values of all variables but `namespaceObject` and `params`.
    pub fn activation(&self) -> Activation<'_> {
        let mut activation = Activation::new();
        activation.bind(names::OBJECT, self.object.into());
        activation.bind(names::OLD_OBJECT, self.old.into());
        activation.bind(names::REQUEST, cel::Value::from(&self.request));
        activation.bind(names::AUTHORIZER, cel::Value::authorizer(&self.requester));
        let resource = cel::Value::resource_check(&self.requester, self.resource.clone());
        activation.bind(names::RESOURCE_AUTHORIZER, resource);
        activation
    }
}

/// The namespace of a request's object, as expressions may see it; null if it has none. 404 if it is
/// gone.
pub fn namespace(request: &Request<'_>, reader: &dyn Reader) -> Result<Value, Status> {
    let name = request.attributes.namespace.as_str();
    if name.is_empty() || request.kind.group_resource() == NAMESPACES {
        return Ok(Value::Null);
    }
    let stored = reader.get(NAMESPACES, "", name).ok_or_else(|| Status::not_found("", "namespaces", name))?;
    let mut namespace: Value = serde_json::from_slice(&stored).map_err(Status::internal)?;
    let hidden = ["managedFields", "ownerReferences", "selfLink"];
    if let Some(metadata) = namespace["metadata"].as_object_mut() {
        metadata.retain(|name, _| !hidden.contains(&name.as_str()));
    }
    Ok(namespace)
}
