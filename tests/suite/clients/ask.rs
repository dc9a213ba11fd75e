//! What kubectl asks the server without changing much: who may do what, certificates, discovery, waiting,
//! the proxy, and debugging as far as it is the API's part.

use std::process::Command;

use super::{MINORS, Tour, with_each_kubectl};
use crate::harness::{PATIENCE, eventually, text};

#[test]
fn permissions_are_asked_for_and_reconciled() {
    with_each_kubectl("tour-auth", |tour| {
        let namespace = tour.scenario.namespace.clone();
        tour.kubectl.run("create serviceaccount bot");
        tour.kubectl.run("create role reader --verb=get,list --resource=pods");
        tour.kubectl.run(&format!("create rolebinding bot --role=reader --serviceaccount={namespace}:bot"));
        let bot = format!("--as=system:serviceaccount:{namespace}:bot");
        tour.says("auth can-i '*' '*'", "yes");
        tour.says(&format!("auth can-i get pods {bot}"), "yes");
        tour.says(&format!("auth can-i get /healthz {bot}"), "yes");
        let denied = tour.kubectl.try_run(&format!("auth can-i get pods --subresource=log {bot}")).unwrap_err();
        assert_eq!((denied.code, denied.stdout.as_str()), (Some(1), "no\n"));
        tour.shows(
            &format!("auth can-i --list {bot}"),
            &[
                "Resources Non-Resource URLs Resource Names Verbs\n",
                "\npods [] [] [get list]\n",
                "\nselfsubjectaccessreviews.authorization.k8s.io [] [] [create]\n",
                "\n[/api/*] [] [get]\n",
            ],
        );
        tour.refuses(
            &format!("create configmap c --from-literal=a=b {bot}"),
            &format!(
                "configmaps is forbidden: User \"system:serviceaccount:{namespace}:bot\" cannot create resource \"configmaps\" in \
                 API group \"\" in the namespace \"{namespace}\""
            ),
        );
        tour.shows(
            "auth whoami",
            &["ATTRIBUTE VALUE\nUsername system:admin\nGroups [system:masters system:authenticated]"],
        );
        tour.shows(
            "auth whoami --as=jane --as-group=crew --as-uid=u1",
            &["Username jane\nUID u1\nGroups [crew system:authenticated]"],
        );
        // A review has no metadata, and kubectl validates it by the OpenAPI document.
        let review = "apiVersion: authorization.k8s.io/v1\nkind: SelfSubjectAccessReview\n\
                      spec: {resourceAttributes: {verb: get, resource: pods}}\n";
        tour.says_to("create -o jsonpath={.status.allowed} -f -", review, "true");
        reconciliation(tour, &namespace);
    });
}

fn reconciliation(tour: &Tour, namespace: &str) {
    let documents = |verb: &str, user: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: rec, namespace: {namespace}}}\n\
             rules: [{{apiGroups: [''], resources: [pods], verbs: [{verb}]}}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: rec, namespace: {namespace}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: rec}}\n\
             subjects: [{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}]\n"
        )
    };
    let reconcile = |flags: &str, verb: &str, user: &str| {
        let line = format!("auth reconcile {flags} -f -");
        super::plain(&text(&tour.kubectl.output(&line, documents(verb, user).as_bytes())))
    };
    let created = reconcile("", "get", "ann");
    assert!(created.contains("reconciliation required create\nmissing rules added:\n"), "{created}");
    let updated = reconcile("--remove-extra-permissions --remove-extra-subjects", "list", "bob");
    for part in [
        "missing rules added:\n{Verbs:[list] APIGroups:[] Resources:[pods] ResourceNames:[] NonResourceURLs:[]}\nextra rules removed:",
        "extra subjects removed:\n{Kind:User APIGroup:rbac.authorization.k8s.io Name:ann Namespace:}",
    ] {
        assert!(updated.contains(part), "{updated}");
    }
}

#[test]
fn certificate_requests_are_approved_and_denied() {
    with_each_kubectl("tour-csr", |tour| {
        let key = tour.file("key", "");
        let subject = [
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=ann/O=crew",
        ];
        let request = Command::new("openssl").args(subject).args(["-keyout", &key]).output().unwrap().stdout;
        let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, request);
        let name = |which: &str| format!("tour-{}-{which}", tour.minor);
        for which in ["yes", "no"] {
            let document = format!(
                "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {}}}\n\
                 spec:\n  {{request: {request}, signerName: example.com/tour, usages: [client auth], expirationSeconds: 3600}}\n",
                name(which)
            );
            let created = format!("certificatesigningrequest.certificates.k8s.io/{} created", name(which));
            tour.says_to("create -f -", &document, &created);
        }
        let (yes, no) = (name("yes"), name("no"));
        tour.says(
            &format!("certificate approve {yes}"),
            &format!("certificatesigningrequest.certificates.k8s.io/{yes} approved"),
        );
        tour.says(
            &format!("certificate deny {no}"),
            &format!("certificatesigningrequest.certificates.k8s.io/{no} denied"),
        );
        tour.refuses(
            &format!("certificate deny {yes}"),
            &format!("certificate signing request \"{yes}\" is already Approved"),
        );
        let (yes_row, no_row) = (
            format!("{yes} AGE example.com/tour system:admin 60m Approved"),
            format!("{no} AGE example.com/tour system:admin 60m Denied"),
        );
        tour.shows(
            &format!("get csr {yes} {no}"),
            &["NAME AGE SIGNERNAME REQUESTOR REQUESTEDDURATION CONDITION\n", &yes_row, &no_row],
        );
        tour.shows(
            &format!("describe csr {yes}"),
            &["Status: Approved\n", "Common Name: ann\n", "Organization: crew\n"],
        );
        tour.delete(&format!("csr {yes} {no}"));
    });
}

