//! UDP flows that a change of services leaves behind. A flow keeps the endpoint that its first packet
//! was given, for as long as packets come: when that endpoint goes, or when there was none and now
//! is one, the flow must be forgotten, or its client talks to nobody for good.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::{
    rule::FAMILIES,
    services::{Protocol, ServicePort},
};
use crate::sys::nft::{
    Error,
    conntrack::{self, Flow},
};

/// What to look for among the tracked flows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stale {
    /// Endpoints that no service has any more where they were.
    gone: BTreeSet<SocketAddr>,
    /// Service addresses that had no endpoint until now.
    answered_now: BTreeSet<SocketAddr>,
    /// Node ports that had none.
    ports_answered_now: BTreeSet<u16>,
}

impl Stale {
    /// Compares services as they are, which `current` finds by name, with what they become.
    pub(super) fn of<'a>(
        changes: &BTreeMap<String, Option<ServicePort>>,
        current: impl Fn(&str) -> Option<&'a ServicePort>,
    ) -> Self {
        let mut stale = Self::default();
        for (name, new) in changes {
            let old = current(name);
            let udp = old.or(new.as_ref()).is_some_and(|service| service.protocol == Protocol::Udp);
            if udp && old != new.as_ref() {
                stale.add(old, new.as_ref());
            }
        }
        stale
    }

    fn add(&mut self, old: Option<&ServicePort>, new: Option<&ServicePort>) {
        let kept = new.map(|service| service.endpoints.as_slice()).unwrap_or_default();
        let before = old.map(|service| service.endpoints.as_slice()).unwrap_or_default();
        self.gone.extend(before.iter().filter(|endpoint| !kept.contains(endpoint)));
        let Some(new) = new.filter(|_| before.is_empty() && !kept.is_empty()) else { return };
        let addresses = [&new.cluster_ips, &new.external_ips, &new.load_balancer_ips].into_iter().flatten();
        self.answered_now.extend(addresses.map(|address| SocketAddr::new(*address, new.port)));
        self.ports_answered_now.extend(new.node_port);
    }

    /// Forgets such flows. Reads all tracked flows, but only if there can be any.
    pub(super) fn forget(&self) -> Result<(), Error> {
        if *self == Self::default() {
            return Ok(());
        }
        for family in FAMILIES {
            conntrack::forget(&conntrack::flows(family, |flow| self.names(flow))?)?;
        }
        Ok(())
    }

    fn names(&self, flow: &Flow) -> bool {
        let translated = flow.destination != flow.answering;
        let unanswered =
            self.answered_now.contains(&flow.destination) || self.ports_answered_now.contains(&flow.destination.port());
        flow.protocol == Protocol::Udp.number()
            && if translated { self.gone.contains(&flow.answering) } else { unanswered }
    }
}
