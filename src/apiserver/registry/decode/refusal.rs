//! What is said of a patch that leaves no object of the kind: upstream quotes what it has made of it.

use serde_json::Value;

use crate::api::{
    Status,
    field::{self, Path},
    go,
    kind::Descriptor,
    meta,
};

/// Where upstream's schemes are made, which it tells its clients.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";
const OTHER_SCHEMES: [(&str, &str); 2] = [
    ("apiextensions.k8s.io", "pkg/apiserver/apiserver.go:55"),
    ("apiregistration.k8s.io", "pkg/apiserver/scheme/scheme.go:28"),
];

/// 422 for a patched object.
pub fn of(patched: &str, problem: &str) -> Status {
    let cause = field::invalid(&Path::new("patch"), patched, problem);
    Status::invalid("", "", "", vec![cause])
}

/// 422 for a strategic merge patch, of which the patch itself is quoted. No JSON is read again when it is
/// applied, so that the words for a wrong type are others.
pub fn strategic(patch: &[u8], problem: &str) -> Status {
    let patch: Value = serde_json::from_slice(patch).unwrap_or_default();
    of(&go::printed(&patch), &restored(problem).unwrap_or_else(|| problem.to_owned()))
}

/// What is wrong with the kind that a patch has left, if it is another one.
pub fn other_kind(kind: &Descriptor, patched: &Value) -> Option<String> {
    let (version, name) = (meta::api_version(patched), meta::kind(patched));
    if name.is_empty() || name == kind.kind || kind.strategy.custom().is_some() {
        return None;
    }
    let scheme = OTHER_SCHEMES.iter().find(|(group, _)| *group == kind.group).map_or(SCHEME, |(_, scheme)| scheme);
    Some(format!("no kind \"{name}\" is registered for version \"{version}\" in scheme \"{scheme}\""))
}

/// `cannot restore map from slice`, of the decoder's words for the same.
fn restored(problem: &str) -> Option<String> {
    let (given, rest) = problem.strip_prefix("json: cannot unmarshal ")?.split_once(' ')?;
    let (_, wanted) = rest.rsplit_once(" of type ")?;
    let given = match given {
        "array" => "slice",
        "object" => "map",
        other => other,
    };
    match wanted {
        wanted if wanted.starts_with("map[") => Some(format!("cannot restore map from {given}")),
        wanted if wanted.starts_with("[]") => Some(format!("cannot restore slice from {given}")),
        wanted if wanted.starts_with("v1.") => Some(format!("cannot restore struct from: {given}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategic_patch_is_quoted_as_a_map() {
        let problem =
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string";
        let status = strategic(br#"{"metadata":{"labels":["a"]}}"#, problem);
        assert_eq!(status.code(), 422);
        assert_eq!(
            status.message,
            " \"\" is invalid: patch: Invalid value: \"map[metadata:map[labels:[a]]]\": cannot restore map from slice"
        );
    }
}
