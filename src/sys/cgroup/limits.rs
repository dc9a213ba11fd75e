//! Limits and how each version of control groups spells them.

use std::path::{Path, PathBuf};

use super::{Error, write_if_there};

/// The period in which a quota is measured when none is given, in microseconds.
const DEFAULT_PERIOD_US: u64 = 100_000;
/// Processor shares of a group that has none set (cgroup v1).
const DEFAULT_SHARES: u64 = 1024;

/// Limits of a group; `None` is "no limit".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes, swap excluded: a limited group does not swap.
    pub memory_bytes: Option<i64>,
    /// Processor shares in v1 terms, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Processor time in microseconds per period.
    pub cpu_quota_us: Option<i64>,
    /// The period in microseconds; 100 ms when not given.
    pub cpu_period_us: Option<u64>,
    /// Most processes and threads.
    pub pids: Option<i64>,
    /// When one process is killed for lack of memory, all of the group are (v2 only).
    pub oom_kills_group: bool,
}

/// A v2 weight (1 to 10000) for v1 shares (2 to 262144). Follows the curve of KEP-2254's revision
/// as runc 1.3.2 and crun 1.23 apply it, on which the default of 1024 shares is the default weight of 100.
pub fn shares_to_weight(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1 | 2 => 1,
        262_144.. => 10_000,
        _ => {
            let bits = (shares as f64).log2();
            let exponent = (bits * bits + 125.0 * bits) / 612.0 - 7.0 / 34.0;
            // The curve passes exactly through powers of ten, where floating point may end a hair above.
            ((10f64.powf(exponent) - 1e-9).ceil() as u64).clamp(1, 10_000)
        }
    }
}

impl Limits {
    pub(super) fn apply_unified(&self, directory: impl Fn(&str) -> Option<PathBuf>) -> Result<(), Error> {
        let Some(directory) = directory("memory") else { return Ok(()) };
        let period = self.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
        let quota = self.cpu_quota_us.filter(|quota| *quota > 0);
        let swap = if self.memory_bytes.is_some() { "0" } else { "max" };
        let weight = shares_to_weight(self.cpu_shares.unwrap_or(DEFAULT_SHARES)).max(1);
        let write = |file: &str, value: &str| write_if_there(&directory.join(file), value);
        write("memory.max", &or_max(self.memory_bytes))?;
        write("memory.swap.max", swap)?;
        write("memory.oom.group", if self.oom_kills_group { "1" } else { "0" })?;
        write("cpu.weight", &weight.to_string())?;
        write("cpu.max", &format!("{} {period}", or_max(quota)))?;
        write("pids.max", &or_max(self.pids))
    }

    pub(super) fn apply_legacy(&self, directory: impl Fn(&str) -> Option<PathBuf>) -> Result<(), Error> {
        if let Some(memory) = directory("memory") {
            self.apply_legacy_memory(&memory)?;
        }
        if let Some(cpu) = directory("cpu") {
            let shares = self.cpu_shares.unwrap_or(DEFAULT_SHARES).max(2);
            let period = self.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
            let quota = self.cpu_quota_us.filter(|quota| *quota > 0).unwrap_or(-1);
            write_if_there(&cpu.join("cpu.shares"), &shares.to_string())?;
            write_if_there(&cpu.join("cpu.cfs_period_us"), &period.to_string())?;
            write_if_there(&cpu.join("cpu.cfs_quota_us"), &quota.to_string())?;
        }
        match directory("pids") {
            Some(pids) => write_if_there(&pids.join("pids.max"), &or_max(self.pids)),
            None => Ok(()),
        }
    }

    /// Memory with swap may never be less than memory: which of the two goes first depends on
    /// whether the limit grows or shrinks.
    fn apply_legacy_memory(&self, directory: &Path) -> Result<(), Error> {
        let value = self.memory_bytes.unwrap_or(-1).to_string();
        let memory = directory.join("memory.limit_in_bytes");
        let with_swap = directory.join("memory.memsw.limit_in_bytes");
        write_if_there(&directory.join("memory.use_hierarchy"), "1").or(Ok::<_, Error>(()))?;
        if write_if_there(&memory, &value).is_err() {
            write_if_there(&with_swap, &value)?;
            return write_if_there(&memory, &value);
        }
        write_if_there(&with_swap, &value)
    }
}

fn or_max(value: Option<i64>) -> String {
    value.map_or_else(|| "max".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn default_shares_are_the_default_weight_and_the_ends_meet() {
        let weights: Vec<u64> = [0, 2, 102, 1024, 262_144, u64::MAX].into_iter().map(shares_to_weight).collect();
        assert_eq!(weights, [0, 1, 17, 100, 10_000, 10_000]);
    }

    #[test]
    fn writes_what_the_kernel_offers_and_lifts_what_is_not_given() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["memory.max", "cpu.max", "cpu.weight", "pids.max"] {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let limits = Limits { memory_bytes: Some(1 << 20), cpu_quota_us: Some(50_000), ..Limits::default() };
        limits.apply_unified(|_| Some(directory.path().to_owned())).unwrap();
        let read = |file: &str| fs::read_to_string(directory.path().join(file)).unwrap();
        assert_eq!((read("memory.max").as_str(), read("cpu.max").as_str()), ("1048576", "50000 100000"));
        assert_eq!((read("pids.max").as_str(), read("cpu.weight").as_str()), ("max", "100"));
        assert!(!directory.path().join("memory.swap.max").exists());
    }
}
