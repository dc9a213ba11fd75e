//! Tokens that a kubelet asks for: bound to a pod that runs on its node, and for an audience that this pod
//! has in a volume, or that the node may ask for anyway (KEP-4935).

use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta},
    apiserver::{
        admission::{Request, node_restriction::NodeRestriction},
        attributes::Attributes,
    },
};

/// The verb that lets a node ask for tokens of any audience.
const VERB: &str = "request-serviceaccounts-token-audience";

impl NodeRestriction {
    pub(super) fn check_token(&self, request: &Request<'_>, node: &str, token: &Value) -> Result<(), Status> {
        let bound = &token["spec"]["boundObjectRef"];
        let text = |field: &str| bound[field].as_str().unwrap_or_default();
        let refuse = |why: &str| Err(request.forbid(token, why));
        if text("apiVersion") != "v1" || text("kind") != "Pod" || text("name").is_empty() {
            return refuse("node requested token not bound to a pod");
        }
        if text("uid").is_empty() {
            return refuse("node requested token with a pod binding without a uid");
        }
        let pod = self.get("", "pods", &request.attributes.namespace, text("name"));
        let pod = pod.ok_or_else(|| Status::not_found("", "pods", text("name")))?;
        if meta::uid(&pod) != text("uid") {
            let uid = text("uid");
            return refuse(&format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            ));
        }
        if pod["spec"]["nodeName"] != node {
            return refuse("node requested token bound to a pod scheduled on a different node");
        }
        self.check_audience(request, token, &pod).map_err(|why| request.forbid(token, &why))
    }

    fn check_audience(&self, request: &Request<'_>, token: &Value, pod: &Value) -> Result<(), String> {
        let audience = match token["spec"]["audiences"].as_array().map(Vec::as_slice).unwrap_or_default() {
            [] => "",
            [one] => one.as_str().unwrap_or_default(),
            _ => return Err("node may only request 0 or 1 audiences".to_owned()),
        };
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        if volumes.into_iter().any(|volume| self.has_audience(pod, volume, audience)) {
            return Ok(());
        }
        let attributes = request.attributes;
        let may = self.authorizer.allows(&Attributes {
            user: attributes.user.clone(),
            verb: VERB.into(),
            version: "v1".into(),
            resource: audience.into(),
            namespace: attributes.namespace.clone(),
            name: attributes.name.clone(),
            ..Attributes::default()
        });
        if may {
            return Ok(());
        }
        let user = &attributes.user.name;
        Err(format!(
            "audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this \
             audience"
        ))
    }

    /// Whether a volume of the pod is made with a token of this audience, by the kubelet or by a driver.
    fn has_audience(&self, pod: &Value, volume: &Value, audience: &str) -> bool {
        let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
        let tokens = projected.into_iter().filter_map(|source| source.get("serviceAccountToken"));
        if tokens.into_iter().any(|token| token["audience"].as_str().unwrap_or_default() == audience) {
            return true;
        }
        let driver = self.driver(pod, volume);
        let driver = driver.and_then(|name| self.get("storage.k8s.io", "csidrivers", "", &name));
        driver.is_some_and(|driver| {
            let requests = driver["spec"]["tokenRequests"].as_array().cloned().unwrap_or_default();
            requests.iter().any(|request| request["audience"].as_str().unwrap_or_default() == audience)
        })
    }

    /// The driver of a volume, directly or through its claim.
    fn driver(&self, pod: &Value, volume: &Value) -> Option<String> {
        if let Some(driver) = volume["csi"]["driver"].as_str() {
            return Some(driver.to_owned());
        }
        let claim = match volume["persistentVolumeClaim"]["claimName"].as_str() {
            Some(claim) => claim.to_owned(),
            None if volume["ephemeral"].is_object() => format!("{}-{}", meta::name(pod), volume["name"].as_str()?),
            None => return None,
        };
        let claim = self.get("", "persistentvolumeclaims", meta::namespace(pod), &claim)?;
        let bound = self.get("", "persistentvolumes", "", claim["spec"]["volumeName"].as_str()?)?;
        bound["spec"]["csi"]["driver"].as_str().map(str::to_owned)
    }

    pub(super) fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let object = self.reader.get(GroupResource { group, resource }, namespace, name)?;
        serde_json::from_slice(&object).ok()
    }
}
