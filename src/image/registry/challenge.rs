//! `WWW-Authenticate` challenges (RFC 9110, 11.6.1) as registries send them: one scheme with
//! parameters, or several.

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from another server (distribution specification, "Token Authentication").
    Bearer {
        /// URL of the token server.
        realm: String,
        /// Name of the registry there.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The challenge of a header's value; a bearer challenge is preferred.
    pub fn parse(header: &str) -> Option<Self> {
        let bearer = find_scheme(header, "bearer").and_then(|parameters| {
            let mut found = parse_parameters(parameters);
            let mut take = |name: &str| {
                let position = found.iter().position(|(key, _)| key.eq_ignore_ascii_case(name))?;
                Some(found.swap_remove(position).1)
            };
            Some(Self::Bearer { realm: take("realm")?, service: take("service"), scope: take("scope") })
        });
        bearer.or_else(|| find_scheme(header, "basic").map(|_| Self::Basic))
    }
}

/// What follows the scheme's name, where the header has it as a word of its own.
fn find_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let lower = header.to_ascii_lowercase();
    lower.match_indices(scheme).find_map(|(at, _)| {
        let starts = at == 0 || matches!(lower.as_bytes()[at - 1], b' ' | b',');
        let rest = &header[at + scheme.len()..];
        (starts && (rest.is_empty() || rest.starts_with(' '))).then_some(rest)
    })
}

/// `key=value` and `key="quoted \"value\""`, separated by commas.
fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_owned();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        parameters.push((key, value));
        rest = left;
    }
    parameters
}

/// The value up to the closing quote, and what comes behind it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_registries_send() {
        let hub =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        let Some(Challenge::Bearer { realm, service, scope }) = Challenge::parse(hub) else { panic!() };
        assert_eq!(realm, "https://auth.docker.io/token");
        assert_eq!((service.as_deref(), scope.as_deref()), (Some("registry.docker.io"), Some("repository:a/b:pull")));
        assert_eq!(Challenge::parse("Basic realm=\"Registry\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
        let both = Challenge::parse("Basic realm=x, bearer realm=\"http://t\"");
        assert!(matches!(both, Some(Challenge::Bearer { realm, .. }) if realm == "http://t"));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "(Bearer |Basic )?[ -~äß\"\\\\=,]{0,60}") {
            let _ = Challenge::parse(&header);
        }
    }
}
