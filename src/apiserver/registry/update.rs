//! Update and patch, of an object or of its status: both are a function from the current object
//! to the new one, repeated when somebody else's write came in between.

use bytes::Bytes;
use serde_json::Value;

use crate::{
    api::{
        Status,
        decoded::Decoded,
        encode, field, meta,
        patch::apply::same_but_times,
        status::{Cause, Reason},
    },
    apiserver::{
        admission::{Operation, Reservation},
        cache::object::Object,
        registry::{
            CONFLICT_RETRIES, Call, MODIFIED, Registry,
            claim::Claim,
            create::{OTHER_NAMESPACE, check_namespace},
            delete, durability,
            ownership::{self, Proposal},
        },
    },
    store::Expect,
};

/// Which part of an object an endpoint writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Everything but the status.
    Main,
    /// The status.
    Status,
    /// A part with rules of its own, by its name.
    Part(&'static str),
}

impl Registry {
    /// Replaces an object (`endpoint` decides which part of it) and returns it encoded.
    pub async fn update(&self, call: &Call<'_>, endpoint: Endpoint, object: Value) -> Result<Bytes, Status> {
        if !object.is_object() {
            return Err(Status::bad_request("the object provided is unrecognized: it is not a JSON object"));
        }
        check_name(call, &object)?;
        self.modify(call, endpoint, |old| check_uid(call, &object, old).map(|()| object.clone())).await
    }

    /// Makes of the current object what `produce` says, and returns it encoded.
    pub async fn modify<P: Into<Proposal>>(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        produce: impl Fn(&Value) -> Result<P, Status>,
    ) -> Result<Bytes, Status> {
        let (cache, key) = self.locate(call)?;
        for _ in 0..CONFLICT_RETRIES {
            let current = cache.get(&key).ok_or_else(|| call.not_found())?;
            let mut old = self.parse(call, &current).await?;
            let mut proposal = produce(&old)?.into();
            let known = ownership::take(&mut old);
            let needs_name = matches!(proposal, Proposal::Written(_));
            if needs_name || !meta::name(proposal.object_mut()).is_empty() {
                check_name(call, proposal.object_mut())?;
            }
            identify(call, proposal.object_mut(), &old)?;
            let (new, managed) = self.own(call, endpoint, proposal, Some((&old, &known)))?;
            let old = Decoded::from(old);
            let (new, claim, _reserved) = self.prepare(call, endpoint, new, &old).await?;
            if *new == *old && same_but_times(&managed, &known) {
                return self.shown(call, &current).await;
            }
            if let Some(stored) = self.replace(call, &current, (new, managed), &old).await? {
                if let Some(claim) = claim.filter(|_| !call.dry_run) {
                    claim.keep();
                }
                return Ok(stored);
            }
        }
        Err(call.conflict(MODIFIED))
    }

    /// Everything between decoding and storing.
    async fn prepare(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        mut new: Value,
        old: &Decoded,
    ) -> Result<(Decoded, Option<Claim>, Vec<Reservation>), Status> {
        let strategy = &call.kind.strategy;
        self.mutate(call, Operation::Update, &mut new, Some(old)).await?;
        let mut new = match endpoint {
            Endpoint::Main => strategy.prepare_for_update(new, old)?,
            Endpoint::Status => strategy.prepare_for_status_update(new, old)?,
            Endpoint::Part(part) => strategy.prepare_for_part_update(part, new, old)?,
        };
        let claim = match endpoint {
            Endpoint::Main => self.claim(call, &mut new, Some(old))?,
            Endpoint::Status | Endpoint::Part(_) => None,
        };
        let causes = match endpoint {
            Endpoint::Main => strategy.validate_change(&new, old),
            Endpoint::Status => strategy.validate_status_update(&new, old),
            Endpoint::Part(part) => {
                let mut causes = strategy.validate_again(&new, old);
                causes.extend(strategy.validate_part_update(part, &new, old));
                without_repetition(causes)
            }
        };
        let (tolerated, causes): (Vec<Cause>, Vec<Cause>) = causes.into_iter().partition(|cause| cause.is_tolerated);
        call.warnings.extend(tolerated.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect());
        if !causes.is_empty() {
            return Err(call.invalid(causes));
        }
        if endpoint == Endpoint::Main {
            call.warnings.extend(strategy.warnings(&new, Some(old)));
        }
        let reserved = self.admit(call, Operation::Update, &new, Some(old)).await?;
        Ok((new, claim, reserved))
    }

