//! Asking one webhook.

use http::{Method, header};

use super::{
    Hook, Shown,
    review::{Review, Verdict},
};
use crate::{
    api::Status,
    apiserver::{
        admission::Request,
        audit,
        outbound::{self, Outbound},
    },
};

/// Why a webhook has given no verdict.
#[derive(Debug)]
pub enum Failure {
    /// It could not be asked, or its answer made no sense: its failure policy decides.
    Call(String),
    /// The request is refused whatever the policy.
    Refused(Status),
}

impl Hook {
    /// Asks about a request. Only a `mutating` webhook may change anything.
    pub async fn ask(
        &self,
        outbound: &Outbound,
        request: &Request<'_>,
        shown: &Shown,
        mutating: bool,
    ) -> Result<Verdict, Failure> {
        if request.dry_run && !self.knows_dry_run {
            let why = format!("admission webhook {:?} does not support dry run", self.name);
            return Err(Failure::Refused(Status::bad_request(why)));
        }
        let review = Review::new(request, shown, &self.review_versions).ok_or_else(|| {
            let why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            Failure::Call(format!("could not create admission objects: {why}"))
        })?;
        let answer = self.post(outbound, review.body.clone()).await?;
        let invalid = |why: String| match why.as_str() {
            why if why.starts_with("received ") || why.starts_with("unsupported ") => Failure::Call(why.to_owned()),
            why => Failure::Call(format!("received invalid webhook response: {why}")),
        };
        let verdict = review.verdict(&answer, mutating).map_err(invalid)?;
        for (key, value) in &verdict.annotations {
            audit::annotate(&format!("{}/{key}", self.name), || value.clone());
        }
        Ok(verdict)
    }

    /// The status of a request that fails because this webhook could not be asked.
    pub fn failed(&self, why: &str) -> Status {
        Status::internal(format!("failed calling webhook {:?}: {why}", self.name))
    }

    async fn post(&self, outbound: &Outbound, body: bytes::Bytes) -> Result<bytes::Bytes, Failure> {
        let unnamed = "could not get REST client: webhook configuration must have either service or URL";
        let (peer, path) = self.called.as_ref().ok_or_else(|| Failure::Call(unnamed.to_owned()))?;
        let path = format!("{path}?timeout={}s", self.timeout.as_secs());
        let url = format!("https://{}{path}", peer.place.authority());
        let failed = |why: String| Failure::Call(format!("failed to call webhook: {why}"));
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .body(body)
            .map_err(|error| failed(error.to_string()))?;
        let answer = outbound.call(peer, request, self.timeout).await;
        let answer = answer.map_err(|error| failed(format!("Post {url:?}: {error}")))?;
        outbound::status::body(answer).map_err(failed)
    }
}
