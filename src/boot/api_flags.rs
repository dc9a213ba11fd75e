//! Flags of kube-apiserver, passed on with `--kube-apiserver-arg NAME=VALUE`: the audit log, OpenID
//! Connect and the authentication configuration.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};

use crate::{
    apiserver::{
        audit::{self, file::Retention},
        authn::oidc::{
            self, Configuration,
            config::{ClaimRule, Identity, Issuer, Mapping, Mappings},
        },
    },
    pki::jwt::Algorithm,
};

/// Largest file that a flag names, in bytes.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;
/// Flags that are known.
const KNOWN: &[&str] = &[
    "audit-policy-file",
    "audit-log-path",
    "audit-log-maxage",
    "audit-log-maxbackup",
    "audit-log-maxsize",
    "audit-log-format",
    "authentication-config",
    "oidc-issuer-url",
    "oidc-client-id",
    "oidc-ca-file",
    "oidc-username-claim",
    "oidc-username-prefix",
    "oidc-groups-claim",
    "oidc-groups-prefix",
    "oidc-signing-algs",
    "oidc-required-claim",
];

/// What the flags say.
#[derive(Debug, Clone, Default)]
pub struct ApiFlags {
    /// The audit log, if one is kept.
    pub audit: Option<Audit>,
    /// Whose tokens are accepted, besides the cluster's own.
    pub authentication: Authentication,
}

/// The audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    /// What is recorded.
    pub policy: Arc<audit::Policy>,
    /// Where; `-` is standard output.
    pub log: PathBuf,
    /// What is kept of it.
    pub retention: Retention,
}

/// Whose tokens are accepted.
#[derive(Debug, Clone, Default)]
pub enum Authentication {
    /// Nobody else's.
    #[default]
    Own,
    /// Those of the issuer that `--oidc-…` describe.
    Flags(Box<Configuration>, Vec<Algorithm>),
    /// Those of the issuers in a file, which is read again when it changes.
    File(PathBuf),
}

/// Values by flag, in order.
type Values<'a> = BTreeMap<&'a str, Vec<&'a str>>;

impl ApiFlags {
    /// Reads the flags and the files that they name.
    pub fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let values = split(arguments)?;
        Ok(Self { audit: audit(&values)?, authentication: authentication(&values)? })
    }
}

/// Reads an authentication configuration, or says what is wrong with it.
pub fn read_authentication(path: &Path) -> anyhow::Result<Configuration> {
    let failed = || format!("failed to load authentication configuration from file {:?}", path.display().to_string());
    let text = read(path).with_context(failed)?;
    Configuration::parse(&text).map_err(anyhow::Error::msg).with_context(failed)
}

fn split(arguments: &[String]) -> anyhow::Result<Values<'_>> {
    let mut values = Values::new();
    for argument in arguments {
        let argument = argument.trim_start_matches("--");
        let Some((name, value)) = argument.split_once('=') else {
            bail!("--kube-apiserver-arg {argument} is not of the form NAME=VALUE");
        };
        ensure!(KNOWN.contains(&name), "--kube-apiserver-arg {name} is not known; these are: {}", KNOWN.join(", "));
        values.entry(name).or_default().push(value);
    }
    Ok(values)
}

fn last<'a>(values: &Values<'a>, name: &str) -> Option<&'a str> {
    values.get(name).and_then(|values| values.last()).copied().filter(|value| !value.is_empty())
}

