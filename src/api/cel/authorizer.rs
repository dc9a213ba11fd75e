//! What expressions ask about permissions (`authorizer.group('apps').resource('deployments').check('get')`).

use std::fmt;

/// Whose permissions are asked about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Identity {
    /// Of the one who makes the request.
    #[default]
    Requester,
    /// Of a service account (`authorizer.serviceAccount(namespace, name)`).
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// May this be done?
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Whose permissions are asked about.
    pub identity: Identity,
    /// What is to be done.
    pub verb: String,
    /// The path, if it is not about a resource; the other fields are empty then.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Resource, in the plural.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Which objects, by their fields; empty for all.
    pub field_selector: String,
    /// Which objects, by their labels; empty for all.
    pub label_selector: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, if that is known.
    pub reason: String,
    /// What kept the authorizer from deciding, if something did.
    pub error: Option<String>,
}

/// Answers expressions' questions. Given to an evaluation as the value of a variable
/// ([`Value::authorizer`](super::Value::authorizer)).
pub trait Authorizer: Send + Sync {
    /// Whether something may be done.
    fn authorize(&self, question: &Question) -> Decision;
}

/// A question in the making, and who answers it.
#[derive(Clone)]
pub(super) struct Check<'a> {
    authorizer: &'a dyn Authorizer,
    pub question: Question,
}

impl<'a> Check<'a> {
    pub fn new(authorizer: &'a dyn Authorizer, question: Question) -> Self {
        Self { authorizer, question }
    }

    /// The answer for a verb.
    pub fn decide(&self, verb: &str) -> Decision {
        self.authorizer.authorize(&Question { verb: verb.into(), ..self.question.clone() })
    }
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.question.fmt(out)
    }
}
