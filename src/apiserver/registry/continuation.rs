//! Continue tokens of paged lists: where a page ended, and the revision all pages are of. Opaque to
//! clients, of upstream's form.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{api::Status, store::Revision};

const FORM: &str = "meta.k8s.io/v1";

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    #[serde(rename = "v")]
    form: String,
    /// The revision of the first page.
    #[serde(rename = "rv")]
    pub revision: Revision,
    /// The last key of the page before, below the resource's prefix.
    #[serde(rename = "start")]
    pub after: String,
}

impl Continuation {
    /// Goes on after `after`.
    pub fn new(revision: Revision, after: &str) -> Self {
        Self { form: FORM.into(), revision, after: after.to_owned() }
    }

    /// The token.
    pub fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("numbers and strings always encode");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads a token.
    pub fn decode(token: &str) -> Result<Self, Status> {
        let invalid = || Status::bad_request("continue key is not valid");
        let json = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|_| invalid())?;
        let decoded: Self = serde_json::from_slice(&json).map_err(|_| invalid())?;
        if decoded.form == FORM { Ok(decoded) } else { Err(invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_garbage_does_not() {
        let token = Continuation::new(7, "default/a");
        assert_eq!(Continuation::decode(&token.encode()).unwrap(), token);
        for garbage in ["", "x", "e30", "////"] {
            assert_eq!(Continuation::decode(garbage).unwrap_err().code(), 400);
        }
    }
}
