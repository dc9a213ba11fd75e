//! The status of validating admission policies: whether their expressions fit the types of what
//! they are about. Warnings are all that follows of it: policies are put into force by bindings,
//! whatever their status says.

mod check;

use k8s_openapi::{
    api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    api::{cel::Shape, custom, kind::Descriptor, kinds, schema::Library},
    client::{
        ObjectKey,
        queue::{Outcome, WorkQueue},
    },
    controllers::{Context, ignore_not_found},
};

use check::{Checked, Resource};

const NAME: &str = "validatingadmissionpolicy-status-controller";
/// The name under which the controller owns fields.
const MANAGER: &str = "validatingadmissionpolicy-status";
const MOST_AT_ONCE: usize = 1;

pub(super) async fn run(context: Context) {
    let queue = WorkQueue::new();
    let policies = context.informers.of::<ValidatingAdmissionPolicy>();
    let nudged = queue.clone();
    policies.on_change(move |delta| nudged.add(delta.latest().metadata.name.clone().unwrap_or_default()));
    policies.synced().await;
    let client = context.client(NAME);
    let reconcile = |name: String| {
        let policy = policies.get(&ObjectKey::new("", &*name));
        let (client, own_client) = (client.clone(), context.own_client.clone());
        async move {
            let Some(policy) = policy.filter(|policy| is_due(policy)) else { return Ok(Outcome::Done) };
            let spec = policy.spec.clone().unwrap_or_default();
            let types = Types { client: own_client, library: Library::default() }.of(&spec).await?;
            let warnings = check::check(&spec, &types);
            let status = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": name},
                "status": {"observedGeneration": policy.metadata.generation,
                           "typeChecking": {"expressionWarnings": warnings}},
            });
            let api: Api<ValidatingAdmissionPolicy> = Api::all(client);
            let written = api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(status)).await;
            ignore_not_found(written).map(|_| Outcome::Done)
        }
    };
    queue.run(NAME, MOST_AT_ONCE, reconcile).await;
}

/// Whether a policy has changed since its status was written.
fn is_due(policy: &ValidatingAdmissionPolicy) -> bool {
    let observed = policy.status.as_ref().and_then(|status| status.observed_generation);
    policy.metadata.generation.unwrap_or_default() > observed.unwrap_or_default()
}

/// Finds the types of kinds.
struct Types {
    client: Client,
    library: Library,
}

impl Types {
    /// The types that a policy's expressions are about. What is not served has none.
    async fn of(&self, spec: &ValidatingAdmissionPolicySpec) -> kube::Result<Checked> {
        let mut objects = Vec::new();
        for resource in check::resources(spec) {
            let Some(kind) = self.kind(&resource).await? else { continue };
            let named = (kind.group.to_string(), kind.version.to_string(), kind.kind.to_string());
            if !objects.iter().any(|(known, _)| *known == named) {
                objects.push((named, self.shape(&kind)));
            }
        }
        objects.sort_by(|(a, _), (b, _)| a.cmp(b));
        let parameters = match &spec.param_kind {
            Some(kind) => {
                let (version, kind) = (kind.api_version.as_deref(), kind.kind.as_deref());
                let found = self.named(version.unwrap_or_default(), kind.unwrap_or_default()).await?;
                Some(found.map(|kind| self.shape(&kind)))
            }
            None => None,
        };
        Ok(Checked { objects, parameters })
    }

    async fn kind(&self, wanted: &Resource) -> kube::Result<Option<Descriptor>> {
        let is_wanted = |kind: &Descriptor| {
            kind.group == wanted.group && kind.version == wanted.version && kind.plural == wanted.resource
        };
        if let Some(built_in) = kinds::all().into_iter().find(is_wanted) {
            return Ok(Some(built_in));
        }
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let definition = definitions.get_opt(&format!("{}.{}", wanted.resource, wanted.group)).await?;
        Ok(definition.and_then(|definition| served(&definition).into_iter().find(is_wanted)))
    }

    /// A kind by its own name.
    async fn named(&self, api_version: &str, name: &str) -> kube::Result<Option<Descriptor>> {
        let is_wanted = |kind: &Descriptor| kind.kind == name && kind.api_version() == api_version;
        if let Some(built_in) = kinds::all().into_iter().find(is_wanted) {
            return Ok(Some(built_in));
        }
        let group = api_version.split('/').next().unwrap_or_default();
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let all = definitions.list(&kube::api::ListParams::default()).await?.items.into_iter();
        let mut kinds = all.filter(|definition| definition.spec.group == group).flat_map(|one| served(&one));
        Ok(kinds.find(is_wanted))
    }

    fn shape(&self, kind: &Descriptor) -> Shape {
        match kind.strategy.custom() {
            Some(custom) => Shape::of_kind(custom.merging_schema()),
            None => Shape::of_kind(&self.library.schema(kind)),
        }
    }
}

fn served(definition: &CustomResourceDefinition) -> Vec<Descriptor> {
    serde_json::to_vec(definition).map(|bytes| custom::kinds(&bytes.into())).unwrap_or_default()
}
