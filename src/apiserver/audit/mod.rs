//! The audit log (Kubernetes reference, "Auditing"): who asked for what, when, and what came of it, as
//! far as the operator's policy wants it told. Without a policy there is no auditor, and a request
//! costs nothing for it.
//!
//! `policy` decides how much of a request is told, a `record` goes along with it, and the `writer` has
//! a thread that makes `event`s of records and appends them to a `file`. As with upstream's blocking
//! backend no event is lost while the server runs: a request waits when too much is to be written.

use std::{io, path::Path, sync::Arc};

use http::request::Parts;

use crate::{
    apiserver::{attributes::Attributes, gates::Authenticate},
    base::task::Supervisor,
};

mod annotations;
mod event;
pub mod file;
pub mod policy;
mod record;
mod writer;

pub use annotations::{Annotations, annotate, within};
pub use policy::Policy;
pub use record::{Record, identify, mark};

use file::{LogFile, Retention};
use policy::Level;
use writer::Writer;

/// The path that stands for standard output.
const STANDARD_OUTPUT: &str = "-";
/// Annotation: whether the request was allowed.
const DECISION: &str = "authorization.k8s.io/decision";
/// Annotation: why.
const REASON: &str = "authorization.k8s.io/reason";

/// Records requests. Cheap to clone.
#[derive(Clone)]
pub struct Auditor {
    policy: Arc<Policy>,
    writer: Writer,
}

impl Auditor {
    /// Records what `policy` wants into `log` (`-` is standard output). The log is closed on shutdown.
    pub fn open(policy: Arc<Policy>, log: &Path, retention: Retention, supervisor: &Supervisor) -> io::Result<Self> {
        let writer = if log == Path::new(STANDARD_OUTPUT) {
            Writer::start(io::stdout())?
        } else {
            Writer::start(LogFile::open(log, retention)?)?
        };
        writer.close_on_shutdown(supervisor);
        Ok(Self { policy, writer })
    }

    /// A record of the request, if it is to be told of.
    pub fn begin(
        &self,
        attributes: &Attributes,
        parts: &Parts,
        authenticator: &dyn Authenticate,
        is_long_running: bool,
    ) -> Option<Record> {
        let decision = self.policy.decide(attributes);
        if decision.level == Level::None {
            return None;
        }
        let impersonator = authenticator.impersonator(parts).filter(|acting| acting.user != attributes.user);
        Some(Record::new(self.clone(), decision, attributes, parts, impersonator, is_long_running))
    }

    /// Writes what waits and closes the log. Blocks.
    pub fn close(&self) {
        self.writer.close();
    }
}

/// Annotates the event with what was decided about the request, and why.
pub fn decided(is_allowed: bool, reason: impl FnOnce() -> String) {
    annotate(DECISION, || if is_allowed { "allow" } else { "forbid" }.to_owned());
    annotate(REASON, reason);
}