    /// Stores a new state of an object (and its managed fields, if they stand beside it), or removes
    /// the object when this was the last thing that held its deletion up. `None` when it was changed
    /// meanwhile.
    pub(super) async fn replace(
        &self,
        call: &Call<'_>,
        current: &Object,
        (new, managed): (impl Into<Decoded>, Value),
        old: &Value,
    ) -> Result<Option<Bytes>, Status> {
        let new = new.into();
        if meta::deletion_timestamp(old).is_some() && delete::is_released(&new) {
            let removed = self.remove(call, current.key.clone(), current.revision).await?;
            return Ok(removed.map(|_| {
                self.give_back(call, old);
                encode::encode(&new)
            }));
        }
        let durability = durability::of_change(call.kind, old, &new);
        self.put(call, current.key.clone(), new, managed, Expect::Revision(current.revision), durability).await
    }
}

/// Checks that the new object is of the URL's namespace, and of the version it was read at if it says one, and
/// gives it the current resource version.
fn identify(call: &Call<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    check_namespace(call, new)?;
    check_version(call, meta::resource_version(new), meta::resource_version(old))?;
    meta::set(new, "resourceVersion", meta::resource_version(old));
    Ok(())
}

/// What is written says what it is called, and that is what the URL says; a configuration that is applied need
/// not. Upstream knows this before it looks whether there is such an object.
fn check_name(call: &Call<'_>, new: &Value) -> Result<(), Status> {
    let (name, wanted) = (meta::name(new), &call.attributes.name);
    let why = match name {
        "" => format!("the name of the object ({wanted} based on URL) was undeterminable: name must be provided"),
        name if name != wanted => {
            format!("the name of the object ({name}) does not match the name on the URL ({wanted})")
        }
        _ => return check_named_namespace(call, new),
    };
    Err(Status::bad_request(why))
}

fn check_named_namespace(call: &Call<'_>, new: &Value) -> Result<(), Status> {
    let (namespace, wanted) = (meta::namespace(new), call.namespace());
    if wanted.is_empty() || namespace.is_empty() || namespace == wanted {
        return Ok(());
    }
    Err(Status::bad_request(OTHER_NAMESPACE))
}

/// An update is of the object that its body was read from; a patch that changes the UID is not valid.
fn check_uid(call: &Call<'_>, new: &Value, old: &Value) -> Result<(), Status> {
    let (uid, existing) = (meta::uid(new), meta::uid(old));
    if uid.is_empty() || uid == existing {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {existing}");
    Err(call.conflict(&why))
}

fn check_version(call: &Call<'_>, given: &str, current: &str) -> Result<(), Status> {
    let version = if given.is_empty() { Ok(0) } else { given.parse::<u64>() };
    match version {
        Err(_) => Err(Status::new(Reason::Unknown, format!("strconv.ParseUint: parsing \"{given}\": invalid syntax"))),
        // "0" means "any" as no version does: clients that build objects by hand send it.
        Ok(0) if call.kind.strategy.updates_unconditionally() => Ok(()),
        Ok(0) => {
            let path = field::Path::new("metadata").child("resourceVersion");
            let cause = field::invalid(&path, 0, "must be specified for an update");
            Err(Status::invalid(&call.kind.group, &call.kind.plural, &call.attributes.name, vec![cause]))
        }
        Ok(_) if given == current => Ok(()),
        Ok(_) => Err(call.conflict(MODIFIED)),
    }
}

/// Checks of a part repeat what the checks of the whole object have found.
fn without_repetition(causes: Vec<Cause>) -> Vec<Cause> {
    let mut kept: Vec<Cause> = Vec::with_capacity(causes.len());
    for cause in causes {
        if !kept.contains(&cause) {
            kept.push(cause);
        }
    }
    kept
}
