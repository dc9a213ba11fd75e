//! Who is called: a place, and whom to take for it.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use http::{Uri, uri::PathAndQuery};
use rustls::pki_types::ServerName;

use super::connector::Error;
use crate::{api::validation::webhook::Client, pki::authority::Issued};

const HTTPS_PORT: u16 = 443;

/// Somebody who is called. What is kept of peers goes by all of this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Where.
    pub place: Place,
    /// Whom to take for it.
    pub trust: Trust,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// Behind a service; its certificate is for `<name>.<namespace>.svc`.
    Service {
        /// The service's namespace.
        namespace: String,
        /// The service's name.
        name: String,
        /// The service's port.
        port: u16,
    },
    /// At a host name or address, which its certificate is for.
    Host {
        /// Name or address, IPv6 in brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Whom to take for a peer, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Authorities in PEM; those of the machine if empty.
    pub authorities: Bytes,
    /// Take anybody for it.
    pub insecure: bool,
    /// The certificate that is shown to it.
    pub identity: Option<Identity>,
}

/// A certificate to show, with its key.
#[derive(Clone)]
pub struct Identity(pub Arc<Issued>);

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.0.certificate == other.0.certificate
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.certificate.hash(state);
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Identity")
    }
}

impl Place {
    /// `host:port` as it stands in URLs; for a service, its name in the cluster.
    pub fn authority(&self) -> String {
        match self {
            Self::Service { namespace, name, port } => format!("{name}.{namespace}.svc:{port}"),
            Self::Host { host, port: HTTPS_PORT } => host.clone(),
            Self::Host { host, port } => format!("{host}:{port}"),
        }
    }

    /// A path at this place.
    pub(super) fn absolute(&self, path: &Uri) -> Result<Uri, Error> {
        let path = path.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let url = Uri::builder().scheme("https").authority(self.authority()).path_and_query(path).build();
        url.map_err(|_| Error::Place(self.authority()))
    }

    /// The name that the peer's certificate must have.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, Error> {
        let name = match self {
            Self::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
            Self::Host { host, .. } => host.trim_matches(['[', ']']).to_owned(),
        };
        ServerName::try_from(name).map_err(|_| Error::Place(self.authority()))
    }
}

impl Peer {
    /// The peer that a webhook's client configuration names, and the path to call there. `None` for
    /// a configuration that names none: it was not validated.
    pub fn of_webhook(client: &Client<'_>) -> Option<(Self, String)> {
        let (place, path) = match (client.service, client.url) {
            (Some(service), _) => {
                let port = u16::try_from(service.port()).ok()?;
                let place =
                    Place::Service { namespace: service.namespace.to_owned(), name: service.name.to_owned(), port };
                (place, service.path.unwrap_or_default().to_owned())
            }
            (None, Some(url)) => {
                let url: Uri = url.parse().ok()?;
                let place = Place::Host { host: url.host()?.to_owned(), port: url.port_u16().unwrap_or(HTTPS_PORT) };
                (place, url.path().to_owned())
            }
            (None, None) => return None,
        };
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        // A bundle of nothing but blanks is none.
        let authorities = Bytes::copy_from_slice(client.ca_bundle.trim_ascii());
        Some((Self { place, trust: Trust { authorities, ..Trust::default() } }, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::validation::webhook::Service;

    #[test]
    fn services_and_urls_become_places() {
        let service = Service { name: "hook", namespace: "ns", path: Some("/check"), port: None };
        let client = Client { url: None, service: Some(service), ca_bundle: b" \n" };
        let (peer, path) = Peer::of_webhook(&client).unwrap();
        assert_eq!((peer.place.authority().as_str(), path.as_str()), ("hook.ns.svc:443", "/check"));
        assert!(peer.trust.authorities.is_empty());
        let client = Client { url: Some("https://[::1]:8443"), service: None, ca_bundle: b"x" };
        let (peer, path) = Peer::of_webhook(&client).unwrap();
        assert_eq!((peer.place.authority().as_str(), path.as_str()), ("[::1]:8443", "/"));
        assert_eq!(peer.place.server_name().unwrap(), ServerName::try_from("::1").unwrap());
        assert_eq!(peer.place.absolute(&"/a?b=c".parse().unwrap()).unwrap(), "https://[::1]:8443/a?b=c");
        assert!(Peer::of_webhook(&Client { url: None, service: None, ca_bundle: b"" }).is_none());
    }
}
