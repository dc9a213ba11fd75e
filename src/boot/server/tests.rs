//! The control plane as a whole, without a listener: what controllers make of what clients ask for.

use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicy,
        certificates::v1::CertificateSigningRequest,
        core::v1::{ConfigMap, Secret, ServiceAccount},
        rbac::v1::ClusterRoleBinding,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Resource, api::PostParams};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;
use crate::{boot::args, http::body, pki::identity::Identity};

/// A server that does everything but listen.
struct Server {
    _directory: tempfile::TempDir,
    api: ApiServer,
    _supervisor: Supervisor,
}

impl Server {
    async fn start() -> Self {
        use clap::Parser;
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            server: args::Server,
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let flags = ["x", "--data-dir", path, "--node-ip=127.0.0.1", "--node-name=edge1", "--disable-agent"];
        let config = config::Server::new(Command::parse_from(flags).server).unwrap();
        let (supervisor, files) = (Supervisor::new(), Lane::new(1));
        let pki = Arc::new(open_pki(&config).unwrap());
        std::fs::create_dir_all(config.node.data_dir.join("server/db")).unwrap();
        let store = Store::open(&config.node.data_dir.join("server/db/state.db"), store::Options::default()).unwrap();
        let api = build(&config, &pki, store, &files, &supervisor).await.unwrap();
        bootstrap::ensure(&client(&api, masters()), authorities(&pki)).await.unwrap();
        api.start(&supervisor);
        start_control_plane(&config, &pki, &api, &supervisor);
        Self { _directory: directory, api, _supervisor: supervisor }
    }

    fn all<K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>>(&self, user: User) -> Api<K> {
        Api::all(client(&self.api, user))
    }

    fn within<K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(
        &self,
        namespace: &str,
    ) -> Api<K> {
        Api::namespaced(client(&self.api, masters()), namespace)
    }

    /// Who the server takes the holder of a token for.
    async fn whoami(&self, token: &str) -> Value {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let request = ::http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body::full(review.to_string()))
            .unwrap();
        let answer = body::read(self.api.handle(request).await.into_body(), 100_000).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// Reads an object until it is as it should be.
async fn eventually<K, T>(api: &Api<K>, name: &str, found: impl Fn(&K) -> Option<T>) -> T
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut last = String::new();
    for _ in 0..400 {
        let object = api.get_opt(name).await.unwrap();
        if let Some(found) = object.as_ref().and_then(&found) {
            return found;
        }
        last = format!("{object:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("still not as it should be: {last}");
}

async fn create<K: Clone + Serialize + DeserializeOwned + std::fmt::Debug>(api: &Api<K>, value: Value) -> K {
    api.create(&PostParams::default(), &object(value)).await.unwrap()
}

fn signing_request(name: &str, signer: &str, usages: &[&str], common_name: &str, organization: &str) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, common_name);
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    json!({"metadata": {"name": name}, "spec": {
        "signerName": signer, "usages": usages, "request": ByteString(pem.into_bytes()), "expirationSeconds": 3600}})
}

fn condition<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Option<&'a str> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)?.message.as_deref()
}

fn certificate(request: &CertificateSigningRequest) -> Option<Identity> {
    let pem = request.status.as_ref()?.certificate.as_ref()?;
    Some(Identity::from_pem(&pem.0).unwrap())
}

#[tokio::test]
async fn a_machine_with_a_bootstrap_token_gets_its_certificate() {
    let server = Server::start().await;
    let group = "system:bootstrappers";
    for role in ["system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"] {
        let binding = json!({"metadata": {"generateName": "b-"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}]});
        create(&server.all::<ClusterRoleBinding>(masters()), binding).await;
    }
    let token = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true"}});
    create(&server.within::<Secret>("kube-system"), token).await;
    let who = server.whoami("abcdef.0123456789abcdef").await;
    assert_eq!(who["status"]["userInfo"]["username"], "system:bootstrap:abcdef", "{who}");
    let user = User {
        name: "system:bootstrap:abcdef".into(),
        groups: vec![group.into(), AUTHENTICATED.into()],
        ..User::default()
    };
    let requests = server.all::<CertificateSigningRequest>(user);
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    let usages = ["digital signature", "client auth"];
    create(&requests, signing_request("node", signer, &usages, "system:node:edge2", "system:nodes")).await;
    let identity = eventually(&requests, "node", certificate).await;
    assert_eq!(identity.common_name, "system:node:edge2");
    let request = requests.get("node").await.unwrap();
    let message = "Auto approving kubelet client certificate after SubjectAccessReview.";
    assert_eq!(condition(&request, "Approved"), Some(message));
    let info = json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "k"}});
    let maps = server.within::<ConfigMap>("kube-public");
    create(&maps, info).await;
    let signed = |map: &ConfigMap| map.data.as_ref()?.get("jws-kubeconfig-abcdef").cloned();
    assert!(eventually(&maps, "cluster-info", signed).await.contains(".."));
}

