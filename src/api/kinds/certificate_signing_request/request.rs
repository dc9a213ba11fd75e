//! The PKCS#10 request inside, as far as approval and validation look at it.

use std::net::IpAddr;

use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    pem::Pem,
    prelude::FromDer,
};

/// The certificate's subject and names, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Common name; empty if it has none.
    pub common_name: String,
    /// Organizations.
    pub organizations: Vec<String>,
    /// DNS names among the subject alternative names.
    pub dns_names: Vec<String>,
    /// IP addresses among them.
    pub addresses: Vec<IpAddr>,
    /// Number of e-mail addresses among them.
    pub emails: usize,
    /// Number of URIs among them.
    pub uris: usize,
}

impl Request {
    /// Reads a PEM request; errors in upstream's words.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let block = Pem::iter_from_buffer(pem).next().and_then(Result::ok);
        let Some(block) = block.filter(|block| matches!(block.label.as_str(), "CERTIFICATE REQUEST")) else {
            return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
        };
        let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| format!("x509: malformed certificate request: {error}"))?;
        let subject = &parsed.certification_request_info.subject;
        let mut request = Self {
            common_name: texts(subject.iter_common_name()).into_iter().next().unwrap_or_default(),
            organizations: texts(subject.iter_organization()),
            ..Self::default()
        };
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| request.add(name));
            }
        }
        Ok(request)
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(_) => self.emails += 1,
            GeneralName::URI(_) => self.uris += 1,
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                self.addresses.extend(v4.or(v6));
            }
            _ => {}
        }
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes.filter_map(|attribute| attribute.as_str().ok().map(ToOwned::to_owned)).collect()
}