#[test]
fn the_server_tells_what_it_serves() {
    with_each_kubectl("tour-ask", |tour| {
        discovery(tour);
        conditions(tour);
        proxied(tour);
        debugged(tour);
    });
}

fn discovery(tour: &Tour) {
    tour.shows(
        "api-resources",
        &[
            "NAME SHORTNAMES APIVERSION NAMESPACED KIND\n",
            "\nconfigmaps cm v1 true ConfigMap\n",
            "\ncustomresourcedefinitions crd,crds apiextensions.k8s.io/v1 false CustomResourceDefinition\n",
        ],
    );
    tour.says(
        "api-resources --api-group=apps -o wide --no-headers",
        "controllerrevisions apps/v1 true ControllerRevision create,delete,deletecollection,get,list,patch,update,watch\n\
         daemonsets ds apps/v1 true DaemonSet create,delete,deletecollection,get,list,patch,update,watch all\n\
         deployments deploy apps/v1 true Deployment create,delete,deletecollection,get,list,patch,update,watch all\n\
         replicasets rs apps/v1 true ReplicaSet create,delete,deletecollection,get,list,patch,update,watch all\n\
         statefulsets sts apps/v1 true StatefulSet create,delete,deletecollection,get,list,patch,update,watch all",
    );
    tour.shows(
        "api-resources --namespaced=false --verbs=list -o name",
        &["\nnodes\n", "\nclusterroles.rbac.authorization.k8s.io\n"],
    );
    tour.shows("api-versions", &["apps/v1\n", "\nautoscaling/v2\nbatch/v1\n", "\nv1"]);
    tour.shows("version", &[&format!("Client Version: v1.{}.", tour.minor), "Server Version: v1.36."]);
    let info = tour.kubectl.variable("TERM", "dumb").run("cluster-info");
    assert!(info.contains("Kubernetes control plane"), "{info}");
    tour.shows(&format!("cluster-info dump --namespaces={}", tour.scenario.namespace), &["\"kind\": \"NodeList\","]);
    tour.shows("config view", &["server: https://", "client-key-data: "]);
    tour.says("config current-context", "default");
    tour.shows("config get-contexts", &["CURRENT NAME CLUSTER AUTHINFO NAMESPACE\n* default default default"]);
    tour.shows("completion bash", &["__start_kubectl"]);
}

fn conditions(tour: &Tour) {
    tour.kubectl.run("create configmap c --from-literal=k=1");
    tour.says("wait --for=jsonpath={.data.k}=1 configmap/c --timeout=5s", "configmap/c condition met");
    tour.says("wait --for=delete configmap/none --timeout=5s", "");
    tour.refuses(
        "wait --for=condition=Nope namespace/default --timeout=1s",
        "error: timed out waiting for the condition on namespaces/default",
    );
    if tour.minor == MINORS[0] {
        tour.says("wait --for=create configmap/c --timeout=5s", "configmap/c condition met");
    }
}

fn proxied(tour: &Tour) {
    let socket = tour.files.path().join("proxy.sock");
    let _proxy = tour.kubectl.spawn(&format!("proxy --unix-socket={}", socket.display()));
    let path = format!("/api/v1/namespaces/{}/configmaps/c", tour.scenario.namespace);
    let curl = format!("curl -s --unix-socket {} http://localhost{path}", socket.display());
    eventually("the proxy hands on", PATIENCE, || tour.scenario.host.sees(&curl, "\"k\":\"1\""));
}

fn debugged(tour: &Tour) {
    tour.kubectl.run(
        "run p --image=busybox --image-pull-policy=Never --restart=Never \
         --overrides={\"spec\":{\"terminationGracePeriodSeconds\":0}} -- sleep 1000",
    );
    tour.kubectl.run("wait --for=condition=Ready pod/p --timeout=60s");
    tour.kubectl.run("debug p --image=busybox --image-pull-policy=Never --target=p --attach=false -c probe -- sleep 5");
    tour.says("get pod p -o jsonpath={.spec.ephemeralContainers[*].name}", "probe");
    tour.kubectl
        .run("debug p --image=busybox --image-pull-policy=Never --copy-to=copy --attach=false -c probe -- true");
    tour.says("get pod copy -o jsonpath={.spec.containers[*].name}", "p probe");
    tour.shows(
        "debug node/node-1 --image=busybox --image-pull-policy=Never --attach=false -- true",
        &["Creating debugging pod node-debugger-node-1-"],
    );
    tour.says("exec p -c p -- echo hi", "hi");
    tour.refuses("logs none", "error from server (NotFound): pods \"none\" not found");
    tour.kubectl.run("delete pods --all --grace-period=0 --force");
}
