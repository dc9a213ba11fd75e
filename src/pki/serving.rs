//! The certificate a TLS server shows: kept on disk, issued anew when its names change or its end
//! comes near, and swapped under running connections without a restart.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    base::file,
    pki::{
        Error,
        authority::{self, Authority, Issued, Profile},
        identity::Identity,
        tls,
    },
};

/// Shows the newest certificate to every new connection.
#[derive(Debug)]
pub struct Serving {
    current: ArcSwap<CertifiedKey>,
}

impl Serving {
    /// Shows `issued`.
    pub fn new(issued: &Issued) -> Result<Self, Error> {
        Ok(Self { current: ArcSwap::from_pointee(tls::certified(issued)?) })
    }

    /// Shows `issued` from now on.
    pub fn replace(&self, issued: &Issued) -> Result<(), Error> {
        self.current.store(Arc::new(tls::certified(issued)?));
        Ok(())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Shows the newest certificate in every new connection that a client makes.
#[derive(Debug)]
pub struct Presenting {
    current: ArcSwap<CertifiedKey>,
}

impl Presenting {
    /// Shows `issued`.
    pub fn new(issued: &Issued) -> Result<Self, Error> {
        Ok(Self { current: ArcSwap::from_pointee(tls::certified(issued)?) })
    }

    /// Shows `issued` from now on.
    pub fn replace(&self, issued: &Issued) -> Result<(), Error> {
        self.current.store(Arc::new(tls::certified(issued)?));
        Ok(())
    }
}

impl ResolvesClientCert for Presenting {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate that is kept in `<stem>.crt` and `<stem>.key`.
pub struct Kept {
    certificate: PathBuf,
    key: PathBuf,
}

impl Kept {
    /// The pair of files `stem` in `directory`.
    pub fn new(directory: &Path, stem: &str) -> Self {
        Self { certificate: directory.join(format!("{stem}.crt")), key: directory.join(format!("{stem}.key")) }
    }

    /// The kept certificate if it still fits `profile` and is not about to end, else a new one.
    /// The second value says whether it is new.
    pub fn obtain(&self, authority: &Authority, profile: Profile<'_>) -> Result<(Issued, bool), Error> {
        if let Some(issued) = self.load()?
            && fits(&issued, authority, profile)
        {
            return Ok((issued, false));
        }
        let issued = authority.issue(profile)?;
        self.store(&issued)?;
        Ok((issued, true))
    }

    /// What is on disk, if both files are there.
    pub fn load(&self) -> Result<Option<Issued>, Error> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (certificate, key) = (file::read_optional(&self.certificate)?, file::read_optional(&self.key)?);
        Ok(certificate.zip(key).map(|(certificate, key)| Issued { certificate: text(certificate), key: text(key) }))
    }

    /// Writes both files. A crash in between leaves a pair that does not match, which
    /// [`Kept::obtain`] notices.
    pub fn store(&self, issued: &Issued) -> Result<(), Error> {
        file::write_atomic(&self.key, issued.key.as_bytes(), file::SECRET_MODE)?;
        file::write_atomic(&self.certificate, issued.certificate.as_bytes(), file::SECRET_MODE)?;
        Ok(())
    }
}

fn fits(issued: &Issued, authority: &Authority, profile: Profile<'_>) -> bool {
    let Ok(identity) = Identity::from_pem(issued.certificate.as_bytes()) else { return false };
    let wanted: BTreeSet<&String> = profile.names.iter().collect();
    let have: BTreeSet<&String> = identity.names.iter().collect();
    identity.common_name == profile.common_name
        && identity.organizations.first().map(String::as_str) == profile.organization
        && wanted == have
        && !authority::is_due(identity.not_after)
        && matches_key(issued)
        && is_signed_by(&issued.certificate, authority)
}

fn matches_key(issued: &Issued) -> bool {
    tls::certified(issued).is_ok_and(|certified| certified.keys_match().is_ok())
}

fn is_signed_by(certificate_pem: &str, authority: &Authority) -> bool {
    let Ok(chain) = tls::certificates(certificate_pem) else { return false };
    let Some(leaf) = chain.first() else { return false };
    let parse = x509_parser::parse_x509_certificate;
    match (parse(leaf), parse(authority.der())) {
        (Ok((_, leaf)), Ok((_, issuer))) => leaf.issuer().as_raw() == issuer.subject().as_raw(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::Usage;

    fn profile(names: &[String]) -> Profile<'_> {
        Profile { common_name: "nauplius", organization: None, names, usage: Usage::Server }
    }

    #[test]
    fn is_issued_anew_only_when_its_names_change() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "server-ca").unwrap();
        let kept = Kept::new(directory.path(), "serving");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "fd00::1".to_owned()];
        assert!(kept.obtain(&authority, profile(&names)).unwrap().1);
        assert!(!kept.obtain(&authority, profile(&names)).unwrap().1);
        assert!(kept.obtain(&authority, profile(&names[..1])).unwrap().1);
    }

    #[test]
    fn is_issued_anew_when_key_or_authority_do_not_match() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "server-ca").unwrap();
        let other = Authority::open(directory.path(), "other-ca").unwrap();
        let kept = Kept::new(directory.path(), "serving");
        let (first, _) = kept.obtain(&authority, profile(&[])).unwrap();
        kept.store(&Issued { key: authority.issue(profile(&[])).unwrap().key, ..first.clone() }).unwrap();
        assert!(kept.obtain(&authority, profile(&[])).unwrap().1);
        kept.store(&other.issue(profile(&[])).unwrap()).unwrap();
        assert!(kept.obtain(&authority, profile(&[])).unwrap().1);
    }
}
