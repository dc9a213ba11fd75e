//! What this machine is and has, read from the kernel. Blocks; runs on the lane.

use std::{fs, path::Path};

use nix::sys::{statvfs::statvfs, utsname::uname};

/// Memory below which the node is under pressure (upstream's default `memory.available<100Mi`).
pub const MEMORY_RESERVE_BYTES: u64 = 100 * 1024 * 1024;
/// Share of the disk below which it is (`nodefs.available<10%`).
pub const DISK_RESERVE_PERCENT: u64 = 10;
/// Share of its inodes (`nodefs.inodesFree<5%`).
const INODE_RESERVE_PERCENT: u64 = 5;
/// Share of process IDs that is left free.
const PID_RESERVE_PERCENT: u64 = 5;

/// What does not change while the machine runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Processors.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Size of the file system that holds pods and images.
    pub disk_bytes: u64,
    /// `amd64`, `arm64`, `arm`
    pub architecture: &'static str,
    /// Release of the kernel.
    pub kernel: String,
    /// Name and version of the distribution.
    pub os_image: String,
    /// `/etc/machine-id`
    pub machine_id: String,
    /// UUID of the hardware, or else of the machine.
    pub system_uuid: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// Swap in bytes.
    pub swap_bytes: u64,
}

/// What is scarce now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Disk space or inodes.
    pub disk: bool,
    /// Process IDs.
    pub pids: bool,
}

impl Facts {
    /// Reads everything; what cannot be read stays empty.
    pub fn read(data_dir: &Path) -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let machine_id = read_line("/etc/machine-id");
        let system_uuid = read_line("/sys/class/dmi/id/product_uuid");
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: meminfo_bytes(&meminfo, "MemTotal"),
            disk_bytes: disk(data_dir).map_or(0, |disk| disk.total_bytes),
            architecture: architecture(),
            kernel: uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default(),
            os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            system_uuid: if system_uuid.is_empty() { machine_id.clone() } else { system_uuid },
            machine_id,
            boot_id: read_line("/proc/sys/kernel/random/boot_id"),
            swap_bytes: meminfo_bytes(&meminfo, "SwapTotal"),
        }
    }
}

impl Pressure {
    /// Looks at memory, disk and process IDs.
    pub fn read(data_dir: &Path) -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = meminfo_bytes(&meminfo, "MemAvailable");
        let pid_max: u64 = read_line("/proc/sys/kernel/pid_max").parse().unwrap_or(0);
        let loadavg = read_line("/proc/loadavg");
        let threads = loadavg.split(' ').nth(3).and_then(|field| field.split('/').nth(1)?.parse().ok()).unwrap_or(0);
        Self {
            memory: available > 0 && available < MEMORY_RESERVE_BYTES,
            disk: disk(data_dir).is_some_and(|disk| disk.is_scarce()),
            pids: pid_max > 0 && pid_max.saturating_sub(threads) * 100 < pid_max * PID_RESERVE_PERCENT,
        }
    }
}

struct Disk {
    total_bytes: u64,
    available_bytes: u64,
    inodes: u64,
    free_inodes: u64,
}

impl Disk {
    fn is_scarce(&self) -> bool {
        let bytes = self.available_bytes.saturating_mul(100) < self.total_bytes.saturating_mul(DISK_RESERVE_PERCENT);
        let inodes = self.free_inodes.saturating_mul(100) < self.inodes.saturating_mul(INODE_RESERVE_PERCENT);
        bytes || inodes
    }
}

fn disk(path: &Path) -> Option<Disk> {
    let stat = statvfs(path).ok()?;
    let block = stat.fragment_size();
    Some(Disk {
        total_bytes: stat.blocks() * block,
        available_bytes: stat.blocks_available() * block,
        inodes: stat.files(),
        free_inodes: stat.files_available(),
    })
}

/// A line of /proc/meminfo, which counts in KiB.
fn meminfo_bytes(meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The architecture by its name in Go, which labels and images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_files() {
        let text = "MemTotal:        1024 kB\nMemAvailable:     512 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), 1 << 20);
        assert_eq!(meminfo_bytes(text, "SwapTotal"), 0);
        assert_eq!(os_image("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
        let facts = Facts::read(Path::new("/"));
        assert!(facts.cpus > 0 && facts.memory_bytes > 0 && facts.disk_bytes > 0 && !facts.kernel.is_empty());
    }

    #[test]
    fn scarcity_is_a_share() {
        let disk = |available_bytes, free_inodes| Disk { total_bytes: 100, available_bytes, inodes: 100, free_inodes };
        assert!(!disk(10, 5).is_scarce());
        assert!(disk(9, 5).is_scarce());
        assert!(disk(10, 4).is_scarce());
    }
}
