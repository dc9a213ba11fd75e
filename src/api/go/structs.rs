//! The structs that upstream keeps objects in, whose fields, names and order are not those of the versioned API. They
//! stand in `embedded/go-structs.txt`, a struct a line, its fields in Go's order:
//!
//! ```text
//! Probe +ProbeHandler InitialDelaySeconds:int TerminationGracePeriodSeconds:*int
//! ```
//!
//! A field goes by the name that Go writes. The versioned form calls it the same in another case, or as it says behind
//! `=`. `+` marks an embedded struct: its fields stand among those of its owner, and in the versioned form too, unless
//! `=` says where they are there. `^` marks a field that the versioned form has one struct further out, and `?` one that
//! is left out if it is empty. The type is written as in Go, with `map:` for maps with text keys, and nothing for text.

use std::{collections::HashMap, sync::OnceLock};

const TEXT: &str = include_str!("../../../embedded/go-structs.txt");

/// A field of a struct.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its name in the versioned form, in any case.
    pub versioned: &'static str,
    /// Where it is found and shown.
    pub role: Role,
    /// Its type.
    pub of: Type,
}

/// Where a field is found in the versioned form, and shown in Go's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In the struct itself, and always shown.
    Own,
    /// In the struct itself, and shown unless it is empty.
    OmitEmpty,
    /// In the struct around this one.
    Outer,
    /// An embedded struct, whose fields are those of its owner in both forms.
    Embedded,
    /// An embedded struct that the versioned form has as a field.
    Promoted,
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// How values are held.
    pub hold: Hold,
    /// What they are.
    pub kind: Kind,
}

/// How a value is held, which says what stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// As it is: there is always one.
    Direct,
    /// By a pointer.
    Pointer,
    /// As items of a slice.
    Slice,
    /// As entries of a map.
    Map,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A number, or a number or text.
    Number,
    /// `true` or `false`
    Boolean,
    /// A point in time.
    Time,
    /// `resource.Quantity`
    Quantity,
    /// A struct, by its name.
    Struct(&'static str),
}

/// The fields of a struct.
pub fn fields(name: &str) -> &'static [Field] {
    static STRUCTS: OnceLock<HashMap<&str, Box<[Field]>>> = OnceLock::new();
    let structs = STRUCTS.get_or_init(|| {
        let lines = TEXT.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(name, fields)| (name, fields.split(' ').map(Field::parse).collect())).collect()
    });
    structs.get(name).map(AsRef::as_ref).unwrap_or_default()
}

impl Field {
    fn parse(text: &'static str) -> Self {
        let (text, of) = text.split_once(':').unwrap_or((text, ""));
        let (mark, versioned) = text.split_once('=').unwrap_or((text, ""));
        let name = mark.trim_matches(['+', '^', '?']);
        let role = match mark.replace(name, "").as_str() {
            "+" if versioned.is_empty() => Role::Embedded,
            "+" => Role::Promoted,
            "^" => Role::Outer,
            "?" => Role::OmitEmpty,
            _ => Role::Own,
        };
        Self { name, versioned: if versioned.is_empty() { name } else { versioned }, role, of: Type::parse(of) }
    }
}

impl Type {
    /// A type as the table writes it.
    pub fn parse(text: &'static str) -> Self {
        let holds = [("*", Hold::Pointer), ("[]", Hold::Slice), ("map:", Hold::Map)];
        let held = holds.into_iter().find_map(|(prefix, hold)| Some((hold, text.strip_prefix(prefix)?)));
        let (hold, kind) = held.unwrap_or((Hold::Direct, text));
        let kind = match kind {
            "" => Kind::Text,
            "int" | "intOrString" => Kind::Number,
            "bool" => Kind::Boolean,
            "time" => Kind::Time,
            "quantity" => Kind::Quantity,
            name => Kind::Struct(name),
        };
        Self { hold, kind }
    }

    /// The type of what is held.
    pub fn held(self) -> Self {
        Self { hold: Hold::Direct, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_struct_that_a_field_is_of_is_known() {
        for line in TEXT.lines() {
            let (name, _) = line.split_once(' ').unwrap();
            for field in fields(name) {
                let of = match field.role {
                    Role::Embedded | Role::Promoted => field.name,
                    _ => match field.of.kind {
                        Kind::Struct(of) => of,
                        _ => continue,
                    },
                };
                assert!(!fields(of).is_empty(), "{name}.{}: {of}", field.name);
            }
        }
    }
}
