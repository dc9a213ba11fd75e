//! What selectors look at, taken out of an object once.

use crate::{
    api::{
        decoded::Decoded,
        kind::Strategy,
        meta,
        selector::{FieldSelector, LabelSelector},
    },
    apiserver::cache::object::Object,
};

/// Labels and selectable fields of an object. There is one of these for every object, so names and values are
/// one text and not strings of their own.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selectable {
    /// Name, value, name, value: those of labels, then those of fields.
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
    /// How many are labels'.
    labels: usize,
}

impl Selectable {
    /// Takes them from a decoded object.
    pub fn of(object: &Decoded, strategy: &dyn Strategy) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        let mut push = |part: &str| {
            text.push_str(part);
            ends.push(u32::try_from(text.len()).expect("objects are far smaller than 4 GiB"));
            ends.len()
        };
        let labels = meta::labels(object).fold(0, |_, (label, value)| {
            push(label);
            push(value)
        });
        for (field, value) in strategy.selectable_fields(object) {
            push(&field);
            push(&value);
        }
        Self { text: text.into(), ends: ends.into(), labels }
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.value(0, self.labels, key)
    }

    /// The value of a field of the kind's own.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.value(self.labels, self.ends.len(), name)
    }

    fn value(&self, from: usize, to: usize, name: &str) -> Option<&str> {
        let at = (from..to).step_by(2).find(|at| self.part(*at) == name)?;
        Some(self.part(at + 1))
    }

    fn part(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::kinds;

    #[test]
    fn labels_and_fields_are_told_apart() {
        let pods = kinds::all().into_iter().find(|kind| kind.plural == "pods").unwrap();
        let pod = json!({"metadata": {"name": "a", "labels": {"b": "", "status.phase": "c"}},
                         "spec": {"containers": [], "nodeName": "n"}, "status": {"phase": "Running"}});
        let selectable = Selectable::of(&pod.into(), &*pods.strategy);
        let labels = ["b", "status.phase", "spec.nodeName"].map(|label| selectable.label(label));
        assert_eq!(labels, [Some(""), Some("c"), None]);
        let fields = ["b", "status.phase", "spec.nodeName", "status.podIP"].map(|field| selectable.field(field));
        assert_eq!(fields, [None, Some("Running"), Some("n"), Some("")]);
    }
}
