//! Bodies in JSON and YAML, decoded strictly by a kind's schema: nothing panics, and what was decoded is read
//! again as it is, with nothing to complain of.
//!
//! The first two bytes choose the kind, the third the format.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nauplius::api::{
    kinds,
    schema::{FieldValidation, Format, Library, Schema, decode},
};

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let library = Library::default();
    kinds::all().iter().map(|kind| library.schema(kind)).collect()
});

fuzz_target!(|input: &[u8]| {
    let [high, low, format, body @ ..] = input else { return };
    let schema = &SCHEMAS[usize::from(u16::from_be_bytes([*high, *low])) % SCHEMAS.len()];
    let format = if format % 2 == 0 { Format::Json } else { Format::Yaml };
    let Ok((object, _)) = decode(body, format, schema, FieldValidation::Warn) else { return };
    let text = object.to_string();
    let again = decode(text.as_bytes(), Format::Json, schema, FieldValidation::Strict);
    let (again, warnings) = again.unwrap_or_else(|status| panic!("{text}: {}", status.message));
    assert_eq!(again, object);
    assert!(warnings.is_empty(), "{text}: {warnings:?}");
});
