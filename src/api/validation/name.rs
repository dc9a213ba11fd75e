//! Names: DNS labels and subdomains (RFC 1123, RFC 1035), qualified names, label values, path
//! segments, and keys of ConfigMaps and environments.

use super::{EMPTY, pattern, too_long, too_long_name};

/// Most bytes of a DNS label.
pub const LABEL_LIMIT_BYTES: usize = 63;
/// Most bytes of a DNS subdomain.
pub const SUBDOMAIN_LIMIT_BYTES: usize = 253;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                                 alphanumeric character";

/// RFC 1123 label: `my-name`.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut problems = longer_than(value, LABEL_LIMIT_BYTES);
    if !is_dns_label(value) {
        let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                       start and end with an alphanumeric character";
        problems.push(pattern(message, LABEL, &["my-name", "123-abc"]));
    }
    problems
}

/// RFC 1123 subdomain: `example.com`.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut problems = longer_than(value, SUBDOMAIN_LIMIT_BYTES);
    if !value.split('.').all(is_dns_label) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                       and must start and end with an alphanumeric character";
        problems.push(pattern(message, SUBDOMAIN, &["example.com"]));
    }
    problems
}

/// A subdomain that may have underscores where it may have letters (KEP-4427).
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut problems = longer_than(value, SUBDOMAIN_LIMIT_BYTES);
    if !value.replace('_', "a").split('.').all(is_dns_label) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
                       '.', and must start and end with an alphanumeric character";
        let label = "[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?";
        problems.push(pattern(message, &format!(r"{label}(\.{label})*"), &["example.com"]));
    }
    problems
}

/// A subdomain whose first label is `*`.
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut problems = longer_than(value, SUBDOMAIN_LIMIT_BYTES);
    if !value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_dns_label)) {
        let message = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which \
                       must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric \
                       character";
        problems.push(pattern(message, &format!(r"\*\.{SUBDOMAIN}"), &["*.example.com"]));
    }
    problems
}

/// `example.com/path`, as extra attributes and controllers are named.
pub fn domain_prefixed_path(value: &str) -> Vec<String> {
    let parts = value.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty());
    let Some((domain, path)) = parts else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    let mut problems = dns1123_subdomain(domain);
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)) {
        problems.push(pattern("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]));
    }
    problems
}

/// Reason of a condition: a word, or several with `,` or `:` between them. An empty one is not looked at.
pub fn condition_reason(value: &str) -> Vec<String> {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte);
    let fits = value.bytes().all(is_inside)
        && value.starts_with(|first: char| first.is_ascii_alphabetic())
        && !value.ends_with([',', ':']);
    if fits || value.is_empty() {
        return Vec::new();
    }
    let message = "a condition reason must start with alphabetic character, optionally followed by a string of \
                   alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
    vec![pattern(message, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples)]
}

/// RFC 1035 label, which begins with a letter: names of Services before 1.34.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut problems = longer_than(value, LABEL_LIMIT_BYTES);
    if !(is_dns_label(value) && value.starts_with(|first: char| first.is_ascii_lowercase())) {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                       alphabetic character, and end with an alphanumeric character";
        problems.push(pattern(message, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    problems
}

/// Label and annotation keys, resource names, finalizers: `[prefix/]name`.
pub fn qualified_name(value: &str) -> Vec<String> {
    prefixed_name(value, "a qualified name")
}

/// As [`qualified_name`], where upstream speaks of a label's key.
pub fn label_key(value: &str) -> Vec<String> {
    prefixed_name(value, "a valid label key")
}

fn prefixed_name(value: &str, what: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            problems.extend(qualified_prefix(prefix));
            name
        }
        _ => {
            let rule = pattern(QUALIFIED_MESSAGE, QUALIFIED, &["MyName", "my.name", "123-abc"]);
            let optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("{what} {rule} {optional}")];
        }
    };
    if name.is_empty() {
        problems.push(format!("name part {EMPTY}"));
    } else if name.len() > LABEL_LIMIT_BYTES {
        problems.push(format!("name part {}", too_long(LABEL_LIMIT_BYTES)));
    }
    if !is_label_text(name) {
        let rule = pattern(QUALIFIED_MESSAGE, QUALIFIED, &["MyName", "my.name", "123-abc"]);
        problems.push(format!("name part {rule}"));
    }
    problems
}

