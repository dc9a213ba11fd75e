//! Rules of what containers on Windows are told beside what others are.

use k8s_openapi::api::core::v1::WindowsSecurityContextOptions;

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::name,
};

const CREDENTIAL_LIMIT_KIB: usize = 64;
const DOMAIN_LIMIT_BYTES: usize = 256;
const USER_LIMIT_BYTES: usize = 104;
const NET_BIOS_LIMIT_LETTERS: usize = 15;
const NOT_IN_USERS: &[char] = &['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']'];
const NOT_IN_NET_BIOS: &[char] = &['\\', '/', ':', '*', '?', '"', '<', '>', '|'];

const BAD_LETTERS: &str = "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]";

/// Problems of the options at `path`.
pub fn options(options: &WindowsSecurityContextOptions, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(text) = options.gmsa_credential_spec_name.as_deref() {
        let path = path.child("gmsaCredentialSpecName");
        causes.extend(field::invalid_each(&path, text, &name::dns1123_subdomain(text)));
    }
    let path_spec = path.child("gmsaCredentialSpec");
    match options.gmsa_credential_spec.as_deref() {
        Some("") => causes.push(field::invalid(&path_spec, "", "gmsaCredentialSpec cannot be an empty string")),
        Some(text) if text.len() > CREDENTIAL_LIMIT_KIB << 10 => {
            let detail = format!("gmsaCredentialSpec size must be under {CREDENTIAL_LIMIT_KIB} KiB");
            causes.push(field::invalid(&path_spec, text, &detail));
        }
        _ => {}
    }
    if let Some(text) = options.run_as_user_name.as_deref() {
        causes.extend(field::invalid_each(&path.child("runAsUserName"), text, &user_name(text)));
    }
    causes
}

/// `user` or `DOMAIN\user`.
fn user_name(text: &str) -> Vec<String> {
    let mut parts = text.split('\\');
    let (first, second, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if text.is_empty() {
        return vec!["runAsUserName cannot be an empty string".to_owned()];
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters".to_owned()];
    }
    if more.is_some() {
        return vec!["runAsUserName cannot contain more than one backslash".to_owned()];
    }
    let mut problems = second.map(|_| domain(first)).unwrap_or_default();
    problems.extend(user(second.unwrap_or(first)));
    problems
}

fn domain(domain: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if domain.len() >= DOMAIN_LIMIT_BYTES {
        problems.push(format!("runAsUserName's Domain length must be under {DOMAIN_LIMIT_BYTES} characters"));
    }
    let letters = domain.chars().count();
    let is_net_bios = (1..=NET_BIOS_LIMIT_LETTERS).contains(&letters)
        && !domain.starts_with('.')
        && !domain.contains(NOT_IN_NET_BIOS);
    let is_dns = domain.split('.').all(|label| name::dns1123_label(&label.to_ascii_lowercase()).is_empty());
    if !is_net_bios && !is_dns {
        problems.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".to_owned());
    }
    problems
}

fn user(user: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if user.is_empty() {
        problems.push("runAsUserName's User cannot be empty".to_owned());
    } else if user.len() > USER_LIMIT_BYTES {
        problems.push(format!("runAsUserName's User length must not be longer than {USER_LIMIT_BYTES} characters"));
    }
    if !user.is_empty() && user.chars().all(|letter| matches!(letter, '.' | ' ')) {
        problems.push("runAsUserName's User cannot contain only periods or spaces".to_owned());
    }
    if user.contains(NOT_IN_USERS) {
        problems.push(BAD_LETTERS.to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_be_of_a_domain() {
        for text in ["ContainerUser", "NT AUTHORITY\\SYSTEM", "example.com\\user"] {
            assert_eq!(user_name(text), [""; 0], "{text}");
        }
        assert_eq!(user_name(" "), ["runAsUserName's User cannot contain only periods or spaces"]);
        assert_eq!(user_name("a\\b\\c"), ["runAsUserName cannot contain more than one backslash"]);
        assert_eq!(user_name(".\\a/b").len(), 2);
    }
}
