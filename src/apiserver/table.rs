//! Objects as tables (`meta.k8s.io/v1` Table, which kubectl prints) and as bare metadata
//! (`PartialObjectMetadata`, which controllers watch). Both are made from a kind's descriptor and
//! encoded objects when a client asks for them in its `Accept` header.
//!
//! A get gives a table of one row, a list one of all, and a watch one table per event, of which
//! only the first has column definitions.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::api::{
    Status,
    kind::{Column, Descriptor, TableColumn},
    kinds::cells,
    meta,
};

/// Columns of a kind that declares none.
const PLAIN: &[Column] = &[cells::NAME, cells::column("Created At", "date", cells::CREATED)];

/// Version of `meta.k8s.io` in which tables and metadata are shown. They differ in nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVersion {
    /// `v1`
    V1,
    /// `v1beta1`
    V1Beta1,
}

impl MetaVersion {
    /// Reads `v1` or `v1beta1`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }

    /// `meta.k8s.io/v1`
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
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
            other => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
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

/// How a table is shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Version of the table.
    pub version: MetaVersion,
    /// How much of each object it carries.
    pub include: IncludeObject,
    /// The server's time.
    pub now: jiff::Timestamp,
    /// Whether column definitions are wanted (not in a watch's further events).
    pub columns: bool,
}

impl ListMeta {
    /// The metadata as JSON.
    pub fn value(&self) -> Value {
        let mut value = json!({});
        if !self.resource_version.is_empty() {
            value["resourceVersion"] = self.resource_version.as_str().into();
        }
        if !self.continue_token.is_empty() {
            value["continue"] = self.continue_token.as_str().into();
        }
        if let Some(count) = self.remaining_item_count {
            value["remainingItemCount"] = count.into();
        }
        value
    }
}

/// A table of encoded objects.
pub fn table<'a>(
    descriptor: &Descriptor,
    objects: impl IntoIterator<Item = &'a [u8]>,
    list: &ListMeta,
    shown: Shown,
) -> Bytes {
    let mut out = table_head(descriptor, list, shown);
    for (position, object) in objects.into_iter().enumerate() {
        if position > 0 {
            out.put_u8(b',');
        }
        row(&mut out, descriptor, object, shown);
    }
    out.put_slice(b"]}");
    out.freeze()
}

/// A table up to its first row. After the last one comes `]}`.
pub fn table_head(descriptor: &Descriptor, list: &ListMeta, shown: Shown) -> BytesMut {
    let mut out = BytesMut::new();
    begin(&mut out, "Table", shown.version);
    write(&mut out, &list.value());
    out.put_slice(b",\"columnDefinitions\":");
    let all = columns_of(descriptor);
    let definitions: Vec<Value> = all.iter().filter(|_| shown.columns).map(definition).collect();
    write(&mut out, &definitions);
    out.put_slice(b",\"rows\":[");
    out
}

/// One encoded object as `PartialObjectMetadata`.
pub fn metadata(object: &[u8], version: MetaVersion) -> Bytes {
    let mut out = BytesMut::new();
    write_metadata(&mut out, object, version);
    out.freeze()
}

/// A `PartialObjectMetadataList` up to its first item. After the last one comes `]}`.
pub fn metadata_list_head(list: &ListMeta, version: MetaVersion) -> BytesMut {
    let mut out = BytesMut::new();
    begin(&mut out, "PartialObjectMetadataList", version);
    write(&mut out, &list.value());
    out.put_slice(b",\"items\":[");
    out
}

/// The beginning of an object, up to its metadata.
fn begin(out: &mut BytesMut, kind: &str, version: MetaVersion) {
    let version = version.api_version();
    out.put_slice(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":").as_bytes());
}

/// Whether a kind's table is the one of any kind: a name, and when the object was created.
pub fn is_plain(descriptor: &Descriptor) -> bool {
    columns_of(descriptor).iter().map(|column| column.name).eq(PLAIN.iter().map(|column| column.name))
}

fn columns_of(descriptor: &Descriptor) -> Cow<'_, [TableColumn<'_>]> {
    let columns = descriptor.strategy.columns();
    if columns.is_empty() { Cow::Borrowed(PLAIN) } else { columns }
}

fn definition(column: &TableColumn<'_>) -> Value {
    json!({"name": column.name, "type": column.kind, "format": column.format, "description": column.description,
           "priority": column.priority})
}

/// Appends the row of an encoded object.
pub fn row(out: &mut BytesMut, descriptor: &Descriptor, object: &[u8], shown: Shown) {
    let cells = match &*descriptor.strategy.columns() {
        [] => plain_cells(object),
        _ => descriptor.strategy.row(object, shown.now),
    };
    out.put_slice(b"{\"cells\":");
    write(out, &cells);
    out.put_slice(b",\"object\":");
    match shown.include {
        IncludeObject::None => out.put_slice(b"null"),
        IncludeObject::Metadata => write_metadata(out, object, shown.version),
        IncludeObject::Object => out.put_slice(object),
    }
    out.put_u8(b'}');
}

