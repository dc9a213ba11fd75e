//! Objects as tables (`meta.k8s.io/v1` Table, which kubectl prints) and as bare metadata
//! (`PartialObjectMetadata`, which controllers watch). Both are made from a kind's descriptor and
//! encoded objects when a client asks for them in its `Accept` header.
//!
//! A get gives a table of one row, a list one of all, and a watch one table per event, of which
//! only the first has column definitions.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::api::{
    Status,
    decoded::Decoded,
    kind::{Column, Descriptor},
    meta,
};

const API_VERSION: &str = "meta.k8s.io/v1";

/// Columns of a kind that declares none.
const PLAIN: &[Column] = &[
    Column { name: "Name", kind: "string", format: "name", description: "Name of the object", priority: 0 },
    Column { name: "Created At", kind: "date", format: "", description: "When the object was created", priority: 0 },
];

/// The form in which a client wants objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// As rows of a table.
    Table,
    /// Only their metadata.
    Metadata,
}

impl Form {
    /// The first form of an `Accept` header that can be served. Forms other than JSON are ignored.
    pub fn from_accept(accept: &str) -> Self {
        for media_type in accept.split(',') {
            let mut parts = media_type.split(';').map(str::trim);
            let json = matches!(parts.next(), Some("application/json"));
            let parameters: Vec<&str> = parts.collect();
            let wanted = parameters.iter().find_map(|parameter| parameter.strip_prefix("as="));
            let known_group = parameters.contains(&"g=meta.k8s.io") && parameters.contains(&"v=v1");
            match wanted {
                Some("Table") if json && known_group => return Self::Table,
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") if json && known_group => {
                    return Self::Metadata;
                }
                None => return Self::Object,
                Some(_) => {}
            }
        }
        Self::Object
    }
}

/// How much of each object a table carries (the `includeObject` parameter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the parameter; empty is the default.
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "None" => Ok(Self::None),
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            other => Err(Status::bad_request(format!("unrecognized includeObject value: \"{other}\""))),
        }
    }
}

/// `metadata` of a list, table or list of metadata.
#[derive(Debug, Clone, Default)]
pub struct ListMeta {
    /// The version that the list shows.
    pub resource_version: String,
    /// Where the next page begins; empty on the last one.
    pub continue_token: String,
    /// How many objects follow, where that is known.
    pub remaining_item_count: Option<u64>,
}

impl ListMeta {
    fn value(&self) -> Value {
        let mut value = json!({"resourceVersion": self.resource_version});
        if !self.continue_token.is_empty() {
            value["continue"] = self.continue_token.as_str().into();
        }
        if let Some(count) = self.remaining_item_count {
            value["remainingItemCount"] = count.into();
        }
        value
    }
}

/// A table of encoded objects. `now` is the server's time; `columns` says whether column
/// definitions are wanted (not in a watch's further events).
pub fn table<'a>(
    descriptor: &Descriptor,
    objects: impl IntoIterator<Item = &'a [u8]>,
    list: &ListMeta,
    include: IncludeObject,
    now: jiff::Timestamp,
    columns: bool,
) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(format!("{{\"kind\":\"Table\",\"apiVersion\":\"{API_VERSION}\",\"metadata\":").as_bytes());
    write(&mut out, &list.value());
    out.put_slice(b",\"columnDefinitions\":");
    let definitions: Vec<Value> = columns_of(descriptor).iter().filter(|_| columns).map(definition).collect();
    write(&mut out, &definitions);
    out.put_slice(b",\"rows\":[");
    for (position, object) in objects.into_iter().enumerate() {
        if position > 0 {
            out.put_u8(b',');
        }
        row(&mut out, descriptor, object, include, now);
    }
    out.put_slice(b"]}");
    out.freeze()
}

/// One encoded object as `PartialObjectMetadata`.
pub fn metadata(object: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    write_metadata(&mut out, object);
    out.freeze()
}

/// Encoded objects as `PartialObjectMetadataList`.
pub fn metadata_list<'a>(objects: impl IntoIterator<Item = &'a [u8]>, list: &ListMeta) -> Bytes {
    let mut out = BytesMut::new();
    let head = format!("{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"{API_VERSION}\",\"metadata\":");
    out.put_slice(head.as_bytes());
    write(&mut out, &list.value());
    out.put_slice(b",\"items\":[");
    for (position, object) in objects.into_iter().enumerate() {
        if position > 0 {
            out.put_u8(b',');
        }
        write_metadata(&mut out, object);
    }
    out.put_slice(b"]}");
    out.freeze()
}

