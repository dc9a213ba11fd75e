//! Who may write what of a claim's status: allocating it takes the permission for `resourceclaims/binding`, telling of
//! a driver's devices that for `resourceclaims/driver`, which drivers have for the claims of their own node or of all
//! (`DRAResourceClaimGranularStatusAuthorization`; `AuthorizedForBinding` and `AuthorizedForDeviceStatus` of upstream's
//! `registry/resource`). Nobody serves these subresources.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    api::{
        Status,
        field::{self, Path},
        meta,
        status::Cause,
    },
    apiserver::{
        admission::{Operation, Plugin, Request, Warnings},
        attributes::Attributes,
        authz::{Authorizer, denial},
    },
    http::identity::User,
};

const GROUP: &str = "resource.k8s.io";
const ACCOUNTS: &str = "system:serviceaccount:";
/// Where the token of a pod's account says on which node the pod is.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const OWN_NODE: &str = "associated-node:";
const ANY_NODE: &str = "arbitrary-node:";

pub struct ClaimStatus {
    authorizer: Arc<Authorizer>,
}

impl ClaimStatus {
    pub fn new(authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer }
    }

    fn binding(&self, request: &Request<'_>, new: &Value, old: &Value) -> Option<Cause> {
        let is_kept = |name: &str| new["status"][name] == old["status"][name];
        if is_kept("allocation") && is_kept("reservedFor") {
            return None;
        }
        let verb = &request.attributes.verb;
        let asked = Attributes {
            subresource: "binding".into(),
            namespace: String::new(),
            name: String::new(),
            ..request.attributes.clone()
        };
        let refusal = self.refusal(&asked)?;
        let detail = format!(
            "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", \
             verb=\"{verb}\" permission: {refusal}"
        );
        Some(field::forbidden(&Path::new("status").child("allocation"), &detail))
    }

    fn driver(&self, request: &Request<'_>, verbs: &[String], driver: &str) -> Option<Cause> {
        let asked = |verb: &String| Attributes {
            verb: verb.clone(),
            subresource: "driver".into(),
            name: driver.to_owned(),
            ..request.attributes.clone()
        };
        let refusals: Option<Vec<String>> = verbs.iter().map(|verb| self.refusal(&asked(verb))).collect();
        let detail = format!(
            "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{}]\" permission: {}",
            verbs.join(" "),
            refusals?.into_iter().next()?
        );
        Some(field::forbidden(&Path::new("status").child("devices"), &detail))
    }

    /// Why the user may not do that; `None` if it may.
    fn refusal(&self, asked: &Attributes) -> Option<String> {
        let refused = || Status::forbidden(&asked.group, &asked.resource, &asked.name, &denial(asked)).message;
        (!self.authorizer.allows(asked)).then(refused)
    }
}

impl Plugin for ClaimStatus {
    fn validate(&self, request: &Request<'_>, claim: &Value) -> Result<Warnings, Status> {
        let Some(old) = request.old else { return Ok(Warnings::new()) };
        if request.operation != Operation::Update || !request.is_for(GROUP, "resourceclaims/status") {
            return Ok(Warnings::new());
        }
        let mut causes: Vec<Cause> = self.binding(request, claim, old).into_iter().collect();
        if claim["status"]["allocation"].is_object() {
            let verbs = verbs(request.attributes, claim);
            let drivers = changed_drivers(claim, old);
            causes.extend(drivers.iter().filter_map(|driver| self.driver(request, &verbs, driver)));
        }
        if causes.is_empty() {
            return Ok(Warnings::new());
        }
        Err(Status::invalid(GROUP, "ResourceClaim", meta::name(claim), causes))
    }
}

/// The verbs of which one must be allowed.
fn verbs(attributes: &Attributes, claim: &Value) -> Vec<String> {
    let verb = &attributes.verb;
    let is_near = node_of(claim).is_some_and(|node| is_on(&attributes.user, node));
    let own = is_near.then(|| format!("{OWN_NODE}{verb}"));
    own.into_iter().chain([format!("{ANY_NODE}{verb}")]).collect()
}

/// Whether a user is the account of a pod on `node`.
fn is_on(user: &User, node: &str) -> bool {
    let nodes = user.extra.get(NODE_NAME).map(Vec::as_slice).unwrap_or_default();
    user.name.starts_with(ACCOUNTS) && nodes == [node]
}

