//! Where a value is: as the path of its field, and as Go's decoder names it in its errors.

use super::{Struct, Type};
use crate::api::protobuf::facts::{Kind, Message, go_type, messages};

/// The way from the root to a value; lives on the stack.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Root,
    Field { parent: &'a Place<'a>, owner: &'a Struct, name: &'a str },
    Key { parent: &'a Place<'a>, key: &'a str },
    Item { parent: &'a Place<'a>, index: usize },
}

impl Place<'_> {
    /// `spec.containers[0].image`
    pub(super) fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { parent, name, .. } => joined(&parent.path(), name),
            Self::Key { parent, key } => joined(&parent.path(), key),
            Self::Item { parent, index } => format!("{}[{index}]", parent.path()),
        }
    }

    /// What Go cannot put a value into: `Go struct field Container.spec.containers.image of type string`.
    pub(super) fn go_target(&self, kind: &Type) -> String {
        let of_type = self.go_name(kind);
        match self.owner() {
            Some(owner) => format!("Go struct field {}.{} of type {of_type}", owner.short_name(), self.go_path()),
            None => format!("Go value of type {of_type}"),
        }
    }

    /// What Go calls the type of the value.
    pub(super) fn go_name(&self, kind: &Type) -> String {
        self.go_type().unwrap_or_else(|| kind.decoded_as())
    }

    fn owner(&self) -> Option<&Struct> {
        match self {
            Self::Root => None,
            Self::Field { owner, .. } => Some(owner),
            Self::Key { parent, .. } | Self::Item { parent, .. } => parent.owner(),
        }
    }

    /// The path without keys and indices, but with the names of the structures that are embedded.
    fn go_path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { parent, owner, name } => {
                let embedded = embedded(owner, name).map(|(_, name)| name);
                embedded.chain([*name]).fold(parent.go_path(), |path, part| joined(&path, part))
            }
            Self::Key { parent, .. } | Self::Item { parent, .. } => parent.go_path(),
        }
    }

    /// The type that Go has for the value, where it is not the one that a [`Type`] shows.
    fn go_type(&self) -> Option<String> {
        match self {
            Self::Root => None,
            Self::Field { owner, name, .. } => {
                let holder = embedded(owner, name).last().map_or(&*owner.definition, |(message, _)| message.name);
                go_type(holder, name).map(str::to_owned)
            }
            Self::Item { parent, .. } => Some(parent.go_type()?.strip_prefix("[]")?.to_owned()),
            Self::Key { parent, .. } => Some(parent.go_type()?.strip_prefix("map[")?.split_once(']')?.1.to_owned()),
        }
    }
}

pub(super) fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// The messages inside `owner` that have its field `name`, from the outside in, and what Go calls them.
fn embedded(owner: &Struct, name: &str) -> impl Iterator<Item = (&'static Message, &'static str)> {
    let mut holder = messages().called(&owner.definition);
    let way = holder.and_then(|message| message.spot(name)).map(|spot| &*spot.way).unwrap_or_default();
    way.iter().map_while(move |number| {
        let Kind::Message(place) = holder?.field(*number)?.kind else { return None };
        let inner = messages().at(place);
        holder = Some(inner);
        Some((inner, inner.name.rsplit('.').next().unwrap_or_default()))
    })
}