fn number(values: &Values<'_>, name: &str) -> anyhow::Result<u32> {
    let Some(value) = last(values, name) else { return Ok(0) };
    value.parse().with_context(|| format!("--{name} {value} is not a number"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let length = std::fs::metadata(path).with_context(|| format!("failed to read {shown}"))?.len();
    ensure!(length <= FILE_LIMIT_BYTES, "{shown} is larger than {FILE_LIMIT_BYTES} bytes");
    std::fs::read_to_string(path).with_context(|| format!("failed to read {shown}"))
}

fn audit(values: &Values<'_>) -> anyhow::Result<Option<Audit>> {
    if let Some(format) = last(values, "audit-log-format") {
        ensure!(format == "json", "--audit-log-format {format} is not known; choose json");
    }
    let retention = Retention {
        days: number(values, "audit-log-maxage")?,
        files: number(values, "audit-log-maxbackup")?,
        megabytes: number(values, "audit-log-maxsize")?,
    };
    let (policy, log) = match (last(values, "audit-policy-file"), last(values, "audit-log-path")) {
        (None, None) => return Ok(None),
        (Some(policy), Some(log)) => (policy, log),
        (None, Some(_)) => {
            tracing::warn!("No audit policy file provided, no events will be recorded for log backend");
            return Ok(None);
        }
        (Some(_), None) => {
            tracing::warn!("no audit log path provided, no events will be recorded");
            return Ok(None);
        }
    };
    let failed = || format!("failed to load the audit policy from file {policy:?}");
    let policy = read(Path::new(policy)).and_then(|text| audit::Policy::parse(&text).map_err(anyhow::Error::msg));
    let policy = policy.with_context(failed)?;
    Ok(Some(Audit { policy: Arc::new(policy), log: log.into(), retention }))
}

fn authentication(values: &Values<'_>) -> anyhow::Result<Authentication> {
    let has_oidc = values.keys().any(|name| name.starts_with("oidc-"));
    if let Some(file) = last(values, "authentication-config") {
        ensure!(!has_oidc, "authentication-config file and oidc-* flags are mutually exclusive");
        let path = std::path::absolute(file)?;
        read_authentication(&path)?;
        return Ok(Authentication::File(path));
    }
    if !has_oidc {
        return Ok(Authentication::Own);
    }
    let (Some(url), Some(client)) = (last(values, "oidc-issuer-url"), last(values, "oidc-client-id")) else {
        bail!("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
    };
    let certificate_authority = match last(values, "oidc-ca-file") {
        Some(file) => read(Path::new(file))?,
        None => String::new(),
    };
    let issuer = Issuer {
        issuer: Identity {
            url: url.to_owned(),
            audiences: vec![client.to_owned()],
            certificate_authority,
            ..Identity::default()
        },
        claim_mappings: mappings(values, url),
        claim_validation_rules: required_claims(values)?,
        user_validation_rules: Vec::new(),
    };
    let configuration = Configuration { jwt: vec![issuer], ..Configuration::default() };
    Ok(Authentication::Flags(Box::new(configuration), algorithms(values)?))
}

fn mappings(values: &Values<'_>, issuer: &str) -> Mappings {
    let claim = last(values, "oidc-username-claim").unwrap_or("sub");
    let prefix = match last(values, "oidc-username-prefix") {
        Some("-") => String::new(),
        Some(prefix) => prefix.to_owned(),
        // An address names the same person everywhere; other names are only good with their issuer's.
        None if claim == "email" => String::new(),
        None => format!("{issuer}#"),
    };
    let mapping = |claim: &str, prefix: String| Mapping {
        claim: claim.to_owned(),
        prefix: Some(prefix),
        expression: String::new(),
    };
    let group_prefix = || last(values, "oidc-groups-prefix").unwrap_or_default().to_owned();
    Mappings {
        username: mapping(claim, prefix),
        groups: last(values, "oidc-groups-claim").map(|claim| mapping(claim, group_prefix())).unwrap_or_default(),
        ..Mappings::default()
    }
}

fn required_claims(values: &Values<'_>) -> anyhow::Result<Vec<ClaimRule>> {
    let mut rules: BTreeMap<&str, &str> = BTreeMap::new();
    for pair in values.get("oidc-required-claim").into_iter().flatten() {
        let Some((claim, value)) = pair.split_once('=') else {
            bail!("--oidc-required-claim {pair} is not of the form CLAIM=VALUE");
        };
        rules.insert(claim.trim(), value.trim());
    }
    let rule = |(claim, value): (&str, &str)| ClaimRule {
        claim: claim.to_owned(),
        required_value: value.to_owned(),
        ..ClaimRule::default()
    };
    Ok(rules.into_iter().map(rule).collect())
}

fn algorithms(values: &Values<'_>) -> anyhow::Result<Vec<Algorithm>> {
    let named = |name: &str| {
        let known = || oidc::all_algorithms().iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
        Algorithm::named(name)
            .with_context(|| format!("oidc: unsupported signing alg: {name:?}; known are: {}", known()))
    };
    let names = last(values, "oidc-signing-algs").unwrap_or("RS256");
    names.split(',').map(|name| named(name.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> anyhow::Result<ApiFlags> {
        ApiFlags::parse(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    fn problem(arguments: &[&str]) -> String {
        parse(arguments).unwrap_err().to_string()
    }

    #[test]
    fn an_issuer_is_described_by_flags() {
        let flags = parse(&[
            "oidc-issuer-url=https://id.example",
            "--oidc-client-id=kubernetes",
            "oidc-groups-claim=roles",
            "oidc-groups-prefix=oidc:",
            "oidc-required-claim=hd=example.com",
            "oidc-signing-algs=RS256,ES384",
        ]);
        let Authentication::Flags(configuration, algorithms) = flags.unwrap().authentication else {
            panic!("the flags describe an issuer");
        };
        let issuer = &configuration.jwt[0];
        assert_eq!(issuer.claim_mappings.username.claim, "sub");
        assert_eq!(issuer.claim_mappings.username.prefix.as_deref(), Some("https://id.example#"));
        assert_eq!(issuer.claim_mappings.groups.prefix.as_deref(), Some("oidc:"));
        assert_eq!(issuer.claim_validation_rules[0].required_value, "example.com");
        assert_eq!(algorithms, [Algorithm::Rs256, Algorithm::Es384]);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            problem(&["feature-gates=x"]).starts_with("--kube-apiserver-arg feature-gates is not known; these are:")
        );
        assert!(problem(&["oidc-client-id"]).ends_with("is not of the form NAME=VALUE"));
        assert!(problem(&["oidc-client-id=x"]).starts_with("oidc-issuer-url and oidc-client-id must be specified"));
        let both = ["authentication-config=/none", "oidc-client-id=x"];
        assert_eq!(problem(&both), "authentication-config file and oidc-* flags are mutually exclusive");
        let algorithm = ["oidc-issuer-url=https://x", "oidc-client-id=x", "oidc-signing-algs=none"];
        assert!(problem(&algorithm).starts_with("oidc: unsupported signing alg: \"none\""));
        assert_eq!(problem(&["audit-log-maxage=old"]), "--audit-log-maxage old is not a number");
        let policy = ["audit-policy-file=/none", "audit-log-path=-"];
        assert_eq!(problem(&policy), "failed to load the audit policy from file \"/none\"");
    }

    #[test]
    fn an_audit_log_needs_a_policy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.yaml");
        std::fs::write(&path, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n").unwrap();
        let policy = format!("audit-policy-file={}", path.display());
        let flags = parse(&[&policy, "audit-log-path=/var/log/audit.log", "audit-log-maxbackup=3"]).unwrap();
        let audit = flags.audit.unwrap();
        assert_eq!((audit.log.as_path(), audit.retention.files), (Path::new("/var/log/audit.log"), 3));
        assert!(parse(&["audit-log-path=-"]).unwrap().audit.is_none());
    }
}
