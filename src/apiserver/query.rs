//! Query parameters of a request, and the options that lists, watches, writes and deletions take
//! from them (`ListOptions`, `CreateOptions`, … of meta/v1).

use std::time::Duration;

use crate::{
    api::{
        Status,
        kind::Descriptor,
        schema::FieldValidation,
        selector::{FieldSelector, LabelSelector},
    },
    apiserver::cache::selectable::Selector,
    store::Revision,
};

/// Parameters that are read at most; further ones are ignored.
const PARAMETERS_LIMIT: usize = 64;

/// Decoded parameters, in order.
#[derive(Debug, Clone, Default)]
pub struct Query {
    parameters: Vec<(String, String)>,
}

/// How a list relates to the resource version it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// Of that version or a later one.
    NotOlderThan(Revision),
    /// Of exactly that version.
    Exact(Revision),
}

/// Options of a list or watch.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Which objects.
    pub selector: Selector,
    /// Objects per page; 0 for all.
    pub limit: usize,
    /// Where the page before ended.
    pub continue_token: String,
    /// `resourceVersion`; `None` if it was not given.
    pub revision: Option<Revision>,
    /// What it means for a list.
    pub version_match: Option<VersionMatch>,
    /// Whether a watcher wants to be told of progress.
    pub bookmarks: bool,
    /// Whether a watch begins with what is there.
    pub send_initial_events: Option<bool>,
    /// When a watch ends.
    pub timeout: Option<Duration>,
}

impl Query {
    /// Decodes a query string.
    pub fn parse(text: &str) -> Self {
        let parameters = form_urlencoded::parse(text.as_bytes()).into_owned().take(PARAMETERS_LIMIT).collect();
        Self { parameters }
    }

    /// The first value of a parameter; empty values count as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(parameter, _)| parameter == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether a flag is set: given without a value, or with any but `false` and `0`.
    pub fn flag(&self, name: &str) -> bool {
        let found = self.parameters.iter().find(|(parameter, _)| parameter == name);
        found.is_some_and(|(_, value)| is_true(value))
    }

    /// Whether a parameter is there at all, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|(parameter, _)| parameter == name)
    }

    /// A number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        let parse = |value: &str| {
            value.parse().map_err(|_| {
                Status::bad_request(format!("invalid query parameter {name}: \"{value}\" is not a valid number"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// `dryRun`, which may only be `All`.
    pub fn dry_run(&self) -> Result<bool, Status> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                Err(Status::bad_request(format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\"")))
            }
        }
    }

    /// `fieldValidation`.
    pub fn field_validation(&self) -> Result<FieldValidation, Status> {
        FieldValidation::parse(self.get("fieldValidation").unwrap_or_default())
    }

    /// `labelSelector` and `fieldSelector`.
    pub fn selector(&self, kind: &Descriptor) -> Result<Selector, Status> {
        let bad = |error: crate::api::selector::Error| Status::bad_request(error.to_string());
        let labels = LabelSelector::parse(self.get("labelSelector").unwrap_or_default()).map_err(bad)?;
        let fields = FieldSelector::parse(self.get("fieldSelector").unwrap_or_default()).map_err(bad)?;
        let selectable = kind.strategy.selectable_field_names();
        match fields.unsupported(&selectable) {
            None => Ok(Selector { labels, fields }),
            Some(field) => Err(unknown_field(field, kind, &selectable)),
        }
    }

    /// Options of a list or watch.
    pub fn list_options(&self, kind: &Descriptor) -> Result<ListOptions, Status> {
        let revision = revision(self.get("resourceVersion").unwrap_or_default())?;
        let options = ListOptions {
            selector: self.selector(kind)?,
            limit: self.number("limit")?.unwrap_or(0),
            continue_token: self.get("continue").unwrap_or_default().to_owned(),
            revision,
            version_match: self.version_match(revision)?,
            bookmarks: self.flag("allowWatchBookmarks"),
            send_initial_events: self.has("sendInitialEvents").then(|| self.flag("sendInitialEvents")),
            timeout: self.number("timeoutSeconds")?.map(Duration::from_secs),
        };
        if !options.continue_token.is_empty() && revision.is_some_and(|revision| revision != 0) {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(options)
    }

    fn version_match(&self, revision: Option<Revision>) -> Result<Option<VersionMatch>, Status> {
        let forbidden = |why: &str| Err(Status::bad_request(format!("resourceVersionMatch: Forbidden: {why}")));
        match (self.get("resourceVersionMatch"), revision) {
            (None, None) => Ok(None),
            (None, Some(revision)) => Ok(Some(VersionMatch::NotOlderThan(revision))),
            (Some(_), None) if !self.flag("watch") => {
                forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            (Some("NotOlderThan"), revision) => Ok(Some(VersionMatch::NotOlderThan(revision.unwrap_or(0)))),
            (Some("Exact"), Some(0)) => {
                forbidden("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"")
            }
            (Some("Exact"), Some(revision)) => Ok(Some(VersionMatch::Exact(revision))),
            (Some(other), _) => Err(Status::bad_request(format!(
                "resourceVersionMatch: Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\""
            ))),
        }
    }
}

/// Of built-in kinds, those without selectable fields of their own say which fields every kind has.
fn unknown_field(field: &str, kind: &Descriptor, selectable: &[&str]) -> Status {
    Status::bad_request(if selectable.is_empty() && kind.strategy.custom().is_none() {
        format!("\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    })
}

/// Whether a flag's value sets it: any but `false`, however it is written, and `0`.
pub fn is_true(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

/// A resource version: empty for none.
pub fn revision(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || Status::bad_request(format!("Invalid value: \"{text}\": resourceVersion must be a number"));
    text.parse().map(Some).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_numbers() {
        let query = Query::parse("watch=1&limit=5&allowWatchBookmarks=false&pretty");
        assert!(query.flag("watch") && query.flag("pretty") && !query.flag("allowWatchBookmarks"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert!(Query::parse("limit=x").number::<usize>("limit").is_err());
    }

    #[test]
    fn dry_run_is_all_or_nothing() {
        assert!(Query::parse("dryRun=All").dry_run().unwrap());
        assert_eq!(Query::parse("dryRun=Some").dry_run().unwrap_err().code(), 400);
    }
}
