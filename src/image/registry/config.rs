//! `registries.yaml` as k3s has it: mirrors with endpoints and rewrites, and for each registry
//! host credentials and TLS. `*` stands for every registry without an entry of its own.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::super::reference::Reference;

const WILDCARD: &str = "*";
const DOCKER_HUB: &str = "docker.io";
/// Where Docker Hub's registry really is.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
const API_PATH: &str = "/v2";

/// The file's contents.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Config {
    #[serde(default)]
    mirrors: BTreeMap<String, Mirror>,
    #[serde(default)]
    configs: BTreeMap<String, Host>,
}

/// Where else a registry's images are.
#[derive(Debug, Clone, Default, Deserialize)]
struct Mirror {
    #[serde(default)]
    endpoint: Vec<String>,
    #[serde(default)]
    rewrite: BTreeMap<String, String>,
}

/// How a registry host is talked to.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Host {
    /// Credentials.
    pub auth: Option<Auth>,
    /// TLS.
    pub tls: Option<Tls>,
}

/// Credentials of a registry host.
#[derive(Clone, Default, Deserialize)]
pub struct Auth {
    /// User name.
    #[serde(default)]
    pub username: String,
    /// Password.
    #[serde(default)]
    pub password: String,
    /// Both, separated by a colon, in base64.
    #[serde(default)]
    pub auth: String,
    /// OAuth2 refresh token instead.
    #[serde(default)]
    pub identity_token: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// TLS of a registry host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct Tls {
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// Accept any certificate.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML, or not of this shape.
    #[error("invalid registry configuration")]
    Yaml(#[source] serde_yaml::Error),
    /// An endpoint that is no URL.
    #[error("mirror {mirror}: \"{endpoint}\" is not an http or https URL")]
    Endpoint {
        /// The mirror's name.
        mirror: String,
        /// The endpoint.
        endpoint: String,
    },
    /// A rewrite that is no regular expression.
    #[error("mirror {mirror}: invalid rewrite \"{pattern}\"")]
    Rewrite {
        /// The mirror's name.
        mirror: String,
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: regex::Error,
    },
}

/// One place to pull an image from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://host:port/v2`, without a slash at the end.
    pub base: String,
    /// Host and port.
    pub host: String,
    /// The repository there.
    pub repository: String,
    /// The registry whose mirror this is; `None` for the registry itself.
    pub mirror_of: Option<String>,
}

impl Config {
    /// Decodes and checks the file. An empty one configures nothing.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let config: Option<Self> = serde_yaml::from_str(text).map_err(Error::Yaml)?;
        let config = config.unwrap_or_default();
        for (name, mirror) in &config.mirrors {
            for endpoint in &mirror.endpoint {
                let invalid = || Error::Endpoint { mirror: name.clone(), endpoint: endpoint.clone() };
                split_url(endpoint).ok_or_else(invalid)?;
            }
            for pattern in mirror.rewrite.keys() {
                let invalid = |source| Error::Rewrite { mirror: name.clone(), pattern: pattern.clone(), source };
                regex::Regex::new(pattern).map_err(invalid)?;
            }
        }
        Ok(config)
    }

    /// Where to look for an image: its mirrors in their order, then its registry.
    pub fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let mirror = self.mirrors.get(&reference.domain).or_else(|| self.mirrors.get(WILDCARD));
        let own = self.own_endpoint(reference);
        let mirrors = mirror.into_iter().flat_map(|mirror| {
            let repository = rewritten(&mirror.rewrite, &reference.repository);
            mirror.endpoint.iter().filter_map(move |url| {
                let (base, host) = split_url(url)?;
                let (repository, mirror_of) = (repository.clone(), Some(reference.domain.clone()));
                Some(Endpoint { base, host, repository, mirror_of })
            })
        });
        let mut endpoints: Vec<Endpoint> = mirrors.filter(|mirror| mirror.host != own.host).collect();
        endpoints.push(own);
        endpoints
    }

    /// How a host is talked to.
    pub fn host(&self, host: &str) -> Host {
        let hub = || (host == DOCKER_HUB_HOST).then(|| self.configs.get(DOCKER_HUB)).flatten();
        self.configs.get(host).or_else(hub).or_else(|| self.configs.get(WILDCARD)).cloned().unwrap_or_default()
    }

    /// A registry on this machine is asked without TLS, unless TLS is configured for it.
    fn own_endpoint(&self, reference: &Reference) -> Endpoint {
        let domain = &reference.domain;
        let host = if domain == DOCKER_HUB { DOCKER_HUB_HOST } else { domain };
        let plain = is_loopback(host) && self.configs.get(host).is_none_or(|config| config.tls.is_none());
        let listed = self.mirrors.get(domain).into_iter().flat_map(|mirror| &mirror.endpoint);
        // Naming the registry itself as its own mirror is how its scheme is chosen.
        let chosen = listed.filter_map(|url| split_url(url)).find(|(_, listed)| listed == host);
        let base = chosen
            .map_or_else(|| format!("{}://{host}{API_PATH}", if plain { "http" } else { "https" }), |(base, _)| base);
        Endpoint { base, host: host.to_owned(), repository: reference.repository.clone(), mirror_of: None }
    }
}

