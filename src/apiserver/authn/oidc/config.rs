//! `AuthenticationConfiguration` (`apiserver.config.k8s.io`): which issuers' tokens are accepted and what
//! is made of their claims, and where nobody in particular may ask.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    api::{
        field::{self, Path},
        status::Cause,
        validation::name,
    },
    apiserver::authn::oidc::expressions::Expressions,
    pki::tls,
};

const GROUP: &str = "apiserver.config.k8s.io";
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];
const KIND: &str = "AuthenticationConfiguration";
const MATCH_ANY: &str = "MatchAny";
/// Issuers at most.
const ISSUERS_LIMIT: usize = 64;

/// The document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Configuration {
    /// `apiserver.config.k8s.io/v1`
    pub api_version: String,
    /// `AuthenticationConfiguration`
    pub kind: String,
    /// Issuers.
    pub jwt: Vec<Issuer>,
    /// Where nobody in particular may ask.
    pub anonymous: Option<Anonymous>,
}

/// Requests without credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Anonymous {
    /// Whether they are served at all.
    pub enabled: bool,
    /// Where; empty for everywhere.
    pub conditions: Vec<Condition>,
}

/// A place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Condition {
    /// The path, exactly.
    pub path: String,
}

/// An issuer, and what is made of its tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Issuer {
    /// Who it is.
    pub issuer: Identity,
    /// What must hold of the claims.
    pub claim_validation_rules: Vec<ClaimRule>,
    /// What becomes of them.
    pub claim_mappings: Mappings,
    /// What must hold of the user.
    pub user_validation_rules: Vec<UserRule>,
}

/// Who an issuer is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Identity {
    /// Its name, and where it is described unless `discoveryURL` says so.
    pub url: String,
    /// Where it is described.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// Its authority, PEM; empty for those that the machine trusts.
    pub certificate_authority: String,
    /// Audiences of which a token must be for one.
    pub audiences: Vec<String>,
    /// `MatchAny`
    pub audience_match_policy: String,
    /// Not used: there is one network.
    pub egress_selector_type: String,
}

/// What must hold of a claim, or of all of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClaimRule {
    /// A claim…
    pub claim: String,
    /// …and its value.
    pub required_value: String,
    /// Or an expression.
    pub expression: String,
    /// What is said when it does not hold.
    pub message: String,
}

/// What must hold of the user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UserRule {
    /// The expression.
    pub expression: String,
    /// What is said when it does not hold.
    pub message: String,
}

/// From claims to a user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Mappings {
    /// The name.
    pub username: Mapping,
    /// The groups.
    pub groups: Mapping,
    /// The UID.
    pub uid: Mapping,
    /// Anything else.
    pub extra: Vec<Extra>,
}

/// From claims to one attribute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Mapping {
    /// A claim…
    pub claim: String,
    /// …and what is put before its value.
    pub prefix: Option<String>,
    /// Or an expression.
    pub expression: String,
}

/// From claims to an extra attribute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Extra {
    /// The attribute.
    pub key: String,
    /// Its value.
    pub value_expression: String,
}

impl Configuration {
    /// Reads YAML or JSON. What it says is checked by [`Configuration::compile`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let configuration: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let version = configuration.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
        if configuration.kind != KIND || !version.is_some_and(|version| VERSIONS.contains(&version)) {
            let Self { api_version, kind, .. } = &configuration;
            return Err(format!(
                "no kind {kind:?} is registered for version {api_version:?}; expected {GROUP}/v1 {KIND}"
            ));
        }
        Ok(configuration)
    }

    /// Checks everything and compiles the expressions, one set per issuer. `own_issuer` is whose tokens
    /// are verified otherwise.
    pub fn compile(&self, own_issuer: &str) -> Result<Vec<Expressions>, String> {
        let (mut causes, mut compiled) = (Vec::new(), Vec::new());
        let path = Path::new("jwt");
        if self.jwt.len() > ISSUERS_LIMIT {
            causes.push(field::too_many(&path, self.jwt.len(), ISSUERS_LIMIT));
        }
        let (mut issuers, mut discoveries) = (BTreeSet::new(), BTreeSet::new());
        for (index, issuer) in self.jwt.iter().take(ISSUERS_LIMIT).enumerate() {
            let path = path.index(index);
            let place = path.child("issuer");
            validate_identity(&issuer.issuer, own_issuer, &place, &mut causes);
            compiled.push(Expressions::compile(issuer, &path, &mut causes));
            if !issuers.insert(&issuer.issuer.url) {
                causes.push(field::duplicate(&place.child("url"), &issuer.issuer.url));
            }
            let discovery = &issuer.issuer.discovery_url;
            if !discovery.is_empty() && !discoveries.insert(discovery) {
                causes.push(field::duplicate(&place.child("discoveryURL"), discovery));
            }
        }
        if let Some(anonymous) = &self.anonymous
            && !anonymous.enabled
            && !anonymous.conditions.is_empty()
        {
            let paths: Vec<&str> = anonymous.conditions.iter().map(|condition| condition.path.as_str()).collect();
            let detail = "enabled should be set to true when conditions are defined";
            causes.push(field::invalid(&Path::new("anonymous.conditions"), paths, detail));
        }
        if causes.is_empty() {
            return Ok(compiled);
        }
        let all = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message));
        Err(all.collect::<Vec<_>>().join(", "))
    }
}

