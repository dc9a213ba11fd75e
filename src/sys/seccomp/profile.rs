//! Profiles as files: the OCI runtime specification's `linux.seccomp`, and Docker's superset of
//! it, in which a rule can depend on the architecture and on the process's capabilities.

use seccompiler::{SeccompAction, SeccompCmpOp};
use serde::Deserialize;

use super::{Condition, Error, Profile, Rule};

/// Reads a profile for a process with the capabilities (`CAP_…`) for which `has` is true. System
/// calls that do not exist here are ignored, as other runtimes ignore them.
pub fn parse(text: &[u8], has: impl Fn(&str) -> bool) -> Result<Profile, Error> {
    let file: File = serde_json::from_slice(text).map_err(Error::Parse)?;
    let applies = |rule: &FileRule| rule.applies(&has);
    let rules: Result<Vec<Rule>, Error> = file.syscalls.into_iter().filter(applies).map(FileRule::convert).collect();
    Ok(Profile { default: action(&file.default_action, file.default_errno_ret)?, rules: rules? })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileRule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Circumstances,
    #[serde(default)]
    excludes: Circumstances,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
struct Circumstances {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

impl FileRule {
    fn applies(&self, has: impl Fn(&str) -> bool) -> bool {
        let here = |names: &[String]| names.iter().any(|name| architecture_names().contains(&name.as_str()));
        let included = self.includes.caps.iter().all(|name| has(name))
            && (self.includes.arches.is_empty() || here(&self.includes.arches));
        let excluded = self.excludes.caps.iter().any(|name| has(name)) || here(&self.excludes.arches);
        included && !excluded
    }

    fn convert(self) -> Result<Rule, Error> {
        let conditions: Result<Vec<_>, _> = self.args.unwrap_or_default().into_iter().map(Argument::convert).collect();
        Ok(Rule { names: self.names, action: action(&self.action, self.errno_ret)?, conditions: conditions? })
    }
}

impl Argument {
    fn convert(self) -> Result<Condition, Error> {
        let (operator, value) = match self.op.as_str() {
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, self.value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, self.value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, self.value),
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, self.value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, self.value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, self.value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(self.value), self.value_two),
            _ => return Err(Error::Operator(self.op)),
        };
        Ok(Condition { argument: self.index, operator, value })
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, Error> {
    match name {
        "SCMP_ACT_ALLOW" => Ok(SeccompAction::Allow),
        "SCMP_ACT_ERRNO" => Ok(SeccompAction::Errno(errno.unwrap_or(libc::EPERM as u32))),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(SeccompAction::KillThread),
        "SCMP_ACT_KILL_PROCESS" => Ok(SeccompAction::KillProcess),
        "SCMP_ACT_LOG" => Ok(SeccompAction::Log),
        "SCMP_ACT_TRACE" => Ok(SeccompAction::Trace(errno.unwrap_or(libc::EPERM as u32))),
        "SCMP_ACT_TRAP" => Ok(SeccompAction::Trap),
        _ => Err(Error::Action(name.to_owned())),
    }
}

/// How profiles name this machine's architecture.
fn architecture_names() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["amd64", "SCMP_ARCH_X86_64"],
        "aarch64" => &["arm64", "SCMP_ARCH_AARCH64"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "archMap": [], "syscalls": [
        {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW", "args": null},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"]},
         "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["chmod"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;

    #[test]
    fn rules_depend_on_capabilities_and_actions_become_filters() {
        let names = |profile: &Profile| profile.rules.iter().map(|rule| rule.names[0].clone()).collect::<Vec<_>>();
        let plain = parse(PROFILE.as_bytes(), |_| false).unwrap();
        assert_eq!(names(&plain), ["read", "clone", "chmod"]);
        assert_eq!(names(&parse(PROFILE.as_bytes(), |_| true).unwrap()), ["read", "mount", "chmod"]);
        assert_eq!(plain.default, SeccompAction::Errno(38));
        assert_eq!(plain.compile().unwrap().len(), 2);
    }

    #[test]
    fn says_what_is_wrong_with_a_profile() {
        let notify = br#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#;
        assert!(matches!(parse(notify, |_| true), Err(Error::Action(name)) if name == "SCMP_ACT_NOTIFY"));
        assert!(matches!(parse(b"[", |_| true), Err(Error::Parse(_))));
    }
}
