//! The real host behind the traits of [`super::host`]: shims, the image store, the node's network.

mod containers;
mod images;
mod network;

pub use containers::Shims;
pub use images::Store;
pub use network::LateNetwork;
