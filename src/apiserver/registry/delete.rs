//! Delete and delete-collection: preconditions, grace, finalizers, propagation
//! (API conventions, "Deletion"; `DeleteOptions` of meta/v1).

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    api::{
        Status, custom,
        decoded::Decoded,
        encode,
        field::{self, Path},
        kind::Descriptor,
        meta,
        status::Cause,
        time,
    },
    apiserver::{
        admission::Operation,
        cache::{
            object::Object,
            resource::{ResourceCache, Slice},
            selectable::Selector,
        },
        query::{self, Query},
        registry::{CONFLICT_RETRIES, Call, MODIFIED, Registry},
    },
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// Kinds whose deletion is answered with the object instead of a Status, as upstream does.
const ANSWERED_WITH_OBJECT: [(&str, &[&str]); 3] = [
    (
        "",
        &[
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "podtemplates",
            "resourcequotas",
            "serviceaccounts",
            "services",
        ],
    ),
    ("resource.k8s.io", &["deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"]),
    ("storage.k8s.io", &["csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"]),
];

/// What becomes of the objects that a deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

/// `DeleteOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds of grace; the kind's default if `None`.
    pub grace_period_seconds: Option<i64>,
    /// The object must have this UID.
    pub uid: Option<String>,
    /// The object must have this resource version.
    pub resource_version: Option<String>,
    /// What becomes of dependents; as the object's finalizers say if `None`.
    pub propagation: Option<Propagation>,
    /// Store nothing.
    pub dry_run: bool,
}

/// How a deletion went.
pub enum Deleted {
    /// The object is gone; this is what it was.
    Gone(Bytes),
    /// The object stays until its grace period is over or its finalizers are removed.
    Pending(Bytes),
}

/// What a deletion is answered with, as JSON.
pub enum Answer {
    /// The object.
    Object(Bytes),
    /// A `Status` that says what was deleted.
    Status(Bytes),
}

/// What clients are told who leave open what becomes of the pods of jobs.
const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background \
                         to remove them or set propagationPolicy=Orphan to suppress this warning";

/// What a client should know before it deletes objects in this way.
pub fn warnings(call: &Call<'_>, options: &DeleteOptions) -> Vec<String> {
    let is_job = (&*call.kind.group, &*call.kind.plural) == ("batch", "jobs");
    if is_job && options.propagation.is_none() { vec![PODS_STAY.to_owned()] } else { Vec::new() }
}

impl DeleteOptions {
    /// Reads options from the body, if there is one, else from the query.
    pub fn read(body: Option<&Value>, query: &Query) -> Result<Self, Status> {
        let Some(body) = body else { return Self::from_query(query) };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let preconditions = body.get("preconditions");
        let orphan = body.get("orphanDependents").and_then(Value::as_bool);
        let stages = body.get("dryRun").and_then(Value::as_array);
        let stages: Vec<&str> = stages.into_iter().flatten().filter_map(Value::as_str).collect();
        let dry_run = query::dry_run(&stages, "DeleteOptions")?;
        Ok(Self {
            grace_period_seconds: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            uid: text(preconditions.and_then(|all| all.get("uid"))),
            resource_version: text(preconditions.and_then(|all| all.get("resourceVersion"))),
            propagation: propagation(body.get("propagationPolicy").and_then(Value::as_str), orphan)?,
            dry_run: dry_run || query.dry_run("delete")?,
        })
    }

    fn from_query(query: &Query) -> Result<Self, Status> {
        let orphan = query.has("orphanDependents").then(|| query.flag("orphanDependents"));
        Ok(Self {
            grace_period_seconds: query.number("gracePeriodSeconds")?,
            propagation: propagation(query.get("propagationPolicy"), orphan)?,
            dry_run: query.dry_run("delete")?,
            ..Self::default()
        })
    }
}

impl Registry {
    /// Deletes one object, or begins to.
    pub async fn delete(&self, call: &Call<'_>, options: &DeleteOptions) -> Result<Deleted, Status> {
        let (cache, key) = self.locate(call)?;
        for _ in 0..CONFLICT_RETRIES {
            let current = cache.get(&key).ok_or_else(|| call.not_found())?;
            if let Some(deleted) = self.try_delete(call, options, &current).await? {
                return Ok(deleted);
            }
        }
        Err(call.conflict(MODIFIED))
    }

