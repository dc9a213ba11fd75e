//! Continue tokens of paged lists: where a page ended, and the revision all pages are of. Opaque to
//! clients, of upstream's form.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{api::Status, store::Revision};

const FORM: &str = "meta.k8s.io/v1";

/// Stands for no revision: the list goes on with what is there.
const LATEST: i64 = -1;

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// The revision of the first page; `None` if the rest of the list need not be of it.
    pub revision: Option<Revision>,
    /// The last key of the page before, below the resource's prefix.
    pub after: String,
}

#[derive(Serialize, Deserialize)]
struct Token<'a> {
    #[serde(rename = "v", borrow, default)]
    form: Cow<'a, str>,
    #[serde(rename = "rv", default)]
    revision: i64,
    #[serde(rename = "start", borrow, default)]
    after: Cow<'a, str>,
}

impl Continuation {
    /// Goes on after `after`.
    pub fn new(revision: Revision, after: &str) -> Self {
        Self { revision: Some(revision), after: after.to_owned() }
    }

    /// The same place, whatever is there by now.
    pub fn anew(self) -> Self {
        Self { revision: None, ..self }
    }

    /// The token.
    pub fn encode(&self) -> String {
        let revision = self.revision.and_then(|revision| i64::try_from(revision).ok()).unwrap_or(LATEST);
        let token = Token { form: FORM.into(), revision, after: self.after.as_str().into() };
        let json = serde_json::to_vec(&token).expect("numbers and strings always encode");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads a token.
    pub fn decode(token: &str) -> Result<Self, Status> {
        let invalid =
            |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid{why}"));
        let json = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|_| invalid(""))?;
        let token: Token<'_> = serde_json::from_slice(&json).map_err(|_| invalid(""))?;
        if token.form != FORM {
            return Err(invalid(&format!(": server does not recognize this encoded version {}", token.form)));
        }
        if token.revision == 0 {
            return Err(invalid(&format!(": incorrect encoded start resourceVersion (version {FORM})")));
        }
        if token.after.is_empty() {
            return Err(invalid(&format!(": encoded start key empty (version {FORM})")));
        }
        Ok(Self { revision: Revision::try_from(token.revision).ok(), after: token.after.into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_garbage_does_not() {
        let token = Continuation::new(7, "default/a");
        assert_eq!(Continuation::decode(&token.encode()).unwrap(), token);
        assert_eq!(Continuation::decode(&token.clone().anew().encode()).unwrap(), token.anew());
        for garbage in ["", "x", "e30", "////"] {
            assert_eq!(Continuation::decode(garbage).unwrap_err().code(), 400);
        }
    }
}
