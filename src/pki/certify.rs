//! Signing what a certificate signing request asks for (PKCS#10, RFC 2986): its subject, its names and
//! its key, for the usages and the time that the signer allows. Everything else in the request is
//! left out. Whether the asker should have it is for the caller to decide.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SigningKey as _};
use x509_parser::{
    certificate::X509Certificate,
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    pem::Pem,
    prelude::FromDer,
    x509::X509Name,
};

use crate::pki::{
    Error,
    authority::{Authority, REQUEST_LIMIT_BYTES, seconds_now},
    der,
};

/// By how much certificates begin in the past, for clocks that are behind.
const BACKDATE_SECONDS: i64 = 5 * 60;
/// Certificates that live shorter than this are not shortened by what they were backdated.
const SHORT_SECONDS: i64 = 8 * 60 * 60;

/// What a certificate may be used for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usages {
    /// Bits of the key usage extension (RFC 5280, section 4.2.1.3), the first being the lowest.
    key: u16,
    /// Identifiers of the extended key usage extension, each once, in upstream's order.
    extended: Vec<&'static Extended>,
}

/// An extended key usage: its names in the API and the contents of its object identifier.
#[derive(Debug, PartialEq, Eq)]
struct Extended {
    names: &'static [&'static str],
    identifier: &'static [u8],
}

const KEY_USAGES: &[(&str, u32)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// Contents of `1.3.6.1.5.5.7.3.<last>`.
macro_rules! purpose {
    ($last:literal) => {
        &[0x2b, 6, 1, 5, 5, 7, 3, $last]
    };
}

const EXTENDED_USAGES: &[Extended] = &[
    Extended { names: &["any"], identifier: &[0x55, 0x1d, 0x25, 0] },
    Extended { names: &["server auth"], identifier: purpose!(1) },
    Extended { names: &["client auth"], identifier: purpose!(2) },
    Extended { names: &["code signing"], identifier: purpose!(3) },
    Extended { names: &["email protection", "s/mime"], identifier: purpose!(4) },
    Extended { names: &["ipsec end system"], identifier: purpose!(5) },
    Extended { names: &["ipsec tunnel"], identifier: purpose!(6) },
    Extended { names: &["ipsec user"], identifier: purpose!(7) },
    Extended { names: &["timestamping"], identifier: purpose!(8) },
    Extended { names: &["ocsp signing"], identifier: purpose!(9) },
    Extended { names: &["microsoft sgc"], identifier: &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3] },
    Extended { names: &["netscape sgc"], identifier: &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1] },
];

/// Algorithm identifiers of what authorities sign with, DER.
const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
const RSA_SHA256: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 11, 5, 0];

/// Contents of the object identifier of the extension `2.5.29.<last>`.
const fn extension_identifier(last: u8) -> [u8; 3] {
    [0x55, 0x1d, last]
}

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const KEY_USAGE: [u8; 3] = extension_identifier(15);
const ALTERNATIVE_NAMES: [u8; 3] = extension_identifier(17);
const BASIC_CONSTRAINTS: [u8; 3] = extension_identifier(19);
const AUTHORITY_KEY: [u8; 3] = extension_identifier(35);
const EXTENDED_KEY_USAGE: [u8; 3] = extension_identifier(37);

impl Usages {
    /// Usages by their names in `certificates.k8s.io/v1`.
    pub fn parse(names: &[String]) -> Result<Self, Error> {
        let (mut key, mut extended, mut unknown) = (0, Vec::new(), Vec::new());
        for name in names {
            let named = |usage: &&Extended| usage.names.contains(&name.as_str());
            if let Some((_, bit)) = KEY_USAGES.iter().find(|(known, _)| known == name) {
                key |= 1 << bit;
            } else if let Some(position) = EXTENDED_USAGES.iter().position(|usage| named(&usage)) {
                extended.push(position);
            } else {
                unknown.push(name.clone());
            }
        }
        if !unknown.is_empty() {
            return Err(Error::Usages(unknown));
        }
        extended.sort_unstable();
        extended.dedup();
        Ok(Self { key, extended: extended.into_iter().map(|position| &EXTENDED_USAGES[position]).collect() })
    }
}