    /// Deletes every object that matches, and returns those objects.
    pub async fn delete_collection(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        selector: &Selector,
    ) -> Result<Vec<Bytes>, Status> {
        let cache = self.cache(call)?;
        let namespace = Some(call.namespace()).filter(|namespace| !namespace.is_empty());
        let slice = Slice { namespace, after: None, limit: 0, selector };
        let mut deleted = Vec::new();
        for object in self.matching(call, &cache, &slice).await? {
            match self.delete_listed(call, options, &cache, &object).await {
                Ok(Deleted::Gone(json) | Deleted::Pending(json)) => deleted.push(json),
                // Somebody else was quicker.
                Err(status) if status.code() == 404 => {}
                Err(status) => return Err(status),
            }
        }
        Ok(deleted)
    }

    async fn delete_listed(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        cache: &ResourceCache,
        object: &Object,
    ) -> Result<Deleted, Status> {
        debug_assert_eq!(cache.kind().plural, call.kind.plural);
        let mut attributes = call.attributes.clone();
        object.name().clone_into(&mut attributes.name);
        object.namespace().clone_into(&mut attributes.namespace);
        self.delete(&Call { attributes: &attributes, ..*call }, options).await
    }

    /// `None` when the object was changed meanwhile.
    async fn try_delete(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        current: &Arc<Object>,
    ) -> Result<Option<Deleted>, Status> {
        let old = Decoded::from(self.parse(call, current).await?);
        check_preconditions(call, options, &old)?;
        // An eviction was admitted as such.
        if call.attributes.subresource.is_empty() {
            let mut request = call.admission(Operation::Delete, Some(&old));
            request.options.delete = Some(options);
            self.review(call, &request, &old).await?;
        }
        let mut new = Value::clone(&old);
        set_propagation_finalizers(&mut new, options.propagation.or_else(|| default_propagation(call.kind, &old)));
        let grace = grace_period(call, options, &old);
        mark(call, &mut new, &old, grace);
        if is_released(&new) {
            let removed = self.remove(call, current.key.clone(), current.revision).await?;
            if removed.is_none() {
                return Ok(None);
            }
            self.give_back(call, &old);
            // What is deleted with grace is marked in any case, be the grace none.
            let graceful = call.kind.strategy.grace_period_seconds(&old).is_some();
            let gone = if graceful { encode::encode(&new) } else { self.shown(call, current).await? };
            return Ok(Some(Deleted::Gone(gone)));
        }
        if new == *old {
            return Ok(Some(Deleted::Pending(self.shown(call, current).await?)));
        }
        let stored = self.replace(call, current, (new, Value::Null), &old).await?;
        Ok(stored.map(Deleted::Pending))
    }
}

/// Whether nothing holds up the removal of an object that is marked as deleted.
pub fn is_released(object: &Value) -> bool {
    let namespace_finalizers = match meta::kind(object) {
        "Namespace" => object.pointer("/spec/finalizers").and_then(Value::as_array).map_or(0, Vec::len),
        _ => 0,
    };
    meta::deletion_timestamp(object).is_some()
        && meta::deletion_grace_period_seconds(object).unwrap_or(0) == 0
        && meta::finalizers(object).is_empty()
        && namespace_finalizers == 0
}

/// Whether the deletion of an object of `kind` is answered with the object.
pub fn is_answered_with_object(kind: &Descriptor) -> bool {
    ANSWERED_WITH_OBJECT.iter().any(|(group, plurals)| *group == kind.group && plurals.contains(&&*kind.plural))
}

/// The answer to a deletion.
pub fn answer(call: &Call<'_>, deleted: Deleted) -> Answer {
    match deleted {
        Deleted::Pending(object) => Answer::Object(object),
        Deleted::Gone(object) if is_answered_with_object(call.kind) => Answer::Object(object),
        Deleted::Gone(object) => {
            let object: Value = serde_json::from_slice(&object).unwrap_or_default();
            let mut details = json!({"name": meta::name(&object), "kind": call.kind.plural, "uid": meta::uid(&object)});
            if !call.kind.group.is_empty() {
                details["group"] = (*call.kind.group).into();
            }
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                                "details": details});
            Answer::Status(status.to_string().into())
        }
    }
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, Status> {
    let path = Path::new("propagationPolicy");
    let refuse = |cause: Cause| Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", vec![cause]));
    match (policy, orphan) {
        (Some(policy), Some(_)) => {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            refuse(field::invalid(&path, policy, detail))
        }
        (None, orphan) => Ok(orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background })),
        (Some("Orphan"), None) => Ok(Some(Propagation::Orphan)),
        (Some("Background"), None) => Ok(Some(Propagation::Background)),
        (Some("Foreground"), None) => Ok(Some(Propagation::Foreground)),
        (Some(other), None) => refuse(field::unsupported(&path, other, &["Foreground", "Background", "Orphan", "nil"])),
    }
}

