//! Waiting for a condition instead of sleeping, with the last state in the failure's message.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a cluster on a loaded machine may take for what normally takes well under a second.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Tries `look` until it is Ok and returns that; panics with the last error once `timeout` is over.
#[track_caller]
pub fn eventually<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + timeout;
    loop {
        match look() {
            Ok(value) => return value,
            Err(last) if Instant::now() >= end => {
                panic!("after {timeout:?} still not so: {what}\nlast seen: {last}")
            }
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}
