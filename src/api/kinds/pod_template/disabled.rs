//! Fields of features that are off in 1.36 unless somebody turns them on: they are dropped from what is written, but
//! for an object that has them already (`dropDisabledFields` upstream).

use k8s_openapi::api::core::v1::{Lifecycle, PodSpec, PodTemplateSpec, VolumeProjection};

/// Drops them from a pod's spec that replaces `old`.
pub fn drop(spec: &mut PodSpec, old: Option<&PodSpec>) {
    let had = |uses: fn(&VolumeProjection) -> bool| old.is_some_and(|old| projections(old).any(uses));
    let bundles = had(|projection| projection.cluster_trust_bundle.is_some());
    let certificates = had(|projection| projection.pod_certificate.is_some());
    let volumes = spec.volumes.iter_mut().flatten().filter_map(|volume| volume.projected.as_mut());
    for projection in volumes.flat_map(|source| source.sources.iter_mut().flatten()) {
        projection.cluster_trust_bundle = projection.cluster_trust_bundle.take().filter(|_| bundles);
        projection.pod_certificate = projection.pod_certificate.take().filter(|_| certificates);
    }
    if !old.is_some_and(stops_by_signal) {
        let inits = spec.init_containers.iter_mut().flatten();
        let all = inits.chain(&mut spec.containers).map(|container| &mut container.lifecycle);
        let ephemeral = spec.ephemeral_containers.iter_mut().flatten().map(|container| &mut container.lifecycle);
        all.chain(ephemeral).for_each(without_signal);
    }
    if old.is_none_or(|old| old.scheduling_group.is_none()) {
        spec.scheduling_group = None;
    }
}

/// Drops them from a workload's template that replaces `old`.
pub fn drop_from_template(template: &mut PodTemplateSpec, old: Option<&PodTemplateSpec>) {
    if let Some(spec) = &mut template.spec {
        drop(spec, old.and_then(|old| old.spec.as_ref()));
    }
}

fn projections(spec: &PodSpec) -> impl Iterator<Item = &VolumeProjection> {
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    volumes.flat_map(|source| source.sources.iter().flatten())
}

fn stops_by_signal(spec: &PodSpec) -> bool {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.filter_map(|container| container.lifecycle.as_ref()).any(|lifecycle| lifecycle.stop_signal.is_some())
}

fn without_signal(lifecycle: &mut Option<Lifecycle>) {
    let had = lifecycle.as_mut().is_some_and(|lifecycle| lifecycle.stop_signal.take().is_some());
    if had && *lifecycle == Some(Lifecycle::default()) {
        *lifecycle = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_off_is_dropped_but_where_it_was_before() {
        let spec = |value: Value| -> PodSpec { serde_json::from_value(value).unwrap() };
        let sent = json!({
            "containers": [{"name": "a", "lifecycle": {"stopSignal": "SIGINT"}}],
            "volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}],
        });
        let mut new = spec(sent.clone());
        drop(&mut new, None);
        assert_eq!(
            json!(new),
            json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "projected": {"sources": [{}]}}]})
        );
        let mut new = spec(sent.clone());
        drop(&mut new, Some(&spec(sent.clone())));
        assert_eq!(json!(new), sent);
    }
}