fn columns_of(descriptor: &Descriptor) -> &'static [Column] {
    let columns = descriptor.strategy.columns();
    if columns.is_empty() { PLAIN } else { columns }
}

fn definition(column: &Column) -> Value {
    json!({"name": column.name, "type": column.kind, "format": column.format, "description": column.description,
           "priority": column.priority})
}

fn row(out: &mut BytesMut, descriptor: &Descriptor, object: &[u8], include: IncludeObject, now: jiff::Timestamp) {
    let value = Decoded::from(serde_json::from_slice::<Value>(object).unwrap_or_default());
    let cells = match descriptor.strategy.columns() {
        [] => vec![meta::name(&value).into(), meta::creation_timestamp(&value).into()],
        _ => descriptor.strategy.cells(&value, now),
    };
    out.put_slice(b"{\"cells\":");
    write(out, &cells);
    out.put_slice(b",\"object\":");
    match include {
        IncludeObject::None => out.put_slice(b"null"),
        IncludeObject::Metadata => write_metadata(out, object),
        IncludeObject::Object => out.put_slice(object),
    }
    out.put_u8(b'}');
}

#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// Metadata goes over as it is encoded, without being taken apart.
fn write_metadata(out: &mut BytesMut, object: &[u8]) {
    let peek: Option<Peek<'_>> = serde_json::from_slice(object).ok();
    let metadata = peek.and_then(|peek| peek.metadata).map_or("{}", RawValue::get);
    out.put_slice(
        format!("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{API_VERSION}\",\"metadata\":").as_bytes(),
    );
    out.put_slice(metadata.as_bytes());
    out.put_u8(b'}');
}

fn write(out: &mut BytesMut, value: &impl serde::Serialize) {
    serde_json::to_writer(out.writer(), value).expect("trees with string keys always encode, and the buffer grows");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{kinds, time};

    const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default",
        "creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"containers":[{"name":"a"}]},"status":{"phase":"Pending"}}"#;

    fn pods() -> Descriptor {
        kinds::all().into_iter().find(|kind| kind.kind == "Pod").unwrap()
    }

    fn shown(include: IncludeObject, columns: bool) -> Value {
        let now = time::parse("2026-01-01T00:01:00Z").unwrap();
        let list = ListMeta { resource_version: "7".into(), ..ListMeta::default() };
        serde_json::from_slice(&table(&pods(), [POD, POD], &list, include, now, columns)).unwrap()
    }

    #[test]
    fn a_table_has_a_cell_per_column_and_metadata() {
        let table = shown(IncludeObject::Metadata, true);
        assert_eq!(table["metadata"], json!({"resourceVersion": "7"}));
        let (columns, rows) = (table["columnDefinitions"].as_array().unwrap(), table["rows"].as_array().unwrap());
        assert_eq!((columns[0]["name"].as_str(), rows.len()), (Some("Name"), 2));
        assert_eq!(rows[0]["cells"].as_array().unwrap().len(), columns.len());
        assert_eq!(rows[0]["cells"][0], "web");
        assert_eq!(rows[0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(rows[0]["object"]["metadata"]["namespace"], "default");
    }

    #[test]
    fn objects_are_included_as_asked() {
        assert_eq!(shown(IncludeObject::None, false)["rows"][0]["object"], Value::Null);
        assert_eq!(shown(IncludeObject::Object, false)["rows"][0]["object"]["kind"], "Pod");
        assert_eq!(shown(IncludeObject::None, false)["columnDefinitions"], json!([]));
        assert_eq!(IncludeObject::parse("All").unwrap_err().code(), 400);
    }

    #[test]
    fn the_first_form_that_can_be_served_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;\
                       g=meta.k8s.io,application/json";
        assert_eq!(Form::from_accept(kubectl), Form::Table);
        assert_eq!(Form::from_accept("application/json, application/json;as=Table;v=v1;g=meta.k8s.io"), Form::Object);
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,\
                        application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        assert_eq!(Form::from_accept(metadata), Form::Metadata);
    }

    #[test]
    fn lists_of_metadata_are_whole() {
        let list = ListMeta { resource_version: "7".into(), continue_token: "c".into(), remaining_item_count: Some(3) };
        let value: Value = serde_json::from_slice(&metadata_list([POD], &list)).unwrap();
        assert_eq!(value["items"][0]["metadata"]["name"], "web");
        assert_eq!(value["metadata"]["remainingItemCount"], 3);
    }
}
