//! What a kind is: its names and verbs, and its strategy. The API's generic path calls a kind
//! only through [`Descriptor`] and [`Strategy`]; a built-in kind implements the typed [`Kind`]
//! in its own file under `api/kinds/`, a custom resource will bring a dynamic strategy.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::{Metadata, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::api::{
    Status,
    custom::CustomKind,
    decoded::Decoded,
    status::Cause,
    update_check::{self, UpdateCheck},
    validation::name,
};

pub use crate::api::typed::Typed;

/// A resource's API group and plural name: what storage, RBAC rules and caches go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural name in lower case, such as `pods`.
    pub resource: &'a str,
}

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One set of objects per namespace.
    Namespaced,
    /// One set of objects for the cluster.
    Cluster,
}

/// How a kind uses its subresources beyond those that only the server implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: written apart from the spec.
    Status,
    /// `/scale`: autoscaling/v1 Scale over `spec.replicas`.
    Scale,
    /// A part of the object with rules of its own about what changes (`/approval`, `/resize`), by its
    /// name. It is read and written as the whole object.
    Part(&'static str),
    /// Any other, by its name; the server has a handler of its own (log, exec, binding, token…).
    Custom(&'static str),
}

impl Subresource {
    /// The path segment.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Part(name) | Self::Custom(name) => name,
        }
    }
}

/// A name of a kind: part of the program for built-in kinds, text of a definition for others.
pub type Name = Cow<'static, str>;

/// A kind as the server knows it.
#[derive(Clone)]
pub struct Descriptor {
    /// API group; empty for core.
    pub group: Name,
    /// API version, such as `v1`.
    pub version: Name,
    /// `Pod`
    pub kind: Name,
    /// `pods`
    pub plural: Name,
    /// `pod`
    pub singular: Name,
    /// `po`
    pub short_names: Arc<[Name]>,
    /// `all`
    pub categories: Arc<[Name]>,
    /// Namespaced or cluster-wide.
    pub scope: Scope,
    /// Verbs of the main resource, as discovery lists them; kinds that are only ever posted
    /// (reviews) have `create` alone and are never stored.
    pub verbs: &'static [&'static str],
    /// Subresources.
    pub subresources: &'static [Subresource],
    /// Behaviour.
    pub strategy: Arc<dyn Strategy>,
}

impl Descriptor {
    /// `apps/v1`, or `v1` for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Group and plural.
    pub fn group_resource(&self) -> GroupResource<'_> {
        GroupResource { group: &self.group, resource: &self.plural }
    }
}

/// All verbs of a stored kind.
pub const STORED: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A column of a built-in kind's table.
pub type Column = TableColumn<'static>;

/// A column of a kind's table (`metav1.TableColumnDefinition`).
#[derive(Debug, Clone, Copy)]
pub struct TableColumn<'a> {
    /// Heading, such as `Ready`.
    pub name: &'a str,
    /// OpenAPI type: `string`, `integer`, `date`…
    pub kind: &'a str,
    /// OpenAPI format; `name` marks the primary column.
    pub format: &'a str,
    /// What the column shows.
    pub description: &'a str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// Behaviour of a kind over untyped objects. All functions are pure.
