//! What a client accepts: the clauses of `Accept`, of which the first that can be served decides
//! about form and encoding (API concepts, "Alternate representations of resources").

use http::{HeaderMap, header};

use crate::{
    api::{Status, kind::Descriptor, protobuf, status::Reason},
    apiserver::{
        query::Query,
        table::{IncludeObject, MetaVersion},
    },
};

const GROUP: &str = "meta.k8s.io";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// The form in which a client wants objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// As rows of a table.
    Table(MetaVersion),
    /// Only the metadata of one.
    Metadata(MetaVersion),
    /// Only the metadata of several.
    MetadataList(MetaVersion),
}

/// What a client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Objects, tables or metadata.
    pub form: Form,
    /// JSON, YAML or protobuf.
    pub encoding: Encoding,
    /// What rows of a table carry.
    pub include: IncludeObject,
}

/// The value of an `Accept` header; empty if there is none.
#[derive(Debug, Clone, Default)]
pub struct Accept(String);

/// One media type that is accepted.
struct Clause<'a> {
    main: &'a str,
    sub: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Encoding {
    /// All, in the order in which they are offered.
    const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Protobuf];

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
        }
    }
}

impl Accept {
    /// Reads all values of the header.
    pub fn of(headers: &HeaderMap) -> Self {
        let values: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        Self(values.join(","))
    }

    /// Refuses, as upstream's router does, what no route of a verb of a built-in kind writes. Types are compared by
    /// their text here, and patterns are not understood other than `*/*`.
    pub fn check_route(&self, verb: &str) -> Result<(), Status> {
        let types = Encoding::ALL.map(Encoding::media_type);
        let mut given = self.0.split(',').map(|clause| clause.split(';').next().unwrap_or_default().trim());
        if self.0.is_empty() || given.any(|given| given == "*/*" || types.contains(&given)) {
            return Ok(());
        }
        let mut available = types.map(str::to_owned).to_vec();
        if matches!(verb, "list" | "watch") {
            available.extend(streams());
        }
        let message = format!("406: Not Acceptable\n\nAvailable representations: {}", available.join(", "));
        Err(Status { reason: Reason::NotAcceptable, message, details: Some(Box::default()) })
    }

    /// How objects of a kind are to be shown; 406 if nothing that is acceptable can be served.
    pub fn objects(&self, kind: &Descriptor, query: &Query) -> Result<Accepted, Status> {
        let offer =
            |encoding: Encoding, clause: &Clause<'_>| clause.form().filter(|form| serves(*form, encoding, kind));
        let (form, encoding) =
            self.choose(offer).ok_or_else(|| not_acceptable(&Encoding::ALL.map(Encoding::media_type)))?;
        let include = match form {
            Form::Table(_) => IncludeObject::parse(query.get("includeObject").unwrap_or_default())?,
            _ => IncludeObject::default(),
        };
        Ok(Accepted { form, encoding, include })
    }

    /// How events of a watch are to be shown. There is no stream of YAML.
    pub fn events(&self, kind: &Descriptor, query: &Query) -> Result<Accepted, Status> {
        let accepted = self.objects(kind, query)?;
        if accepted.encoding == Encoding::Yaml {
            return Err(not_acceptable(&streams()));
        }
        Ok(accepted)
    }

    /// How what has no other form is to be written: a `Status`, a review, a scale.
    pub fn document(&self) -> Result<Encoding, Status> {
        let offer = |_, clause: &Clause<'_>| clause.form().filter(|form| *form == Form::Object);
        let chosen = self.choose(offer).map(|(_, encoding)| encoding);
        chosen.ok_or_else(|| not_acceptable(&Encoding::ALL.map(Encoding::media_type)))
    }

    fn choose(&self, offer: impl Fn(Encoding, &Clause<'_>) -> Option<Form>) -> Option<(Form, Encoding)> {
        if self.0.trim().is_empty() {
            return Some((Form::Object, Encoding::Json));
        }
        let mut clauses: Vec<Clause<'_>> = self.0.split(',').filter_map(Clause::parse).collect();
        // Stable: among equals the client's order counts, but what is named goes before what is not.
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(a.wildcards().cmp(&b.wildcards())));
        let offers = clauses.iter().flat_map(|clause| Encoding::ALL.map(|encoding| (clause, encoding)));
        let mut fitting = offers.filter(|(clause, encoding)| clause.fits(*encoding));
        fitting.find_map(|(clause, encoding)| Some((offer(encoding, clause)?, encoding)))
    }
}

impl<'a> Clause<'a> {
    /// `None` for what is no media type, and for what the client does not want at all.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(name, _)| *name == "q");
        let quality = quality.and_then(|(_, quality)| quality.parse().ok()).unwrap_or(1.0);
        (quality > 0.0).then_some(Self { main, sub, quality, parameters })
    }

    fn wildcards(&self) -> u8 {
        u8::from(self.main == "*") + u8::from(self.sub == "*")
    }

    fn fits(&self, encoding: Encoding) -> bool {
        let (main, sub) = encoding.media_type().split_once('/').unwrap_or_default();
        let named = self.main.eq_ignore_ascii_case(main) && (self.sub == "*" || self.sub.eq_ignore_ascii_case(sub));
        let stream = self.parameter("stream");
        let streams = stream.is_empty() || (stream == "watch" && encoding != Encoding::Yaml);
        (named || self.wildcards() == 2) && streams
    }

    /// The form that is asked for; `None` if there is no such form.
    fn form(&self) -> Option<Form> {
        let [kind, group, version] = ["as", "g", "v"].map(|name| self.parameter(name));
        if kind.is_empty() && group.is_empty() && version.is_empty() {
            return Some(Form::Object);
        }
        let version = MetaVersion::parse(version).filter(|_| group == GROUP)?;
        match kind {
            "Table" => Some(Form::Table(version)),
            "PartialObjectMetadata" => Some(Form::Metadata(version)),
            "PartialObjectMetadataList" => Some(Form::MetadataList(version)),
            _ => None,
        }
    }

    fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(parameter, _)| *parameter == name).map_or("", |(_, value)| value)
    }
}

