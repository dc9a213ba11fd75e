//! Reviews and bindings: kinds that are posted and answered, never stored. The server has a
//! handler for each; here are only their names and types.

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenReview},
    authorization::v1::{
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    },
    core::v1::Binding,
};
use serde_json::Value;

use super::{cells, names};
use crate::api::kind::{Column, Kind, NameRule, Names, Scope};

macro_rules! review {
    ($(#[$doc:meta])* $kind:ident, $object:ty, $names:expr) => {
        $(#[$doc])*
        pub struct $kind;

        impl Kind for $kind {
            type Object = $object;
            const NAMES: Names = $names;
            const NAME_RULE: NameRule = NameRule::Any;
            const COLUMNS: &'static [Column] = cells::NAME_AND_AGE;

            fn cells(object: &$object, now: Timestamp) -> Vec<Value> {
                cells::name_and_age(&object.metadata, now)
            }
        }
    };
}

review! {
    /// `authentication.k8s.io/v1.TokenReview`: whose token is this?
    TokenReviewKind, TokenReview, names::review(names::AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview")
}
review! {
    /// `authentication.k8s.io/v1.SelfSubjectReview`: who am I?
    SelfSubjectReviewKind, SelfSubjectReview,
    names::review(names::AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview")
}
review! {
    /// `authorization.k8s.io/v1.SubjectAccessReview`: may this user do that?
    SubjectAccessReviewKind, SubjectAccessReview,
    names::review(names::AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview")
}
review! {
    /// `authorization.k8s.io/v1.LocalSubjectAccessReview`: may this user do that in this namespace?
    LocalSubjectAccessReviewKind, LocalSubjectAccessReview,
    Names {
        scope: Scope::Namespaced,
        ..names::review(
            names::AUTHORIZATION,
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
        )
    }
}
review! {
    /// `authorization.k8s.io/v1.SelfSubjectAccessReview`: may I do that?
    SelfSubjectAccessReviewKind, SelfSubjectAccessReview,
    names::review(
        names::AUTHORIZATION,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
    )
}
review! {
    /// `authorization.k8s.io/v1.SelfSubjectRulesReview`: what may I do?
    SelfSubjectRulesReviewKind, SelfSubjectRulesReview,
    names::review(
        names::AUTHORIZATION,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
    )
}
review! {
    /// `v1.Binding`: binds the pod of its name to a node.
    BindingKind, Binding,
    Names { scope: Scope::Namespaced, ..names::review(names::CORE, "Binding", "bindings", "binding") }
}
