//! `config.yaml` and `config.yaml.d/*.yaml`: each key is a flag without its dashes. They are turned
//! into arguments that stand before those of the command line, so the command line wins. A key with
//! a `+` adds to the list of the files before instead of replacing it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_yaml::Value;

use crate::boot::args::CONFIG_FILE;

/// Largest configuration file, in bytes.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Puts the settings of the configuration files that `arguments` name behind the subcommand, its
/// first argument. A file that was asked for by name must be there.
pub fn merge(arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let asked = asked_file(&arguments);
    let file = asked.clone().unwrap_or_else(|| CONFIG_FILE.into());
    if asked.is_some() && !file.exists() {
        bail!("configuration file {} does not exist", file.display());
    }
    let mut settings = BTreeMap::new();
    for path in files(&file)? {
        let contents = read(&path)?;
        parse(&contents, &mut settings).with_context(|| format!("in configuration file {}", path.display()))?;
    }
    let split = arguments.len().min(2);
    let (subcommand, rest) = arguments.split_at(split);
    let overridden = |key: &str| rest.iter().any(|argument| names(argument, key));
    let from_files = settings
        .into_iter()
        .filter(|(key, _)| !overridden(key))
        .flat_map(|(key, values)| values.into_iter().map(move |value| OsString::from(format!("--{key}{value}"))));
    Ok(subcommand.iter().cloned().chain(from_files).chain(rest.iter().cloned()).collect())
}

fn names(argument: &OsString, key: &str) -> bool {
    let flag = argument.to_string_lossy();
    flag.strip_prefix("--").is_some_and(|flag| flag == key || flag.starts_with(&format!("{key}=")))
}

fn asked_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--config" || text == "-c" {
            return arguments.next().map(Into::into);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(path.into());
        }
    }
    std::env::var_os("NAUPLIUS_CONFIG_FILE").map(Into::into)
}

/// The file itself, if it is there, then those of the folder beside it in the order of their names.
fn files(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folder = file.as_os_str().to_owned();
    folder.push(".d");
    let mut files = Vec::new();
    if let Ok(entries) = std::fs::read_dir(&folder) {
        for entry in entries {
            let path = entry.with_context(|| format!("failed to list {}", Path::new(&folder).display()))?.path();
            if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(path);
            }
        }
    }
    files.sort();
    if file.exists() {
        files.insert(0, file.to_owned());
    }
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(path).with_context(|| format!("failed to read {}", path.display()))?.len();
    if length > FILE_LIMIT_BYTES {
        bail!("configuration file {} is larger than {FILE_LIMIT_BYTES} bytes", path.display());
    }
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

/// Adds the settings of one file: per flag, what stands behind `--flag` (`=value`, or nothing for a
/// switch).
fn parse(contents: &str, settings: &mut BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
    let document: Value = serde_yaml::from_str(contents)?;
    let map = match document {
        Value::Null => return Ok(()),
        Value::Mapping(map) => map,
        _ => bail!("expected a mapping of flags to values"),
    };
    for (key, value) in map {
        let Value::String(key) = key else { bail!("keys must be names of flags") };
        let adds = key.ends_with('+');
        let key = key.trim_end_matches('+').to_owned();
        let values = values(&key, value)?;
        if adds {
            settings.entry(key).or_default().extend(values);
        } else {
            settings.insert(key, values);
        }
    }
    Ok(())
}

fn values(key: &str, value: Value) -> anyhow::Result<Vec<String>> {
    match value {
        Value::Null | Value::Bool(false) => Ok(Vec::new()),
        Value::Bool(true) => Ok(vec![String::new()]),
        Value::String(text) => Ok(vec![format!("={text}")]),
        Value::Number(number) => Ok(vec![format!("={number}")]),
        Value::Sequence(items) => {
            let all = items.into_iter().map(|item| values(key, item)).collect::<anyhow::Result<Vec<_>>>()?;
            Ok(all.into_iter().flatten().collect())
        }
        Value::Mapping(_) | Value::Tagged(_) => bail!("{key} must be a value or a list of values"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(files: &[(&str, &str)], arguments: &[&str]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yaml");
        for (name, contents) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        let mut all = vec!["nauplius".to_owned(), "server".to_owned(), format!("--config={}", config.display())];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let merged = merge(all.into_iter().map(Into::into).collect()).unwrap();
        let merged = merged.into_iter().map(|argument| argument.into_string().unwrap());
        merged.filter(|argument| !argument.starts_with("--config=")).skip(2).collect()
    }

    #[test]
    fn keys_become_flags_and_the_command_line_wins() {
        let file = "node-name: a\ndebug: true\ndisable-agent: false\ntls-san: [x, y]\nhttps-listen-port: 7000\n";
        let arguments = merged(&[("config.yaml", file)], &["--node-name", "b"]);
        assert_eq!(
            arguments,
            ["--debug", "--https-listen-port=7000", "--tls-san=x", "--tls-san=y", "--node-name", "b"]
        );
    }

    #[test]
    fn later_files_replace_and_plus_adds() {
        let files = [
            ("config.yaml", "tls-san: [a]\nnode-label: [one=1]\n"),
            ("config.yaml.d/10.yaml", "tls-san: [b]\nnode-label+: [two=2]\n"),
        ];
        assert_eq!(merged(&files, &[]), ["--node-label=one=1", "--node-label=two=2", "--tls-san=b"]);
    }

    #[test]
    fn a_file_that_was_asked_for_must_exist() {
        let error = merge(vec!["nauplius".into(), "server".into(), "--config=/none.yaml".into()]).unwrap_err();
        assert_eq!(error.to_string(), "configuration file /none.yaml does not exist");
    }
}
