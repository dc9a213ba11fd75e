//! Whether mutating admission goes round once more (KEP-492): what one has changed may concern those
//! who were asked before. Who wishes so is asked again, once, and so are the built-in plugins.

use std::collections::HashSet;

use serde_json::Value;

/// The rounds of one request.
#[derive(Debug, Default)]
pub struct Reinvocation {
    second: bool,
    wanted: bool,
}

/// Those of one kind (webhooks, or policies) who were asked in the first round and wish to be asked
/// again when somebody changes the object after them.
#[derive(Debug, Default)]
pub struct Asked {
    before: HashSet<String>,
    again: HashSet<String>,
    /// The object as the last of them left it.
    left: Option<Value>,
}

impl Reinvocation {
    /// Whether this is the second round.
    pub fn is_second(&self) -> bool {
        self.second
    }

    /// Somebody has changed the object: there is to be a second round.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Begins the second round, if there is to be one.
    pub fn begin_second(&mut self) -> bool {
        self.second = self.wanted && !self.second;
        self.second
    }
}

impl Asked {
    /// Begins a round: who changed the object meanwhile were others.
    pub fn begin(&mut self, rounds: &Reinvocation, object: Option<&Value>) {
        if rounds.is_second() && self.left.as_ref() != object {
            self.ask_again();
        }
    }

    /// Ends a round.
    pub fn end(&mut self, object: Option<&Value>) {
        self.left = object.cloned();
    }

    /// Whether `who` is to be asked in this round.
    pub fn is_due(&self, rounds: &Reinvocation, who: &str) -> bool {
        !rounds.is_second() || self.again.contains(who)
    }

    /// The object was changed: all who were asked before are asked again.
    pub fn ask_again(&mut self) {
        self.again.extend(self.before.drain());
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
    fn who_was_asked_before_a_change_is_asked_again_once() {
        let (mut rounds, mut asked) = (Reinvocation::default(), Asked::default());
        asked.begin(&rounds, Some(&json!(0)));
        asked.remember("a");
        asked.ask_again();
        rounds.want();
        asked.remember("b");
        asked.end(Some(&json!(1)));
        assert!(rounds.begin_second());
        asked.begin(&rounds, Some(&json!(1)));
        assert!(asked.is_due(&rounds, "a") && !asked.is_due(&rounds, "b"));
        assert!(!rounds.begin_second());
    }

    #[test]
    fn a_change_by_others_concerns_all() {
        let (mut rounds, mut asked) = (Reinvocation::default(), Asked::default());
        asked.remember("a");
        asked.end(Some(&json!(1)));
        rounds.want();
        assert!(rounds.begin_second());
        asked.begin(&rounds, Some(&json!(2)));
        assert!(asked.is_due(&rounds, "a"));
    }
}
