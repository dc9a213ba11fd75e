//! What a certificate says: its subject, its names and its end.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::{
    der_parser::{Oid, oid},
    extensions::GeneralName,
    prelude::FromDer,
};

use crate::pki::Error;

/// Kubernetes' attribute of a subject for a user's UID (KEP-4785).
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);

/// The parts of a certificate that identify its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Subject common name: a client's user name.
    pub common_name: String,
    /// Subject organizations: a client's groups.
    pub organizations: Vec<String>,
    /// DNS names and addresses, as text.
    pub names: Vec<String>,
    /// Subject UIDs ([`UID`]).
    pub uids: Vec<String>,
    /// SHA-256 of the whole certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// End of validity, seconds since the epoch.
    pub not_after: i64,
}

impl Identity {
    /// Takes a DER certificate apart. Its signature is not looked at.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let (_, certificate) =
            x509_parser::certificate::X509Certificate::from_der(der).map_err(|_| Error::Parse("certificate"))?;
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().map(str::to_owned).unwrap_or_default()
        };
        let subject = certificate.subject();
        Ok(Self {
            common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            names: alternative_names(&certificate),
            uids: subject.iter_by_oid(&UID).map(text).collect(),
            fingerprint: hexadecimal(&Sha256::digest(der)),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }

    /// Takes the first certificate of a PEM text apart.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| Error::Parse("PEM certificate"))?;
        Self::from_der(&der)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn alternative_names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(bytes).ok().map(Into::into),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_certificate_are_an_error() {
        assert!(Identity::from_der(b"\x30\x03abc").is_err());
        assert!(Identity::from_pem(b"").is_err());
    }
}
