//! What workers have done for them: one job per file, each a future that touches nothing of the
//! worker's and gives back what came of it.

pub mod checkpoint;
pub mod exit;
pub mod hook;
pub mod mount;
pub mod report;
pub mod sandbox;
pub mod start;
pub mod stop;
pub mod teardown;
