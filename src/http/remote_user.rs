//! The headers by which a proxy that has authenticated a user says who it was (Kubernetes reference,
//! "Authenticating Proxy"): written for the servers behind this one, and read from proxies before it.
//! They are worth what the client certificate of the connection is worth.

use std::{collections::BTreeMap, fmt::Write};

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::http::identity::User;

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// Says who `user` is, and forgets whatever the headers said before.
pub fn write(headers: &mut HeaderMap, user: &User) {
    strip(headers);
    let mut add = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            headers.append(name, value);
        }
    };
    add(USER, &user.name);
    if !user.uid.is_empty() {
        add(UID, &user.uid);
    }
    for group in &user.groups {
        add(GROUP, group);
    }
    for (key, values) in &user.extra {
        let Ok(name) = HeaderName::from_bytes(format!("{EXTRA_PREFIX}{}", escape(key)).as_bytes()) else { continue };
        for value in values {
            add(name.clone(), value);
        }
    }
}

/// Who the headers say the user is; `None` if they name nobody.
pub fn read(headers: &HeaderMap) -> Option<User> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let first = |name: HeaderName| headers.get(name).map(text).filter(|value| !value.is_empty());
    let name = first(USER)?;
    let groups = headers.get_all(GROUP).iter().map(text).filter(|group| !group.is_empty()).collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            let decoded = percent_decode_str(key).decode_utf8();
            let key = decoded.map_or_else(|_| key.to_owned(), |decoded| decoded.into_owned());
            extra.entry(key).or_default().push(text(value));
        }
    }
    Some(User { name, uid: first(UID).unwrap_or_default(), groups, extra })
}

/// Removes all of these headers.
pub fn strip(headers: &mut HeaderMap) {
    for name in [USER, UID, GROUP] {
        headers.remove(name);
    }
    let is_extra = |name: &&HeaderName| name.as_str().starts_with(EXTRA_PREFIX);
    let extra: Vec<HeaderName> = headers.keys().filter(is_extra).cloned().collect();
    for name in extra {
        headers.remove(name);
    }
}

/// Percent-encodes what may not stand in a header's name (RFC 9110, 5.6.2), and the percent sign.
fn escape(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "jane doe".into(),
            uid: "7".into(),
            groups: vec!["devs".into(), "system:authenticated".into()],
            extra: BTreeMap::from([("example.com/scopes %".to_owned(), vec!["a".to_owned(), "b".to_owned()])]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut headers = HeaderMap::new();
        write(&mut headers, &user());
        assert_eq!(headers["x-remote-extra-example.com%2fscopes%20%25"], "a");
        assert_eq!(read(&headers), Some(user()));
    }

    #[test]
    fn nobody_speaks_for_themselves() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("X-Remote-User", "root"), ("x-remote-group", "system:masters"), ("X-Remote-Extra-A", "x")]
        {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        write(&mut headers, &User { name: "joe".into(), ..User::default() });
        assert_eq!(read(&headers), Some(User { name: "joe".into(), ..User::default() }));
        strip(&mut headers);
        assert!(headers.is_empty() && read(&headers).is_none());
    }
}
