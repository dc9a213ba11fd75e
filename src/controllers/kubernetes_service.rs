//! The `kubernetes` Service in `default`: how pods find the API. It has no selector; its endpoints
//! are the addresses of the servers, kept here.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    client::{
        ObjectKey,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Config, Context, is_conflict, is_not_found},
};

/// Name of the Service, its Endpoints and its EndpointSlice.
const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";
const PORT_NAME: &str = "https";
const PORT: i32 = 443;

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let is_ours = |key: &ObjectKey| key.namespace == NAMESPACE && key.name == NAME;
    let services = context.informers.of::<Service>();
    services.synced().await;
    let nudged = queue.clone();
    services.on_change(move |delta| {
        let key = ObjectKey::of(&**delta.latest());
        if is_ours(&key) {
            nudged.add(key);
        }
    });
    let slices = context.informers.of::<EndpointSlice>();
    let nudged = queue.clone();
    slices.on_change(move |delta| {
        let key = ObjectKey::of(&**delta.latest());
        if is_ours(&key) {
            nudged.add(key);
        }
    });
    queue.add(ObjectKey::new(NAMESPACE, NAME));
    let client = context.own_client.clone();
    let reconcile = |_| {
        let (client, config) = (client.clone(), context.config.clone());
        async move {
            ensure(Api::namespaced(client.clone(), NAMESPACE), &service(&config)).await?;
            ensure(Api::namespaced(client.clone(), NAMESPACE), &endpoints(&config)).await?;
            ensure(Api::namespaced(client.clone(), NAMESPACE), &slice(&config)).await?;
            Ok::<_, kube::Error>(Outcome::Done)
        }
    };
    queue.run("kubernetes service", 1, reconcile).await;
}

/// Creates `wanted`, or brings what is there in line with it if it differs.
async fn ensure<K>(api: Api<K>, wanted: &K) -> kube::Result<()>
where
    K: Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let present = match api.get(NAME).await {
        Ok(present) => serde_json::to_value(present).map_err(kube::Error::SerdeError)?,
        Err(error) if is_not_found(&error) => {
            let created = api.create(&PostParams::default(), wanted).await;
            return created.map(|_| ()).or_else(|error| if is_conflict(&error) { Ok(()) } else { Err(error) });
        }
        Err(error) => return Err(error),
    };
    let wanted = serde_json::to_value(wanted).map_err(kube::Error::SerdeError)?;
    if !contains(&present, &wanted) {
        api.patch(NAME, &PatchParams::default(), &Patch::Merge(wanted)).await?;
    }
    Ok(())
}

/// Whether everything `wanted` says is so in `present`, which may say more.
fn contains(present: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| present.get(key).is_some_and(|present| contains(present, value)))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            present.len() == wanted.len()
                && present.iter().zip(wanted).all(|(present, wanted)| contains(present, wanted))
        }
        (present, wanted) => present == wanted,
    }
}

fn metadata(labels: &[(&str, &str)]) -> ObjectMeta {
    let labels: BTreeMap<String, String> = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    ObjectMeta {
        name: Some(NAME.into()),
        namespace: Some(NAMESPACE.into()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

fn service(config: &Config) -> Service {
    let addresses: Vec<String> = config.kubernetes_service_ips.iter().map(IpAddr::to_string).collect();
    Service {
        metadata: metadata(&[("component", "apiserver"), ("provider", "kubernetes")]),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: addresses.first().cloned(),
            cluster_ips: Some(addresses),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.into()),
                protocol: Some("TCP".into()),
                port: PORT,
                target_port: Some(IntOrString::Int(i32::from(config.api_port))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn endpoints(config: &Config) -> Endpoints {
    Endpoints {
        metadata: metadata(&[("endpointslice.kubernetes.io/skip-mirror", "true")]),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: config.advertise_address.to_string(),
                ..EndpointAddress::default()
            }]),
            ports: Some(vec![EndpointPort {
                name: Some(PORT_NAME.into()),
                port: i32::from(config.api_port),
                protocol: Some("TCP".into()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

fn slice(config: &Config) -> EndpointSlice {
    let family = if config.advertise_address.is_ipv4() { "IPv4" } else { "IPv6" };
    EndpointSlice {
        metadata: metadata(&[("kubernetes.io/service-name", NAME)]),
        address_type: family.into(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![config.advertise_address.to_string()],
            conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![SlicePort {
            name: Some(PORT_NAME.into()),
            port: Some(i32::from(config.api_port)),
            protocol: Some("TCP".into()),
            ..SlicePort::default()
        }]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_adds_is_no_difference() {
        let present = json!({"a": 1, "added": true, "list": [{"x": 1, "y": 2}]});
        assert!(contains(&present, &json!({"a": 1, "list": [{"x": 1}]})));
        assert!(!contains(&present, &json!({"a": 2})));
        assert!(!contains(&present, &json!({"list": []})));
    }
}
