//! Server-side apply: a PATCH that creates the object if there is none.

use bytes::Bytes;

use crate::{
    api::{Status, meta, status::Reason},
    apiserver::registry::{
        CONFLICT_RETRIES, Call, MODIFIED, Registry,
        ownership::{Configuration, Proposal},
        update::Endpoint,
    },
};

/// What an apply has done.
pub enum Outcome {
    /// There was no such object; this is the new one.
    Created(Bytes),
    /// The object as it is now.
    Changed(Bytes),
}

impl Registry {
    /// Applies a configuration and returns the object encoded. `may_create` is asked whether an
    /// object that does not exist may be created; subresources never are.
    pub async fn apply(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        configuration: &Configuration,
        may_create: impl Fn() -> Result<(), Status>,
    ) -> Result<Outcome, Status> {
        for _ in 0..CONFLICT_RETRIES {
            let (cache, key) = self.locate(call)?;
            if cache.get(&key).is_some() || !call.attributes.subresource.is_empty() {
                let change = |current: &_| self.applied(call, endpoint, configuration, Some(current));
                return self.modify(call, endpoint, change).await.map(Outcome::Changed);
            }
            let mut proposal = self.applied(call, endpoint, configuration, None)?;
            check_identity(call, &mut proposal)?;
            may_create()?;
            match self.create(call, proposal).await {
                // Somebody else was quicker.
                Err(status) if status.reason == Reason::AlreadyExists => {}
                outcome => return outcome.map(Outcome::Created),
            }
        }
        Err(call.conflict(MODIFIED))
    }
}

/// A new object has the name of the URL, and no identity of a former one.
fn check_identity(call: &Call<'_>, proposal: &mut Proposal) -> Result<(), Status> {
    let (object, wanted) = (&*proposal.object_mut(), &call.attributes.name);
    let uid = meta::uid(object);
    if !uid.is_empty() {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(call.conflict(&why));
    }
    match meta::name(object) {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        ))),
        name if name != wanted => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        ))),
        _ => Ok(()),
    }
}
