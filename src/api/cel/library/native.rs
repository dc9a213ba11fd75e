//! Values of Kubernetes' own types.

use std::{net::IpAddr, sync::Arc};

use super::{formats::Format, ip::Cidr, semver::Semver, url::Url};
use crate::api::{
    cel::{
        authorizer::{Check, Decision},
        error::Failure,
        types::Opaque,
        value::{Kind, Value},
    },
    quantity::Quantity,
};

/// A value of one of Kubernetes' own types.
#[derive(Debug, Clone)]
pub(in crate::api::cel) enum Native<'a> {
    Url(Arc<Url>),
    Ip(IpAddr),
    Cidr(Cidr),
    Quantity(Quantity),
    Semver(Arc<Semver>),
    Format(&'static Format),
    /// `authorizer` and what is made of it until the answer.
    Check(Opaque, Arc<Check<'a>>),
    Decision(Arc<Decision>),
}

impl Native<'_> {
    pub fn kind(&self) -> Opaque {
        match self {
            Self::Url(_) => Opaque::Url,
            Self::Ip(_) => Opaque::Ip,
            Self::Cidr(_) => Opaque::Cidr,
            Self::Quantity(_) => Opaque::Quantity,
            Self::Semver(_) => Opaque::Semver,
            Self::Format(_) => Opaque::Format,
            Self::Check(kind, _) => *kind,
            Self::Decision(_) => Opaque::Decision,
        }
    }

    /// Whether two are the same.
    pub fn same(&self, other: &Native<'_>) -> bool {
        match (self, other) {
            (Self::Url(one), Native::Url(other)) => one == other,
            (Self::Ip(one), Native::Ip(other)) => one == other,
            (Self::Cidr(one), Native::Cidr(other)) => one == other,
            (Self::Quantity(one), Native::Quantity(other)) => one == other,
            (Self::Semver(one), Native::Semver(other)) => one.compare(other).is_eq(),
            (Self::Format(one), Native::Format(other)) => one.name == other.name,
            (Self::Check(kind, one), Native::Check(also, other)) => kind == also && one.question == other.question,
            (Self::Decision(one), Native::Decision(other)) => one == other,
            _ => false,
        }
    }

    /// Bytes of addresses; one for all else.
    pub fn size(&self) -> usize {
        match self {
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(cidr) => usize::from(cidr.bits.div_ceil(8)),
            _ => 1,
        }
    }
}

impl<'a> From<Native<'a>> for Value<'a> {
    fn from(native: Native<'a>) -> Self {
        Self(Kind::Native(native))
    }
}

impl<'a> Value<'a> {
    pub(super) fn native(&self) -> Result<&Native<'a>, Failure> {
        match &self.0 {
            Kind::Native(native) => Ok(native),
            _ => Err(Failure::no_overload()),
        }
    }
}