#[tokio::test]
async fn a_person_approves_and_the_signer_signs_or_refuses() {
    let server = Server::start().await;
    let requests = server.all::<CertificateSigningRequest>(masters());
    let signer = "kubernetes.io/kube-apiserver-client";
    for (name, usages) in [("good", &["client auth"][..]), ("bad", &["client auth", "server auth"][..])] {
        let mut request = create(&requests, signing_request(name, signer, usages, "jane", "devs")).await;
        let approval = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": "y"}]});
        request.status = Some(object(approval));
        requests.replace_subresource("approval", name, &PostParams::default(), &request).await.unwrap();
    }
    let identity = eventually(&requests, "good", certificate).await;
    assert_eq!((identity.common_name.as_str(), identity.organizations), ("jane", vec!["devs".to_owned()]));
    let lives = identity.not_after - pki::authority::seconds_now();
    assert!((3500..=3600).contains(&lives), "{lives}");
    let failed = |request: &CertificateSigningRequest| condition(request, "Failed").map(str::to_owned);
    let message = eventually(&requests, "bad", failed).await;
    assert_eq!(message, "invalid usage for client certificate: server auth");
}

#[tokio::test]
async fn a_token_in_a_secret_is_made_used_and_ends_with_its_account() {
    let server = Server::start().await;
    let (accounts, secrets) = (server.within::<ServiceAccount>("default"), server.within::<Secret>("default"));
    create(&accounts, json!({"metadata": {"name": "web"}})).await;
    let annotations = json!({"kubernetes.io/service-account.name": "web"});
    let secret = json!({"metadata": {"name": "web-token", "annotations": annotations},
        "type": "kubernetes.io/service-account-token"});
    create(&secrets, secret).await;
    let token = |secret: &Secret| secret.data.as_ref()?.get("token").map(|token| token.0.clone());
    let token = String::from_utf8(eventually(&secrets, "web-token", token).await).unwrap();
    let who = server.whoami(&token).await;
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:default:web", "{who}");
    let used = |secret: &Secret| secret.metadata.labels.as_ref()?.get("kubernetes.io/legacy-token-last-used").cloned();
    eventually(&secrets, "web-token", used).await;
    accounts.delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    assert_eq!(server.whoami(&token).await["code"], 401);
    for _ in 0..400 {
        if secrets.get_opt("web-token").await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the secret of a deleted account is still there");
}

#[tokio::test]
async fn policies_are_checked_against_the_types_of_what_they_are_about() {
    let server = Server::start().await;
    let policies = server.all::<ValidatingAdmissionPolicy>(masters());
    let policy = |name: &str, group: &str, resource: &str, expression: &str| {
        json!({"metadata": {"name": name}, "spec": {"validations": [{"expression": expression}],
            "matchConstraints": {"resourceRules": [{"apiGroups": [group], "apiVersions": ["v1"],
                                                    "operations": ["*"], "resources": [resource]}]}}})
    };
    let checked = |policy: &ValidatingAdmissionPolicy| {
        let checked = policy.status.as_ref()?.type_checking.as_ref()?;
        let warnings = checked.expression_warnings.iter().flatten();
        Some(warnings.map(|warning| format!("{}: {}", warning.field_ref, warning.warning)).collect::<Vec<_>>())
    };
    create(&policies, policy("sound", "apps", "deployments", "object.spec.replicas > 1")).await;
    assert_eq!(eventually(&policies, "sound", checked).await, Vec::<String>::new());
    create(&policies, policy("confused", "apps", "deployments", "object.spec.replicas > '1'")).await;
    let warnings = eventually(&policies, "confused", checked).await;
    assert!(
        warnings[0].starts_with("spec.validations[0].expression: apps/v1, Kind=Deployment: ERROR:"),
        "{warnings:?}"
    );
    assert!(warnings[0].contains("found no matching overload for '_>_' applied to '(int, string)'"), "{warnings:?}");
    let definition = json!({"metadata": {"name": "foos.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}}}]}});
    create(&server.all::<CustomResourceDefinition>(masters()), definition).await;
    create(&policies, policy("custom", "example.com", "foos", "object.spec.maxRetries < 10")).await;
    let warnings = eventually(&policies, "custom", checked).await;
    assert!(warnings[0].contains("undefined field 'maxRetries'"), "{warnings:?}");
}
