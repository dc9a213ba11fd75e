//! Query parameters of a request, and the options that reads, writes and deletions take from them
//! (`GetOptions`, `CreateOptions`, … of meta/v1). Those of lists and watches are in
//! [`crate::apiserver::list_options`].

use std::{
    num::{IntErrorKind, ParseIntError},
    str::FromStr,
    time::Duration,
};

use crate::{
    api::{
        Status,
        kind::Descriptor,
        schema::FieldValidation,
        selector::{FieldSelector, LabelSelector},
        time,
    },
    apiserver::cache::selectable::Selector,
};

/// Parameters that are read at most; further ones are ignored.
const PARAMETERS_LIMIT: usize = 64;

/// Decoded parameters, in order.
#[derive(Debug, Clone, Default)]
pub struct Query {
    parameters: Vec<(String, String)>,
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

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(move |(parameter, _)| parameter == name).map(|(_, value)| value.as_str())
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
    pub fn number<T: FromStr<Err = ParseIntError>>(&self, name: &str) -> Result<Option<T>, Status> {
        let parse = |value: &str| {
            value.parse().map_err(|error: ParseIntError| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                Status::bad_request(format!("strconv.ParseInt: parsing \"{value}\": {why}"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// `timeout`: how long the client waits for the answer. Zero and less count as absent.
    pub fn timeout(&self) -> Result<Option<Duration>, Status> {
        let Some(text) = self.get("timeout") else { return Ok(None) };
        match time::parse_duration(text) {
            Ok(timeout) => Ok(timeout.filter(|timeout| !timeout.is_zero())),
            Err(why) => Err(Status::bad_request(format!(
                "invalid timeout specified in the request URL - time: {why} \"{text}\""
            ))),
        }
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
    fn timeouts_are_durations() {
        let timeout = |text: &str| Query::parse(&format!("timeout={text}")).timeout();
        assert_eq!(timeout("32s").unwrap(), Some(Duration::from_secs(32)));
        assert_eq!(timeout("0").unwrap(), None);
        let message = timeout("5").unwrap_err().message;
        assert_eq!(message, "invalid timeout specified in the request URL - time: missing unit in duration \"5\"");
    }

    #[test]
    fn dry_run_is_all_or_nothing() {
        assert!(Query::parse("dryRun=All").dry_run().unwrap());
        assert_eq!(Query::parse("dryRun=Some").dry_run().unwrap_err().code(), 400);
    }
}
