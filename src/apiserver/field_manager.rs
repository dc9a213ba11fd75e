//! Who a writer says it is (`fieldManager`, else the beginning of its `User-Agent`), and the rules of
//! the parameters about it (`ValidatePatchOptions` upstream).

use http::{HeaderMap, header};

use crate::{
    api::{
        Status,
        field::{self, Path},
        status::Cause,
    },
    apiserver::query::Query,
};

/// Longest name of a manager.
const LIMIT_BYTES: usize = 128;

/// The name of the writer, or 422 for one that is too long or not printable. Empty for requests
/// that write nothing, and for writers who do not say.
pub fn of(query: &Query, headers: &HeaderMap, verb: &str) -> Result<String, Status> {
    let options = match verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        _ => return Ok(String::new()),
    };
    match query.get("fieldManager") {
        Some(given) => refuse(options, problems(given)).map(|()| given.to_owned()),
        None => {
            let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
            Ok(from_user_agent(agent.unwrap_or_default()))
        }
    }
}

/// Checks the parameters of a patch: an apply must say who applies, nothing else may use force.
pub fn check_patch(query: &Query, is_apply: bool) -> Result<(), Status> {
    let cause = match is_apply {
        true if query.get("fieldManager").is_none() => {
            field::required(&Path::new("fieldManager"), "is required for apply patch")
        }
        false if query.has("force") => {
            field::forbidden(&Path::new("force"), "may not be specified for non-apply patch")
        }
        _ => return Ok(()),
    };
    refuse("PatchOptions", vec![cause])
}

fn refuse(options: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", options, "", causes)) }
}

fn problems(name: &str) -> Vec<Cause> {
    let path = Path::new("fieldManager");
    let mut causes = Vec::new();
    if name.len() > LIMIT_BYTES {
        causes.push(field::too_long(&path, LIMIT_BYTES));
    }
    let unprintable = name.char_indices().filter(|(_, character)| !is_printable(*character));
    causes.extend(unprintable.map(|(position, character)| {
        let code = u32::from(character);
        field::invalid(&path, name, &format!("invalid character U+{code:04X} (at position {position})"))
    }));
    causes
}

/// `kubectl` of `kubectl/v1.36.0 (linux/amd64) kubernetes/abc`.
fn from_user_agent(agent: &str) -> String {
    let mut name = String::new();
    for character in agent.split('/').next().unwrap_or_default().chars().filter(|character| is_printable(*character)) {
        if name.len() + character.len_utf8() > LIMIT_BYTES {
            break;
        }
        name.push(character);
    }
    name
}

fn is_printable(character: char) -> bool {
    character == ' ' || !(character.is_control() || character.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_agent(agent: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, agent.parse().unwrap());
        of(&Query::default(), &headers, "update").unwrap()
    }

    #[test]
    fn the_user_agent_stands_in_for_the_parameter() {
        assert_eq!(of_agent("kubectl/v1.36.0 (linux/amd64)"), "kubectl");
        assert_eq!(of_agent(&"x".repeat(200)).len(), 128);
        let query = Query::parse("fieldManager=me");
        assert_eq!(of(&query, &HeaderMap::new(), "create").unwrap(), "me");
        assert_eq!(of(&Query::default(), &HeaderMap::new(), "patch").unwrap(), "");
    }

    #[test]
    fn names_are_short_and_printable() {
        let refused = |text: &str| of(&Query::parse(text), &HeaderMap::new(), "create").unwrap_err();
        let status = refused(&format!("fieldManager={}", "x".repeat(129)));
        assert_eq!(
            status.message,
            "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"
        );
        assert!(refused("fieldManager=a%0A").message.ends_with("invalid character U+000A (at position 1)"));
        assert!(of(&Query::parse("fieldManager=a%0A"), &HeaderMap::new(), "get").is_ok());
    }

    #[test]
    fn applies_need_a_manager_and_only_they_have_force() {
        let message = |text: &str, is_apply| check_patch(&Query::parse(text), is_apply).unwrap_err().message;
        assert_eq!(
            message("force=true", true),
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
        assert_eq!(
            message("force=false", false),
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
        );
        assert!(check_patch(&Query::parse("fieldManager=a&force=true"), true).is_ok());
    }
}
