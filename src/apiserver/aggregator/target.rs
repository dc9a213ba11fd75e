//! A server behind this one, as its APIService describes it.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use crate::{
    api::{kinds::api_service::AVAILABLE, validation::webhook},
    apiserver::{
        discovery::priority::Priority,
        outbound::{Identity, Peer, Place, Trust},
    },
    pki::authority::Issued,
};

/// Who serves a group version, and how it is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Name of the APIService, such as `v1beta1.metrics.k8s.io`.
    pub name: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Its place among the others.
    pub priority: Priority,
    /// The service that leads to it.
    pub service: ServicePort,
    /// Whether it passed its last check.
    pub is_available: bool,
    authorities: Bytes,
    insecure: bool,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Namespace of the service.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Number of the port.
    pub port: u16,
}

impl Target {
    /// Reads a stored APIService; `None` for those that this server serves itself.
    pub fn read(json: &[u8]) -> Option<Self> {
        let object: APIService = serde_json::from_slice(json).ok()?;
        let spec = object.spec?;
        let service = spec.service?;
        let port = service.port.unwrap_or(webhook::DEFAULT_PORT);
        let bundle = spec.ca_bundle.map(|bundle| bundle.0).unwrap_or_default();
        let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
        Some(Self {
            name: object.metadata.name?,
            group: spec.group.unwrap_or_default(),
            version: spec.version.unwrap_or_default(),
            priority: Priority { group: spec.group_priority_minimum, version: spec.version_priority },
            service: ServicePort {
                namespace: service.namespace.unwrap_or_default(),
                name: service.name.unwrap_or_default(),
                port: u16::try_from(port).ok()?,
            },
            is_available: conditions.iter().any(|one| one.type_ == AVAILABLE && one.status == "True"),
            authorities: bundle.into(),
            insecure: spec.insecure_skip_tls_verify == Some(true),
        })
    }

    /// Whether `other` says the same, but for whether the server is available.
    pub fn leads_where(&self, other: &Self) -> bool {
        Self { is_available: other.is_available, ..self.clone() } == *other
    }

    /// The path of the group version, below which everything is passed on.
    pub fn path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }

    /// Whom to connect to, showing `identity`.
    pub fn peer(&self, identity: Arc<Issued>) -> Peer {
        let ServicePort { namespace, name, port } = self.service.clone();
        let trust = Trust {
            authorities: self.authorities.clone(),
            insecure: self.insecure,
            identity: Some(Identity(identity)),
        };
        Peer { place: Place::Service { namespace, name, port }, trust }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: Value) -> Vec<u8> {
        json!({"metadata": {"name": "v1.a.b"}, "spec": spec}).to_string().into_bytes()
    }

    #[test]
    fn local_services_lead_nowhere() {
        let spec = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 2});
        assert!(Target::read(&object(spec)).is_none());
        assert!(Target::read(b"{}").is_none());
    }

    #[test]
    fn a_target_knows_where_and_whom_it_trusts() {
        let mut spec = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 2,
            "service": {"namespace": "n", "name": "s"}, "insecureSkipTLSVerify": true});
        let target = Target::read(&object(spec.clone())).unwrap();
        assert_eq!((target.path(), target.service.port), ("/apis/a.b/v1".into(), 443));
        assert!(!target.is_available && target.insecure && target.authorities.is_empty());
        spec["insecureSkipTLSVerify"] = false.into();
        spec["caBundle"] = "bm9uc2Vuc2U=".into();
        let target = Target::read(&object(spec)).unwrap();
        assert!(!target.insecure && target.authorities == "nonsense");
    }
}