/// Appends an encoded object as `PartialObjectMetadata`: metadata goes over as it is encoded, without being
/// taken apart.
pub fn write_metadata(out: &mut BytesMut, object: &[u8], version: MetaVersion) {
    let metadata = leading_metadata(object).or_else(|| {
        let peek: Peek<'_> = serde_json::from_slice(object).ok()?;
        peek.metadata
    });
    begin(out, "PartialObjectMetadata", version);
    out.put_slice(metadata.map_or("{}", RawValue::get).as_bytes());
    out.put_u8(b'}');
}

fn plain_cells(object: &[u8]) -> Vec<Value> {
    let value: Value = serde_json::from_slice(object).unwrap_or_default();
    vec![meta::name(&value).into(), meta::creation_timestamp(&value).into()]
}

#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// The metadata of an object in which only its type comes before: what is behind need not be read.
fn leading_metadata(object: &[u8]) -> Option<&RawValue> {
    const NAME: &[u8] = b"\"metadata\":";
    let at = object.windows(NAME.len()).position(|window| window == NAME)?;
    if object[1..at].iter().any(|byte| matches!(byte, b'{' | b'[')) {
        return None;
    }
    serde_json::Deserializer::from_slice(&object[at + NAME.len()..]).into_iter().next()?.ok()
}

fn write(out: &mut BytesMut, value: &impl serde::Serialize) {
    serde_json::to_writer(out.writer(), value).expect("trees with string keys always encode, and the buffer grows");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{decoded::Decoded, kinds, time};

    const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default",
        "creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"containers":[{"name":"a"}]},"status":{"phase":"Pending"}}"#;

    fn pods() -> Descriptor {
        kinds::all().into_iter().find(|kind| kind.kind == "Pod").unwrap()
    }

    fn rendered(include: IncludeObject, columns: bool) -> Value {
        let now = time::parse("2026-01-01T00:01:00Z").unwrap();
        let list = ListMeta { resource_version: "7".into(), ..ListMeta::default() };
        let shown = Shown { version: MetaVersion::V1, include, now, columns };
        serde_json::from_slice(&table(&pods(), [POD, POD], &list, shown)).unwrap()
    }

    #[test]
    fn a_table_has_a_cell_per_column_and_metadata() {
        let table = rendered(IncludeObject::Metadata, true);
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
        assert_eq!(rendered(IncludeObject::None, false)["rows"][0]["object"], Value::Null);
        assert_eq!(rendered(IncludeObject::Object, false)["rows"][0]["object"]["kind"], "Pod");
        assert_eq!(rendered(IncludeObject::None, false)["columnDefinitions"], json!([]));
        assert_eq!(IncludeObject::parse("All").unwrap_err().code(), 400);
    }

    #[test]
    fn older_clients_get_the_version_that_they_ask_for() {
        let list = ListMeta::default();
        let now = time::parse("2026-01-01T00:01:00Z").unwrap();
        let shown = Shown { version: MetaVersion::V1Beta1, include: IncludeObject::Metadata, now, columns: false };
        let table: Value = serde_json::from_slice(&table(&pods(), [POD], &list, shown)).unwrap();
        assert_eq!(table["apiVersion"], "meta.k8s.io/v1beta1");
        assert_eq!(table["rows"][0]["object"]["apiVersion"], "meta.k8s.io/v1beta1");
    }

    #[test]
    fn every_kind_has_cells_for_a_bookmark() {
        // A bookmark is an object with a resource version and nothing else.
        for kind in kinds::all() {
            let object = Decoded::from(json!({"metadata": {"resourceVersion": "7"}}));
            let cells = kind.strategy.cells(&object, jiff::Timestamp::now());
            assert_eq!(cells.len(), kind.strategy.columns().len(), "{}", kind.kind);
        }
    }

    #[test]
    fn metadata_is_found_where_it_is() {
        let shown = |object: &str| {
            let mut out = BytesMut::new();
            write_metadata(&mut out, object.as_bytes(), MetaVersion::V1);
            serde_json::from_slice::<Value>(&out).unwrap()["metadata"].clone()
        };
        let expected = json!({"name": "a", "labels": {"x": "}\"metadata\":{"}});
        for object in [
            json!({"kind": "A", "metadata": expected, "spec": {"metadata": {"name": "b"}}}),
            json!({"kind": "A", "data": {"metadata": {"name": "b"}}, "metadata": expected}),
            json!({"kind": "{\"metadata\":{}", "metadata": expected}),
        ] {
            assert_eq!(shown(&object.to_string()), expected, "{object}");
        }
        assert_eq!(shown("{}"), json!({}));
    }
}
