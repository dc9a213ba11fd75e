//! Seccomp: profiles (the default one, and files in the OCI and Docker format) compiled to filters
//! without a C library. A compiled filter knows one action beside its default, so a profile with
//! several becomes several filters; the kernel obeys the strictest answer of all.
#![expect(unsafe_code, reason = "installing a filter without no_new_privs has no safe wrapper")]

mod default;
mod profile;
mod table;

use std::{collections::BTreeMap, io};

use nix::errno::Errno;
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

pub use default::default_profile;
pub use profile::parse;

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not of the format.
    #[error("parse the seccomp profile")]
    Parse(#[source] serde_json::Error),
    /// An action that this implementation lacks (user notification).
    #[error("the seccomp action {0} is not supported")]
    Action(String),
    /// An operator that does not exist.
    #[error("the seccomp operator {0} is unknown")]
    Operator(String),
    /// The compiler refused.
    #[error("compile the seccomp profile: {0}")]
    Compile(String),
}

/// A compiled filter.
pub type Program = seccompiler::BpfProgram;

/// Which system calls are allowed, and what happens to others.
#[derive(Debug, Clone)]
pub struct Profile {
    default: SeccompAction,
    rules: Vec<Rule>,
}

/// What happens to some system calls, if all conditions hold.
#[derive(Debug, Clone)]
struct Rule {
    names: Vec<String>,
    action: SeccompAction,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

impl Profile {
    /// Compiles for this machine's architecture. System calls that it does not have are left out.
    pub fn compile(&self) -> Result<Vec<Program>, Error> {
        let mut programs = Vec::new();
        if self.default != SeccompAction::Allow {
            let listed = self.rules_where(|rule| rule.action != self.default)?;
            programs.push(compile(listed, self.default.clone(), SeccompAction::Allow)?);
        }
        let mut actions: Vec<&SeccompAction> = Vec::new();
        for rule in &self.rules {
            let special = rule.action != SeccompAction::Allow && rule.action != self.default;
            if special && !actions.contains(&&rule.action) {
                actions.push(&rule.action);
            }
        }
        for action in actions {
            let listed = self.rules_where(|rule| rule.action == *action)?;
            if !listed.is_empty() {
                programs.push(compile(listed, SeccompAction::Allow, action.clone())?);
            }
        }
        Ok(programs)
    }

    fn rules_where(&self, wanted: impl Fn(&Rule) -> bool) -> Result<Rules, Error> {
        let mut rules = Rules::new();
        for rule in self.rules.iter().filter(|rule| wanted(rule)) {
            for number in rule.names.iter().filter_map(|name| table::number(name)) {
                add(&mut rules, number, rule)?;
            }
        }
        Ok(rules)
    }
}

/// An empty list of conditions means "always", and stays so whatever is added.
fn add(rules: &mut Rules, number: i64, rule: &Rule) -> Result<(), Error> {
    if rule.conditions.is_empty() {
        rules.insert(number, Vec::new());
        return Ok(());
    }
    let conditions: Result<Vec<_>, _> = rule.conditions.iter().map(Condition::compile).collect();
    let compiled = SeccompRule::new(conditions?).map_err(|error| Error::Compile(error.to_string()))?;
    match rules.get_mut(&number) {
        Some(always) if always.is_empty() => {}
        Some(conditional) => conditional.push(compiled),
        None => drop(rules.insert(number, vec![compiled])),
    }
    Ok(())
}

impl Condition {
    fn compile(&self) -> Result<SeccompCondition, Error> {
        SeccompCondition::new(self.argument, SeccompCmpArgLen::Qword, self.operator.clone(), self.value)
            .map_err(|error| Error::Compile(error.to_string()))
    }
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<Program, Error> {
    let architecture = std::env::consts::ARCH.try_into().map_err(|error| Error::Compile(format!("{error}")))?;
    SeccompFilter::new(rules, otherwise, matched, architecture)
        .and_then(TryInto::try_into)
        .map_err(|error| Error::Compile(error.to_string()))
}

/// Installs a filter for this thread and everything it becomes. Needs CAP_SYS_ADMIN or
/// no_new_privs, and sets neither.
pub fn apply(program: &Program) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(Errno::EINVAL))?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the filter has as many instructions as it says, and the kernel copies them in the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_compiles_to_what_the_kernel_takes() {
        for capabilities in [vec![], vec!["CAP_SYS_ADMIN"]] {
            let programs = default_profile(|name| capabilities.contains(&name)).compile().unwrap();
            assert_eq!(programs.len(), 2 - capabilities.len(), "clone3 is unknown unless one may unshare");
            assert!(programs.iter().all(|program| program.len() < 4096));
        }
    }
}
