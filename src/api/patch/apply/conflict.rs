//! Conflicts: fields that an apply would change though somebody else owns them.

use std::collections::BTreeMap;

use super::{
    managers::{Manager, Operation},
    set::Set,
};
use crate::api::{
    Status,
    status::{Cause, Details, Reason},
};

/// Who owns what an apply would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts(BTreeMap<Manager, Set>);

impl Conflicts {
    /// Adds fields that `manager` owns, unless there are none.
    pub fn add(&mut self, manager: &Manager, fields: Set) {
        if !fields.is_empty() {
            self.0.insert(manager.clone(), fields);
        }
    }

    /// Whether nobody objects.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conflicts beside those about `allowed`.
    #[must_use]
    pub fn difference(self, allowed: &Set) -> Self {
        let mut left = Self::default();
        for (manager, fields) in self.0 {
            left.add(&manager, fields.difference(allowed));
        }
        left
    }

    /// 409 with a cause per field, which kubectl explains to its user.
    pub fn status(&self) -> Status {
        let causes = self.0.iter().flat_map(|(manager, fields)| {
            let message = format!("conflict with {}", shown(manager));
            fields.paths().into_iter().map(move |field| Cause {
                reason: "FieldManagerConflict".into(),
                message: message.clone(),
                field,
                ..Cause::default()
            })
        });
        let causes: Vec<Cause> = causes.collect();
        let message = match causes.as_slice() {
            [only] => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
            many => format!("Apply failed with {} conflicts: {}", many.len(), self.list()),
        };
        let details = Details { causes, ..Details::default() };
        Status { reason: Reason::Conflict, message, details: Some(Box::new(details)) }
    }

    fn list(&self) -> String {
        let mut lines = Vec::new();
        for (manager, fields) in &self.0 {
            lines.push(format!("conflicts with {}:", shown(manager)));
            lines.extend(fields.paths().iter().map(|path| format!("- {path}")));
        }
        lines.join("\n")
    }
}

fn shown(manager: &Manager) -> String {
    let mut text = format!("{:?}", manager.name);
    if !manager.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", manager.subresource));
    }
    if manager.operation == Operation::Update {
        text.push_str(&format!(" using {}", manager.api_version));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str, operation: Operation, subresource: &str) -> Manager {
        let api_version = if operation == Operation::Update { "apps/v1" } else { "" };
        Manager { name: name.into(), operation, api_version: api_version.into(), subresource: subresource.into() }
    }

    #[test]
    fn one_conflict_is_told_in_a_line() {
        let mut conflicts = Conflicts::default();
        conflicts.add(&manager("manager", Operation::Update, ""), Set::of_fields(&["spec.replicas"]));
        let status = conflicts.status();
        assert_eq!(
            status.message,
            "Apply failed with 1 conflict: conflict with \"manager\" using apps/v1: .spec.replicas"
        );
        assert_eq!((status.code(), status.reason), (409, Reason::Conflict));
        let cause = &status.details.unwrap().causes[0];
        assert_eq!((&*cause.reason, &*cause.field), ("FieldManagerConflict", ".spec.replicas"));
        assert_eq!(cause.message, "conflict with \"manager\" using apps/v1");
    }

    #[test]
    fn several_are_listed_by_manager() {
        let mut conflicts = Conflicts::default();
        conflicts.add(&manager("b", Operation::Update, "scale"), Set::of_fields(&["spec.replicas"]));
        conflicts.add(&manager("a", Operation::Apply, ""), Set::of_fields(&["spec.replicas", "spec.paused"]));
        assert_eq!(
            conflicts.status().message,
            "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas\nconflicts with \
             \"b\" with subresource \"scale\" using apps/v1:\n- .spec.replicas"
        );
        let left = conflicts.difference(&Set::of_fields(&["spec.replicas"]));
        assert!(left.status().message.starts_with("Apply failed with 1 conflict: conflict with \"a\": .spec.paused"));
    }
}
