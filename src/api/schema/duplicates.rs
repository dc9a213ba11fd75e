//! Which lines of a YAML document repeat a key of their mapping, in the words of upstream's parser.
//!
//! A deserializer does not say where it is, but its errors do: the document is read again for each
//! repeated key, and reading fails at that one.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most repeated keys that are reported.
const REPORTED: usize = 10;

/// `line 9: key "foo" already set in map` for each repeated key, in order.
pub fn lines(document: &[u8]) -> Vec<String> {
    (0..REPORTED).map_while(|nth| line(document, nth)).collect()
}

fn line(document: &[u8], nth: usize) -> Option<String> {
    let (skip, found) = (Cell::new(nth), Cell::new(None));
    let node = Node { skip: &skip, found: &found };
    let error = node.deserialize(serde_yaml::Deserializer::from_slice(document)).err()?;
    let (line, key) = (error.location()?.line(), found.take()?);
    Some(format!("line {line}: key {key:?} already set in map"))
}

/// Any node of the document.
#[derive(Clone, Copy)]
struct Node<'a> {
    /// How many repeated keys are still passed over.
    skip: &'a Cell<usize>,
    /// The repeated key at which reading failed.
    found: &'a Cell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while map.next_key_seed(Key { node: self, seen: &mut seen })?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        tagged.variant::<IgnoredAny>().map(drop)
    }
}

/// A key, which fails if it is the repeated one that is looked for.
struct Key<'a> {
    node: Node<'a>,
    seen: &'a mut HashSet<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        if self.seen.insert(key.to_owned()) {
            return Ok(());
        }
        match self.node.skip.get().checked_sub(1) {
            Some(rest) => self.node.skip.set(rest),
            None => {
                self.node.found.set(Some(key.to_owned()));
                return Err(E::custom("a key is repeated"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_named_with_their_lines() {
        let document = b"a: 1\nb:\n- {x: 1, x: 2}\n- c: 1\n  d: 2\n  c: 3\na: [1]\n";
        let expected = [
            "line 3: key \"x\" already set in map",
            "line 6: key \"c\" already set in map",
            "line 7: key \"a\" already set in map",
        ];
        assert_eq!(lines(document), expected);
        assert_eq!(lines(b"{\"a\": 1, \"b\": {\"a\": 1}}"), [""; 0]);
        assert_eq!(lines(b"a: [\n"), [""; 0]);
    }
}