fn qualified_prefix(prefix: &str) -> Vec<String> {
    if prefix.is_empty() {
        return vec![format!("prefix part {EMPTY}")];
    }
    dns1123_subdomain(prefix).into_iter().map(|problem| format!("prefix part {problem}")).collect()
}

/// The value of a label; may be empty.
pub fn label_value(value: &str) -> Vec<String> {
    let mut problems = if value.len() > LABEL_LIMIT_BYTES { vec![too_long(LABEL_LIMIT_BYTES)] } else { Vec::new() };
    if !value.is_empty() && !is_label_text(value) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                       and must start and end with an alphanumeric character";
        let rule = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
        problems.push(pattern(message, rule, &["MyValue", "my_value", "12345"]));
    }
    problems
}

/// A name that only has to fit into a URL path: roles and their bindings.
pub fn path_segment(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    path_segment_prefix(value)
}

/// The beginning of a [`path_segment`], for `generateName`.
pub fn path_segment_prefix(value: &str) -> Vec<String> {
    let contains = |bad: char| value.contains(bad).then(|| format!("may not contain '{bad}'"));
    ['/', '%'].into_iter().filter_map(contains).collect()
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut problems = longer_than(value, SUBDOMAIN_LIMIT_BYTES);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if value.is_empty() || !value.bytes().all(legal) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        problems.push(pattern(message, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match value {
        "." | ".." => problems.push(format!("must not be '{value}'")),
        dots if dots.starts_with("..") => problems.push("must not start with '..'".into()),
        _ => {}
    }
    problems
}

/// The name of an environment variable (the relaxed rule of KEP-4369).
pub fn env_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec![format!("environment variable name {EMPTY}")];
    }
    if value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Vec::new();
    }
    let message = "a valid environment variable name must consist only of printable ASCII characters other than '='";
    vec![message.into()]
}

/// The name of an HTTP header.
pub fn http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![pattern(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// A prefix to which a random suffix is appended may end in a dash; its rule is checked with the
/// dash replaced by a letter.
pub fn without_trailing_dash(prefix: &str) -> String {
    prefix.strip_suffix('-').map_or_else(|| prefix.to_owned(), |head| format!("{head}a"))
}

fn longer_than(value: &str, limit_bytes: usize) -> Vec<String> {
    if value.len() > limit_bytes { vec![too_long_name(limit_bytes)] } else { Vec::new() }
}

fn is_dns_label(value: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !value.is_empty() && value.bytes().all(legal) && !value.starts_with('-') && !value.ends_with('-')
}

fn is_label_text(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_subdomain_is_described_as_upstream_does() {
        assert!(dns1123_subdomain("a.b-c.0").is_empty());
        assert_eq!(
            dns1123_subdomain("A_b"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                 start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
    }

    #[test]
    fn labels_have_a_length_and_two_examples() {
        assert!(dns1123_label("0a-b").is_empty());
        let problems = dns1123_label(&"a".repeat(64));
        assert_eq!(problems, ["must be no more than 63 characters"]);
        assert!(dns1123_label("-a")[0].contains("(e.g. 'my-name',  or '123-abc', regex used"));
        assert_eq!(dns1035_label("1a").len(), 1);
    }

    #[test]
    fn qualified_names_may_have_one_prefix() {
        assert!(qualified_name("example.com/My_name.1").is_empty());
        assert!(qualified_name("a/b/c")[0].starts_with("a qualified name must consist"));
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name("")[0], "name part must be non-empty");
    }

    #[test]
    fn label_values_may_be_empty() {
        assert!(label_value("").is_empty());
        assert!(label_value("a_b").is_empty());
        assert!(label_value("a b")[0].starts_with("a valid label must be an empty string or"));
    }

    #[test]
    fn keys_and_environment_names() {
        assert!(config_map_key(".dockerconfigjson").is_empty());
        assert_eq!(config_map_key("..data"), ["must not start with '..'"]);
        assert_eq!(config_map_key(".."), ["must not be '..'"]);
        assert!(env_name("my.var-1").is_empty());
        assert_eq!(env_name("a=b").len(), 1);
        assert!(path_segment("system:node").is_empty());
        assert_eq!(path_segment("a/b"), ["may not contain '/'"]);
    }
}
