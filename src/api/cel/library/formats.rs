//! Named formats of text: `format.dns1123Label().validate('my-name')` is what is wrong with it.

use super::{Run, native::Native, url::Url};
use crate::api::{
    cel::{
        error::Failure,
        value::{Outcome, Value},
    },
    custom::formats,
    validation::name,
};

/// A format.
#[derive(Debug)]
pub(in crate::api::cel) struct Format {
    pub name: &'static str,
    /// How long a regular expression for it would be, which is what it costs.
    pub pattern_length: u64,
    problems: fn(&str) -> Vec<String>,
}

macro_rules! formats {
    ($(($name:literal, $length:expr, $problems:expr)),* $(,)?) => {
        /// All formats.
        const FORMATS: &[Format] = &[$(Format { name: $name, pattern_length: $length, problems: $problems }),*];
        pub(super) const FUNCTIONS: &[(&str, Run)] = &[
            ("(format).validate(string) optional<list<string>>", validate),
            ("format.named(string) optional<format>", |values| {
                Ok(named(values[0].text()?).map_or_else(Value::none, |format| Value::some(Native::Format(format).into())))
            }),
            $((concat!("format.", $name, "() format"), |_| {
                named($name).map(|format| Native::Format(format).into()).ok_or_else(Failure::no_overload)
            })),*
        ];
    };
}

formats![
    ("dns1123Label", 30, name::dns1123_label),
    ("dns1123Subdomain", 60, name::dns1123_subdomain),
    ("dns1035Label", 30, name::dns1035_label),
    ("qualifiedName", 60, name::qualified_name),
    ("dns1123LabelPrefix", 30, |text| name::dns1123_label(&name::without_trailing_dash(text))),
    ("dns1123SubdomainPrefix", 60, |text| name::dns1123_subdomain(&name::without_trailing_dash(text))),
    ("dns1035LabelPrefix", 30, |text| name::dns1035_label(&name::without_trailing_dash(text))),
    ("labelValue", 40, name::label_value),
    ("uri", 1103, |text| Url::parse(text).err().into_iter().collect()),
    ("uuid", 74, |text| unless("uuid", text, "does not match the UUID format")),
    ("byte", 84, |text| unless("byte", text, "invalid base64")),
    ("date", 97, |text| unless("date", text, "invalid date")),
    ("datetime", 97, |text| unless("datetime", text, "invalid datetime")),
];

fn named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

fn unless(format: &str, text: &str, problem: &str) -> Vec<String> {
    if formats::is(text, format) { Vec::new() } else { vec![problem.into()] }
}

fn validate<'a>(values: &[Value<'a>]) -> Outcome<'a> {
    let Native::Format(format) = values[0].native()? else { return Err(Failure::no_overload()) };
    let problems = (format.problems)(values[1].text()?);
    Ok(if problems.is_empty() { Value::none() } else { Value::some(Value::strings(problems)) })
}
