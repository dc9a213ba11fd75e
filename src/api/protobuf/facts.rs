//! Field numbers and types of every message that a built-in kind consists of: facts that the
//! Kubernetes types do not carry. They stand in `embedded/protobuf-fields.txt`, a message a line:
//!
//! ```text
//! core.v1.Secret metadata!=1:meta.v1.ObjectMeta data=2:map:bytes type=3:string immutable=5:keep:bool
//! ```
//!
//! Fields are named as in JSON. `list:` repeats, `map:` has text keys, `inline:` is a message of
//! its own whose fields JSON shows among those of its owner, and `keep:` marks scalars whose zero
//! means something: Go holds them by pointer, or writes them to JSON even if they are zero. A `!` behind
//! the name stands for the latter, of structures and lists too: Go always writes such a field. Behind `@` is the
//! Go type of a field, where it has a name of its own: errors show it.
//!
//! The table has the stable groups of upstream whole, whether or not their kinds are served.

use std::{collections::HashMap, sync::OnceLock};

const TEXT: &str = include_str!("../../../embedded/protobuf-fields.txt");
/// Groups whose kinds have a protobuf form. Custom resources may be in groups that begin alike.
pub(super) const GROUPS: [&str; 22] = [
    "admissionregistration.k8s.io",
    "apidiscovery.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "meta.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];
/// Fields among which the next one of an encoded object is looked for first.
const NEAR: usize = 8;
/// The message of schemas of custom resources.
const SCHEMA: &str = "apiextensions.v1.JSONSchemaProps";

/// All messages, built from the text when the first object comes or goes as protobuf.
pub fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| Messages::parse(TEXT))
}

/// The name that Go's type of a field has, where it is not that of its shape and kind: `v1.PullPolicy`. It is
/// looked up in the text, for only errors ask for it.
pub fn go_type(message: &str, field: &str) -> Option<&'static str> {
    let fields = TEXT.lines().find_map(|line| line.strip_prefix(message)?.strip_prefix(' '))?;
    let is_wanted = |text: &&str| text.split_once('=').is_some_and(|(name, _)| name.trim_end_matches('!') == field);
    Some(fields.split(' ').find(is_wanted)?.split_once('@')?.1)
}

/// The messages, which refer to each other by their place.
#[derive(Debug)]
pub struct Messages(Box<[Message]>);

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Its name, such as `core.v1.PodSpec`.
    pub name: &'static str,
    /// Its fields, in the order of their numbers.
    pub fields: Box<[Field]>,
    /// Where JSON's fields are, sorted by name.
    by_name: Box<[(&'static str, Spot)]>,
    /// Those of them that Go always writes, by their places.
    written: Box<[u16]>,
}

/// Where a field of the JSON form is in its message.
#[derive(Debug, Clone)]
pub struct Spot {
    /// Numbers of the inline messages on the way to it; empty for the message's own fields.
    pub way: Box<[u32]>,
    /// The field.
    pub field: Field,
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its number.
    pub number: u32,
    /// How often it occurs.
    pub shape: Shape,
    /// Its type, or that of its items or values.
    pub kind: Kind,
    /// Whether its zero means something else than its absence.
    pub keeps_zero: bool,
    /// Whether Go writes it to JSON whatever is in it.
    pub always: bool,
    /// Its name in JSON.
    pub name: &'static str,
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Once, or not at all.
    One,
    /// As the items of a list.
    List,
    /// As the entries of a map with text keys.
    Map,
    /// Once, with its fields among those of its owner.
    Inline,
}

/// Type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bool`
    Boolean,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `double`
    Double,
    /// `string`
    Text,
    /// `bytes`, base64 in JSON.
    Bytes,
    /// `metav1.Time`
    Time,
    /// `metav1.MicroTime`
    MicroTime,
    /// `resource.Quantity`
    Quantity,
    /// `intstr.IntOrString`
    IntOrString,
    /// `runtime.RawExtension`: an object of any kind.
    Raw,
    /// `metav1.FieldsV1`: JSON as bytes.
    Fields,
    /// `authentication.v1.ExtraValue` and its like: a message that is nothing but a list of texts.
    Texts,
    /// A message, by its place among [`messages`].
    Message(u16),
    /// A schema of a custom resource or what may stand in its place.
    SchemaOr(Instead, u16),
}

