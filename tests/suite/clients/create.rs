//! `kubectl create` with every generator, `run`, and what is refused.

use super::{Tour, with_each_kubectl};

#[test]
fn every_generator_creates_its_object() {
    with_each_kubectl("tour-create", |tour| {
        configuration(tour);
        services(tour);
        workloads(tour);
        permissions(tour);
        policies(tour);
        refusals(tour);
    });
}

fn configuration(tour: &Tour) {
    let file = tour.file("file.txt", "content");
    let variables = tour.file("variables", "X=1\nY=2\n");
    tour.says(&format!("create configmap c1 --from-literal=a=b --from-file=f={file}"), "configmap/c1 created");
    tour.says("get configmap c1 -o jsonpath={.data}", r#"{"a":"b","f":"content"}"#);
    tour.says(
        &format!("create configmap c2 --from-env-file={variables} --append-hash"),
        "configmap/c2-g9m2htf7gk created",
    );
    tour.says("create secret generic s1 --from-literal=p=hush", "secret/s1 created");
    tour.says(
        "create secret docker-registry s2 --docker-server=r.example.com --docker-username=u --docker-password=p",
        "secret/s2 created",
    );
    tour.says("get secrets", "NAME TYPE DATA AGE\ns1 Opaque 1 AGE\ns2 kubernetes.io/dockerconfigjson 1 AGE");
    tour.says("create serviceaccount a1", "serviceaccount/a1 created");
    let token = tour
        .kubectl
        .run("create token a1 --duration=20m --audience=x --bound-object-kind=Secret --bound-object-name=s1");
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let named = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: made-}\n";
    let made = tour.kubectl.run_with("create -f -", named.as_bytes());
    let name = made.strip_prefix("configmap/made-").and_then(|rest| rest.strip_suffix(" created\n"));
    assert!(name.is_some_and(|suffix| suffix.len() == 5), "{made}");
}

fn services(tour: &Tour) {
    tour.says("create service clusterip v1 --tcp=80:8080", "service/v1 created");
    tour.says("create service clusterip v2 --clusterip=None", "service/v2 created");
    tour.says(&format!("create service nodeport v3 --tcp=80:8080 --node-port=300{}", tour.minor), "service/v3 created");
    tour.says("create service externalname v4 --external-name=example.com", "service/v4 created");
    tour.says(
        "get services v2 v4",
        "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE\n\
         v2 ClusterIP None <none> <none> AGE\nv4 ExternalName <none> example.com <none> AGE",
    );
    tour.shows("get service v3", &[&format!("80:300{}/TCP", tour.minor)]);
    tour.says(
        "create ingress i1 --class=x --rule='a.example.com/foo*=v1:80,tls=s3' --default-backend=v1:80 --annotation=a=b",
        "ingress.networking.k8s.io/i1 created",
    );
    tour.says("get ingress", "NAME CLASS HOSTS ADDRESS PORTS AGE\ni1 x a.example.com 80, 443 AGE");
}

fn workloads(tour: &Tour) {
    tour.says(
        "create deployment d1 --image=busybox --replicas=0 --port=80 -- sleep 1000",
        "deployment.apps/d1 created",
    );
    tour.says("create cronjob j1 --image=busybox --schedule='0 0 1 1 *' -- date", "cronjob.batch/j1 created");
    tour.says(
        "get cronjobs",
        "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE\nj1 0 0 1 1 * <none> False 0 <none> AGE",
    );
    tour.says("create job j2 --image=busybox -- true", "job.batch/j2 created");
    tour.says("create job j3 --from=cronjob/j1", "job.batch/j3 created");
    tour.says("get job j3 -o jsonpath={.metadata.ownerReferences[0].name}", "j1");
    tour.says("run p1 --image=busybox --dry-run=client -o name", "pod/p1");
    tour.says(
        "run p1 --image=busybox --dry-run=server --expose --port=80",
        "service/p1 created (server dry run)\npod/p1 created (server dry run)",
    );
    tour.says("create deployment d2 --image=busybox --dry-run=client -o name", "deployment.apps/d2");
    tour.delete("jobs,cronjobs --all");
}

