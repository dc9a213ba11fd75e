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
        field::{self, Path},
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

    /// `dryRun`, which may only be `All`, of a request with `verb`.
    pub fn dry_run(&self, verb: &str) -> Result<bool, Status> {
        let Some(options) = options(verb) else { return Ok(false) };
        dry_run(&self.all("dryRun").collect::<Vec<_>>(), options)
    }

    /// `fieldValidation` of a request with `verb`.
    pub fn field_validation(&self, verb: &str) -> Result<FieldValidation, Status> {
        let Some(options) = options(verb) else { return Ok(FieldValidation::Ignore) };
        let given = self.get("fieldValidation").unwrap_or_default();
        FieldValidation::parse(given).ok_or_else(|| {
            let cause = field::unsupported(&Path::new("fieldValidation"), given, &["", "Ignore", "Strict", "Warn"]);
            Status::invalid("meta.k8s.io", options, "", vec![cause])
        })
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

/// The kind of the options of a request with `verb`, if it writes.
fn options(verb: &str) -> Option<&'static str> {
    match verb {
        "create" => Some("CreateOptions"),
        "update" => Some("UpdateOptions"),
        "patch" => Some("PatchOptions"),
        "delete" | "deletecollection" => Some("DeleteOptions"),
        _ => None,
    }
}

/// Whether nothing is to be stored; 422 for `stages` that there are not.
pub fn dry_run(stages: &[&str], options: &str) -> Result<bool, Status> {
    if stages.iter().any(|stage| *stage != "All") {
        let cause = field::unsupported(&Path::new("dryRun"), stages, &["All"]);
        return Err(Status::invalid("meta.k8s.io", options, "", vec![cause]));
    }
    Ok(!stages.is_empty())
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
        assert!(Query::parse("dryRun=All").dry_run("create").unwrap());
        let message = Query::parse("dryRun=All&dryRun=Some").dry_run("create").unwrap_err().message;
        assert_eq!(
            message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"All\",\"Some\"]: supported values: \
             \"All\""
        );
    }
}
