//! What a group uses, as the kubelet's Summary API reports it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Usage of a group; a value is `None` where its controller is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in bytes, page cache included.
    pub memory_bytes: Option<u64>,
    /// Memory in bytes less the page cache that could be dropped at once: what evictions look at.
    pub working_set_bytes: Option<u64>,
    /// Anonymous memory in bytes.
    pub rss_bytes: Option<u64>,
    /// Page faults, minor ones included.
    pub page_faults: Option<u64>,
    /// Page faults that read from disk.
    pub major_page_faults: Option<u64>,
    /// Processor time in nanoseconds since the group was created.
    pub cpu_ns: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Usage {
    pub(super) fn read_unified(directory: Option<&Path>) -> Self {
        let Some(directory) = directory else { return Self::default() };
        let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let memory_bytes = read_number(&directory.join("memory.current"));
        Self {
            memory_bytes,
            working_set_bytes: working_set(memory_bytes, keyed(&stat, "inactive_file")),
            rss_bytes: keyed(&stat, "anon"),
            page_faults: keyed(&stat, "pgfault"),
            major_page_faults: keyed(&stat, "pgmajfault"),
            cpu_ns: read_keyed(&directory.join("cpu.stat"), "usage_usec").map(|us| us.saturating_mul(1000)),
            pids: read_number(&directory.join("pids.current")),
        }
    }

    pub(super) fn read_legacy(directory: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let file = |controller, name| directory(controller).map(|directory| directory.join(name));
        let number = |controller, name| file(controller, name).and_then(|path| read_number(&path));
        let stat = file("memory", "memory.stat").and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let memory_bytes = number("memory", "memory.usage_in_bytes");
        Self {
            memory_bytes,
            working_set_bytes: working_set(memory_bytes, keyed(&stat, "total_inactive_file")),
            rss_bytes: keyed(&stat, "total_rss"),
            page_faults: keyed(&stat, "total_pgfault"),
            major_page_faults: keyed(&stat, "total_pgmajfault"),
            cpu_ns: number("cpuacct", "cpuacct.usage"),
            pids: number("pids", "pids.current"),
        }
    }
}

/// The number after `key` in a file of "key number" lines.
pub(super) fn read_keyed(path: &Path, key: &str) -> Option<u64> {
    keyed(&fs::read_to_string(path).ok()?, key)
}

fn working_set(memory_bytes: Option<u64>, inactive: Option<u64>) -> Option<u64> {
    memory_bytes.map(|bytes| bytes.saturating_sub(inactive.unwrap_or(0)))
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
        put("memory.current", "100\n");
        put("memory.stat", "anon 10\ninactive_file 30\ntotal_inactive_file 40\ntotal_rss 20\n");
        put("cpu.stat", "usage_usec 5\n");
        put("memory.usage_in_bytes", "200\n");
        put("cpuacct.usage", "77\n");
        let unified = Usage::read_unified(Some(directory.path()));
        assert_eq!((unified.working_set_bytes, unified.rss_bytes, unified.cpu_ns), (Some(70), Some(10), Some(5000)));
        let legacy = Usage::read_legacy(|name| (name != "pids").then(|| directory.path().to_owned()));
        assert_eq!((legacy.working_set_bytes, legacy.rss_bytes, legacy.cpu_ns), (Some(160), Some(20), Some(77)));
        assert_eq!(legacy.pids, None);
    }
}
