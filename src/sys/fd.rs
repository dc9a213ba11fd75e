//! Descriptors that travel: over unix sockets to other processes (SCM_RIGHTS), and terminals.
#![expect(unsafe_code, reason = "received descriptors are plain numbers, and TIOCSWINSZ is an ioctl")]

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    fcntl::{FcntlArg, OFlag},
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags},
};

/// Most descriptors in one message.
pub const MOST_DESCRIPTORS: usize = 4;

/// Sends bytes with descriptors on a unix socket; returns how many bytes went. The descriptors
/// travel with the first of them, so they go only when there is at least one byte.
pub fn send(socket: &impl AsFd, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let socket = socket.as_fd().as_raw_fd();
    let flags = MsgFlags::MSG_NOSIGNAL;
    Ok(nix::sys::socket::sendmsg::<()>(socket, &[IoSlice::new(bytes)], control, flags, None)?)
}

/// Receives bytes, and descriptors into `descriptors`; returns how many bytes came, 0 at the end.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let socket = socket.as_fd().as_raw_fd();
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = nix::sys::socket::recvmsg::<()>(socket, &mut parts, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else owns them.
            descriptors.extend(received.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    Ok(message.bytes)
}

/// Makes reads and writes return at once. Applies to every descriptor of the same open file.
pub fn set_nonblocking(descriptor: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(nix::fcntl::fcntl(descriptor.as_fd(), FcntlArg::F_GETFL)?);
    nix::fcntl::fcntl(descriptor.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// A pipe whose ends are closed on exec: the read end, then the write end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Tells a terminal its size; what runs on it gets SIGWINCH.
pub fn resize_terminal(terminal: &impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request takes a pointer to this structure, valid for the call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_bytes() {
        let (here, there) = UnixStream::pair().unwrap();
        let (read_end, write_end) = pipe().unwrap();
        assert_eq!(send(&here, b"abc", &[write_end]).unwrap(), 3);
        let (mut buffer, mut descriptors) = ([0; 8], Vec::new());
        assert_eq!(receive(&there, &mut buffer, &mut descriptors).unwrap(), 3);
        let mut sent = std::fs::File::from(descriptors.pop().unwrap());
        sent.write_all(b"through").unwrap();
        drop(sent);
        let mut text = String::new();
        std::fs::File::from(read_end).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        drop(here);
        assert_eq!(receive(&there, &mut buffer, &mut descriptors).unwrap(), 0);
    }
}
