//! Links, addresses, routes, neighbours and forwarding entries over rtnetlink, and network
//! namespaces to do it in. Each piece of work opens a connection of its own, which costs
//! microseconds, keeps nothing between calls, and makes the namespace it works in explicit.

mod link;
mod route;
pub mod sysctl;

use std::{future::Future, net::IpAddr, path::Path};

use crate::sys::namespace;

pub use link::{Link, Veth, Vxlan};
pub use route::{Neighbour, Route};

/// A hardware address.
pub type Mac = [u8; 6];

/// Why the kernel's network was not changed or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request was refused.
    #[error("{action}")]
    Request {
        /// What was asked for.
        action: String,
        /// Why it was refused.
        #[source]
        source: rtnetlink::Error,
    },
    /// The netlink socket could not be opened.
    #[error("open a netlink socket")]
    Socket(#[source] std::io::Error),
    /// The connection ended while an answer was awaited.
    #[error("the netlink connection was closed")]
    Closed,
    /// A network namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// A kernel parameter could not be written.
    #[error("set {name}")]
    Sysctl {
        /// Its name with dots.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no such link.
    #[error("there is no network interface {0}")]
    NoLink(String),
    /// No link carries the address.
    #[error("no network interface has the address {0}")]
    NoLinkWith(IpAddr),
    /// The address, gateway and source of a route are not of one family.
    #[error("a route that mixes address families: {0}")]
    MixedFamilies(String),
}

impl Error {
    /// The kernel's error number, as a positive number.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Request { source: rtnetlink::Error::NetlinkError(message), .. } => {
                message.code.map(|code| -code.get())
            }
            Self::Namespace(error) => error.source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether what should have been removed was not there.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL))
    }
}

/// An open rtnetlink connection in one network namespace.
pub struct Connection {
    handle: rtnetlink::Handle,
}

/// Runs `work` with a connection in the calling thread's network namespace.
pub async fn with<T, F: Future<Output = Result<T, Error>>>(work: impl FnOnce(Connection) -> F) -> Result<T, Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Socket)?;
    tokio::select! {
        result = work(Connection { handle }) => result,
        () = connection => Err(Error::Closed),
    }
}

/// Runs `work` with a connection in the network namespace of the file `namespace`. Only the
/// socket is made there, on a thread that lives for microseconds; no thread of the runtime ever
/// leaves its own namespace.
pub async fn with_inside<T, F: Future<Output = Result<T, Error>>>(
    namespace: &Path,
    work: impl FnOnce(Connection) -> F,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Handle::current();
    let opened = namespace::within_network(namespace, || {
        let _entered = runtime.enter();
        rtnetlink::new_connection()
    })?;
    let (connection, handle, _) = opened.map_err(Error::Socket)?;
    tokio::select! {
        result = work(Connection { handle }) => result,
        () = connection => Err(Error::Closed),
    }
}

fn request(action: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    let action = action.into();
    move |source| Error::Request { action, source }
}
