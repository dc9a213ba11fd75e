//! Whether somebody may act as a user: each part of the user needs a right to it.

use crate::{
    api::{Status, validation::name},
    apiserver::{
        attributes::Attributes,
        authn::impersonation::mode::{Mode, node, service_account},
        authz::Authorizer,
    },
    http::identity::{MASTERS, User},
};

/// Group of the virtual resources `uids` and `userextras`, and of all others in modes.
const AUTHENTICATION: &str = "authentication.k8s.io";
const NODES: &str = "system:nodes";
/// Every name.
const ANY: &str = "*";
/// From so many on, a right to all is looked for before the rights to each.
const MANY: usize = 4;

/// An attempt to act as somebody, with a verb.
pub struct Attempt<'a> {
    /// Who attempts it.
    pub requestor: &'a User,
    /// The verb that it needs.
    pub verb: &'a str,
    /// The verb's mode, if it is of one.
    pub mode: Option<&'a Mode>,
    /// Who decides.
    pub authorizer: &'a Authorizer,
}

impl Attempt<'_> {
    /// The user to act as, with the groups that come with the name, or 403.
    pub fn check(&self, wanted: &User) -> Result<User, Status> {
        let groups = self.check_name(wanted)?;
        if !wanted.uid.is_empty() {
            self.authorize(&self.attributes(AUTHENTICATION, "uids", &wanted.uid))?;
        }
        self.check_groups(&wanted.groups)?;
        self.check_extra(wanted)?;
        Ok(User { groups, ..wanted.clone() })
    }

    fn check_name(&self, wanted: &User) -> Result<Vec<String>, Status> {
        let group = self.group();
        if let Some((namespace, name)) = service_account(&wanted.name) {
            let namespace = namespace.to_owned();
            self.authorize(&Attributes {
                namespace: namespace.clone(),
                ..self.attributes(group, "serviceaccounts", name)
            })?;
            let own = || vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
            return Ok(if wanted.groups.is_empty() { own() } else { wanted.groups.clone() });
        }
        match (self.mode, node(&wanted.name)) {
            (Some(mode), Some(node)) => {
                let name = if mode.is_for_own_node() { ANY } else { node };
                self.authorize(&self.attributes(group, "nodes", name))?;
                Ok(vec![NODES.to_owned()])
            }
            _ => {
                self.authorize(&self.attributes(group, "users", &wanted.name))?;
                Ok(wanted.groups.clone())
            }
        }
    }

    fn check_groups(&self, groups: &[String]) -> Result<(), Status> {
        let attributes = |name: &str| self.attributes(self.group(), "groups", name);
        if self.mode.is_some() {
            if groups.iter().any(String::is_empty) {
                return Err(forbidden(&attributes(""), "impersonating the empty string group is not allowed"));
            }
            if groups.iter().any(|group| group == MASTERS) {
                let why = "impersonating the system:masters group is not allowed";
                return Err(forbidden(&attributes(MASTERS), why));
            }
            if groups.len() >= MANY && self.authorize(&attributes(ANY)).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.authorize(&attributes(group)))
    }

    fn check_extra(&self, wanted: &User) -> Result<(), Status> {
        let attributes = |key: &str, value: &str| Attributes {
            subresource: key.to_owned(),
            ..self.attributes(AUTHENTICATION, "userextras", value)
        };
        if self.mode.is_some() {
            validate_extra(wanted).map_err(|why| forbidden(&attributes("", ""), &why))?;
            let values: usize = wanted.extra.values().map(Vec::len).sum();
            if values >= MANY && self.authorize(&attributes(ANY, ANY)).is_ok() {
                return Ok(());
            }
        }
        let all = wanted.extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
        all.into_iter().try_for_each(|(key, value)| self.authorize(&attributes(key, value)))
    }

    /// Group of users, groups and service accounts: modes have a better place for these than the core.
    fn group(&self) -> &'static str {
        if self.mode.is_some() { AUTHENTICATION } else { "" }
    }

    fn attributes(&self, group: &str, resource: &str, name: &str) -> Attributes {
        Attributes {
            user: self.requestor.clone(),
            verb: self.verb.to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    fn authorize(&self, attributes: &Attributes) -> Result<(), Status> {
        self.authorizer.authorize(attributes)
    }
}

fn forbidden(attributes: &Attributes, why: &str) -> Status {
    Status::forbidden(&attributes.group, &attributes.resource, &attributes.name, why)
}

/// What upstream lets nobody claim in a mode.
fn validate_extra(wanted: &User) -> Result<(), String> {
    for (key, values) in &wanted.extra {
        if key.is_empty() {
            return Err("impersonating the empty string key in extra is not allowed".to_owned());
        }
        if let Some(problem) = name::domain_prefixed_path(key).first() {
            let why = format!("extra.key: Invalid value: {key:?}: {problem}");
            return Err(format!("impersonating an invalid key in extra is not allowed: {why}"));
        }
        if key.chars().any(char::is_uppercase) {
            return Err(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"));
        }
        if values.iter().any(String::is_empty) {
            return Err("impersonating the empty string value in extra is not allowed".to_owned());
        }
    }
    Ok(())
}
