//! From verified claims to a user, by an issuer's configuration.

use serde_json::Value;

use crate::{
    apiserver::authn::oidc::{config::Issuer, expressions::Expressions},
    http::identity::{AUTHENTICATED, CREDENTIAL, User},
};

/// The user that a token names.
pub fn user(issuer: &Issuer, expressions: &Expressions, claims: &Value) -> Result<User, String> {
    let mut user = User {
        name: username(issuer, expressions, claims)?,
        groups: groups(issuer, expressions, claims)?,
        uid: uid(issuer, expressions, claims)?,
        extra: expressions.extra(claims)?,
    };
    if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
        user.extra.insert(CREDENTIAL.to_owned(), vec![format!("JTI={id}")]);
    }
    require(issuer, claims)?;
    expressions.check_claims(claims)?;
    expressions.check_user(&user)?;
    if !user.is_in(AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    Ok(user)
}

fn username(issuer: &Issuer, expressions: &Expressions, claims: &Value) -> Result<String, String> {
    if let Some(name) = expressions.username(claims) {
        return name;
    }
    let mapping = &issuer.claim_mappings.username;
    let name = text(claims, &mapping.claim)
        .map_err(|why| format!("oidc: parse username claims {:?}: {why}", mapping.claim))?;
    if mapping.claim == "email" {
        match &claims["email_verified"] {
            Value::Null | Value::Bool(true) => {}
            Value::Bool(false) => return Err("oidc: email not verified".to_owned()),
            _ => return Err("oidc: parse 'email_verified' claim: it is not a boolean".to_owned()),
        }
    }
    Ok(format!("{}{name}", mapping.prefix.as_deref().unwrap_or_default()))
}

fn groups(issuer: &Issuer, expressions: &Expressions, claims: &Value) -> Result<Vec<String>, String> {
    let mapping = &issuer.claim_mappings.groups;
    let claim = &claims[mapping.claim.as_str()];
    if mapping.claim.is_empty() || claim.is_null() {
        return expressions.groups(claims).unwrap_or_else(|| Ok(Vec::new()));
    }
    let wrong = || format!("oidc: parse groups claim {:?}: it is not a string or a list of strings", mapping.claim);
    let texts = match claim {
        Value::String(one) => vec![one.as_str()],
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let prefix = mapping.prefix.as_deref().unwrap_or_default();
    Ok(texts.into_iter().map(|group| format!("{prefix}{group}")).collect())
}

fn uid(issuer: &Issuer, expressions: &Expressions, claims: &Value) -> Result<String, String> {
    let claim = issuer.claim_mappings.uid.claim.as_str();
    if claim.is_empty() {
        return expressions.uid(claims).unwrap_or_else(|| Ok(String::new()));
    }
    text(claims, claim).map_err(|why| format!("oidc: parse uid claim {claim:?}: {why}"))
}

/// Claims that must have a certain value.
fn require(issuer: &Issuer, claims: &Value) -> Result<(), String> {
    for rule in issuer.claim_validation_rules.iter().filter(|rule| !rule.claim.is_empty()) {
        let (claim, wanted) = (rule.claim.as_str(), rule.required_value.as_str());
        if claims.get(claim).is_none() {
            return Err(format!("oidc: required claim {claim} not present in ID token"));
        }
        let found = text(claims, claim).map_err(|why| format!("oidc: parse claim {claim}: {why}"))?;
        if found != wanted {
            return Err(format!("oidc: required claim {claim} value does not match. Got = {found}, want = {wanted}"));
        }
    }
    Ok(())
}

fn text(claims: &Value, claim: &str) -> Result<String, String> {
    match claims.get(claim) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("it is not a string".to_owned()),
        None => Err("claim not present".to_owned()),
    }
}