/// What may stand in the place of a schema (`JSONSchemaPropsOrBool` and its like).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// `true` or `false`
    Boolean,
    /// A list of schemas.
    Schemas,
    /// A list of texts.
    Texts,
}

impl Messages {
    /// The message of a kind.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Message> {
        // These belong to every group.
        if matches!(kind, "DeleteOptions" | "Status") {
            return self.named("meta.v1", kind);
        }
        match api_version.split_once('/') {
            // What discovery answers with has the version of the core group.
            None => self.named(&format!("core.{api_version}"), kind).or_else(|| self.named("meta.v1", kind)),
            Some((group, version)) if GROUPS.contains(&group) => {
                let package = group.split('.').next().unwrap_or_default();
                self.named(&format!("{package}.{version}"), kind)
            }
            Some(_) => None,
        }
    }

    /// The message at a place that a [`Kind::Message`] names.
    pub fn at(&self, place: u16) -> &Message {
        &self.0[usize::from(place)]
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.0.iter()
    }

    /// Whether the message is an object and not a part of one: it has metadata, and there is a message of
    /// lists of it.
    pub fn is_object(&self, message: &Message) -> bool {
        let list =
            message.name.rsplit_once('.').and_then(|(package, name)| self.named(package, &format!("{name}List")));
        list.is_some() && message.spot("metadata").is_some()
    }

    /// The message of that full name, such as `core.v1.PodSpec`.
    pub fn called(&self, name: &str) -> Option<&Message> {
        self.0.binary_search_by(|message| message.name.cmp(name)).ok().map(|at| &self.0[at])
    }

    fn named(&self, package: &str, name: &str) -> Option<&Message> {
        self.called(&format!("{package}.{name}"))
    }

    fn parse(text: &'static str) -> Self {
        let mut lines: Vec<(&str, &str)> =
            text.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
        lines.sort_unstable_by_key(|(name, _)| *name);
        let places: HashMap<&str, u16> = lines.iter().zip(0..).map(|((name, _), place)| (*name, place)).collect();
        let message = |(name, fields): &(&'static str, &'static str)| {
            let package = name.rsplit_once('.').map_or("", |(package, _)| package);
            Message {
                name,
                fields: fields.split_whitespace().map(|field| Field::parse(field, package, &places)).collect(),
                by_name: Box::default(),
                written: Box::default(),
            }
        };
        let mut messages = Self(lines.iter().map(message).collect());
        let indices: Vec<_> = messages.iter().map(|message| messages.index(message)).collect();
        for (message, index) in messages.0.iter_mut().zip(indices) {
            let is_written = |(_, (_, spot)): &(u16, &(&str, Spot))| spot.field.always;
            message.written = (0..).zip(index.iter()).filter(is_written).map(|(place, _)| place).collect();
            message.by_name = index;
        }
        messages
    }

    fn index(&self, message: &Message) -> Box<[(&'static str, Spot)]> {
        let mut index = Vec::new();
        for field in &message.fields {
            if let (Shape::Inline, Kind::Message(inner)) = (field.shape, field.kind) {
                for (name, spot) in self.index(self.at(inner)) {
                    let way = std::iter::once(field.number).chain(spot.way).collect();
                    index.push((name, Spot { way, field: spot.field }));
                }
            } else {
                index.push((field.name, Spot { way: Box::default(), field: *field }));
            }
        }
        index.sort_unstable_by_key(|(name, _)| *name);
        index.into()
    }
}

impl Message {
    /// The field with a number.
    pub fn field(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|at| &self.fields[at])
    }

    /// Its fields as JSON shows them, sorted by name.
    pub fn fields_by_name(&self) -> impl Iterator<Item = (&'static str, &Field)> {
        self.by_name.iter().map(|(name, spot)| (*name, &spot.field))
    }

    /// Those of its fields that Go writes to JSON whatever is in them.
    pub fn written_fields(&self) -> impl Iterator<Item = &Field> {
        self.written.iter().map(|place| &self.by_name[usize::from(*place)].1.field)
    }

    /// Where the field is that JSON calls `name`.
    pub fn spot(&self, name: &str) -> Option<&Spot> {
        self.place(name).map(|at| &self.by_name[at].1)
    }

    /// As [`Message::spot`], with its place. `expected` is where it may be: encoded objects have their fields
    /// in the order of their names, so that the next one is seldom far from the last.
    pub fn spot_near(&self, name: &str, expected: usize) -> Option<(usize, &Spot)> {
        let mut near = self.by_name.iter().enumerate().skip(expected).take(NEAR);
        let found = near.find(|(_, (known, _))| *known == name).map(|(at, _)| at);
        found.or_else(|| self.place(name)).map(|at| (at, &self.by_name[at].1))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.by_name.binary_search_by_key(&name, |(name, _)| name).ok()
    }
}

