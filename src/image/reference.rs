//! Image names, normalised as Docker does it: `nginx` is `docker.io/library/nginx:latest`.
//! The grammar is that of the distribution project's reference format.

use std::fmt;

use super::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Longest repository name, domain included (distribution reference grammar).
const NAME_LIMIT: usize = 255;
/// Longest tag.
const TAG_LIMIT: usize = 128;

/// A fully qualified image name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Registry host, optionally with a port: `docker.io`, `localhost:5000`.
    pub domain: String,
    /// Repository without the domain: `library/nginx`.
    pub repository: String,
    /// Tag. `None` only where there is a digest.
    pub tag: Option<String>,
    /// Digest of a manifest or index.
    pub digest: Option<Digest>,
}

/// A name that is not one. The text after the colon is what Docker and containerd say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name \"{name}\": {problem}")]
pub struct Invalid {
    /// What was given.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Reference {
    /// Parses and normalises a name as people write it. A name without tag and digest gets `latest`.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        let invalid = |problem| Invalid { name: name.to_owned(), problem };
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Digest::parse(digest).ok_or_else(|| invalid("invalid reference format"))?))
            }
            None => (name, None),
        };
        let (path, tag) = split_tag(rest);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("invalid reference format"));
        }
        let (domain, repository) = split_domain(path);
        check_name(&domain, &repository).map_err(invalid)?;
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { domain, repository, tag, digest })
    }

    /// `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// `docker.io/library/nginx:1.27`, where the reference has a tag and is not bound to a digest.
    pub fn tagged(&self) -> Option<String> {
        match (&self.tag, &self.digest) {
            (Some(tag), None) => Some(format!("{}:{tag}", self.name())),
            _ => None,
        }
    }

    /// `docker.io/library/nginx@sha256:…` for `digest`.
    pub fn with_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name())
    }

    /// What a registry is asked for: the digest, or else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(formatter, "@{digest}"))
    }
}

/// A colon after the last slash starts a tag; one before it belongs to a port.
fn split_tag(rest: &str) -> (&str, Option<&str>) {
    let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    match rest[after_slash..].find(':') {
        Some(colon) => (&rest[..after_slash + colon], Some(&rest[after_slash + colon + 1..])),
        None => (rest, None),
    }
}

/// The first component is a domain if it could not be anything else: it has a dot or a port, is
/// `localhost`, or has capitals.
fn split_domain(path: &str) -> (String, String) {
    let split = path.split_once('/').filter(|(first, _)| {
        first.contains(['.', ':']) || *first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
    });
    let (domain, repository) = split.unwrap_or((DEFAULT_DOMAIN, path));
    let domain = if domain == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !repository.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL_PREFIX}{repository}"));
    }
    (domain.to_owned(), repository.to_owned())
}

fn check_name(domain: &str, repository: &str) -> Result<(), &'static str> {
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    let whole = domain.len() + 1 + repository.len();
    if !is_domain(domain) || !repository.split('/').all(is_component) || whole > NAME_LIMIT {
        return Err("invalid reference format");
    }
    Ok(())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rfind(':').filter(|_| !domain.ends_with(']')) {
        Some(colon) => (&domain[..colon], Some(&domain[colon + 1..])),
        None => (domain, None),
    };
    let port_is_number = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    port_is_number && (is_ipv6(host) || host.split('.').all(is_label))
}

fn is_ipv6(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_label(label: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = label.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Runs of lowercase letters and digits, separated by `.`, `_`, `__` or dashes.
fn is_component(component: &str) -> bool {
    let mut separator = String::new();
    let mut seen_word = false;
    for character in component.chars() {
        match character {
            'a'..='z' | '0'..='9' => {
                if !is_separator(&separator) || (!separator.is_empty() && !seen_word) {
                    return false;
                }
                separator.clear();
                seen_word = true;
            }
            '.' | '_' | '-' => separator.push(character),
            _ => return false,
        }
    }
    seen_word && separator.is_empty()
}

fn is_separator(text: &str) -> bool {
    matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-')
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_LIMIT
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (given, normal) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("rancher/k3s", "docker.io/rancher/k3s:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("ghcr.io/x/y__z.w---v", "ghcr.io/x/y__z.w---v:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ] {
            assert_eq!(Reference::parse(given).unwrap().to_string(), normal);
        }
        let pinned = Reference::parse(&format!("nginx:1@{digest}")).unwrap();
        assert_eq!(pinned.to_string(), format!("docker.io/library/nginx:1@{digest}"));
        assert_eq!((pinned.version(), pinned.tagged()), (digest, None));
    }

    #[test]
    fn what_is_no_name_is_refused_in_dockers_words() {
        for name in ["", "a//b", "a/", "-a", "a..b", "a___b", "a:", "a:-x", "a@sha256:12", "ex ample", "a@", "x:y:z"] {
            assert!(Reference::parse(name).is_err(), "{name}");
        }
        let error = Reference::parse("docker.io/Foo/Bar").unwrap_err();
        assert!(error.to_string().ends_with("repository name must be lowercase"), "{error}");
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_normal_form(name in "[a-z0-9./:_@-]{0,40}") {
            if let Ok(reference) = Reference::parse(&name) {
                let normal = reference.to_string();
                prop_assert_eq!(Reference::parse(&normal).unwrap(), reference);
            }
        }
    }
}
