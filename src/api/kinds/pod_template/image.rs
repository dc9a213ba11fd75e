//! What an image's name says about pulling it. A name that no registry could have says nothing.

/// Names of repositories are no longer than this.
const NAME_LIMIT_BYTES: usize = 255;
const TAG_LIMIT_BYTES: usize = 128;
const DIGEST_LEAST_DIGITS: usize = 32;

/// The pull policy that an image's name asks for: what moves is pulled each time.
pub fn pull_policy(image: &str) -> &'static str {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let moves = tag == Some("latest") || (tag.is_none() && digest.is_none());
    let is_valid = is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    if moves && is_valid { "Always" } else { "IfNotPresent" }
}

/// `registry.example.com:5000/group/name`, or a part of it.
fn is_name(name: &str) -> bool {
    let is_domain = |part: &str| part.contains(['.', ':']) || part == "localhost" || part.to_lowercase() != part;
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if is_domain(first) => (Some(first), path),
        _ => (None, name),
    };
    let is_digits = name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    name.len() <= NAME_LIMIT_BYTES && !is_digits && domain.is_none_or(is_host) && path.split('/').all(is_component)
}

fn is_host(host: &str) -> bool {
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (host, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = |address: &str| address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    address.map_or_else(|| host.split('.').all(is_label), is_address)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Small letters and digits, with single separators between them: `.`, `_`, `__`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = component.split(|letter: char| u8::try_from(letter).is_ok_and(is_word));
    let legal = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let bytes = component.as_bytes();
    bytes.first().is_some_and(|byte| is_word(*byte))
        && bytes.last().is_some_and(|byte| is_word(*byte))
        && separators.into_iter().all(legal)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_LIMIT_BYTES
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, digits)) = digest.split_once(':') else { return false };
    let begins = |part: &str| part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    algorithm.split(['+', '.', '-', '_']).all(begins)
        && digits.len() >= DIGEST_LEAST_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_says_how_often_an_image_is_pulled() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("Registry/a__b/c--d", "Always"),
            ("[::1]:5000/nginx", "Always"),
            (&format!("nginx@sha256:{}", "0".repeat(64)), "IfNotPresent"),
            (&format!("nginx:latest@sha256:{}", "0".repeat(64)), "Always"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_not_pulled_again() {
        for image in ["", " ", "Bad_Value!", "a..b", "-a", "nginx:", &"x".repeat(300), &"0".repeat(64)] {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }
}
