//! Garbage collection: layers that no image has, and, when the disk fills up, images that no
//! container uses, the least recently used first. Images imported from files are never collected.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Image,
    digest::Digest,
    error::Error,
    layers::{Scratch, at},
    records::Record,
    store::{ImageStore, Inner, now_s},
};
use crate::base::{file, log::chain};

/// How often the kubelet looks (`ImageGCPeriod` of upstream).
const INTERVAL: Duration = Duration::from_secs(300);

/// When images are collected (`imageGCHighThresholdPercent` and its neighbours of the kubelet's
/// configuration).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Collection starts when the disk is fuller than this, in percent.
    pub high_percent: u8,
    /// It stops when the disk is not fuller than this.
    pub low_percent: u8,
    /// Images used more recently than this many seconds ago are spared.
    pub minimum_age_s: i64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, minimum_age_s: 120 }
    }
}

/// How full the store's file system is.
#[derive(Debug, Clone, Copy)]
struct DiskUsage {
    capacity_bytes: u64,
    /// What an unprivileged process could still write.
    available_bytes: u64,
}

/// Layers that a pull or an import in progress counts on.
#[derive(Default)]
pub(super) struct Leases {
    layers: Mutex<HashMap<Digest, usize>>,
}

/// Spares layers from collection until it is dropped.
pub(super) struct Lease<'a> {
    leases: &'a Leases,
    layers: Vec<Digest>,
}

impl ImageStore {
    /// Removes unused images until the disk is no fuller than wanted, and gives what was removed.
    pub async fn collect_garbage(&self, thresholds: Thresholds) -> Result<Vec<Image>, Error> {
        let inner = self.inner.clone();
        self.inner.lane.run(move || inner.collect(thresholds)).await
    }

    /// Collects garbage every [`INTERVAL`]; a disk cannot be watched for filling up. Never returns.
    pub async fn keep_disk_free(self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.collect_garbage(Thresholds::default()).await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => tracing::info!(images = removed.len(), "the disk fills up: unused images were removed"),
                Err(error) => tracing::warn!(error = chain(&error), "unused images could not be removed"),
            }
        }
    }
}

impl Leases {
    /// Spares `layers`.
    pub(super) fn take(&self, layers: &[Digest]) -> Lease<'_> {
        let mut held = self.layers.lock();
        for layer in layers {
            *held.entry(layer.clone()).or_default() += 1;
        }
        Lease { leases: self, layers: layers.to_vec() }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut held = self.leases.layers.lock();
        for layer in &self.layers {
            if let Some(count) = held.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    held.remove(layer);
                }
            }
        }
    }
}

impl Inner {
    /// Removes the layers that neither an image nor a pull in progress has.
    pub(super) fn remove_unused_layers(&self) -> Result<(), file::Error> {
        // While the leases are locked no pull can come to count on a layer that is about to go.
        let leases = self.leases.layers.lock();
        let mut used: HashSet<Digest> = leases.keys().cloned().collect();
        used.extend(self.records.lock().iter().flat_map(|record| record.layers.iter().cloned()));
        let all = self.layers.diff_ids();
        let unused = all.iter().filter(|layer| !used.contains(layer));
        let detached: Result<Vec<Scratch>, _> = unused.map(|layer| self.layers.detach(layer)).collect();
        drop(leases);
        detached?.into_iter().try_for_each(Scratch::remove)
    }

    fn collect(&self, thresholds: Thresholds) -> Result<Vec<Image>, Error> {
        let usage = disk_usage(&self.root)?;
        // Layers of pulls that failed go at any time.
        self.remove_unused_layers()?;
        let Some(mut excess) = excess_bytes(usage, thresholds) else { return Ok(Vec::new()) };
        let mut removed = Vec::new();
        for candidate in self.candidates(thresholds.minimum_age_s) {
            if excess == 0 {
                break;
            }
            let mut records = self.records.lock();
            if self.snapshots.user_of(&candidate.image.id).is_none() {
                records.remove(&candidate.image.id)?;
                excess = excess.saturating_sub(candidate.image.size_bytes);
                removed.push(candidate.image);
            }
        }
        self.remove_unused_layers()?;
        Ok(removed)
    }

    /// Images that may go, the least recently used first.
    fn candidates(&self, minimum_age_s: i64) -> Vec<Record> {
        let before = now_s() - minimum_age_s;
        let may_go = |record: &&Record| {
            !record.image.pinned && record.last_used_s <= before && self.snapshots.user_of(&record.image.id).is_none()
        };
        let mut candidates: Vec<Record> = self.records.lock().iter().filter(may_go).cloned().collect();
        candidates.sort_by_key(|record| record.last_used_s);
        candidates
    }
}

/// Bytes to free, or `None` below the high threshold.
fn excess_bytes(usage: DiskUsage, thresholds: Thresholds) -> Option<u64> {
    let used = usage.capacity_bytes.saturating_sub(usage.available_bytes);
    let share = |percent: u8| usage.capacity_bytes / 100 * u64::from(percent);
    (used > share(thresholds.high_percent)).then(|| used - share(thresholds.low_percent).min(used))
}

fn disk_usage(path: &Path) -> Result<DiskUsage, file::Error> {
    let found = rustix::fs::statvfs(path).map_err(|error| at("examine", path)(error.into()))?;
    Ok(DiskUsage { capacity_bytes: found.f_blocks * found.f_frsize, available_bytes: found.f_bavail * found.f_frsize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frees_down_to_the_low_threshold_once_above_the_high_one() {
        let usage = |available_bytes| DiskUsage { capacity_bytes: 1000, available_bytes };
        let thresholds = Thresholds::default();
        assert_eq!(excess_bytes(usage(150), thresholds), None);
        assert_eq!(excess_bytes(usage(100), thresholds), Some(100));
    }

    #[test]
    fn a_lease_ends_with_its_last_holder() {
        let leases = Leases::default();
        let layer = [Digest::of(b"x")];
        let (first, second) = (leases.take(&layer), leases.take(&layer));
        drop(first);
        assert_eq!(leases.layers.lock().len(), 1);
        drop(second);
        assert!(leases.layers.lock().is_empty());
    }
}
