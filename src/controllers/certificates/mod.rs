//! Certificate signing requests: kubelets' client certificates are approved, approved requests to
//! the cluster's own signers are signed, and requests that have had their day are removed.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use crate::{
    client::{
        ObjectKey,
        informer::Informer,
        queue::{Outcome, WorkQueue},
    },
    controllers::Context,
};

pub(super) mod approver;
pub(super) mod cleaner;
mod recognize;
pub(super) mod signer;

/// Service account of all three.
const ACCOUNT: &str = "certificate-controller";
/// Requests that one controller works on at once.
const WORKERS: usize = 4;

/// The requests, feeding `queue`.
fn watch(context: &Context, queue: &WorkQueue<ObjectKey>) -> Informer<CertificateSigningRequest> {
    let requests = context.informers.of::<CertificateSigningRequest>();
    let nudged = queue.clone();
    requests.on_change(move |delta| {
        if delta.new.is_some() {
            nudged.add(ObjectKey::of(&**delta.latest()));
        }
    });
    requests
}

/// Has `work` look at every request whenever it changes, as the controller `name`.
async fn run<F>(context: &Context, name: &'static str, work: impl Fn(Arc<CertificateSigningRequest>) -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    let queue = WorkQueue::new();
    let requests = watch(context, &queue);
    requests.synced().await;
    let reconcile = |key: ObjectKey| {
        let work = requests.get(&key).map(&work);
        async move {
            if let Some(work) = work {
                work.await?;
            }
            Ok::<_, Error>(Outcome::Done)
        }
    };
    queue.run(name, WORKERS, reconcile).await;
}

/// The usages asked for.
fn usages(request: &CertificateSigningRequest) -> &[String] {
    request.spec.usages.as_deref().unwrap_or_default()
}

/// Why a request was not worked on to its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The API refused or did not answer.
    #[error("write the certificate signing request")]
    Api(#[from] kube::Error),
    /// It cannot be signed.
    #[error("sign the certificate: {0}")]
    Sign(Arc<str>),
    /// The request inside cannot be read.
    #[error("unable to parse csr {name:?}: {why}")]
    Parse {
        /// The object's name.
        name: String,
        /// Why.
        why: String,
    },
}