///
/// A write calls one of the `prepare_for_…` functions and then the validation that belongs to it, and
/// reads the selectable fields. What these have in common (the typed form of a built-in kind) travels
/// with the [`Decoded`] object, so that it is made once.
pub trait Strategy: Send + Sync {
    /// Checks that `object` has the kind's types, and fills in defaults. Errors with 400, as
    /// decoding does upstream. Unknown fields were dealt with before (`api::schema`) and are gone
    /// from the result. Writes call it to know defaults before admission; the `prepare_for_…`
    /// functions do the same again for what admission has added.
    fn decode(&self, object: Value) -> Result<Decoded, Status>;
    /// Drops zeroes that say nothing, and adds those that are always there, as [`Strategy::decode`] does too.
    fn settle(&self, _object: &mut Value) {}
    /// Decodes as [`Strategy::decode`] does, and adds what the server decides itself on create:
    /// clears status, sets `metadata.generation`…
    fn prepare_for_create(&self, object: Value) -> Result<Decoded, Status>;
    /// Likewise on update: keeps what this endpoint may not change (status on the main resource),
    /// raises `metadata.generation` when the spec changed.
    fn prepare_for_update(&self, new: Value, old: &Decoded) -> Result<Decoded, Status>;
    /// Likewise on an update of `/status`: keeps everything but status (and metadata the kind allows).
    fn prepare_for_status_update(&self, new: Value, old: &Decoded) -> Result<Decoded, Status>;
    /// Likewise on an update of the [`Subresource::Part`] called `part`. Errors if the kind has none.
    fn prepare_for_part_update(&self, part: &str, _new: Value, _old: &Decoded) -> Result<Decoded, Status> {
        Err(Status::internal(format!("the kind has no part {part}")))
    }
    /// Every problem of the object, metadata included. Empty when valid.
    fn validate(&self, object: &Decoded) -> Vec<Cause>;
    /// Every problem of a new state that the old one does not excuse.
    fn validate_again(&self, new: &Decoded, _old: &Decoded) -> Vec<Cause> {
        self.validate(new)
    }
    /// Every problem of the change, immutability included. Called after [`Strategy::validate`].
    fn validate_update(&self, new: &Decoded, old: &Decoded) -> Vec<Cause>;
    /// Problems of a status update.
    fn validate_status_update(&self, new: &Decoded, old: &Decoded) -> Vec<Cause>;
    /// Problems of an update of the part called `part`.
    fn validate_part_update(&self, _part: &str, _new: &Decoded, _old: &Decoded) -> Vec<Cause> {
        Vec::new()
    }
    /// Selectable fields beyond `metadata.name` and `metadata.namespace`, by path.
    fn selectable_fields(&self, object: &Decoded) -> Vec<(Name, String)>;
    /// Names of the fields that [`Strategy::selectable_fields`] gives.
    fn selectable_field_names(&self) -> Cow<'_, [&str]>;
    /// Columns of the table form.
    fn columns(&self) -> Cow<'_, [TableColumn<'_>]>;
    /// One row: a cell per column. `now` is the server's time, for ages.
    fn cells(&self, object: &Decoded, now: jiff::Timestamp) -> Vec<Value>;
    /// The row of an encoded object.
    fn row(&self, json: &[u8], now: jiff::Timestamp) -> Vec<Value> {
        self.cells(&serde_json::from_slice::<Value>(json).unwrap_or_default().into(), now)
    }
    /// Seconds of grace with which an object is deleted when the caller names none; `None` for
    /// kinds that are deleted at once. (Pods: `spec.terminationGracePeriodSeconds`, or 0 before
    /// they are bound to a node.)
    fn grace_period_seconds(&self, object: &Decoded) -> Option<u64>;
    /// Every problem of an updated object, those of the change included.
    fn validate_change(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        let mut causes = self.validate(new);
        causes.extend(self.validate_update(new, old));
        causes
    }
    /// What clients are warned of when they use the kind, if it is deprecated.
    fn deprecation(&self) -> Option<Cow<'_, str>> {
        None
    }
    /// Whether an update need not say which version of the object it is of.
    fn updates_unconditionally(&self) -> bool;
    /// See [`Kind::reset_fields`].
    fn reset_fields(&self, _part: &str) -> Option<&'static [&'static str]> {
        None
    }
    /// What clients are warned of in a new object as they sent it, before it is prepared.
    fn warnings_as_sent(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }
    /// What clients are warned of in a valid object that is created, or changed from `old`.
    fn warnings(&self, _new: &Decoded, _old: Option<&Decoded>) -> Vec<String> {
        Vec::new()
    }
    /// Whether dependents stay when an object is deleted by somebody who does not say what becomes of them.
    fn orphans_by_default(&self) -> bool {
        false
    }
    /// What the kind's definition says, if it is not a built-in one.
    fn custom(&self) -> Option<&CustomKind> {
        None
    }
}

