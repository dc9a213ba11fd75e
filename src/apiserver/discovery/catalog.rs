//! What discovery is about: the groups and versions that are served, by this server and by those
//! behind it, in the order in which clients are to prefer them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::priority::{self, Priority};
use crate::api::{custom::version, kind::Descriptor};

/// A group version that a server behind this one serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// What its APIService says of the order.
    pub priority: Priority,
    /// `APIResourceDiscovery` objects: the last that were heard of.
    pub resources: Vec<Value>,
    /// Whether the server was heard of when it was last asked.
    pub is_current: bool,
}

/// Everything that is served, in order.
pub struct Catalog<'a> {
    /// Groups, the most preferred first.
    pub groups: Vec<Group<'a>>,
}

/// One group.
pub struct Group<'a> {
    /// Its name; empty for core.
    pub name: &'a str,
    /// Its versions, the preferred one first.
    pub versions: Vec<Version<'a>>,
}

/// One version of a group.
pub struct Version<'a> {
    /// Such as `v1`.
    pub name: &'a str,
    /// Who serves it.
    pub source: Source<'a>,
    priority: Priority,
}

/// Who serves a version, and what is in it.
pub enum Source<'a> {
    /// This server.
    Local(Vec<&'a Descriptor>),
    /// A server behind it.
    Remote(&'a Remote),
}

impl<'a> Catalog<'a> {
    /// Puts `kinds` and `remotes` in order. Where both have a version, the server behind serves it.
    pub fn new(kinds: &'a [Descriptor], remotes: &'a [Remote]) -> Self {
        let mut groups: BTreeMap<&str, Vec<Version<'a>>> = BTreeMap::new();
        for remote in remotes {
            let version = Version { name: &remote.version, source: Source::Remote(remote), priority: remote.priority };
            groups.entry(&remote.group).or_default().push(version);
        }
        for kind in kinds {
            let versions = groups.entry(&kind.group).or_default();
            match versions.iter_mut().find(|known| known.name == kind.version) {
                Some(Version { source: Source::Local(kinds), .. }) => kinds.push(kind),
                Some(_) => {}
                None => versions.push(Version {
                    name: &kind.version,
                    source: Source::Local(vec![kind]),
                    priority: priority::of(&kind.group, &kind.version),
                }),
            }
        }
        let mut groups: Vec<Group<'a>> =
            groups.into_iter().map(|(name, versions)| Group::new(name, versions)).collect();
        // The sort is stable: groups of the same priority stay in the order of their names.
        groups.sort_by_key(|group| std::cmp::Reverse(group.priority()));
        Self { groups }
    }

    /// The group called `name`.
    pub fn group(&self, name: &str) -> Option<&Group<'a>> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// All groups but core.
    pub fn named_groups(&self) -> impl Iterator<Item = &Group<'a>> {
        self.groups.iter().filter(|group| !group.name.is_empty())
    }
}

impl<'a> Group<'a> {
    fn new(name: &'a str, mut versions: Vec<Version<'a>>) -> Self {
        versions
            .sort_by(|a, b| b.priority.version.cmp(&a.priority.version).then_with(|| version::compare(a.name, b.name)));
        Self { name, versions }
    }

    fn priority(&self) -> i32 {
        self.versions.iter().map(|version| version.priority.group).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn remote(group: &str, version: &str, group_priority: i32) -> Remote {
        let priority = Priority { group: group_priority, version: 100 };
        Remote { group: group.into(), version: version.into(), priority, resources: Vec::new(), is_current: false }
    }

    #[test]
    fn groups_and_versions_are_in_the_order_of_their_priorities() {
        let kinds = kinds::all();
        let remotes =
            [remote("metrics.k8s.io", "v1beta1", 100), remote("batch", "v2", 20), remote("a.b", "v1", 17_790)];
        let catalog = Catalog::new(&kinds, &remotes);
        let names: Vec<&str> = catalog.groups.iter().map(|group| group.name).collect();
        assert_eq!(names[..4], ["apiregistration.k8s.io", "", "apps", "a.b"]);
        assert_eq!(names.last(), Some(&"metrics.k8s.io"));
        let versions: Vec<&str> = catalog.group("batch").unwrap().versions.iter().map(|version| version.name).collect();
        assert_eq!(versions, ["v2", "v1"]);
    }

    #[test]
    fn a_server_behind_takes_a_version_over() {
        let kinds = kinds::all();
        let remotes = [remote("batch", "v1", 17_400)];
        let catalog = Catalog::new(&kinds, &remotes);
        let batch = catalog.group("batch").unwrap();
        assert!(matches!(batch.versions[..], [Version { source: Source::Remote(_), .. }]));
    }
}