fn permissions(tour: &Tour) {
    let (minor, namespace) = (tour.minor, &tour.scenario.namespace);
    tour.says(
        "create role r1 --verb=get,list --resource=pods,deployments.apps --resource-name=x",
        "role.rbac.authorization.k8s.io/r1 created",
    );
    tour.says(
        &format!("create rolebinding b1 --role=r1 --user=jane --group=crew --serviceaccount={namespace}:a1"),
        "rolebinding.rbac.authorization.k8s.io/b1 created",
    );
    tour.says(
        "get rolebindings -o wide",
        &format!("NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS\nb1 Role/r1 AGE jane crew {namespace}/a1"),
    );
    tour.says(
        &format!("create clusterrole tour-{minor} --verb=get --non-resource-url=/healthz"),
        &format!("clusterrole.rbac.authorization.k8s.io/tour-{minor} created"),
    );
    tour.says(
        &format!("create clusterrole tour-sum-{minor} --aggregation-rule=x=y"),
        &format!("clusterrole.rbac.authorization.k8s.io/tour-sum-{minor} created"),
    );
    tour.says(
        &format!("create clusterrolebinding tour-{minor} --clusterrole=tour-{minor} --user=jane"),
        &format!("clusterrolebinding.rbac.authorization.k8s.io/tour-{minor} created"),
    );
    tour.delete(&format!("clusterroles tour-{minor} tour-sum-{minor}"));
    tour.delete(&format!("clusterrolebindings tour-{minor}"));
}

fn policies(tour: &Tour) {
    let minor = tour.minor;
    tour.says("create quota q1 --hard=pods=10,services=20", "resourcequota/q1 created");
    tour.says("create pdb p1 --selector=app=d1 --min-available=1", "poddisruptionbudget.policy/p1 created");
    tour.says("create pdb p2 --selector=app=d1 --max-unavailable=50%", "poddisruptionbudget.policy/p2 created");
    tour.shows("get pdb", &["\np1 1 N/A ", "\np2 N/A 50% "]);
    tour.says(
        &format!("create priorityclass tour-{minor} --value=10 --description=low"),
        &format!("priorityclass.scheduling.k8s.io/tour-{minor} created"),
    );
    tour.says(
        &format!("get priorityclass tour-{minor}"),
        &format!("NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY\ntour-{minor} 10 false AGE PreemptLowerPriority"),
    );
    tour.delete(&format!("priorityclass tour-{minor}"));
    tour.says(
        &format!("create namespace tour-made-{minor} --dry-run=server"),
        &format!("namespace/tour-made-{minor} created (server dry run)"),
    );
}

fn refusals(tour: &Tour) {
    tour.refuses("create configmap c1", "error: failed to create configmap: configmaps \"c1\" already exists");
    tour.refuses(
        "create configmap C_1",
        "error: failed to create configmap: ConfigMap \"C_1\" is invalid: metadata.name: Invalid value: \"C_1\": a lowercase \
         RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
    );
    tour.refuses("create token nobody", "error: failed to create token: serviceaccounts \"nobody\" not found");
    tour.refuses(
        "create service nodeport v9 --tcp=80 --node-port=99",
        "error: failed to create NodePort service: Service \"v9\" is invalid: spec.ports[0].nodePort: Invalid value: 99: \
         provided port is not in the valid range. The range of valid ports is 30000-32767",
    );
    tour.refuses_from(
        "create -f -",
        "apiVersion: nope/v1\nkind: Foo\nmetadata: {name: a}\n",
        "error: resource mapping not found for name: \"a\" namespace: \"\" from \"STDIN\": no matches for kind \"Foo\" in version \
         \"nope/v1\"\nensure CRDs are installed first",
    );
    tour.refuses_from(
        "create -f -",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndaata: {a: b}\n",
        "Error from server (BadRequest): error when creating \"STDIN\": ConfigMap in version \"v1\" cannot be handled as a \
         ConfigMap: strict decoding error: unknown field \"daata\"",
    );
}