fn validate_identity(issuer: &Identity, own_issuer: &str, path: &Path, causes: &mut Vec<Cause>) {
    let url = path.child("url");
    if issuer.url.is_empty() {
        causes.push(field::required(&url, ""));
    } else {
        if issuer.url == own_issuer {
            let detail = format!("URL must not overlap with disallowed issuers: [{own_issuer}]");
            causes.push(field::invalid(&url, &issuer.url, &detail));
        }
        validate_url(&issuer.url, &url, causes);
    }
    if !issuer.discovery_url.is_empty() {
        let path = path.child("discoveryURL");
        if issuer.url.trim_end_matches('/') == issuer.discovery_url.trim_end_matches('/') {
            causes.push(field::invalid(&path, &issuer.discovery_url, "discoveryURL must be different from URL"));
        }
        validate_url(&issuer.discovery_url, &path, causes);
    }
    validate_audiences(issuer, path, causes);
    let authority = &issuer.certificate_authority;
    if !authority.is_empty() && !tls::certificates(authority).is_ok_and(|found| !found.is_empty()) {
        let detail = "data does not contain any valid RSA or ECDSA certificates";
        causes.push(field::invalid(&path.child("certificateAuthority"), "<omitted>", detail));
    }
    if !matches!(issuer.egress_selector_type.as_str(), "" | "controlplane" | "cluster") {
        let detail = "egress selector must be either controlplane or cluster";
        causes.push(field::invalid(&path.child("egressSelectorType"), &issuer.egress_selector_type, detail));
    }
}

fn validate_url(text: &str, path: &Path, causes: &mut Vec<Cause>) {
    let Ok(url) = text.parse::<http::Uri>() else {
        causes.push(field::invalid(path, text, "is not a URL"));
        return;
    };
    let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let problems = [
        (url.scheme_str() != Some("https") || authority.is_empty(), "URL scheme must be https"),
        (authority.contains('@'), "URL must not contain a username or password"),
        (url.query().is_some(), "URL must not contain a query"),
        (text.contains('#'), "URL must not contain a fragment"),
    ];
    let found = problems.into_iter().filter(|(is_wrong, _)| *is_wrong);
    causes.extend(found.map(|(_, detail)| field::invalid(path, text, detail)));
}

fn validate_audiences(issuer: &Identity, path: &Path, causes: &mut Vec<Cause>) {
    let audiences = path.child("audiences");
    if issuer.audiences.is_empty() {
        causes.push(field::required(&audiences, &format!("at least one {audiences} is required")));
        return;
    }
    for (index, audience) in issuer.audiences.iter().enumerate() {
        if audience.is_empty() {
            causes.push(field::required(&audiences.index(index), ""));
        }
        if issuer.audiences[..index].contains(audience) {
            causes.push(field::duplicate(&audiences.index(index), audience));
        }
    }
    let policy = issuer.audience_match_policy.as_str();
    let detail = match issuer.audiences.len() {
        1 if policy.is_empty() || policy == MATCH_ANY => return,
        1 => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ if policy == MATCH_ANY => return,
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    causes.push(field::invalid(&path.child("audienceMatchPolicy"), policy, detail));
}

/// Whether a key of an extra attribute has the form `example.com/name` and is nobody's property.
pub fn validate_extra_key(key: &str, path: &Path, causes: &mut Vec<Cause>) {
    let Some((domain, rest)) = key.split_once('/') else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        causes.push(field::invalid(path, key, detail));
        return;
    };
    let problems = name::dns1123_subdomain(domain);
    causes.extend(problems.iter().map(|problem| field::invalid(path, domain, problem)));
    if rest.is_empty() {
        causes.push(field::required(path, "path must not be empty"));
    }
    if key != key.to_lowercase() {
        causes.push(field::invalid(path, key, "must be lowercase"));
    }
    if ["kubernetes.io", "k8s.io"].iter().any(|own| domain == *own || domain.ends_with(&format!(".{own}"))) {
        let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        causes.push(field::invalid(path, key, detail));
    }
}
