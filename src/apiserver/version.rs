//! `/version`: which Kubernetes this is (`version.Info`).

use serde_json::{Value, json};

/// Major version of the API that is served.
pub const MAJOR: &str = "1";
/// Minor version of the API that is served.
pub const MINOR: &str = "36";
/// The version that clients compare with.
pub const GIT_VERSION: &str = "v1.36.0+nauplius1";

/// The document.
pub fn document() -> Value {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        "arm" => "linux/arm",
        other => other,
    };
    json!({
        "major": MAJOR, "minor": MINOR, "gitVersion": GIT_VERSION, "gitCommit": env!("CARGO_PKG_VERSION"),
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": platform, "emulationMajor": MAJOR, "emulationMinor": MINOR, "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": "35",
    })
}
