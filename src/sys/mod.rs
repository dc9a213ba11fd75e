//! The kernel, the only place with unsafe code: mounts, namespaces, processes, cgroups, netlink, nf_tables, seccomp.

pub mod allocator;
pub mod capability;
pub mod cgroup;
pub mod descriptor;
pub mod device;
pub mod fd;
pub mod fork;
pub mod inotify;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod nft;
pub mod process;
pub mod seccomp;
