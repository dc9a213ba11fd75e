//! What every layer stands on: tasks, files, back-off, lanes for blocking work, logging.
//! Nothing here knows what Kubernetes is.

pub mod backoff;
pub mod file;
pub mod lane;
pub mod log;
pub mod recent;
pub mod task;
