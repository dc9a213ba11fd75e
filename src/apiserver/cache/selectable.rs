//! What selectors look at, taken out of an object once.

use crate::{
    api::{
        decoded::Decoded,
        kind::{Name, Strategy},
        meta,
        selector::{FieldSelector, LabelSelector},
    },
    apiserver::cache::object::Object,
};

/// Labels and selectable fields of an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selectable {
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(Name, Box<str>)]>,
}

impl Selectable {
    /// Takes them from a decoded object.
    pub fn of(object: &Decoded, strategy: &dyn Strategy) -> Self {
        let labels = meta::labels(object).map(|(key, value)| (key.into(), value.into())).collect();
        let fields = strategy.selectable_fields(object);
        Self { labels, fields: fields.into_iter().map(|(field, value)| (field, value.into())).collect() }
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| **label == *key).map(|(_, value)| &**value)
    }

    /// The value of a field of the kind's own.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| &**value)
    }
}

/// Which objects a list or watch means.
#[derive(Debug, Clone)]
pub struct Selector {
    /// By label.
    pub labels: LabelSelector,
    /// By field.
    pub fields: FieldSelector,
}

impl Selector {
    /// All objects.
    pub fn everything() -> Self {
        Self { labels: LabelSelector::everything(), fields: FieldSelector::default() }
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether `object` matches.
    pub fn matches(&self, object: &Object, strategy: &dyn Strategy) -> bool {
        if self.is_everything() {
            return true;
        }
        // Names are known without decoding the object.
        let only_names = self.labels.is_everything()
            && self.fields.terms().iter().all(|term| matches!(&*term.field, "metadata.name" | "metadata.namespace"));
        if only_names {
            return self.fields.matches(|field| own_field(object, field));
        }
        self.holds(object, object.selectable(strategy))
    }

    /// As [`Selector::matches`], for an object in another version than the one that the cache knows: what
    /// the object remembers of itself is neither used nor set.
    pub fn matches_anew(&self, object: &Object, strategy: &dyn Strategy) -> bool {
        self.is_everything() || self.holds(object, &object.read(strategy))
    }

    fn holds(&self, object: &Object, selectable: &Selectable) -> bool {
        self.labels.matches(|key| selectable.label(key))
            && self.fields.matches(|field| own_field(object, field).or_else(|| selectable.field(field)))
    }
}

fn own_field<'a>(object: &'a Object, field: &str) -> Option<&'a str> {
    match field {
        "metadata.name" => Some(object.name()),
        "metadata.namespace" => Some(object.namespace()),
        _ => None,
    }
}
