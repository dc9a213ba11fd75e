//! TLS towards peers.

use std::sync::Arc;

use rustls::ClientConfig;

use super::peer::Trust;
use crate::{
    http::{any_server, roots},
    pki::{Error, tls},
};

/// The client that believes whom `trust` says. Blocking: may read the machine's authorities.
///
/// It speaks HTTP/1.1, as upstream's does: requests that share one HTTP/2 connection would all meet the
/// same endpoint.
pub fn configuration(trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
    let builder = if trust.insecure {
        builder.dangerous().with_custom_certificate_verifier(any_server::verifier())
    } else if trust.authorities.is_empty() {
        builder.with_root_certificates(roots::of_machine())
    } else {
        let roots = tls::roots(&String::from_utf8_lossy(&trust.authorities))?;
        if roots.is_empty() {
            return Err(Error::Parse("PEM certificates"));
        }
        builder.with_root_certificates(roots)
    };
    let identity = trust.identity.as_ref().map(|identity| &*identity.0);
    tls::client_of(builder, identity, tls::HTTP1_PROTOCOLS)
}
