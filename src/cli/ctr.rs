//! `nauplius ctr`: this node's images, in the words of containerd's `ctr`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use http::Method;
use serde::Serialize;

use crate::{
    boot::{args::RUN_DIR, control},
    image::Image,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Ctr {
    /// Folder of the node's run-time files
    #[arg(long, env = "NAUPLIUS_RUN_DIR", default_value = RUN_DIR, value_name = "DIR", global = true)]
    run_dir: PathBuf,
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Images
    #[command(alias = "image", alias = "i", subcommand)]
    Images(Images),
}

#[derive(Debug, Subcommand)]
enum Images {
    /// Import archives made by docker save or in the OCI layout
    Import {
        /// The archives
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List images
    #[command(alias = "list")]
    Ls {
        /// Print names only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove images
    #[command(alias = "remove", alias = "delete")]
    Rm {
        /// Their names or IDs
        #[arg(required = true, value_name = "IMAGE")]
        names: Vec<String>,
    },
}

impl Ctr {
    /// Does what was asked for, through the node that runs on this machine.
    pub fn run(self) -> anyhow::Result<()> {
        let Subject::Images(command) = &self.subject;
        match command {
            Images::Import { files } => files.iter().try_for_each(|file| self.import(file)),
            Images::Ls { quiet } => self.list(*quiet),
            Images::Rm { names } => names.iter().try_for_each(|name| self.remove(name)),
        }
    }

    fn import(&self, file: &PathBuf) -> anyhow::Result<()> {
        let path = std::fs::canonicalize(file).with_context(|| format!("failed to read {}", file.display()))?;
        let answer = self
            .ask(Method::POST, control::IMPORT, &control::Import { path })
            .with_context(|| format!("failed to import {}", file.display()))?;
        let images: Vec<Image> = serde_json::from_slice(&answer).context("the node's answer cannot be understood")?;
        for image in images {
            let names = if image.tags.is_empty() { vec![image.id] } else { image.tags };
            names.iter().for_each(|name| print(&format!("imported {name}")));
        }
        Ok(())
    }

    fn list(&self, quiet: bool) -> anyhow::Result<()> {
        let answer = self.ask(Method::GET, control::IMAGES, &()).context("failed to list images")?;
        let images: Vec<Image> = serde_json::from_slice(&answer).context("the node's answer cannot be understood")?;
        let mut rows: Vec<(String, String, String)> = images
            .into_iter()
            .flat_map(|image| {
                let (id, size) = (image.id.chars().take(19).collect::<String>(), size(image.size_bytes));
                let mut names = image.tags;
                if names.is_empty() {
                    names = image.digests;
                }
                names.into_iter().map(move |name| (name, id.clone(), size.clone()))
            })
            .collect();
        rows.sort();
        if quiet {
            rows.iter().for_each(|(name, _, _)| print(name));
            return Ok(());
        }
        let width = rows.iter().map(|(name, _, _)| name.len()).max().unwrap_or(0).max("REF".len());
        print(&format!("{:width$}  {:19}  SIZE", "REF", "ID"));
        rows.iter().for_each(|(name, id, size)| print(&format!("{name:width$}  {id:19}  {size}")));
        Ok(())
    }

    fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.ask(Method::POST, control::REMOVE, &control::Remove { name: name.to_owned() })
            .with_context(|| format!("failed to remove {name}"))?;
        print(&format!("removed {name}"));
        Ok(())
    }

    fn ask(&self, method: Method, path: &str, payload: &impl Serialize) -> anyhow::Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let payload = serde_json::to_vec(payload)?;
        Ok(runtime.block_on(control::ask(&self.run_dir, method, path, payload))?)
    }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn print(line: &str) {
    println!("{line}");
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(512), "512.0 B");
        assert_eq!(size(5 * 1024 * 1024 + 512 * 1024), "5.5 MiB");
    }
}
