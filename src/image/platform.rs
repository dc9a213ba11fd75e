//! Which manifest of an index fits this machine, CPU variants included (OCI image index, "platform").

use oci_spec::image::{Descriptor, ImageIndex};

/// An operating system and CPU as image indexes name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    architecture: &'static str,
    /// Variants that run here, the best first; an index may also leave the variant out.
    variants: Vec<String>,
}

impl Platform {
    /// The machine this process runs on.
    pub fn current() -> Self {
        match std::env::consts::ARCH {
            "x86_64" => Self { architecture: "amd64", variants: numbered(amd64_level()) },
            "aarch64" => Self { architecture: "arm64", variants: numbered(8) },
            "arm" => Self { architecture: "arm", variants: numbered(arm_version()) },
            "x86" => Self { architecture: "386", variants: Vec::new() },
            "powerpc64" => Self { architecture: "ppc64le", variants: Vec::new() },
            other => Self { architecture: other, variants: Vec::new() },
        }
    }

    /// The manifest of `index` that suits best: the own architecture with the highest variant that
    /// runs here, and on 64-bit ARM one for 32 bits if there is nothing else.
    pub fn select<'a>(&self, index: &'a ImageIndex) -> Option<&'a Descriptor> {
        let candidates = index.manifests().iter().filter_map(|manifest| Some((self.rank(manifest)?, manifest)));
        // The first of equals wins, as with containerd.
        candidates.min_by_key(|(rank, _)| *rank).map(|(_, manifest)| manifest)
    }

    /// Whether what the descriptor points to runs here.
    pub fn runs(&self, manifest: &Descriptor) -> bool {
        self.rank(manifest).is_some()
    }

    /// How an index calls it: `linux/arm64`.
    pub fn name(&self) -> String {
        format!("linux/{}", self.architecture)
    }

    /// Smaller is better; `None` does not run here.
    fn rank(&self, manifest: &Descriptor) -> Option<usize> {
        let platform = manifest.platform().as_ref()?;
        if platform.os().to_string() != "linux" {
            return None;
        }
        let architecture = platform.architecture().to_string();
        let variant = platform.variant().as_deref().unwrap_or_default();
        if architecture == self.architecture {
            return rank_of(&self.variants, variant);
        }
        let runs_32_bits = self.architecture == "arm64" && architecture == "arm";
        runs_32_bits.then(|| rank_of(&numbered(8), variant).map(|rank| rank + self.variants.len() + 1))?
    }
}

/// A manifest without a variant is the baseline, after all named ones.
fn rank_of(variants: &[String], variant: &str) -> Option<usize> {
    if variant.is_empty() {
        return Some(variants.len());
    }
    variants.iter().position(|known| known == variant)
}

/// `v3`, `v2`, `v1` for 3.
fn numbered(best: u32) -> Vec<String> {
    (1..=best).rev().map(|version| format!("v{version}")).collect()
}

/// The x86-64 micro-architecture level (x86-64 psABI supplement).
#[cfg(target_arch = "x86_64")]
fn amd64_level() -> u32 {
    let v2 = is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt");
    let v3 = v2
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("movbe");
    let v4 = v3 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
    1 + u32::from(v2) + u32::from(v3) + u32::from(v4)
}

#[cfg(not(target_arch = "x86_64"))]
fn amd64_level() -> u32 {
    1
}

/// The ARM version from the kernel's machine name (`armv7l`); a 64-bit kernel runs version 7.
fn arm_version() -> u32 {
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    let digit = machine.strip_prefix("armv").and_then(|rest| rest.chars().next()).and_then(|digit| digit.to_digit(10));
    digit.unwrap_or(7).min(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[(&str, &str, &str)]) -> ImageIndex {
        let manifest = |(number, (os, architecture, variant)): (usize, &(&str, &str, &str))| {
            let mut platform = serde_json::json!({"os": os, "architecture": architecture});
            if !variant.is_empty() {
                platform["variant"] = serde_json::json!(variant);
            }
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": number,
                "digest": format!("sha256:{}", "0".repeat(64)), "platform": platform,
            })
        };
        let manifests: Vec<_> = platforms.iter().enumerate().map(manifest).collect();
        serde_json::from_value(serde_json::json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    fn choose(platform: &Platform, platforms: &[(&str, &str, &str)]) -> Option<u64> {
        platform.select(&index(platforms)).map(Descriptor::size)
    }

    #[test]
    fn takes_the_best_variant_that_runs_here() {
        let pi = Platform { architecture: "arm", variants: numbered(7) };
        let published =
            [("linux", "arm", "v5"), ("linux", "arm", "v7"), ("linux", "arm", "v6"), ("linux", "arm64", "")];
        assert_eq!(choose(&pi, &published), Some(1));
        let older = Platform { architecture: "arm", variants: numbered(6) };
        assert_eq!(choose(&older, &published), Some(2));
    }

    #[test]
    fn falls_back_to_the_baseline_and_to_32_bits() {
        let pc = Platform { architecture: "amd64", variants: numbered(2) };
        assert_eq!(choose(&pc, &[("linux", "amd64", "v3"), ("linux", "amd64", ""), ("linux", "amd64", "")]), Some(1));
        let arm64 = Platform { architecture: "arm64", variants: numbered(8) };
        assert_eq!(choose(&arm64, &[("linux", "arm", "v7"), ("linux", "amd64", "")]), Some(0));
        assert_eq!(choose(&arm64, &[("linux", "arm", "v7"), ("linux", "arm64", "v8")]), Some(1));
    }

    #[test]
    fn never_takes_another_system_or_an_attestation() {
        let pc = Platform { architecture: "amd64", variants: numbered(1) };
        assert_eq!(choose(&pc, &[("windows", "amd64", ""), ("unknown", "unknown", ""), ("linux", "s390x", "")]), None);
    }
}
