//! Discovery: which groups, versions and resources there are. [`classic`] has the documents that
//! every client knows, [`aggregated`] the single one that newer clients ask for with an `Accept`
//! header (KEP-3352). All are pure functions of the [`catalog`] of what is served: build them once and
//! keep them until that changes.

pub mod aggregated;
pub mod catalog;
pub mod classic;
pub mod priority;
pub mod subresource;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// A document with the tag by which clients ask whether it has changed.
#[derive(Debug, Clone)]
pub struct Document {
    /// JSON.
    pub body: Bytes,
    /// Value of the `ETag` header, quotes included.
    pub etag: String,
}

impl Document {
    fn new(value: &serde_json::Value) -> Self {
        let body = crate::api::encode::encode(value);
        let etag = format!("\"{}\"", digest(&body));
        Self { body, etag }
    }

    /// Whether an `If-None-Match` header names this document: the answer is then 304.
    pub fn matches(&self, if_none_match: &str) -> bool {
        let tags = if_none_match.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        tags.into_iter().any(|tag| tag == "*" || tag == self.etag)
    }
}

/// SHA-256 in upper-case hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod coverage_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_one_by_one() {
        let document = Document::new(&serde_json::json!({}));
        assert!(document.matches(&format!("\"x\", W/{}", document.etag)));
        assert!(document.matches("*") && !document.matches("\"x\""));
    }
}