/// Signs a PEM request for `usages` and `lifetime_seconds`, which end with the authority itself at
/// the latest. Returns the certificate as PEM.
pub fn certify(
    authority: &Authority,
    request_pem: &[u8],
    usages: &Usages,
    lifetime_seconds: i64,
) -> Result<String, Error> {
    if request_pem.len() > REQUEST_LIMIT_BYTES {
        return Err(Error::Parse("certificate signing request: too long"));
    }
    let pem = Pem::iter_from_buffer(request_pem).next().and_then(Result::ok);
    let pem = pem.ok_or(Error::Parse("certificate signing request"))?;
    let (_, request) =
        X509CertificationRequest::from_der(&pem.contents).map_err(|_| Error::Parse("certificate signing request"))?;
    request.verify_signature().map_err(|_| Error::RequestSignature)?;
    let (_, issuer) = X509Certificate::from_der(authority.der()).map_err(|_| Error::Parse("certificate authority"))?;
    let validity = validity(seconds_now(), lifetime_seconds, issuer.validity().not_after.timestamp())?;
    let algorithm = algorithm(authority.key())?;
    let signed = contents(&request, &issuer, algorithm, usages, validity);
    let signature = authority.key().sign(&signed);
    let signature = signature.map_err(|source| Error::Certificate { what: "certificate".into(), source })?;
    Ok(encode_pem(&der::sequence(&[&signed, algorithm, &der::bits(&signature)])))
}

/// First and last second.
fn validity(now: i64, lifetime: i64, authority_end: i64) -> Result<(i64, i64), Error> {
    if now >= authority_end {
        return Err(Error::AuthorityExpired);
    }
    let end = if lifetime < SHORT_SECONDS { now + lifetime } else { now + lifetime - BACKDATE_SECONDS };
    Ok((now - BACKDATE_SECONDS, end.min(authority_end)))
}

fn algorithm(key: &KeyPair) -> Result<&'static [u8], Error> {
    let known = [
        (&PKCS_ECDSA_P256_SHA256, ECDSA_SHA256),
        (&PKCS_ECDSA_P384_SHA384, ECDSA_SHA384),
        (&PKCS_ED25519, ED25519),
        (&PKCS_RSA_SHA256, RSA_SHA256),
    ];
    let found = known.into_iter().find(|(algorithm, _)| key.is_compatible(algorithm));
    found.map(|(_, identifier)| identifier).ok_or(Error::Parse("the authority's kind of key"))
}

/// TBSCertificate (RFC 5280, section 4.1).
fn contents(
    request: &X509CertificationRequest<'_>,
    issuer: &X509Certificate<'_>,
    algorithm: &[u8],
    usages: &Usages,
    (begin, end): (i64, i64),
) -> Vec<u8> {
    let asked = &request.certification_request_info;
    let subject = subject(&asked.subject);
    let names = alternative_names(request);
    let has_subject = subject.len() > 2;
    let extensions = extensions(issuer, usages, &names, has_subject);
    der::sequence(&[
        &der::element(0xa0, &der::unsigned(&[2])),
        &der::unsigned(&rand::random::<[u8; 16]>()),
        algorithm,
        issuer.subject().as_raw(),
        &der::sequence(&[&der::time(begin), &der::time(end)]),
        &subject,
        asked.subject_pki.raw,
        &der::element(0xa3, &der::element(der::SEQUENCE, &extensions)),
    ])
}

/// The subject as asked for, but with one common name: readers differ in which of several they take.
fn subject(name: &X509Name<'_>) -> Vec<u8> {
    let mut is_named = false;
    let mut parts = Vec::new();
    for attribute in name.iter_attributes() {
        let identifier = attribute.attr_type().as_bytes();
        if identifier == COMMON_NAME && std::mem::replace(&mut is_named, true) {
            continue;
        }
        let value = attribute.attr_value();
        let Ok(tag) = u8::try_from(value.header.tag().0) else { continue };
        let pair = der::sequence(&[&der::element(der::OBJECT_IDENTIFIER, identifier), &der::element(tag, value.data)]);
        parts.extend(der::element(der::SET, &pair));
    }
    der::element(der::SEQUENCE, &parts)
}

/// Encoded general names of the four kinds that Kubernetes knows.
fn alternative_names(request: &X509CertificationRequest<'_>) -> Vec<u8> {
    let attributes = request.certification_request_info.iter_attributes();
    let extensions = attributes.filter_map(|attribute| match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(requested) => Some(&requested.extensions),
        _ => None,
    });
    let mut out = Vec::new();
    for extension in extensions.flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::RFC822Name(text) => out.extend(der::element(0x81, text.as_bytes())),
                GeneralName::DNSName(text) => out.extend(der::element(0x82, text.as_bytes())),
                GeneralName::URI(text) => out.extend(der::element(0x86, text.as_bytes())),
                GeneralName::IPAddress(bytes) => out.extend(der::element(0x87, bytes)),
                _ => {}
            }
        }
    }
    out
}

