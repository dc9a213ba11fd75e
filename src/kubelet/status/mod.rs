//! The status a pod reports: a pure function of its spec, its record and what the API shows now.

mod conditions;
mod containers;
mod phase;
pub mod writer;

use std::net::IpAddr;

use k8s_openapi::{
    api::core::v1::{HostIP, Pod, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::kubelet::{
    record::{Now, Record, Sandbox},
    resources::Qos,
};

/// The status to report. Fields that others own (`nominatedNodeName`, conditions of readiness
/// gates) are kept as the API shows them.
pub fn generate(pod: &Pod, record: &Record, deleted: bool, host_ips: &[IpAddr], now: Now) -> PodStatus {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut status = pod.status.clone().unwrap_or_default();
    status.start_time = Some(Time(record.start_time));
    status.observed_generation = pod.metadata.generation;
    status.qos_class = Some(Qos::of(&spec).as_str().to_owned());
    status.host_ip = host_ips.first().map(ToString::to_string);
    status.host_ips =
        (!host_ips.is_empty()).then(|| host_ips.iter().map(|address| HostIP { ip: address.to_string() }).collect());
    let host_network = spec.host_network == Some(true);
    if let Sandbox::Ready { addresses, .. } = &record.sandbox {
        let addresses = if host_network { host_ips } else { addresses.as_slice() };
        status.pod_ip = addresses.first().map(ToString::to_string);
        status.pod_ips = (!addresses.is_empty())
            .then(|| addresses.iter().map(|address| PodIP { ip: address.to_string() }).collect());
    }
    containers::fill(&spec, record, &mut status);
    let phase = phase::of(&spec, record, &status, deleted);
    if let Some(failed) = &record.failed {
        status.reason = Some(failed.reason.clone());
        status.message = Some(failed.message.clone());
    }
    status.phase = Some(phase.to_owned());
    conditions::fill(pod, &spec, record, &mut status, now);
    status
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
