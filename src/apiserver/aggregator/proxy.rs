//! Passing a request on to the server behind: in the name of the user who was authenticated here, over
//! a connection of its own, so that upgrades and watches go on for as long as they like.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};

use super::{target::Target, way::Way};
use crate::{
    apiserver::{attributes::Attributes, fairness::Initialization, outbound, respond},
    base::log,
    http::{body::Body, forward, remote_user, server::RemoteAddress},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers that were for this server.
const IMPERSONATION_PREFIX: &str = "impersonate-";
/// What upstream says of a redirect that it does not follow.
const REDIRECTED: &str = "the backend attempted to redirect this request, which is not permitted";

/// In a response's extensions: it was made by another server, and is passed on as it is.
#[derive(Debug, Clone, Copy)]
pub struct Delegated;

/// Serves a request by what `target` answers. What goes wrong on the way is said in plain text, as
/// upstream says it.
pub async fn pass_on(way: &Way, target: &Target, attributes: &Attributes, request: Request<Body>) -> Response<Body> {
    let mut response =
        if target.is_available { exchange(way, target, attributes, request).await } else { unavailable() };
    response.extensions_mut().insert(Delegated);
    response
}

async fn exchange(way: &Way, target: &Target, attributes: &Attributes, mut request: Request<Body>) -> Response<Body> {
    let peer = way.peer(target);
    let stream = match way.outbound.connect(&peer).await {
        Ok(stream) => stream,
        Err(outbound::Error::Connect(outbound::connector::Error::Service(_))) => return unavailable(),
        Err(error) => return unreached(&error.to_string()),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(url) = format!("http://{}{path}", peer.place.authority()).parse::<Uri>() else {
        return respond::text(StatusCode::BAD_REQUEST, "invalid request path\n");
    };
    *request.uri_mut() = url;
    prepare(&mut request, attributes);
    match forward::forward(request, stream, &way.supervisor).await {
        Ok(response) if is_redirect(&response) => respond::text(StatusCode::BAD_GATEWAY, REDIRECTED),
        Ok(response) => response,
        Err(error) => unreached(&log::chain(&error)),
    }
}

/// Says for whom the request is, and nothing else about it that was said to this server.
fn prepare(request: &mut Request<Body>, attributes: &Attributes) {
    // How much a watch begins with is known to the other server alone.
    drop(request.extensions_mut().remove::<Initialization>().and_then(|seats| seats.take()));
    let remote = request.extensions().get::<RemoteAddress>().copied();
    let headers = request.headers_mut();
    remote_user::write(headers, &attributes.user);
    let is_impersonation = |name: &&HeaderName| name.as_str().starts_with(IMPERSONATION_PREFIX);
    let impersonation: Vec<HeaderName> = headers.keys().filter(is_impersonation).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
    if let Some(RemoteAddress(address)) = remote {
        forwarded_for(headers, &address.ip().to_string());
    }
}

fn forwarded_for(headers: &mut HeaderMap, address: &str) {
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = before.chain([address]).collect();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

fn is_redirect(response: &Response<Body>) -> bool {
    response.status().is_redirection() && response.headers().contains_key(header::LOCATION)
}

fn unavailable() -> Response<Body> {
    respond::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n")
}

fn unreached(why: &str) -> Response<Body> {
    respond::text(StatusCode::SERVICE_UNAVAILABLE, format!("error trying to reach service: {why}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{body, identity::User};

    #[test]
    fn a_request_says_for_whom_it_is_and_no_more() {
        let mut request = Request::get("/apis/a.b/v1/foos")
            .header("X-Remote-User", "root")
            .header("Impersonate-User", "jane")
            .header("X-Forwarded-For", "192.0.2.1")
            .header("Accept", "application/json")
            .body(body::empty())
            .unwrap();
        request.extensions_mut().insert(RemoteAddress(([192, 0, 2, 7], 1).into()));
        let attributes = Attributes { user: User::component("jane"), ..Attributes::default() };
        prepare(&mut request, &attributes);
        let headers = request.headers();
        assert_eq!(headers["x-remote-user"], "jane");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1, 192.0.2.7");
        assert!(!headers.contains_key("impersonate-user") && headers.contains_key("accept"));
    }
}
