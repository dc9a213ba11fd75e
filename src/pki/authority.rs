//! A certificate authority: made on first start, read back afterwards, and what it signs.

use std::{path::Path, time::SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{base::file, pki::Error};

/// Life of an authority, days.
const AUTHORITY_DAYS: u64 = 3650;
/// Life of what an authority signs, days.
pub const LEAF_DAYS: u64 = 365;
/// A certificate with fewer days left than this is issued anew.
pub const RENEWAL_DAYS: u64 = 90;
/// Longest certificate signing request that is looked at, bytes.
pub const REQUEST_LIMIT_BYTES: usize = 16 * 1024;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// To be a TLS server.
    Server,
    /// To be a TLS client.
    Client,
}

/// The contents of a certificate: decided by the authority alone, whatever a signing request asks.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'a> {
    /// Common name: the user's name for clients.
    pub common_name: &'a str,
    /// Organization: the user's group for clients.
    pub organization: Option<&'a str>,
    /// Subject alternative names: DNS names and addresses.
    pub names: &'a [String],
    /// Server or client.
    pub usage: Usage,
}

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

/// A certificate authority with its private key.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads `<stem>.crt` and `<stem>.key` in `directory`, or makes them if neither is there.
    /// A certificate without its key, or the other way round, is an error: making a new authority
    /// would silently cut off every machine that trusts the old one.
    pub fn open(directory: &Path, stem: &str) -> Result<Self, Error> {
        let certificate_path = directory.join(format!("{stem}.crt"));
        let key_path = directory.join(format!("{stem}.key"));
        match (read(&certificate_path)?, read(&key_path)?) {
            (Some(certificate), Some(key)) => Self::load(certificate, &key)
                .ok_or(Error::Corrupt { path: certificate_path, what: "certificate authority" }),
            (Some(_), None) => Err(Error::Corrupt { path: key_path, what: "private key (missing)" }),
            // A key alone is what a power cut between the two writes of a first start leaves.
            (None, _) => {
                let issued = make_authority(stem)?;
                file::write_atomic(&key_path, issued.key.as_bytes(), file::SECRET_MODE)?;
                file::write_atomic(&certificate_path, issued.certificate.as_bytes(), file::SECRET_MODE)?;
                Self::load(issued.certificate, &issued.key).ok_or(Error::Parse("new certificate authority"))
            }
        }
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate, DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The authority's key.
    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// Makes a new key and a certificate for it.
    pub fn issue(&self, profile: Profile<'_>) -> Result<Issued, Error> {
        let failed = |source| Error::Certificate { what: profile.common_name.to_owned(), source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = leaf(profile).and_then(|params| params.signed_by(&key, &self.issuer)).map_err(failed)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Signs the key of a PEM signing request, whose signature proves that the asker holds it.
    /// Nothing else of the request is used.
    pub fn sign(&self, request_pem: &str, profile: Profile<'_>) -> Result<String, Error> {
        if request_pem.len() > REQUEST_LIMIT_BYTES {
            return Err(Error::Parse("certificate signing request: too long"));
        }
        let failed = |source| Error::Certificate { what: profile.common_name.to_owned(), source };
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(failed)?;
        request.params = leaf(profile).map_err(failed)?;
        Ok(request.signed_by(&self.issuer).map_err(failed)?.pem())
    }

    fn load(pem: String, key: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let key = KeyPair::from_pem(key).ok()?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).ok()?;
        Some(Self { pem, der, issuer })
    }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match file::read_optional(path)? {
        None => Ok(None),
        Some(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Error::Corrupt { path: path.to_owned(), what: "PEM file" }),
        },
    }
}

fn make_authority(stem: &str) -> Result<Issued, Error> {
    let created = seconds_now();
    let failed = |source| Error::Certificate { what: stem.to_owned(), source };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(&format!("nauplius-{stem}@{created}"), None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, AUTHORITY_DAYS);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn leaf(profile: Profile<'_>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(profile.names.to_vec())?;
    params.distinguished_name = distinguished(profile.common_name, profile.organization);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match profile.usage {
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, LEAF_DAYS);
    Ok(params)
}

fn distinguished(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// Valid from a fixed day in the past: boards without a battery-backed clock start with a time that
/// can be years behind, and must be able to join before anything has set it.
fn set_validity(params: &mut CertificateParams, days: u64) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = (SystemTime::now() + std::time::Duration::from_secs(days * DAY_SECONDS)).into();
}

/// Seconds since the epoch; 0 for a clock before it.
pub fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Whether a certificate that ends at `not_after` (seconds since the epoch) is due for renewal.
pub fn is_due(not_after: i64) -> bool {
    not_after - seconds_now() < (RENEWAL_DAYS * DAY_SECONDS).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::identity::Identity;

    fn client(name: &str) -> Profile<'_> {
        Profile { common_name: name, organization: Some("system:nodes"), names: &[], usage: Usage::Client }
    }

    #[test]
    fn reads_back_the_authority_it_made() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open(directory.path(), "client-ca").unwrap();
        let second = Authority::open(directory.path(), "client-ca").unwrap();
        assert_eq!(first.pem(), second.pem());
    }

    #[test]
    fn a_lost_key_is_an_error_and_not_a_new_authority() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open(directory.path(), "client-ca").unwrap();
        std::fs::remove_file(directory.path().join("client-ca.key")).unwrap();
        assert!(Authority::open(directory.path(), "client-ca").is_err());
    }

    #[test]
    fn a_request_cannot_choose_its_subject() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "client-ca").unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished("root", Some("system:masters"));
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let signed = authority.sign(&request, client("system:node:a")).unwrap();
        let identity = Identity::from_pem(signed.as_bytes()).unwrap();
        assert_eq!(identity.common_name, "system:node:a");
        assert_eq!(identity.organizations, ["system:nodes"]);
    }

    #[test]
    fn a_tampered_request_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "client-ca").unwrap();
        assert!(authority.sign("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", client("x")).is_err());
        assert!(authority.sign(&"x".repeat(REQUEST_LIMIT_BYTES + 1), client("x")).is_err());
    }
}