fn extensions(issuer: &X509Certificate<'_>, usages: &Usages, names: &[u8], has_subject: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if usages.key != 0 {
        out.extend(extension(&KEY_USAGE, true, &der::named_bits(usages.key)));
    }
    if !usages.extended.is_empty() {
        let identifiers = usages.extended.iter().map(|usage| der::element(der::OBJECT_IDENTIFIER, usage.identifier));
        let list = der::element(der::SEQUENCE, &identifiers.collect::<Vec<_>>().concat());
        out.extend(extension(&EXTENDED_KEY_USAGE, false, &list));
    }
    out.extend(extension(&BASIC_CONSTRAINTS, true, &der::sequence(&[])));
    let key = issuer.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
        _ => None,
    });
    if let Some(key) = key {
        out.extend(extension(&AUTHORITY_KEY, false, &der::sequence(&[&der::element(0x80, key)])));
    }
    if !names.is_empty() {
        // RFC 5280, section 4.2.1.6: critical where there is nothing else to go by.
        out.extend(extension(&ALTERNATIVE_NAMES, !has_subject, &der::element(der::SEQUENCE, names)));
    }
    out
}

fn extension(identifier: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { der::element(der::BOOLEAN, &[0xff]) } else { Vec::new() };
    der::sequence(&[
        &der::element(der::OBJECT_IDENTIFIER, identifier),
        &critical,
        &der::element(der::OCTET_STRING, value),
    ])
}

fn encode_pem(certificate: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    /// Letters per line (RFC 7468).
    const WIDTH: usize = 64;
    let text = BASE64_STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(WIDTH));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, SanType};
    use rustls::pki_types::UnixTime;

    use super::*;
    use crate::pki::{identity::Identity, tls};

    fn authority() -> (tempfile::TempDir, Authority) {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "client-ca").unwrap();
        (directory, authority)
    }

    fn request(names: Vec<SanType>) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "devs");
        // A second organization, which rcgen's names have no other place for.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "ops");
        params.distinguished_name.push(DnType::CommonName, "jane");
        params.subject_alt_names = names;
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn usages(names: &[&str]) -> Usages {
        Usages::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_certificate_says_what_was_asked_and_verifies() {
        let (_directory, authority) = authority();
        let names = vec![SanType::DnsName("a.example".try_into().unwrap()), SanType::IpAddress([10, 0, 0, 1].into())];
        let usages = usages(&["digital signature", "client auth"]);
        let pem = certify(&authority, request(names).as_bytes(), &usages, 3600).unwrap();
        let identity = Identity::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(
            (identity.common_name.as_str(), identity.organizations),
            ("jane", vec!["devs".into(), "ops".into()])
        );
        assert_eq!(identity.names, ["a.example", "10.0.0.1"]);
        assert!((identity.not_after - seconds_now() - 3600).abs() < 5);
        let verifier = tls::client_verifier(authority.pem()).unwrap();
        let chain = tls::certificates(&pem).unwrap();
        verifier.verify_client_cert(&chain[0], &[], UnixTime::now()).unwrap();
    }

    #[test]
    fn usages_are_known_by_name_and_written_once() {
        let (_directory, authority) = authority();
        let asked = usages(&["s/mime", "email protection", "server auth", "signing", "decipher only"]);
        let pem = certify(&authority, request(Vec::new()).as_bytes(), &asked, 3600).unwrap();
        let der = tls::certificates(&pem).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der[0]).unwrap();
        let key = certificate.key_usage().unwrap().unwrap().value;
        assert!(key.digital_signature() && key.decipher_only() && !key.key_cert_sign());
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && extended.email_protection && !extended.client_auth);
        assert!(!certificate.is_ca());
        assert!(matches!(Usages::parse(&["fly".into()]), Err(Error::Usages(names)) if names == ["fly"]));
    }

    #[test]
    fn nothing_outlives_its_authority() {
        assert_eq!(validity(1_000_000, 600, 2_000_000).unwrap(), (999_700, 1_000_600));
        assert_eq!(validity(1_000_000, 86_400, 2_000_000).unwrap(), (999_700, 1_086_100));
        assert_eq!(validity(1_000_000, 86_400, 1_000_100).unwrap().1, 1_000_100);
        assert!(matches!(validity(1_000_000, 600, 1_000_000), Err(Error::AuthorityExpired)));
    }

    #[test]
    fn a_request_that_was_tampered_with_is_refused() {
        let (_directory, authority) = authority();
        let der = Pem::iter_from_buffer(request(Vec::new()).as_bytes()).next().unwrap().unwrap().contents;
        let position = der.windows(4).position(|window| window == b"jane").unwrap();
        let mut changed = der;
        changed[position] = b'J';
        let pem = encode_pem(&changed).replace("CERTIFICATE", "CERTIFICATE REQUEST");
        let error = certify(&authority, pem.as_bytes(), &usages(&["client auth"]), 600).unwrap_err();
        assert!(matches!(error, Error::RequestSignature));
    }
}
