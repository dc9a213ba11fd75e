//! Which mutating webhooks are asked once more (`reinvocationPolicy`): those who wish so, when somebody
//! has changed the object after they had a look at it. There is one more round at most.

use std::collections::HashSet;

use serde_json::Value;

/// What is remembered of the rounds of one request.
#[derive(Debug, Default)]
pub struct Asked {
    /// Who was asked since the last change, and wishes to be asked again.
    before: HashSet<String>,
    /// Who is asked in the second round.
    due: HashSet<String>,
    /// The object as the last of them left it.
    left: Option<Value>,
}

impl Asked {
    /// Begins the second round: who has changed the object meanwhile were others.
    pub fn begin_second(&mut self, object: Option<&Value>) {
        if self.left.as_ref() != object {
            self.changed();
        }
    }

    /// Ends a round.
    pub fn end(&mut self, object: Option<&Value>) {
        self.left = object.cloned();
    }

    /// Whether `who` is asked in the second round.
    pub fn is_due(&self, who: &str) -> bool {
        self.due.contains(who)
    }

    /// The object was changed: all who were asked before are asked again.
    pub fn changed(&mut self) {
        self.due.extend(self.before.drain());
    }

    /// `who` wishes to be asked again when somebody else changes the object.
    pub fn remember(&mut self, who: &str) {
        self.before.insert(who.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_was_asked_before_a_change_is_asked_again() {
        let mut asked = Asked::default();
        asked.remember("a");
        asked.changed();
        asked.remember("b");
        asked.end(Some(&json!(1)));
        asked.begin_second(Some(&json!(1)));
        assert!(asked.is_due("a") && !asked.is_due("b"));
    }

    #[test]
    fn a_change_by_others_concerns_all() {
        let mut asked = Asked::default();
        asked.remember("a");
        asked.end(Some(&json!(1)));
        asked.begin_second(Some(&json!(2)));
        assert!(asked.is_due("a"));
    }
}
