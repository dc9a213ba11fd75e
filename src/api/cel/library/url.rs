//! URLs, as Go's `net/url` takes them apart: `url('https://example.com:80/a?b=c').getHost()`.

use std::{collections::BTreeMap, sync::Arc};

use percent_encoding::percent_decode_str;

use super::{Run, native::Native};
use crate::api::cel::{
    error::Failure,
    value::{Key, Kind, Map, Text, Value},
};

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("url(string) url", |values| match Url::parse(values[0].text()?) {
        Ok(url) => Ok(Native::Url(Arc::new(url)).into()),
        Err(error) => Err(Failure::new(format!("URL parse error during conversion from string: {error}"))),
    }),
    ("isURL(string) bool", |values| Ok(Url::parse(values[0].text()?).is_ok().into())),
    ("(url).getScheme() string", |values| Ok(Value::string(url(&values[0])?.scheme.as_str()))),
    ("(url).getHost() string", |values| Ok(Value::string(url(&values[0])?.host.as_str()))),
    ("(url).getHostname() string", |values| Ok(Value::string(url(&values[0])?.hostname()))),
    ("(url).getPort() string", |values| Ok(Value::string(url(&values[0])?.port()))),
    ("(url).getEscapedPath() string", |values| Ok(Value::string(url(&values[0])?.path.as_str()))),
    ("(url).getQuery() map<string, list<string>>", |values| Ok(query(&url(&values[0])?.query))),
];

/// A URL in parts.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api::cel) struct Url {
    scheme: String,
    user: String,
    /// With the port, if there is one.
    host: String,
    /// Escaped.
    path: String,
    query: String,
    fragment: String,
}

impl Url {
    /// An absolute URL or path.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|why| format!("parse {text:?}: {why}"))
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty url".into());
        }
        if text.contains(|next: char| next.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".into());
        }
        let (whole, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(whole)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, host, path) = match rest.strip_prefix("//") {
            Some(rest) if !scheme.is_empty() => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
                (user, unescaped_host(host)?, path)
            }
            _ if rest.starts_with('/') => ("", String::new(), rest),
            _ if !scheme.is_empty() => ("", String::new(), ""),
            _ => return Err("invalid URI for request".into()),
        };
        check_escapes(path)?;
        let path = escaped(path);
        Ok(Self { scheme, user: user.into(), host, path, query: query.into(), fragment: fragment.into() })
    }

    fn hostname(&self) -> &str {
        let host = &self.host[..self.host.len() - self.port_with_colon().len()];
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    fn port(&self) -> &str {
        self.port_with_colon().strip_prefix(':').unwrap_or_default()
    }

    fn port_with_colon(&self) -> &str {
        let after_brackets = self.host.rfind(']').map_or(0, |at| at + 1);
        let colon = self.host[after_brackets..].rfind(':');
        colon.map_or("", |at| &self.host[after_brackets + at..])
    }
}

/// The scheme in lower case, and what follows its colon.
fn scheme(text: &str) -> Result<(String, &str), String> {
    for (at, next) in text.char_indices() {
        match next {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    let first = text.split('/').next().unwrap_or_default();
    if first.contains(':') {
        Err("first path segment in URL cannot contain colon".into())
    } else {
        Ok((String::new(), text))
    }
}

fn unescaped_host(host: &str) -> Result<String, String> {
    let colon = match host.strip_prefix('[') {
        Some(_) => {
            let end = host.rfind(']').ok_or("missing ']' in host")?;
            end + 1
        }
        None => host.find(':').unwrap_or(host.len()),
    };
    let port = &host[colon..];
    let valid =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()));
    if !valid {
        return Err(format!("invalid port {port:?} after host"));
    }
    if let Some(bad) = host.chars().find(|next| " \"<>\\^`{|}".contains(*next)) {
        return Err(format!("invalid character {:?} in host name", bad.to_string()));
    }
    check_escapes(host)?;
    Ok(percent_decode_str(host).decode_utf8_lossy().into_owned())
}

fn check_escapes(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            let shown: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {shown:?}"));
        }
    }
    Ok(())
}

/// A path as it is sent: what is escaped already stays so.
fn escaped(path: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/%[]".contains(&byte);
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if allowed(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn url<'v>(value: &'v Value<'_>) -> Result<&'v Url, Failure> {
    match value.native()? {
        Native::Url(url) => Ok(url),
        _ => Err(Failure::no_overload()),
    }
}

/// The parameters of a query; those that cannot be read are left out.
fn query<'a>(text: &str) -> Value<'a> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if check_escapes(key).is_ok() && check_escapes(value).is_ok() {
            found.entry(plain(key)).or_default().push(plain(value));
        }
    }
    let entries =
        found.into_iter().map(|(key, values)| (Key::String(Text::Shared(key.into())), Value::strings(values)));
    Value(Kind::Map(Map::new(entries.collect())))
}

fn plain(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