/// What names of a kind look like (`ValidateNameFunc` upstream).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// An RFC 1123 subdomain: most kinds.
    Subdomain,
    /// An RFC 1123 label: namespaces.
    Label,
    /// An RFC 1035 label: services.
    Dns1035,
    /// Anything that fits into a URL path: roles and bindings.
    PathSegment,
    /// Anything at all, for kinds that are never stored.
    Any,
}

impl NameRule {
    /// Problems of a name.
    pub fn check(self, value: &str) -> Vec<String> {
        match self {
            Self::Subdomain => name::dns1123_subdomain(value),
            Self::Label => name::dns1123_label(value),
            Self::Dns1035 => name::dns1035_label(value),
            Self::PathSegment => name::path_segment(value),
            Self::Any => Vec::new(),
        }
    }

    /// Problems of a `generateName`, to which a random suffix is appended.
    pub fn check_prefix(self, value: &str) -> Vec<String> {
        match self {
            Self::PathSegment => name::path_segment_prefix(value),
            rule => rule.check(&name::without_trailing_dash(value)),
        }
    }
}

/// When `metadata.generation` is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The kind has no generations.
    Never,
    /// It begins at 1 and is raised when anything but metadata and status changes.
    Spec,
    /// It is 1, whatever changes.
    Once,
    /// There is none until anything but metadata and status changes.
    Changes,
    /// As [`Generation::Spec`], and also when annotations change (Deployments).
    SpecAndAnnotations,
    /// As [`Generation::Spec`], and also when labels change (endpoint slices).
    SpecAndLabels,
}

