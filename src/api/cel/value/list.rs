//! Lists: JSON, items, or two lists one after the other. Joining copies nothing, since it costs as
//! little as adding numbers.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value as Json;

use super::{Kind, Map, Outcome, Value, json, read};
use crate::api::{
    cel::{error::Failure, shape::Shape},
    custom::structural::ListKind,
};

/// Joined lists are made one when they are joined of more.
const DEPTH_LIMIT: u32 = 64;
/// Longer lists are not made one; going through them costs too much anyway.
const ITEM_LIMIT: usize = 1_000_000;

/// A list. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::api::cel) struct List<'a> {
    items: Items<'a>,
    /// Its schema, which may say that it is a set or a map.
    shape: Option<&'a Shape>,
    /// How deep what expressions made is nested in it.
    nesting: u32,
}

#[derive(Debug, Clone)]
enum Items<'a> {
    Json(&'a [Json]),
    Values(Arc<Vec<Value<'a>>>),
    Joined(Arc<Joined<'a>>),
}

#[derive(Debug)]
struct Joined<'a> {
    left: List<'a>,
    right: List<'a>,
    length: usize,
    depth: u32,
}

impl<'a> From<Vec<Value<'a>>> for List<'a> {
    fn from(items: Vec<Value<'a>>) -> Self {
        let nesting = 1 + items.iter().map(Value::nesting).max().unwrap_or_default();
        Self { items: Items::Values(Arc::new(items)), shape: None, nesting }
    }
}

impl<'a> List<'a> {
    pub fn of_json(items: &'a [Json], shape: Option<&'a Shape>) -> Self {
        Self { items: Items::Json(items), shape, nesting: 1 }
    }

    pub fn len(&self) -> usize {
        match &self.items {
            Items::Json(items) => items.len(),
            Items::Values(items) => items.len(),
            Items::Joined(joined) => joined.length,
        }
    }

    /// The item at a place, or `None` behind the end.
    pub fn get(&self, mut at: usize) -> Option<Outcome<'a>> {
        let mut list = self;
        loop {
            match &list.items {
                Items::Json(items) => return items.get(at).map(|item| list.read(item)),
                Items::Values(items) => return items.get(at).cloned().map(Ok),
                Items::Joined(joined) => {
                    let left = joined.left.len();
                    (list, at) = if at < left { (&joined.left, at) } else { (&joined.right, at - left) };
                }
            }
        }
    }

    /// The item at a place, if an expression made it: `Some(None)` if it is JSON.
    pub fn made(&self, mut at: usize) -> Option<Option<&Value<'a>>> {
        let mut list = self;
        loop {
            match &list.items {
                Items::Json(_) => return Some(None),
                Items::Values(items) => return items.get(at).map(Some),
                Items::Joined(joined) => {
                    let left = joined.left.len();
                    (list, at) = if at < left { (&joined.left, at) } else { (&joined.right, at - left) };
                }
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Outcome<'a>> + '_ {
        (0..self.len()).map_while(|at| self.get(at))
    }

    /// All items; as a failure if there are too many to have at once.
    pub fn values(&self) -> Result<Vec<Value<'a>>, Failure> {
        if self.len() > ITEM_LIMIT {
            return Err(Failure::Limit);
        }
        self.iter().collect()
    }

    /// How deep what expressions made is nested in it.
    pub fn nesting(&self) -> u32 {
        self.nesting
    }

    /// How the list is shared, which says how it is compared and joined.
    pub fn list_kind(&self) -> &'a ListKind {
        self.shape.map_or(&ListKind::Atomic, |shape| &shape.list)
    }

    /// The list with another item. Nobody else should have the list, or it is copied.
    pub fn pushed(mut self, item: Value<'a>) -> Result<Self, Failure> {
        if let Items::Values(items) = &mut self.items {
            self.nesting = self.nesting.max(1 + item.nesting());
            Arc::make_mut(items).push(item);
            return Ok(self);
        }
        self.join(&vec![item].into())
    }

    /// `self + other`: sets have no item twice, and items of maps replace those of the same keys.
    pub fn join(&self, other: &Self) -> Result<Self, Failure> {
        match self.list_kind() {
            ListKind::Atomic => self.append(other),
            ListKind::Set => self.merge(other, false, |item| fingerprint(item)),
            ListKind::Map(keys) => self.merge(other, true, |item| keys_of(item, keys)),
        }
    }

    fn append(&self, other: &Self) -> Result<Self, Failure> {
        if self.len() == 0 && self.shape.is_none() {
            return Ok(other.clone());
        }
        if other.len() == 0 {
            return Ok(self.clone());
        }
        let depth = 1 + self.depth().max(other.depth());
        if depth > DEPTH_LIMIT {
            let mut items = self.values()?;
            items.extend(other.values()?);
            return Ok(Self { shape: self.shape, ..items.into() });
        }
        let length = self.len().saturating_add(other.len());
        let joined = Joined { left: self.clone(), right: other.clone(), length, depth };
        let nesting = self.nesting.max(other.nesting);
        Ok(Self { items: Items::Joined(Arc::new(joined)), shape: self.shape, nesting })
    }

    fn merge(
        &self,
        other: &Self,
        replace: bool,
        key: impl Fn(&Value<'a>) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let mut items = self.values()?;
        let mut places = HashMap::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            places.insert(key(item)?, at);
        }
        for item in other.values()? {
            match places.get(&key(&item)?) {
                Some(at) if replace => items[*at] = item,
                Some(_) => {}
                None => {
                    places.insert(key(&item)?, items.len());
                    items.push(item);
                }
            }
        }
        Ok(Self { shape: self.shape, ..items.into() })
    }

    /// Pairs of items that are to be equal, in the order of `other`; `None` if one has no other half.
    pub fn pairs(&self, other: &Self) -> Result<Option<Vec<(Value<'a>, Value<'a>)>>, Failure> {
        let key = |item: &Value<'a>| match self.list_kind() {
            ListKind::Map(keys) => keys_of(item, keys),
            _ => fingerprint(item),
        };
        let mut mine = HashMap::with_capacity(self.len().min(ITEM_LIMIT));
        for item in self.values()? {
            mine.insert(key(&item)?, item);
        }
        let mut pairs = Vec::with_capacity(mine.len());
        for item in other.values()? {
            let Some(half) = mine.get(&key(&item)?) else { return Ok(None) };
            pairs.push((half.clone(), item));
        }
        Ok(Some(pairs))
    }

    fn read(&self, item: &'a Json) -> Outcome<'a> {
        match self.shape.and_then(|shape| shape.items()) {
            Some(shape) => read::shaped(item, shape),
            None => Ok(read::untyped(item)),
        }
    }

    fn depth(&self) -> u32 {
        match &self.items {
            Items::Joined(joined) => joined.depth,
            _ => 0,
        }
    }
}

/// The same text for items of a set that are the same.
fn fingerprint(item: &Value<'_>) -> Result<String, Failure> {
    json::write(item).map(|json| json.to_string())
}

/// The same text for items of a map with the same keys.
fn keys_of(item: &Value<'_>, keys: &[Box<str>]) -> Result<String, Failure> {
    let Kind::Map(map) = &item.0 else { return Err(Failure::no_overload()) };
    let mut found = String::new();
    for key in keys {
        found.push_str(&property(map, key)?);
        found.push('\n');
    }
    Ok(found)
}

fn property(map: &Map<'_>, name: &str) -> Result<String, Failure> {
    match map.property(name)? {
        Some(value) => fingerprint(&value),
        None => Ok(String::new()),
    }
}
