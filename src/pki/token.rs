//! The join token, in k3s's form: `K10<sha256 of the CA>::<user>:<secret>`. The hash lets a machine
//! that knows nothing yet recognise its server; the secret lets the server recognise the machine.

use std::{fmt, path::Path};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{base::file, pki::Error};

const PREFIX: &str = "K10";
const USER: &str = "server";
/// Bytes of entropy in a new secret.
const SECRET_BYTES: usize = 16;
/// Longest token that is looked at, bytes.
const LIMIT_BYTES: usize = 1024;

/// A token, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the CA's PEM file in hexadecimal; absent in the short form.
    pub authority_hash: Option<String>,
    /// The user the secret belongs to; `server` or `node`.
    pub user: String,
    secret: String,
}

impl JoinToken {
    /// Takes the long or the short form apart.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || text.len() > LIMIT_BYTES || text.chars().any(char::is_control) {
            return Err(Error::TokenForm);
        }
        let Some((hash, credentials)) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once("::")) else {
            return Ok(Self { authority_hash: None, user: USER.into(), secret: text.into() });
        };
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::TokenForm);
        }
        let (user, secret) = credentials.split_once(':').unwrap_or((USER, credentials));
        if secret.is_empty() {
            return Err(Error::TokenForm);
        }
        Ok(Self { authority_hash: Some(hash.to_ascii_lowercase()), user: user.into(), secret: secret.into() })
    }

    /// The token of this server: the secret that was `given`, else that of the file, else a new
    /// one. The file always ends up with the long form.
    pub fn open(path: &Path, given: Option<&str>, authority_pem: &str) -> Result<Self, Error> {
        let kept = file::read_optional(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let secret = match (given, &kept) {
            (Some(given), _) => Self::parse(given)?.secret,
            (None, Some(kept)) => {
                let corrupt = |_| Error::Corrupt { path: path.to_owned(), what: "join token" };
                Self::parse(kept).map_err(corrupt)?.secret
            }
            (None, None) => random_secret(),
        };
        let token = Self { authority_hash: Some(hash(authority_pem)), user: USER.into(), secret };
        let text = format!("{}\n", token.reveal());
        if kept.as_deref() != Some(&text) {
            file::write_atomic(path, text.as_bytes(), file::SECRET_MODE)?;
        }
        Ok(token)
    }

    /// The long form, secret included: for the token file and for what a person copies.
    pub fn reveal(&self) -> String {
        match &self.authority_hash {
            Some(hash) => format!("{PREFIX}{hash}::{}:{}", self.user, self.secret),
            None => self.secret.clone(),
        }
    }

    /// Whether `presented` (long or short) carries the same secret. Takes the same time wherever
    /// the first difference is.
    pub fn admits(&self, presented: &str) -> bool {
        let Ok(presented) = Self::parse(presented) else { return false };
        let digest = |secret: &str| Sha256::digest(secret.as_bytes());
        digest(&self.secret).as_slice().ct_eq(digest(&presented.secret).as_slice()).into()
    }

    /// Checks that the PEM file a server showed is the one this token was made for. A short token
    /// cannot tell and trusts what it is shown.
    pub fn check_authority(&self, authority_pem: &str) -> Result<(), Error> {
        match &self.authority_hash {
            Some(expected) if *expected != hash(authority_pem) => Err(Error::TokenAuthority),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JoinToken").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A secret of 128 random bits in hexadecimal.
pub fn random_secret() -> String {
    hexadecimal(&rand::random::<[u8; SECRET_BYTES]>())
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash(authority_pem: &str) -> String {
    hexadecimal(Sha256::digest(authority_pem.as_bytes()).as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_kept_and_admits_both_forms() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let token = JoinToken::open(&path, None, "PEM").unwrap();
        let again = JoinToken::open(&path, None, "PEM").unwrap();
        assert_eq!(token, again);
        assert!(token.admits(&token.reveal()));
        assert!(token.admits(&token.secret));
        assert!(!token.admits(&format!("{}x", token.secret)));
        assert!(!token.admits(""));
    }

    #[test]
    fn a_given_token_replaces_the_kept_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        JoinToken::open(&path, None, "PEM").unwrap();
        let token = JoinToken::open(&path, Some("opensesame"), "PEM").unwrap();
        assert!(token.admits("opensesame"));
        assert!(JoinToken::open(&path, None, "PEM").unwrap().admits("opensesame"));
    }

    #[test]
    fn another_authority_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let token = JoinToken::open(&directory.path().join("token"), None, "PEM").unwrap();
        let copied = JoinToken::parse(&token.reveal()).unwrap();
        assert!(copied.check_authority("PEM").is_ok());
        assert!(matches!(copied.check_authority("other"), Err(Error::TokenAuthority)));
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in ["", "K10abc::server:x", &format!("K10{}::server:", "a".repeat(64)), "a\u{0}b"] {
            assert!(JoinToken::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert!(!format!("{:?}", JoinToken::parse("opensesame").unwrap()).contains("opensesame"));
    }
}