/// A built-in kind, typed. Default bodies are those of a plain kind without status.
///
/// `apiVersion`, `kind`, `metadata.name` rules shared by all kinds, immutability of identity
/// metadata and the like are done by [`Typed`] for every kind; an implementation adds its own.
pub trait Kind: Send + Sync + 'static {
    /// The k8s-openapi type.
    type Object: Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// Names, scope, verbs, subresources.
    const NAMES: Names;
    /// What names of this kind look like.
    const NAME_RULE: NameRule = NameRule::Subdomain;
    /// Whether an update need not say which version of the object it is of.
    const UPDATES_UNCONDITIONALLY: bool = true;
    /// See [`Strategy::deprecation`].
    const DEPRECATION: Option<&'static str> = None;
    /// See [`Strategy::orphans_by_default`].
    const ORPHANS_BY_DEFAULT: bool = false;
    /// When `metadata.generation` is raised.
    const GENERATION: Generation = Generation::Never;
    /// Selectable fields beyond name and namespace.
    const FIELDS: &'static [&'static str] = &[];
    /// What an update is checked for, in upstream's order.
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::WHOLE_THEN_CHANGE;
    /// Whether a new object brings its status along, as that of a machine which registers itself does.
    const STATUS_ON_CREATE: bool = false;

    /// Checks or mends what the type of the object could not take. An error is why it cannot be handled.
    fn before_decoding(_object: &mut Value) -> Result<(), String> {
        Ok(())
    }
    /// Fills in defaults.
    fn default(_object: &mut Self::Object) {}
    /// See [`Strategy::prepare_for_create`].
    fn prepare_for_create(_object: &mut Self::Object) {}
    /// See [`Strategy::prepare_for_update`].
    fn prepare_for_update(_new: &mut Self::Object, _old: &Self::Object) {}
    /// See [`Strategy::prepare_for_status_update`].
    fn prepare_for_status_update(_new: &mut Self::Object, _old: &Self::Object) {}
    /// See [`Strategy::prepare_for_part_update`].
    fn prepare_for_part_update(_part: &str, _new: &mut Self::Object, _old: &Self::Object) {}
    /// The fields that an endpoint (`""` is the object's own) leaves as they are, if they are not those of most kinds:
    /// the status, and for the status everything else.
    fn reset_fields(_part: &str) -> Option<&'static [&'static str]> {
        None
    }
    /// Problems beyond those of metadata.
    fn validate(_object: &Self::Object) -> Vec<Cause> {
        Vec::new()
    }
    /// Problems of a new state that an old one may excuse, beyond those of metadata.
    fn validate_again(new: &Self::Object, _old: &Self::Object) -> Vec<Cause> {
        Self::validate(new)
    }
    /// Problems of the change beyond those of metadata.
    fn validate_update(_new: &Self::Object, _old: &Self::Object) -> Vec<Cause> {
        Vec::new()
    }
    /// Problems of a status update beyond those of metadata.
    fn validate_status_update(_new: &Self::Object, _old: &Self::Object) -> Vec<Cause> {
        Vec::new()
    }
    /// Problems of an update of a part beyond those of metadata.
    fn validate_part_update(_part: &str, _new: &Self::Object, _old: &Self::Object) -> Vec<Cause> {
        Vec::new()
    }
    /// See [`Strategy::warnings_as_sent`].
    fn warnings_as_sent(_object: &Value) -> Vec<String> {
        Vec::new()
    }
    /// See [`Strategy::warnings`].
    fn warnings(_new: &Self::Object, _old: Option<&Self::Object>) -> Vec<String> {
        Vec::new()
    }
    /// Values of [`Kind::FIELDS`], in their order.
    fn field_values(_object: &Self::Object) -> Vec<String> {
        Vec::new()
    }
    /// Table columns.
    const COLUMNS: &'static [Column];
    /// A cell per column.
    fn cells(object: &Self::Object, now: jiff::Timestamp) -> Vec<Value>;
    /// The same of an encoded object, for kinds of which there are so many that they read no more of each
    /// than its row needs. `None` lets the whole object be read.
    fn row(_json: &[u8], _now: jiff::Timestamp) -> Option<Vec<Value>> {
        None
    }
    /// See [`Strategy::grace_period_seconds`].
    fn grace_period_seconds(_object: &Self::Object) -> Option<u64> {
        None
    }
}

/// The constant part of a [`Descriptor`].
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// See [`Descriptor::group`].
    pub group: &'static str,
    /// See [`Descriptor::version`].
    pub version: &'static str,
    /// See [`Descriptor::kind`].
    pub kind: &'static str,
    /// See [`Descriptor::plural`].
    pub plural: &'static str,
    /// See [`Descriptor::singular`].
    pub singular: &'static str,
    /// See [`Descriptor::short_names`].
    pub short_names: &'static [&'static str],
    /// See [`Descriptor::categories`].
    pub categories: &'static [&'static str],
    /// See [`Descriptor::scope`].
    pub scope: Scope,
    /// See [`Descriptor::verbs`].
    pub verbs: &'static [&'static str],
    /// See [`Descriptor::subresources`].
    pub subresources: &'static [Subresource],
}

impl Names {
    /// `apps/v1`, or `v1` for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// The descriptor of a built-in kind.
pub fn descriptor<K: Kind>() -> Descriptor {
    let names = K::NAMES;
    let list = |names: &'static [&'static str]| names.iter().map(|name| Name::from(*name)).collect();
    Descriptor {
        group: names.group.into(),
        version: names.version.into(),
        kind: names.kind.into(),
        plural: names.plural.into(),
        singular: names.singular.into(),
        short_names: list(names.short_names),
        categories: list(names.categories),
        scope: names.scope,
        verbs: names.verbs,
        subresources: names.subresources,
        strategy: Arc::new(Typed::<K>::default()),
    }
}