fn serves(form: Form, encoding: Encoding, kind: &Descriptor) -> bool {
    match (form, encoding) {
        (Form::Table(_), Encoding::Protobuf) => false,
        (Form::Object, Encoding::Protobuf) => protobuf::is_known(&kind.api_version(), &kind.kind),
        _ => true,
    }
}

/// What watches may be written as.
fn streams() -> [String; 2] {
    [Encoding::Json, Encoding::Protobuf].map(|encoding| format!("{};stream=watch", encoding.media_type()))
}

fn not_acceptable(offered: &[impl AsRef<str>]) -> Status {
    let offered: Vec<&str> = offered.iter().map(AsRef::as_ref).collect();
    let message = format!("only the following media types are accepted: {}", offered.join(", "));
    Status::new(Reason::NotAcceptable, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn accept(value: &str) -> Accept {
        Accept(value.to_owned())
    }

    fn pods() -> Descriptor {
        kinds::all().into_iter().find(|kind| kind.kind == "Pod").unwrap()
    }

    fn objects(value: &str) -> Result<(Form, Encoding), Status> {
        let accepted = accept(value).objects(&pods(), &Query::default());
        accepted.map(|accepted| (accepted.form, accepted.encoding))
    }

    #[test]
    fn clients_get_what_they_prefer() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                       application/json";
        assert_eq!(objects(kubectl).unwrap(), (Form::Table(MetaVersion::V1), Encoding::Json));
        let go = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(objects(go).unwrap(), (Form::Object, Encoding::Protobuf));
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                        application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        assert_eq!(objects(metadata).unwrap(), (Form::MetadataList(MetaVersion::V1), Encoding::Protobuf));
        let old = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1";
        assert_eq!(objects(old).unwrap(), (Form::Metadata(MetaVersion::V1Beta1), Encoding::Json));
        for (value, encoding) in [
            ("", Encoding::Json),
            ("*/*", Encoding::Json),
            ("*/*, application/yaml", Encoding::Yaml),
            ("text/html,*/*;q=0.8", Encoding::Json),
            ("application/json;q=0.5, application/vnd.kubernetes.protobuf;q=0.9", Encoding::Protobuf),
            ("application/vnd.kubernetes.protobuf;q=0, application/json", Encoding::Json),
            ("application/vnd.kubernetes.protobuf;stream=watch", Encoding::Protobuf),
        ] {
            assert_eq!(objects(value).unwrap(), (Form::Object, encoding), "{value}");
        }
    }

    #[test]
    fn what_has_no_protobuf_form_goes_to_the_next_clause() {
        let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;\
                     g=meta.k8s.io;v=v1";
        assert_eq!(objects(table).unwrap(), (Form::Table(MetaVersion::V1), Encoding::Json));
        let custom = Descriptor { group: "example.com".into(), kind: "Widget".into(), ..pods() };
        let shown = |value| accept(value).objects(&custom, &Query::default()).map(|accepted| accepted.encoding);
        assert_eq!(shown("application/vnd.kubernetes.protobuf,application/json").unwrap(), Encoding::Json);
        assert_eq!(shown("application/vnd.kubernetes.protobuf").unwrap_err().code(), 406);
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(shown(metadata).unwrap(), Encoding::Protobuf);
    }

    #[test]
    fn what_cannot_be_served_is_not_acceptable() {
        let only = "only the following media types are accepted: application/json, application/yaml, \
                    application/vnd.kubernetes.protobuf";
        for value in [
            "application/json;q=0",
            "text/html",
            "application/json;as=Table;g=meta.k8s.io;v=v2",
            "application/json;as=Chart;g=meta.k8s.io;v=v1",
            "application/json;v=v1",
            "application/yaml;stream=watch",
            "application/json;stream=tail",
        ] {
            let status = objects(value).unwrap_err();
            assert_eq!((status.code(), &*status.message), (406, only), "{value}");
        }
    }

    #[test]
    fn yaml_is_not_streamed() {
        let status = accept("application/yaml").events(&pods(), &Query::default()).unwrap_err();
        assert_eq!(
            status.message,
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
    }

    #[test]
    fn a_status_has_no_other_form() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/vnd.kubernetes.protobuf";
        assert_eq!(accept(table).document().unwrap(), Encoding::Protobuf);
        assert_eq!(accept("application/json;as=Table;v=v1;g=meta.k8s.io").document().unwrap_err().code(), 406);
    }

    #[test]
    fn what_tables_include_matters_to_tables_only() {
        let query = Query::parse("includeObject=All");
        assert!(accept("application/json").objects(&pods(), &query).is_ok());
        let status = accept("application/json;as=Table;v=v1;g=meta.k8s.io").objects(&pods(), &query).unwrap_err();
        assert_eq!(
            (status.code(), &*status.message),
            (
                400,
                "Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', \
                 'Object', 'None', or empty"
            )
        );
    }
}