/// The one node that a claim's devices are usable on.
fn node_of(claim: &Value) -> Option<&str> {
    let only = |list: &'_ Value| list.as_array().filter(|list| list.len() == 1).map(|_| ());
    let terms = &claim["status"]["allocation"]["nodeSelector"]["nodeSelectorTerms"];
    let fields = &terms[0]["matchFields"];
    let has_others = terms[0]["matchExpressions"].as_array().is_some_and(|list| !list.is_empty());
    only(terms).and(only(fields)).and(only(&fields[0]["values"])).filter(|()| !has_others)?;
    let is_name = fields[0]["key"] == "metadata.name" && fields[0]["operator"] == "In";
    fields[0]["values"][0].as_str().filter(|_| is_name)
}

/// The drivers of devices that are told of anew, otherwise than before, or no more.
fn changed_drivers(new: &Value, old: &Value) -> BTreeSet<String> {
    let (now, before) = (devices(new), devices(old));
    let differs = |(key, device): (&[String; 4], &&Value), others: &Devices<'_>| {
        (others.get(key) != Some(device)).then(|| key[0].clone())
    };
    let told = now.iter().filter_map(|entry| differs(entry, &before));
    told.chain(before.iter().filter_map(|entry| differs(entry, &now))).collect()
}

/// What is told of devices, by driver, pool, device and share.
type Devices<'a> = BTreeMap<[String; 4], &'a Value>;

fn devices(claim: &Value) -> Devices<'_> {
    let key = |device: &Value| {
        ["driver", "pool", "device", "shareID"].map(|name| device[name].as_str().unwrap_or_default().to_owned())
    };
    claim["status"]["devices"].as_array().into_iter().flatten().map(|device| (key(device), device)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::{
        admission::fixture,
        authz::rbac,
        reader::{Reader, fake::FakeReader},
    };

    const ACCOUNT: &str = "system:serviceaccount:drivers:gpu";

    /// What the account of a driver's pod on a node is told, with permission for `verb` on `resource`.
    fn refused(resource: &str, verb: &str, [old, new]: [&Value; 2]) -> Option<String> {
        let reader = FakeReader::default();
        let rules = json!([{"verbs": [verb], "apiGroups": [GROUP], "resources": [resource]}]);
        reader.put(rbac::GROUP, "clusterroles", json!({"metadata": {"name": "r"}, "rules": rules}));
        let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
                             "subjects": [{"kind": "User", "name": ACCOUNT}]});
        reader.put(rbac::GROUP, "clusterrolebindings", binding);
        let reader: Arc<dyn Reader> = Arc::new(reader);
        let plugin = ClaimStatus::new(Arc::new(Authorizer::new(reader)));
        let mut user = fixture::user(ACCOUNT, &[]);
        user.extra.insert(NODE_NAME.into(), vec!["edge".into()]);
        let attributes = fixture::attributes(user, "update", GROUP, "resourceclaims/status", "a", "claim");
        let kind = fixture::any_kind();
        let request = fixture::request(&attributes, Operation::Update, &kind, Some(old));
        plugin.validate(&request, new).err().map(|status| status.message)
    }

    fn claim(node: &str, devices: &Value) -> Value {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        let selector = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        json!({"metadata": {"name": "claim"}, "status": {"allocation": {"nodeSelector": selector}, "devices": devices}})
    }

    #[test]
    fn allocating_takes_the_permission_to_bind() {
        let (free, bound) = (json!({"metadata": {"name": "claim"}}), claim("edge", &Value::Null));
        assert_eq!(refused("resourceclaims/binding", "update", [&free, &bound]), None);
        let message = refused("resourceclaims/status", "update", [&free, &bound]).unwrap();
        assert!(message.contains("status.allocation: Forbidden: changing status.allocation or"), "{message}");
        assert!(message.ends_with(
            "cannot update resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope"
        ));
        assert_eq!(refused("x", "update", [&bound, &bound]), None);
    }

    #[test]
    fn drivers_tell_of_devices_of_their_node_or_of_all() {
        let told = json!([{"driver": "gpu", "pool": "p", "device": "d"}]);
        for (verb, node, is_allowed) in [
            ("associated-node:update", "edge", true),
            ("associated-node:update", "other", false),
            ("arbitrary-node:update", "other", true),
            ("update", "edge", false),
        ] {
            let claims = [&claim(node, &json!([])), &claim(node, &told)];
            let refusal = refused("resourceclaims/driver", verb, claims);
            assert_eq!(refusal.is_none(), is_allowed, "{verb} {node}: {refusal:?}");
            // What is no longer told of counts as well.
            let refusal = refused("resourceclaims/driver", verb, [claims[1], claims[0]]);
            assert_eq!(refusal.is_none(), is_allowed, "{verb} {node}: {refusal:?}");
        }
    }
}
