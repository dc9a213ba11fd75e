//! Which of a pod's credentials are meant for a registry (Kubernetes documentation, "Interpretation
//! of config.json"): hosts match label by label with `*`, paths by prefix, the longest first.

use base64::Engine as _;

use super::{super::Credential, config::Auth};

/// The credentials for `repository` on `host`, the most specific first.
pub fn fitting(credentials: &[Credential], host: &str, repository: &str) -> Vec<Credential> {
    let fits = |credential: &&Credential| {
        let (wanted_host, wanted_path) = normalise(&credential.registry);
        host_matches(&wanted_host, &canonical(host)) && repository.starts_with(&wanted_path)
    };
    let mut found: Vec<Credential> = credentials.iter().filter(fits).cloned().collect();
    found.sort_by_key(|credential| std::cmp::Reverse(normalise(&credential.registry)));
    found
}

/// The credential that `registries.yaml` has for a host. `auth` is what Docker writes for both.
pub fn from_config(registry: &str, auth: Auth) -> Credential {
    let decoded = base64::engine::general_purpose::STANDARD.decode(auth.auth.trim()).ok();
    let both = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = match both.as_deref().and_then(|text| text.split_once(':')) {
        Some((username, password)) if auth.username.is_empty() => (username.to_owned(), password.to_owned()),
        _ => (auth.username, auth.password),
    };
    Credential { registry: registry.to_owned(), username, password, identity_token: auth.identity_token }
}

/// Host and path of what a Docker configuration calls a registry: `https://index.docker.io/v1/`.
fn normalise(registry: &str) -> (String, String) {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    (canonical(host), path.to_owned())
}

/// Docker Hub has several names.
fn canonical(host: &str) -> String {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len() && pattern.iter().zip(&host).all(|(pattern, label)| label_matches(pattern, label))
}

/// `*` stands for any part of one label.
fn label_matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((start, rest)) => label.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).any(|at| tail.is_char_boundary(at) && label_matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(registries: &[&str], host: &str, repository: &str) -> Vec<String> {
        let credential = |registry: &&str| Credential {
            registry: (*registry).into(),
            username: (*registry).into(),
            ..Credential::default()
        };
        let credentials: Vec<_> = registries.iter().map(credential).collect();
        fitting(&credentials, host, repository).into_iter().map(|credential| credential.username).collect()
    }

    #[test]
    fn docker_hub_is_known_by_all_its_names() {
        for name in ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"] {
            assert_eq!(users(&[name, "ghcr.io"], "registry-1.docker.io", "library/nginx"), [name]);
        }
    }

    #[test]
    fn hosts_match_by_label_and_paths_by_prefix() {
        let registries = ["*.r.example", "a.r.example/team", "r.example", "*.example", "a.r.example/other"];
        assert_eq!(users(&registries, "a.r.example", "team/app"), ["a.r.example/team", "*.r.example"]);
    }

    #[test]
    fn dockers_joined_form_is_taken_apart() {
        let auth = Auth { auth: base64::engine::general_purpose::STANDARD.encode("u:p:q"), ..Auth::default() };
        let credential = from_config("r", auth);
        assert_eq!((credential.username.as_str(), credential.password.as_str()), ("u", "p:q"));
    }
}
