//! Which mutating policies are asked once more, because the object was changed after they had a
//! look at it. There is one more round at most.

use std::collections::HashSet;

use serde_json::Value;

/// What is remembered of the rounds of one request.
#[derive(Debug, Default)]
pub struct Rounds {
    /// Policies that were asked since the last change and want to be asked again.
    asked: HashSet<Invocation>,
    /// Policies that are asked in the next round.
    due: HashSet<Invocation>,
    /// The object as policies left it.
    left: Option<Value>,
    changed: bool,
    is_second: bool,
}

/// A policy, with the binding and the parameter that it is asked with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Invocation {
    /// Name of the policy.
    pub policy: String,
    /// Name of the binding.
    pub binding: String,
    /// Namespace and name of the parameter.
    pub parameter: Option<(String, String)>,
}

impl Rounds {
    /// Whether a second round is needed after the first.
    pub fn need_another(&self) -> bool {
        self.changed && !self.is_second
    }

    /// Whether this is the second round.
    pub fn is_second(&self) -> bool {
        self.is_second
    }

    /// The second round begins.
    pub fn repeat(&mut self) {
        self.is_second = true;
    }

    /// The policies' part of a round begins, with the object as it is now.
    pub fn begin(&mut self, object: &Value) {
        if self.is_second && self.left.as_ref().is_some_and(|left| left != object) {
            self.due.extend(self.asked.drain());
        }
    }

    /// Whether an invocation has its turn in this round.
    pub fn is_due(&self, invocation: &Invocation) -> bool {
        !self.is_second || self.due.contains(invocation)
    }

    /// A policy was asked. `changed` tells whether it changed the object, `repeats` whether it wants to
    /// be asked again when others do.
    pub fn asked(&mut self, invocation: Invocation, changed: bool, repeats: bool) {
        if changed {
            self.due.extend(self.asked.drain());
            self.changed = true;
        }
        if repeats {
            self.asked.insert(invocation);
        }
    }

    /// The policies' part of a round is over.
    pub fn end(&mut self, object: &Value) {
        self.left = Some(object.clone());
    }

    /// Somebody else changed the object after the policies.
    pub fn object_changed(&mut self) {
        self.changed = true;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn invocation(policy: &str) -> Invocation {
        Invocation { policy: policy.into(), binding: "b".into(), parameter: None }
    }

    #[test]
    fn only_those_before_a_change_that_wish_it_are_asked_again() {
        let mut rounds = Rounds::default();
        rounds.begin(&json!(1));
        rounds.asked(invocation("wishes"), true, true);
        rounds.asked(invocation("does not"), false, false);
        rounds.asked(invocation("changes"), true, true);
        rounds.end(&json!(2));
        assert!(rounds.need_another());
        rounds.repeat();
        rounds.begin(&json!(2));
        assert!(rounds.is_due(&invocation("wishes")));
        assert!(!rounds.is_due(&invocation("does not")) && !rounds.is_due(&invocation("changes")));
        assert!(!rounds.need_another());
    }

    #[test]
    fn a_change_by_others_counts() {
        let mut rounds = Rounds::default();
        rounds.begin(&json!(1));
        rounds.asked(invocation("wishes"), false, true);
        rounds.end(&json!(1));
        rounds.object_changed();
        assert!(rounds.need_another());
        rounds.repeat();
        rounds.begin(&json!(2));
        assert!(rounds.is_due(&invocation("wishes")));
    }
}
