//! Walks every resource, verb and subresource that stable Kubernetes v1.36 serves, and fails on a
//! gap. The table has a line per resource: version, name, scope, verbs, and its subresources with
//! theirs (`all` are the verbs of a stored kind).

use std::collections::BTreeSet;

use super::subresource;
use crate::api::{
    kind::{Descriptor, STORED, Scope},
    kinds,
};

const SERVED: &str = "
v1 bindings namespaced create
v1 componentstatuses cluster get,list
v1 configmaps namespaced all
v1 endpoints namespaced all
v1 events namespaced all
v1 limitranges namespaced all
v1 namespaces cluster create,delete,get,list,patch,update,watch finalize:update status:get,patch,update
v1 nodes cluster all proxy:create,delete,get,patch,update status:get,patch,update
v1 persistentvolumeclaims namespaced all status:get,patch,update
v1 persistentvolumes cluster all status:get,patch,update
v1 pods namespaced all attach:create,get binding:create ephemeralcontainers:get,patch,update eviction:create exec:create,get log:get portforward:create,get proxy:create,delete,get,patch,update resize:get,patch,update status:get,patch,update
v1 podtemplates namespaced all
v1 replicationcontrollers namespaced all scale:get,patch,update status:get,patch,update
v1 resourcequotas namespaced all status:get,patch,update
v1 secrets namespaced all
v1 serviceaccounts namespaced all token:create
v1 services namespaced all proxy:create,delete,get,patch,update status:get,patch,update
admissionregistration.k8s.io/v1 mutatingadmissionpolicies cluster all
admissionregistration.k8s.io/v1 mutatingadmissionpolicybindings cluster all
admissionregistration.k8s.io/v1 mutatingwebhookconfigurations cluster all
admissionregistration.k8s.io/v1 validatingadmissionpolicies cluster all status:get,patch,update
admissionregistration.k8s.io/v1 validatingadmissionpolicybindings cluster all
admissionregistration.k8s.io/v1 validatingwebhookconfigurations cluster all
apiextensions.k8s.io/v1 customresourcedefinitions cluster all status:get,patch,update
apiregistration.k8s.io/v1 apiservices cluster all status:get,patch,update
apps/v1 controllerrevisions namespaced all
apps/v1 daemonsets namespaced all status:get,patch,update
apps/v1 deployments namespaced all scale:get,patch,update status:get,patch,update
apps/v1 replicasets namespaced all scale:get,patch,update status:get,patch,update
apps/v1 statefulsets namespaced all scale:get,patch,update status:get,patch,update
authentication.k8s.io/v1 selfsubjectreviews cluster create
authentication.k8s.io/v1 tokenreviews cluster create
authorization.k8s.io/v1 localsubjectaccessreviews namespaced create
authorization.k8s.io/v1 selfsubjectaccessreviews cluster create
authorization.k8s.io/v1 selfsubjectrulesreviews cluster create
authorization.k8s.io/v1 subjectaccessreviews cluster create
autoscaling/v1 horizontalpodautoscalers namespaced all status:get,patch,update
autoscaling/v2 horizontalpodautoscalers namespaced all status:get,patch,update
batch/v1 cronjobs namespaced all status:get,patch,update
batch/v1 jobs namespaced all status:get,patch,update
certificates.k8s.io/v1 certificatesigningrequests cluster all approval:get,patch,update status:get,patch,update
coordination.k8s.io/v1 leases namespaced all
discovery.k8s.io/v1 endpointslices namespaced all
events.k8s.io/v1 events namespaced all
flowcontrol.apiserver.k8s.io/v1 flowschemas cluster all status:get,patch,update
flowcontrol.apiserver.k8s.io/v1 prioritylevelconfigurations cluster all status:get,patch,update
networking.k8s.io/v1 ingressclasses cluster all
networking.k8s.io/v1 ingresses namespaced all status:get,patch,update
networking.k8s.io/v1 ipaddresses cluster all
networking.k8s.io/v1 networkpolicies namespaced all
networking.k8s.io/v1 servicecidrs cluster all status:get,patch,update
node.k8s.io/v1 runtimeclasses cluster all
policy/v1 poddisruptionbudgets namespaced all status:get,patch,update
rbac.authorization.k8s.io/v1 clusterrolebindings cluster all
rbac.authorization.k8s.io/v1 clusterroles cluster all
rbac.authorization.k8s.io/v1 rolebindings namespaced all
rbac.authorization.k8s.io/v1 roles namespaced all
resource.k8s.io/v1 deviceclasses cluster all
resource.k8s.io/v1 resourceclaims namespaced all status:get,patch,update
resource.k8s.io/v1 resourceclaimtemplates namespaced all
resource.k8s.io/v1 resourceslices cluster all
scheduling.k8s.io/v1 priorityclasses cluster all
storage.k8s.io/v1 csidrivers cluster all
storage.k8s.io/v1 csinodes cluster all
storage.k8s.io/v1 csistoragecapacities namespaced all
storage.k8s.io/v1 storageclasses cluster all
storage.k8s.io/v1 volumeattachments cluster all status:get,patch,update
storage.k8s.io/v1 volumeattributesclasses cluster all
";

#[test]
fn every_stable_resource_is_served_with_its_verbs_and_subresources() {
    let kinds = kinds::all();
    let lines = SERVED.trim().lines();
    let gaps: Vec<String> = lines.flat_map(|line| missing(&kinds, line)).collect();
    assert_eq!(gaps, Vec::<String>::new());
}

#[test]
fn nothing_is_served_that_the_table_does_not_know() {
    let known: BTreeSet<String> = SERVED.trim().lines().map(resource).collect();
    for kind in kinds::all() {
        let name = format!("{} {}", kind.api_version(), kind.plural);
        assert!(known.contains(&name), "{name}");
    }
}

/// What is missing of one line of the table.
fn missing(kinds: &[Descriptor], line: &str) -> Vec<String> {
    let name = resource(line);
    let Some(kind) = find(kinds, &name) else { return vec![name] };
    let mut words = line.split(' ').skip(2);
    let scope = if words.next() == Some("namespaced") { Scope::Namespaced } else { Scope::Cluster };
    let mut problems = Vec::new();
    if kind.scope != scope {
        problems.push(format!("{name}: scope"));
    }
    let wanted = verbs(words.next().unwrap_or_default());
    let served: BTreeSet<&str> = kind.verbs.iter().copied().collect();
    problems.extend(wanted.difference(&served).map(|verb| format!("{name}: {verb}")));
    for word in words {
        let (part, wanted) = word.split_once(':').unwrap();
        let Some(found) = kind.subresources.iter().find(|subresource| subresource.name() == part) else {
            problems.push(format!("{name}/{part}"));
            continue;
        };
        let served: BTreeSet<&str> = subresource::facts(kind, *found).verbs.iter().copied().collect();
        problems.extend(verbs(wanted).difference(&served).map(|verb| format!("{name}/{part}: {verb}")));
    }
    problems
}

fn resource(line: &str) -> String {
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn find<'a>(kinds: &'a [Descriptor], name: &str) -> Option<&'a Descriptor> {
    kinds.iter().find(|kind| format!("{} {}", kind.api_version(), kind.plural) == name)
}

fn verbs(text: &str) -> BTreeSet<&str> {
    if text == "all" { STORED.iter().copied().collect() } else { text.split(',').collect() }
}
