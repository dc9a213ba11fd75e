//! Compact schemas of kinds: which fields there are, of what type, and how their lists merge.
//! Strict decoding, strategic merge patches and field ownership go by them.
//!
//! A [`Library`] builds a kind's schema when it is first asked for, from the table of messages that
//! the protobuf form goes by and the one in [`facts`]. Definitions and field names are shared between
//! kinds: all built-in ones together take some hundred kilobytes.

mod build;
mod decode;
mod duplicates;
pub mod facts;
mod place;
mod walk;

use std::sync::{Arc, OnceLock};

pub use build::Library;
pub use decode::{FieldValidation, Format, LIMIT_BYTES, check, decode, go_kind, json_error, settle, tree, unfit};
pub use walk::{Wording, yaml_boolean, yaml_octal};

use crate::api::protobuf::facts::Instead;

/// The schema of one kind. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema {
    /// API version of the kind, such as `apps/v1`.
    pub api_version: Arc<str>,
    /// The kind.
    pub kind: Arc<str>,
    /// Its type.
    pub root: Type,
}

/// The type of a field.
#[derive(Debug, Clone)]
pub enum Type {
    /// Any JSON: raw extensions, structures without declared fields.
    Any,
    /// `true` or `false`
    Boolean,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Number,
    /// Text.
    String,
    /// Bytes as base64 text.
    Bytes,
    /// RFC 3339 with whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// A quantity of a resource, as text or number.
    Quantity,
    /// A 32-bit integer or text.
    IntOrString,
    /// Any keys, values of one type.
    Map(Arc<Type>),
    /// Items of one type.
    List(Arc<Type>),
    /// Declared fields.
    Struct(Arc<Struct>),
    /// A schema of a custom resource, or what may stand in its place.
    SchemaOr(Instead, Arc<Type>),
}

impl Type {
    /// The structure, if the type is one.
    #[cfg(test)]
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(structure) => Some(structure),
            _ => None,
        }
    }

    /// What Go decodes a value of the type as: some types are made of another one.
    fn decoded_as(&self) -> String {
        match self {
            Self::Time | Self::MicroTime => "string".into(),
            Self::IntOrString => "int32".into(),
            other => other.shown(),
        }
    }

    /// The type as error messages name it, which is Go's way: `[]v1.Container`.
    fn shown(&self) -> String {
        match self {
            Self::Any => "interface {}".into(),
            Self::Boolean => "bool".into(),
            Self::Int32 => "int32".into(),
            Self::Int64 => "int64".into(),
            Self::Number => "float64".into(),
            Self::String => "string".into(),
            Self::Bytes => "[]uint8".into(),
            Self::Time => "v1.Time".into(),
            Self::MicroTime => "v1.MicroTime".into(),
            Self::Quantity => "resource.Quantity".into(),
            Self::IntOrString => "intstr.IntOrString".into(),
            Self::SchemaOr(_, schema) => schema.shown(),
            Self::Map(values) => format!("map[string]{}", values.shown()),
            Self::List(items) => format!("[]{}", items.shown()),
            Self::Struct(structure) => {
                let mut parts = structure.definition.rsplitn(3, '.');
                let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                format!("{version}.{name}")
            }
        }
    }
}

/// A structure with declared fields. Definitions may refer to themselves, hence the late filling.
#[derive(Debug)]
pub struct Struct {
    /// Its name, such as `core.v1.PodSpec`.
    pub definition: Box<str>,
    /// Whether appliers own values of it only as a whole.
    pub atomic: bool,
    /// Whether undeclared fields are kept, as any JSON.
    pub open: bool,
    /// Fields, sorted by name; set once, while the schema is built.
    fields: OnceLock<Box<[Field]>>,
}

impl Struct {
    /// A structure that is complete at once. An `open` one keeps fields that it does not declare.
    pub fn new(definition: &str, mut fields: Vec<Field>, open: bool) -> Self {
        fields.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let fields = OnceLock::from(fields.into_boxed_slice());
        Self { definition: definition.into(), atomic: false, open, fields }
    }

    /// All fields, sorted by name.
    pub fn fields(&self) -> &[Field] {
        self.fields.get().map(AsRef::as_ref).unwrap_or_default()
    }

    /// The field called `name`. Names are case-sensitive.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let fields = self.fields();
        fields.binary_search_by(|field| (*field.name).cmp(name)).ok().map(|at| &fields[at])
    }

    /// `PodSpec`
    fn short_name(&self) -> &str {
        self.definition.rsplit('.').next().unwrap_or_default()
    }
}

/// A field of a structure.
#[derive(Debug)]
pub struct Field {
    /// Its name, shared with all fields of that name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Type,
    /// How it merges.
    pub fact: Fact,
}

/// How appliers share a list (`x-kubernetes-list-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Owned as a whole.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Structures told apart by their keys.
    Map,
}

/// How appliers share a map or structure (`x-kubernetes-map-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// Owned as a whole.
    Atomic,
    /// Owned by key.
    Granular,
}

/// What a strategic merge patch does with a list or structure (`x-kubernetes-patch-strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchStrategy {
    /// Lists are replaced, structures merged.
    Default,
    /// Lists are merged by [`Fact::merge_key`], or as sets.
    Merge,
    /// Replaced even if it is a structure.
    Replace,
}

/// How a field merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// How appliers share the list.
    pub list: Option<ListType>,
    /// How appliers share the map.
    pub map: Option<MapType>,
    /// Keys of a [`ListType::Map`].
    pub keys: &'static [&'static str],
    /// What a strategic merge patch does.
    pub patch: PatchStrategy,
    /// Whether `$retainKeys` may drop keys that a patch does not name.
    pub retain_keys: bool,
    /// The field that tells items of a merged list apart; `None` for lists of scalars.
    pub merge_key: Option<&'static str>,
}
