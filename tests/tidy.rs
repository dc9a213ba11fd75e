//! Holds the repository to its own rules: which layer may import which, how files begin, how long
//! they may be, who may print, and what is not kept in git.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What each layer may import, besides itself (ARCHITECTURE.md, "Layers").
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("sys", &["base"]),
    ("api", &["base"]),
    ("pki", &["base"]),
    ("http", &["base", "pki"]),
    ("store", &["base"]),
    ("image", &["base", "sys", "http"]),
    ("oci", &["base", "sys"]),
    ("net", &["base", "sys"]),
    ("client", &["base", "api", "http"]),
    ("apiserver", &["base", "api", "pki", "http", "store", "client"]),
    ("controllers", &["base", "api", "client"]),
    ("scheduler", &["base", "api", "client"]),
    ("kubelet", &["base", "sys", "api", "client", "http", "image", "oci", "net"]),
    ("proxy", &["base", "api", "client", "http", "net"]),
    ("dns", &["base", "api", "client", "http", "net"]),
    (
        "boot",
        &[
            "base",
            "sys",
            "api",
            "pki",
            "http",
            "store",
            "image",
            "oci",
            "net",
            "client",
            "apiserver",
            "controllers",
            "scheduler",
            "kubelet",
            "proxy",
            "dns",
        ],
    ),
    ("cli", &["boot", "client", "base", "image", "oci", "net"]),
];

/// Longest file under `src/`, its tests not counted.
const FILE_LIMIT_LINES: usize = 800;
/// Largest file in git, in bytes: sources and text, not products.
const GIT_FILE_LIMIT_BYTES: u64 = 512 * 1024;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The file's text up to its unit tests: an inline module behind `#[cfg(test)]` and perhaps lints.
fn without_tests(text: &str) -> &str {
    let mut markers = text.match_indices("\n#[cfg(test)]\n");
    let tests = markers.find(|(position, marker)| {
        let item = text[position + marker.len()..].lines().find(|line| !line.starts_with("#["));
        item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{'))
    });
    tests.map_or(text, |(position, _)| &text[..position])
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name == "tests" || name.ends_with("_tests") || path.components().any(|part| part.as_os_str() == "tests")
}

fn layer_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Names of the layers that `text` mentions by `crate::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (position, _) in code.match_indices("crate::") {
        let rest = code[position + "crate::".len()..].trim_start();
        match rest.strip_prefix('{') {
            None => found.extend(identifier(rest)),
            Some(group) => found.extend(group_members(group)),
        }
    }
    found
}

/// The first segments of a `{…}` group, nested groups skipped.
fn group_members(group: &str) -> Vec<String> {
    let (mut depth, mut members, mut at_start) = (0, Vec::new(), true);
    for (position, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            character if at_start && !character.is_whitespace() => {
                members.extend(identifier(&group[position..]));
                at_start = false;
            }
            _ => {}
        }
    }
    members
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn layers_import_only_what_stands_below_them() {
    let mut problems = Vec::new();
    for file in rust_files(&root().join("src")) {
        let layer = layer_of(&file);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for import in imports(without_tests(&text)) {
            let is_layer = LAYERS.iter().any(|(name, _)| *name == import);
            if is_layer && import != layer && !allowed.contains(&import.as_str()) && !is_test_file(&file) {
                problems.push(format!("{}: {layer} must not import {import}", file.display()));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_layer_is_known() {
    let known: BTreeSet<String> = LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found: BTreeSet<String> = rust_files(&root().join("src"))
        .iter()
        .map(|file| layer_of(file))
        .filter(|layer| layer != "lib" && layer != "main")
        .collect();
    assert_eq!(found, known);
}

#[test]
fn every_file_says_what_it_is_for() {
    let sources = ["src", "tests", "benches"].iter().map(|folder| root().join(folder)).filter(|path| path.exists());
    let problems: Vec<String> = sources
        .flat_map(|folder| rust_files(&folder))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!"))
        .map(|file| format!("{}: the first line must be a //! comment", file.display()))
        .collect();
    report(&problems);
}

#[test]
fn files_stay_short() {
    let problems: Vec<String> = rust_files(&root().join("src"))
        .into_iter()
        .filter(|file| !is_test_file(file))
        .filter_map(|file| {
            let lines = without_tests(&fs::read_to_string(&file).unwrap()).lines().count();
            (lines > FILE_LIMIT_LINES).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    report(&problems);
}

#[test]
fn only_the_command_line_prints() {
    let problems: Vec<String> = rust_files(&root().join("src"))
        .into_iter()
        .filter(|file| layer_of(file) != "cli" && !is_test_file(file))
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            let code = without_tests(&text);
            ["println!", "eprintln!", "print!(", "dbg!"].iter().any(|call| code.contains(call))
        })
        .map(|file| format!("{}: prints", file.display()))
        .collect();
    report(&problems);
}

#[test]
fn unsafe_code_is_in_sys_alone_and_explained() {
    let mut problems = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let code = without_tests(&text);
        let blocks = code.matches("unsafe {").count() + code.matches("unsafe impl").count();
        if blocks > 0 && layer_of(&file) != "sys" {
            problems.push(format!("{}: unsafe code outside sys", file.display()));
        }
        if code.matches("SAFETY:").count() < blocks {
            problems.push(format!("{}: an unsafe block without a SAFETY comment", file.display()));
        }
    }
    report(&problems);
}

#[test]
fn git_holds_sources_only() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Ok(listed) = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else { return };
    let mut problems = Vec::new();
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let Ok(contents) = fs::read(root().join(name)) else { continue };
        if contents.len() as u64 > GIT_FILE_LIMIT_BYTES {
            problems.push(format!("{name}: {} bytes", contents.len()));
        }
        if contents.contains(&0) && !name.starts_with("tests/fixtures/") {
            problems.push(format!("{name}: binary"));
        }
    }
    report(&problems);
}

#[test]
fn the_installer_writes_the_units_that_are_kept_beside_it() {
    let installer = fs::read_to_string(root().join("install.sh")).unwrap();
    for unit in ["nauplius.service", "nauplius-agent.service"] {
        let text = fs::read_to_string(root().join("systemd").join(unit)).unwrap();
        let settings = text.lines().filter(|line| {
            line.contains('=')
                && !["Description", "Documentation", "ExecStart", "#"].iter().any(|key| line.starts_with(key))
        });
        for setting in settings {
            assert!(installer.contains(setting), "install.sh does not write \"{setting}\" of {unit}");
        }
    }
}
