//! Capabilities (capabilities(7)): their names, and giving up those of this thread for good.
#![expect(unsafe_code, reason = "capset(2) has no safe wrapper in nix")]

use std::io;

use nix::errno::Errno;

/// Number of CAP_SETPCAP, which taking capabilities out of the bounding set needs.
pub const SET_CAPABILITIES: u32 = 8;
/// Number of CAP_SYS_ADMIN, which a seccomp filter without no_new_privs needs.
pub const ADMINISTRATE: u32 = 21;
/// Every capability of Linux 5.9 and later (capabilities(7)), by number, without `CAP_`.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// The kernel's version of the structures that have 64 bits (_LINUX_CAPABILITY_VERSION_3).
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes these capabilities, by number, out of the bounding set: no program started from here on has them.
pub fn drop_bounding(numbers: &[u32]) -> io::Result<()> {
    for number in numbers {
        // SAFETY: plain integers.
        Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(*number), 0, 0, 0) })?;
    }
    Ok(())
}

/// Leaves exactly the capabilities whose bits are set, of those that are permitted now.
pub fn keep(mask: u64) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let half = |bits: u64| Data { effective: bits as u32, permitted: bits as u32, inheritable: 0 };
    let data = [half(mask & 0xffff_ffff), half(mask >> 32)];
    // SAFETY: the structures are those of this version and live through the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}