fn check_preconditions(call: &Call<'_>, options: &DeleteOptions, old: &Value) -> Result<(), Status> {
    if let Some(uid) = &options.uid
        && uid != meta::uid(old)
    {
        let existing = meta::uid(old);
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {existing}");
        return Err(call.conflict(&why));
    }
    if let Some(version) = &options.resource_version
        && version != meta::resource_version(old)
    {
        let existing = meta::resource_version(old);
        return Err(call.conflict(&format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {existing}"
        )));
    }
    Ok(())
}

/// What becomes of dependents when nobody says it, neither now nor earlier.
fn default_propagation(kind: &Descriptor, object: &Value) -> Option<Propagation> {
    let orphans = kind.strategy.orphans_by_default() && !meta::finalizers(object).contains(&FOREGROUND);
    orphans.then_some(Propagation::Orphan)
}

/// The garbage collector finds in the finalizers what it is to do about dependents.
fn set_propagation_finalizers(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let mut finalizers: Vec<Value> = meta::finalizers(object)
        .into_iter()
        .filter(|finalizer| !matches!(*finalizer, ORPHAN | FOREGROUND))
        .map(Value::from)
        .collect();
    match propagation {
        Propagation::Orphan => finalizers.push(ORPHAN.into()),
        Propagation::Foreground => finalizers.push(FOREGROUND.into()),
        Propagation::Background => {}
    }
    meta::set(object, "finalizers", if finalizers.is_empty() { Value::Null } else { finalizers.into() });
}

/// Seconds of grace; 0 for kinds that have none.
fn grace_period(call: &Call<'_>, options: &DeleteOptions, old: &Decoded) -> i64 {
    match call.kind.strategy.grace_period_seconds(old) {
        None | Some(0) => 0,
        Some(default) => {
            let default = i64::try_from(default).unwrap_or(i64::MAX);
            let asked = options.grace_period_seconds.unwrap_or(default);
            // A negative period is taken as the shortest, as upstream does.
            if asked < 0 { 1 } else { asked }
        }
    }
}

/// Sets deletion timestamp and grace period, or shortens those that are set.
fn mark(call: &Call<'_>, new: &mut Value, old: &Value, grace: i64) {
    let now = Timestamp::now();
    let earlier = meta::deletion_timestamp(old).and_then(time::parse);
    let (deadline, grace) = match (earlier, meta::deletion_grace_period_seconds(old)) {
        (Some(deadline), Some(before)) if before <= grace => (deadline, before),
        (Some(deadline), before) => (deadline - SignedDuration::from_secs(before.unwrap_or(0) - grace), grace),
        (None, _) => (now + SignedDuration::from_secs(grace.min(u32::MAX.into())), grace),
    };
    meta::set(new, "deletionTimestamp", time::format(deadline));
    meta::set(new, "deletionGracePeriodSeconds", grace);
    if earlier.is_none() && meta::generation(old) > 0 {
        meta::set(new, "generation", meta::generation(old) + 1);
    }
    if (&*call.kind.group, &*call.kind.plural) == (custom::GROUP, custom::DEFINITIONS) && earlier.is_none() {
        keep_until_empty(new);
    }
    if call.kind.kind == "Namespace" && call.kind.group.is_empty() {
        new["status"]["phase"] = "Terminating".into();
    }
}

/// A definition stays until its objects are gone.
fn keep_until_empty(definition: &mut Value) {
    let mut finalizers: Vec<Value> = meta::finalizers(definition).into_iter().map(Value::from).collect();
    if !finalizers.iter().any(|finalizer| finalizer == custom::CLEANUP_FINALIZER) {
        finalizers.push(custom::CLEANUP_FINALIZER.into());
    }
    meta::set(definition, "finalizers", finalizers);
}
