//! The built-in kinds: one file each, and the table of all of them. A kind that is not in the
//! table does not exist for the server.

pub mod admission_registration;
pub mod api_service;
pub mod cells;
pub mod certificate_signing_request;
pub mod component_status;
pub mod config_map;
pub mod controller_revision;
pub mod cron_job;
pub mod csi_driver;
pub mod csi_node;
pub mod csi_storage_capacity;
pub mod custom_resource_definition;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod equivalent;
pub mod event;
pub mod flow_control;
pub mod horizontal_pod_autoscaler;
pub mod ingress;
pub mod ingress_class;
pub mod ip_address;
pub mod job;
pub mod label_selector;
pub mod lease;
pub mod limit_range;
pub mod names;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod pod_template;
pub mod pod_template_object;
pub mod priority_class;
pub mod rbac;
pub mod replica_set;
pub mod replication_controller;
pub mod resource;
pub mod resource_quota;
pub mod review;
pub mod runtime_class;
pub mod scale;
pub mod secret;
pub mod service;
pub mod service_account;
pub mod service_cidr;
pub mod stateful_set;
pub mod status;
pub mod storage_class;
pub mod volume_attachment;
pub mod volume_attributes_class;
mod volume_source;
pub mod workload;

use serde_json::Value;

use crate::api::{
    Status,
    kind::{Descriptor, GroupResource, descriptor},
};

/// How a kind is kept that has no objects of its own: it is another shape of a stored one, in another
/// group or in another version of the same resource.
#[derive(Clone, Copy)]
pub struct SharedStorage {
    /// The resource whose objects are stored.
    pub stored: GroupResource<'static>,
    /// The version in which they are stored.
    pub version: &'static str,
    /// From this kind's shape to the stored one.
    pub to_stored: fn(Value) -> Result<Value, Status>,
    /// From the stored shape to this kind's.
    pub from_stored: fn(Value) -> Result<Value, Status>,
}

/// How `kind` is stored when not as itself; `None` for nearly all.
pub fn shared_storage(kind: &Descriptor) -> Option<SharedStorage> {
    match (&*kind.group, &*kind.version, &*kind.plural) {
        ("events.k8s.io", "v1", "events") => Some(SharedStorage {
            stored: GroupResource { group: "", resource: "events" },
            version: "v1",
            to_stored: event::convert::value_to_core,
            from_stored: event::convert::value_from_core,
        }),
        ("autoscaling", "v1", "horizontalpodautoscalers") => Some(SharedStorage {
            stored: GroupResource { group: "autoscaling", resource: "horizontalpodautoscalers" },
            version: "v2",
            to_stored: horizontal_pod_autoscaler::convert::value_to_v2,
            from_stored: horizontal_pod_autoscaler::convert::value_from_v2,
        }),
        _ => None,
    }
}

/// Every built-in kind, in the order in which discovery lists them: of a resource with several versions,
/// the stored one first.
pub fn all() -> Vec<Descriptor> {
    vec![
        descriptor::<review::BindingKind>(),
        descriptor::<component_status::ComponentStatusKind>(),
        descriptor::<config_map::ConfigMapKind>(),
        descriptor::<endpoints::EndpointsKind>(),
        descriptor::<event::core::EventKind>(),
        descriptor::<limit_range::LimitRangeKind>(),
        descriptor::<namespace::NamespaceKind>(),
        descriptor::<node::NodeKind>(),
        descriptor::<persistent_volume::PersistentVolumeKind>(),
        descriptor::<persistent_volume_claim::PersistentVolumeClaimKind>(),
        descriptor::<pod::PodKind>(),
        descriptor::<pod_template_object::PodTemplateKind>(),
        descriptor::<replication_controller::ReplicationControllerKind>(),
        descriptor::<resource_quota::ResourceQuotaKind>(),
        descriptor::<secret::SecretKind>(),
        descriptor::<service_account::ServiceAccountKind>(),
        descriptor::<service::ServiceKind>(),
        descriptor::<admission_registration::mutating_policy::MutatingAdmissionPolicyKind>(),
        descriptor::<admission_registration::policy_binding::MutatingAdmissionPolicyBindingKind>(),
        descriptor::<admission_registration::mutating_webhooks::MutatingWebhookConfigurationKind>(),
        descriptor::<admission_registration::validating_policy::ValidatingAdmissionPolicyKind>(),
        descriptor::<admission_registration::policy_binding::ValidatingAdmissionPolicyBindingKind>(),
        descriptor::<admission_registration::validating_webhooks::ValidatingWebhookConfigurationKind>(),
        descriptor::<custom_resource_definition::CustomResourceDefinitionKind>(),
        descriptor::<api_service::ApiServiceKind>(),
        descriptor::<controller_revision::ControllerRevisionKind>(),
        descriptor::<daemon_set::DaemonSetKind>(),
        descriptor::<deployment::DeploymentKind>(),
        descriptor::<replica_set::ReplicaSetKind>(),
        descriptor::<stateful_set::StatefulSetKind>(),
        descriptor::<review::SelfSubjectReviewKind>(),
        descriptor::<review::TokenReviewKind>(),
        descriptor::<review::LocalSubjectAccessReviewKind>(),
        descriptor::<review::SelfSubjectAccessReviewKind>(),
        descriptor::<review::SelfSubjectRulesReviewKind>(),
        descriptor::<review::SubjectAccessReviewKind>(),
        descriptor::<horizontal_pod_autoscaler::v2::HorizontalPodAutoscalerKind>(),
        descriptor::<horizontal_pod_autoscaler::v1::HorizontalPodAutoscalerKind>(),
        descriptor::<cron_job::CronJobKind>(),
        descriptor::<job::JobKind>(),
        descriptor::<certificate_signing_request::CertificateSigningRequestKind>(),
        descriptor::<lease::LeaseKind>(),
        descriptor::<endpoint_slice::EndpointSliceKind>(),
        descriptor::<event::regarding::EventKind>(),
        descriptor::<flow_control::flow_schema::FlowSchemaKind>(),
        descriptor::<flow_control::priority_level::PriorityLevelConfigurationKind>(),
        descriptor::<ingress_class::IngressClassKind>(),
        descriptor::<ingress::IngressKind>(),
        descriptor::<ip_address::IpAddressKind>(),
        descriptor::<network_policy::NetworkPolicyKind>(),
        descriptor::<service_cidr::ServiceCidrKind>(),
        descriptor::<runtime_class::RuntimeClassKind>(),
        descriptor::<pod_disruption_budget::PodDisruptionBudgetKind>(),
        descriptor::<rbac::cluster_role::ClusterRoleKind>(),
        descriptor::<rbac::cluster_role_binding::ClusterRoleBindingKind>(),
        descriptor::<rbac::role::RoleKind>(),
        descriptor::<rbac::role_binding::RoleBindingKind>(),
        descriptor::<resource::class::DeviceClassKind>(),
        descriptor::<resource::claim::ResourceClaimKind>(),
        descriptor::<resource::template::ResourceClaimTemplateKind>(),
        descriptor::<resource::slice::ResourceSliceKind>(),
        descriptor::<priority_class::PriorityClassKind>(),
        descriptor::<csi_driver::CsiDriverKind>(),
        descriptor::<csi_node::CsiNodeKind>(),
        descriptor::<csi_storage_capacity::CsiStorageCapacityKind>(),
        descriptor::<storage_class::StorageClassKind>(),
        descriptor::<volume_attachment::VolumeAttachmentKind>(),
        descriptor::<volume_attributes_class::VolumeAttributesClassKind>(),
    ]
}

#[cfg(test)]
mod tests;
