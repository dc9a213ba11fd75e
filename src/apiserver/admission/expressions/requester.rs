//! Answers what expressions ask about permissions: those of whoever makes the request, or of a
//! service account.

use crate::{
    api::cel::{self, Decision, Identity, Question},
    apiserver::{attributes::Attributes, authz::Authorizer},
    http::identity::{AUTHENTICATED, User},
};

/// The user who makes a request.
pub struct Requester<'a> {
    /// Who decides.
    pub authorizer: &'a Authorizer,
    /// Who asks.
    pub user: &'a User,
}

impl cel::Authorizer for Requester<'_> {
    fn authorize(&self, question: &Question) -> Decision {
        let user = match &question.identity {
            Identity::Requester => self.user.clone(),
            Identity::ServiceAccount { namespace, name } => service_account(namespace, name),
        };
        let allowed = self.authorizer.allows(&attributes(user, question));
        Decision { allowed, reason: String::new(), error: None }
    }
}

/// The question about the object of a request, but for the verb.
pub fn resource(attributes: &Attributes) -> Question {
    Question {
        identity: Identity::Requester,
        verb: String::new(),
        path: None,
        group: attributes.group.clone(),
        resource: attributes.resource.clone(),
        subresource: attributes.subresource.clone(),
        namespace: attributes.namespace.clone(),
        name: attributes.name.clone(),
        field_selector: String::new(),
        label_selector: String::new(),
    }
}

fn attributes(user: User, question: &Question) -> Attributes {
    let Question { verb, path, group, resource, subresource, namespace, name, .. } = question.clone();
    // Roles grant resources whatever their version is.
    let version = if path.is_none() { "*".to_owned() } else { String::new() };
    let path = path.unwrap_or_default();
    Attributes { user, verb, group, version, resource, subresource, namespace, name, path, ..Attributes::default() }
}

fn service_account(namespace: &str, name: &str) -> User {
    User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            AUTHENTICATED.to_owned(),
        ],
        ..User::default()
    }
}
