//! Waiting for changes below a directory or of a file (inotify(7)), without polling.
#![expect(unsafe_code, reason = "registering a descriptor with the reactor promises that it stays open")]

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use tokio::io::unix::AsyncFd;

use super::descriptor::{Owner, register};

/// What to wait for.
pub type Events = AddWatchFlags;

/// Files that were written and closed, moved in, or removed.
pub const FILES: Events = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM);
/// Every write, creation and move.
pub const WRITES: Events = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM);

/// A watch on one or more paths. Changes since its creation are kept by the kernel until asked for,
/// so a reader that creates the watch first and looks second misses nothing.
pub struct Watch {
    inner: AsyncFd<Descriptor>,
}

impl Watch {
    /// Watches `path`. Must be called within a tokio runtime.
    pub fn new(path: &Path, events: Events) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(path, events)?;
        Ok(Self { inner: register(Descriptor(inotify))? })
    }

    /// Waits for changes and gives the names of the files concerned, each as often as it changed.
    /// When the kernel had to drop some, the list is incomplete: it is a reason to look, no record.
    pub async fn changed(&mut self) -> io::Result<Vec<OsString>> {
        loop {
            let mut ready = self.inner.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) => return Ok(events.into_iter().filter_map(|event| event.name).collect()),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

struct Descriptor(Inotify);

// SAFETY: the inotify instance is never exchanged, and closed when it is dropped.
unsafe impl Owner for Descriptor {}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_of_changes_made_before_it_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(directory.path(), FILES).unwrap();
        std::fs::write(directory.path().join("a.tar"), b"x").unwrap();
        assert_eq!(watch.changed().await.unwrap(), ["a.tar"]);
    }
}
