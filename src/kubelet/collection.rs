//! Collection of unused images: looked at after what fills or frees the disk, which is pulls and
//! removals of pods, and now and then for what others write to it.

use std::{sync::Arc, time::Duration};

use crate::kubelet::shared::Shared;

/// Several pulls and removals in a row are looked at once.
const REST: Duration = Duration::from_secs(60);
/// Longest time between two looks (upstream's `ImageGCPeriod`).
const PERIOD: Duration = Duration::from_secs(300);

/// Collects for as long as the process lives.
pub async fn run(shared: Arc<Shared>) {
    loop {
        // Either is a reason to look.
        let _ = tokio::time::timeout(PERIOD, shared.disk_changed.notified()).await;
        tokio::time::sleep(REST).await;
        match shared.images.collect().await {
            Ok(removed) => removed.iter().for_each(|image| tracing::info!(image, "unused image removed")),
            Err(error) => tracing::warn!(error = %error, "unused images not removed"),
        }
    }
}
