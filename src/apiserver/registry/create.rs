//! Create.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{Status, kind::Scope, meta, status::Reason, time},
    apiserver::{
        admission::Operation,
        registry::{Call, Registry, durability, ownership::Proposal, update::Endpoint},
    },
    store::Expect,
};

/// Letters of generated names: none that make words, none that look alike.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length of what is appended to `generateName`.
const NAME_SUFFIX: usize = 5;
/// `generateName` is cut so that the name fits into a label.
const NAME_BASE_LIMIT: usize = 58;
/// What is said of an object of another namespace than the URL's.
pub const OTHER_NAMESPACE: &str =
    "the namespace of the provided object does not match the namespace sent on the request";
/// How many generated names are tried.
const NAME_ATTEMPTS: usize = 8;

impl Registry {
    /// Stores a new object and returns it encoded.
    pub async fn create(&self, call: &Call<'_>, proposal: impl Into<Proposal>) -> Result<Bytes, Status> {
        let mut proposal = proposal.into();
        place(call, proposal.object_mut())?;
        let (mut object, managed) = self.own(call, Endpoint::Main, proposal, None)?;
        let generated = meta::name(&object).is_empty() && !meta::generate_name(&object).is_empty();
        let mut attempts = if generated { NAME_ATTEMPTS } else { 1 };
        loop {
            let mut object = if attempts > 1 { object.clone() } else { std::mem::take(&mut object) };
            if generated {
                let name = generate_name(meta::generate_name(&object));
                meta::set(&mut object, "name", name);
            }
            attempts -= 1;
            match self.create_named(call, object, managed.clone()).await {
                Err(status) if status.reason == Reason::AlreadyExists && attempts > 0 => {}
                outcome => return outcome,
            }
        }
    }

    async fn create_named(&self, call: &Call<'_>, mut object: Value, managed: Value) -> Result<Bytes, Status> {
        let name = meta::name(&object).to_owned();
        fill_in(&mut object);
        // The name may be in the body alone; admission and everything below go by the attributes.
        let mut attributes = call.attributes.clone();
        attributes.name.clone_from(&name);
        let call = &Call { attributes: &attributes, ..*call };
        let strategy = &call.kind.strategy;
        self.mutate(call, Operation::Create, &mut object, None).await?;
        call.warnings.extend(strategy.warnings_as_sent(&object));
        let mut object = strategy.prepare_for_create(object)?;
        let claim = self.claim(call, &mut object, None)?;
        let causes = strategy.validate(&object);
        if !causes.is_empty() {
            return Err(call.invalid(causes));
        }
        call.warnings.extend(strategy.warnings(&object, None));
        let _reserved = self.admit(call, Operation::Create, &object, None).await?;
        let (cache, key) = self.locate(call)?;
        if let Some(existing) = cache.get(&key) {
            return Err(already_exists(call, &existing.json()));
        }
        match self.put(call, key.clone(), object, managed, Expect::Absent, durability::of(call.kind)).await? {
            Some(stored) => {
                if let Some(claim) = claim.filter(|_| !call.dry_run) {
                    claim.keep();
                }
                Ok(stored)
            }
            None => Err(already_exists(call, &cache.get(&key).map(|existing| existing.json()).unwrap_or_default())),
        }
    }
}

/// Makes the object agree with the URL, or fails with 400.
fn place(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request("the object provided is unrecognized: it is not a JSON object"));
    }
    if !call.attributes.name.is_empty() && meta::name(object).is_empty() {
        meta::set(object, "name", call.attributes.name.as_str());
    }
    if !meta::resource_version(object).is_empty() {
        return Err(Status::new(Reason::InternalError, "resourceVersion should not be set on objects to be created"));
    }
    check_namespace(call, object)
}

/// The namespace in the object must be that of the URL; cluster-wide objects lose theirs.
pub fn check_namespace(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    let given = meta::namespace(object).to_owned();
    match call.kind.scope {
        Scope::Cluster => {
            meta::set(object, "namespace", Value::Null);
            Ok(())
        }
        Scope::Namespaced if given.is_empty() || given == call.namespace() => {
            meta::set(object, "namespace", call.namespace());
            Ok(())
        }
        _ => Err(Status::bad_request(OTHER_NAMESPACE)),
    }
}

/// System fields of a new object, which no client decides.
fn fill_in(object: &mut Value) {
    meta::set(object, "uid", uuid::Uuid::new_v4().to_string());
    meta::set(object, "creationTimestamp", time::format(Timestamp::now()));
    for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        meta::set(object, field, Value::Null);
    }
}

fn generate_name(base: &str) -> String {
    let base = &base[..base.floor_char_boundary(NAME_BASE_LIMIT)];
    let letter = || char::from(NAME_ALPHABET[rand::random_range(0..NAME_ALPHABET.len())]);
    base.chars().chain(std::iter::repeat_with(letter).take(NAME_SUFFIX)).collect()
}

fn already_exists(call: &Call<'_>, existing: &[u8]) -> Status {
    let mut status = Status::already_exists(&call.kind.group, &call.kind.plural, &call.attributes.name);
    let existing: Value = serde_json::from_slice(existing).unwrap_or_default();
    if meta::deletion_timestamp(&existing).is_some() {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit_into_labels() {
        let name = generate_name(&"x".repeat(100));
        assert_eq!(name.len(), 63);
        assert!(generate_name("web-").starts_with("web-"));
    }
}