/// The first rewrite that matches is applied, as k3s does.
fn rewritten(rewrites: &BTreeMap<String, String>, repository: &str) -> String {
    let compiled = rewrites.iter().filter_map(|(pattern, to)| Some((regex::Regex::new(pattern).ok()?, to)));
    let mut matching = compiled.filter(|(pattern, _)| pattern.is_match(repository));
    matching.next().map_or_else(
        || repository.to_owned(),
        |(pattern, to)| pattern.replace_all(repository, to.as_str()).into_owned(),
    )
}

/// The base URL and host of an endpoint; one without a path is a registry at its root.
fn split_url(url: &str) -> Option<(String, String)> {
    let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let parsed: http::Uri = url.parse().ok()?;
    let scheme = parsed.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let host = parsed.authority()?.as_str();
    let path = Some(parsed.path().trim_end_matches('/')).filter(|path| !path.is_empty()).unwrap_or(API_PATH);
    Some((format!("{scheme}://{host}{path}"), host.to_owned()))
}

fn is_loopback(host: &str) -> bool {
    let name = host
        .strip_prefix('[')
        .map_or_else(|| host.split(':').next().unwrap_or(host), |rest| rest.split(']').next().unwrap_or(rest));
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
mirrors:
  docker.io:
    endpoint: ["https://mirror.example:5000", "http://10.0.0.1/cache/v2/"]
    rewrite: {"^library/(.*)": "hub/$1"}
  "*":
    endpoint: ["https://all.example"]
configs:
  "mirror.example:5000":
    auth: {username: u, password: p}
    tls: {ca_file: /ca.pem, insecure_skip_verify: true}
"#;

    fn bases(config: &Config, name: &str) -> Vec<String> {
        let endpoints = config.endpoints(&Reference::parse(name).unwrap());
        endpoints.into_iter().map(|endpoint| format!("{}/{}", endpoint.base, endpoint.repository)).collect()
    }

    #[test]
    fn mirrors_come_first_and_the_registry_last() {
        let config = Config::decode(FILE).unwrap();
        assert_eq!(
            bases(&config, "nginx"),
            [
                "https://mirror.example:5000/v2/hub/nginx",
                "http://10.0.0.1/cache/v2/hub/nginx",
                "https://registry-1.docker.io/v2/library/nginx",
            ]
        );
        assert_eq!(bases(&config, "ghcr.io/a"), ["https://all.example/v2/a", "https://ghcr.io/v2/a"]);
        assert!(config.host("mirror.example:5000").tls.unwrap().insecure_skip_verify);
    }

    #[test]
    fn registries_on_this_machine_speak_plain_http() {
        let config = Config::default();
        for host in ["localhost:5000", "127.0.0.1", "[::1]:5000"] {
            assert_eq!(bases(&config, &format!("{host}/a")), [format!("http://{host}/v2/a")]);
        }
    }

    #[test]
    fn a_registry_listed_as_its_own_mirror_chooses_its_scheme() {
        let config = Config::decode("mirrors: {\"r.lan:5000\": {endpoint: [\"http://r.lan:5000\"]}}").unwrap();
        assert_eq!(bases(&config, "r.lan:5000/a"), ["http://r.lan:5000/v2/a"]);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(Config::decode("").is_ok());
        let error = Config::decode("mirrors: {a: {endpoint: [\"ftp://x\"]}}").unwrap_err();
        assert_eq!(error.to_string(), "mirror a: \"ftp://x\" is not an http or https URL");
        assert!(matches!(Config::decode("mirrors: {a: {rewrite: {\"(\": b}}}"), Err(Error::Rewrite { .. })));
        assert!(!format!("{:?}", Config::decode(FILE).unwrap()).contains("password"));
    }
}
