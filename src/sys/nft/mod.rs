//! nf_tables over netlink, without the `nft` program or a C library: typed commands are encoded into
//! one atomic batch. [`Kernel`] talks to the kernel; [`Recorder`] keeps what it was told and applies
//! it to a model, so that programs are tested without root.

mod attribute;
mod batch;
pub mod conntrack;
mod expression;
mod kernel;
mod recorder;

use std::collections::{BTreeMap, BTreeSet};

pub use batch::{Batch, Command, Element, Field, Hook, HookKind, HookPoint, MapTo, Set, Value, Verdict};
pub use expression::{
    ADDRESS_LOCAL, Base, Comparison, Conntrack, Direction, Expression, Family, Meta, NatKind, Refusal, Register,
    STATE_INVALID, STATE_NEW, STATUS_DESTINATION_NAT,
};
pub use kernel::Kernel;
pub use recorder::Recorder;

/// Why a batch was not applied. None of it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The netlink socket failed.
    #[error("{action} the nf_tables socket")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: nix::errno::Errno,
    },
    /// The kernel refused a command.
    #[error("{object}")]
    Refused {
        /// The first command that was refused, in the words of the `nft` program.
        object: String,
        /// Why.
        #[source]
        source: nix::errno::Errno,
    },
}

impl Error {
    /// The kernel's error number.
    pub fn errno(&self) -> nix::errno::Errno {
        match self {
            Self::Socket { source, .. } | Self::Refused { source, .. } => *source,
        }
    }
}

/// A table's contents in comparable form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// Encoded rules by chain, in order.
    pub chains: BTreeMap<String, Vec<Vec<u8>>>,
    /// Encoded elements by set.
    pub sets: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// Something that keeps nf_tables: the kernel, or a record of what it would have been told.
/// Calls block for as long as the kernel works.
pub trait Nftables: Send + Sync {
    /// Applies all commands, or none.
    fn commit(&self, batch: &Batch) -> Result<(), Error>;

    /// What a table holds; `None` if there is no such table.
    fn dump(&self, table: &str) -> Result<Option<Dump>, Error>;
}