impl Field {
    fn parse(text: &'static str, package: &str, places: &HashMap<&str, u16>) -> Self {
        let (name, rest) = text.split_once('=').expect("a field of the table has a name");
        let (name, always) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        let rest = rest.split_once('@').map_or(rest, |(rest, _)| rest);
        let (number, kind) = rest.split_once(':').expect("a field of the table has a type");
        let number = number.parse().expect("a field of the table has a number");
        let (mark, kind) = kind.split_once(':').unwrap_or(("", kind));
        let shape = match mark {
            "list" => Shape::List,
            "map" => Shape::Map,
            "inline" => Shape::Inline,
            _ => Shape::One,
        };
        Self { number, shape, kind: Kind::parse(kind, package, places), keeps_zero: mark == "keep", always, name }
    }
}

impl Kind {
    fn parse(text: &str, package: &str, places: &HashMap<&str, u16>) -> Self {
        match text {
            "bool" => Self::Boolean,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "double" => Self::Double,
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "time" => Self::Time,
            "microTime" => Self::MicroTime,
            "quantity" => Self::Quantity,
            "intOrString" => Self::IntOrString,
            "raw" => Self::Raw,
            "fields" => Self::Fields,
            "strings" => Self::Texts,
            "schemaOrBool" => Self::SchemaOr(Instead::Boolean, places[SCHEMA]),
            "schemaOrArray" => Self::SchemaOr(Instead::Schemas, places[SCHEMA]),
            "schemaOrStrings" => Self::SchemaOr(Instead::Texts, places[SCHEMA]),
            message => {
                let full = if message.contains('.') { message.to_owned() } else { format!("{package}.{message}") };
                Self::Message(*places.get(full.as_str()).expect("the table has every message that it refers to"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_version() {
        let name = |version, kind| messages().of_kind(version, kind).map(|message| message.name);
        assert_eq!(name("v1", "Pod"), Some("core.v1.Pod"));
        assert_eq!(name("rbac.authorization.k8s.io/v1", "RoleList"), Some("rbac.v1.RoleList"));
        assert_eq!(name("apps/v1", "DeleteOptions"), Some("meta.v1.DeleteOptions"));
        assert_eq!(name("example.com/v1", "Pod"), None);
        assert_eq!(name("apps.example.com/v1", "Deployment"), None);
        assert_eq!(name("v1", "APIGroupList"), Some("meta.v1.APIGroupList"));
    }

    #[test]
    fn every_package_of_the_table_is_a_group() {
        let package = |group: &str| group.split('.').next().unwrap_or_default().to_owned();
        let known: Vec<String> = GROUPS.iter().map(|group| package(group)).chain(["core".into()]).collect();
        for message in messages().iter() {
            assert!(known.contains(&package(message.name)), "{}", message.name);
        }
    }

    #[test]
    fn fields_of_inline_messages_are_found_by_their_owner() {
        let way = |kind: &str, name: &str| {
            let message =
                messages().of_kind("v1", kind).or_else(|| messages().of_kind("admissionregistration.k8s.io/v1", kind));
            message.unwrap().spot(name).map(|spot| (spot.way.to_vec(), spot.field.number))
        };
        assert_eq!((way("Volume", "name"), way("Volume", "secret")), (Some((vec![], 1)), Some((vec![2], 6))));
        assert_eq!(way("Volume", "volumeSource"), None);
        assert_eq!(way("NamedRuleWithOperations", "scope"), Some((vec![2, 2], 4)));
    }

    #[test]
    fn fields_stand_in_the_order_of_their_numbers() {
        for message in messages().iter() {
            assert!(message.fields.is_sorted_by(|a, b| a.number < b.number), "{}", message.name);
        }
    }
}
