//! The streaming subresources of pods: log, exec, attach and port-forward. Each finds the pod's node
//! and container and passes the request on to that kubelet's path for it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use serde_json::Value;

use crate::{
    api::{Status, kind::GroupResource, meta},
    apiserver::{
        attributes::Attributes,
        handler::Handler,
        nodes::{Dialer, check, pass_on},
        query,
        reader::Reader,
    },
    base::task::Supervisor,
    http::{body::Body, tunnel::Target},
};

/// Kinds of containers, in the order in which upstream offers them.
const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
/// The API's names of stream options and the kubelet's.
const STREAM_OPTIONS: [(&str, &str); 4] =
    [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
const LOG_OPTIONS: [&str; 8] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// Serves `pods/log`, `pods/exec`, `pods/attach` and `pods/portforward`.
pub struct PodStreams {
    reader: Arc<dyn Reader>,
    dialer: Arc<Dialer>,
    supervisor: Supervisor,
}

impl PodStreams {
    /// Finds pods in `reader` and their kubelets through `dialer`.
    pub fn new(reader: Arc<dyn Reader>, dialer: Arc<Dialer>, supervisor: Supervisor) -> Self {
        Self { reader, dialer, supervisor }
    }

    async fn serve(&self, attributes: &Attributes, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let pod = find(&*self.reader, attributes)?;
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if node.is_empty() {
            return Err(Status::bad_request(format!("pod {} does not have a host assigned", attributes.name)));
        }
        *request.uri_mut() = kubelet_url(attributes, &pod, request.uri().query().unwrap_or_default())?;
        let stream = self.dialer.dial(node, Target::Kubelet).await?;
        if attributes.subresource == "log" {
            *request.method_mut() = Method::GET;
            return check(pass_on(request, stream, &self.supervisor).await?).await;
        }
        pass_on(request, stream, &self.supervisor).await
    }
}

impl Handler for PodStreams {
    fn handle<'a>(
        &'a self,
        attributes: &'a Attributes,
        request: Request<Body>,
    ) -> BoxFuture<'a, Result<Response<Body>, Status>> {
        Box::pin(self.serve(attributes, request))
    }
}

/// The pod that a request is about.
pub fn find(reader: &dyn Reader, attributes: &Attributes) -> Result<Value, Status> {
    let name = attributes.name.as_str();
    let pod = reader.get(GroupResource { group: "", resource: "pods" }, &attributes.namespace, name);
    let pod = pod.ok_or_else(|| Status::not_found("", "pods", name))?;
    serde_json::from_slice(&pod).map_err(Status::internal)
}

/// `/exec/{namespace}/{pod}/{container}?command=…`, with the API's options in the kubelet's words.
fn kubelet_url(attributes: &Attributes, pod: &Value, query: &str) -> Result<Uri, Status> {
    let options: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut kubelet = form_urlencoded::Serializer::new(String::new());
    let place = format!("{}/{}", attributes.namespace, attributes.name);
    let path = match attributes.subresource.as_str() {
        "log" => {
            let options = options.iter().filter(|(name, _)| LOG_OPTIONS.contains(&name.as_str()));
            kubelet.extend_pairs(options);
            format!("/containerLogs/{place}/{}", container(pod, &options_value(query, "container"))?)
        }
        "exec" | "attach" => {
            stream_options(attributes, &options, &mut kubelet)?;
            format!("/{}/{place}/{}", attributes.subresource, container(pod, &options_value(query, "container"))?)
        }
        _ => {
            kubelet.extend_pairs(options.iter().filter(|(name, _)| name == "ports").map(|(_, port)| ("port", port)));
            format!("/portForward/{place}")
        }
    };
    let query = kubelet.finish();
    let separator = if query.is_empty() { "" } else { "?" };
    format!("http://kubelet{path}{separator}{query}").parse().map_err(|_| Status::bad_request("invalid request path"))
}

fn options_value(query: &str, wanted: &str) -> String {
    let mut options = form_urlencoded::parse(query.as_bytes());
    options.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn stream_options(
    attributes: &Attributes,
    options: &[(String, String)],
    kubelet: &mut form_urlencoded::Serializer<'_, String>,
) -> Result<(), Status> {
    let is_on = |wanted: &str| options.iter().any(|(name, value)| name == wanted && query::is_true(value));
    if !is_on("stdin") && !is_on("stdout") && !is_on("stderr") {
        return Err(Status::bad_request("you must specify at least one of stdin, stdout, stderr"));
    }
    if is_on("tty") && is_on("stderr") {
        return Err(Status::bad_request("tty and stderr cannot both be true"));
    }
    kubelet.extend_pairs(STREAM_OPTIONS.iter().filter(|(ours, _)| is_on(ours)).map(|(_, theirs)| (*theirs, "1")));
    if attributes.subresource == "exec" {
        let command = || options.iter().filter(|(name, _)| name == "command");
        if command().next().is_none() {
            return Err(Status::bad_request("you must specify at least 1 command for the container"));
        }
        kubelet.extend_pairs(command());
    }
    Ok(())
}

/// The container that was asked for, or the only one.
fn container<'a>(pod: &'a Value, wanted: &'a str) -> Result<&'a str, Status> {
    let name = meta::name(pod);
    let names = |list: &str| -> Vec<&str> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).collect()
    };
    let [containers, init, ephemeral] = CONTAINER_LISTS.map(names);
    if !wanted.is_empty() {
        let known = [&containers, &init, &ephemeral].into_iter().flatten().any(|known| *known == wanted);
        return if known {
            Ok(wanted)
        } else {
            Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")))
        };
    }
    if let ([only], [], []) = (&containers[..], &init[..], &ephemeral[..]) {
        return Ok(only);
    }
    let mut message =
        format!("a container name must be specified for pod {name}, choose one of: [{}]", containers.join(" "));
    for (kind, names) in [("init", init), ("ephemeral", ephemeral)] {
        if !names.is_empty() {
            message.push_str(&format!(" or one of the {kind} containers: [{}]", names.join(" ")));
        }
    }
    Err(Status::bad_request(message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url(subresource: &str, query: &str) -> Result<String, String> {
        let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "a"}]}});
        let attributes = Attributes {
            namespace: "default".into(),
            name: "web".into(),
            subresource: subresource.into(),
            ..Attributes::default()
        };
        let url = kubelet_url(&attributes, &pod, query);
        url.map(|url| url.path_and_query().unwrap().to_string()).map_err(|status| status.message)
    }

    #[test]
    fn options_are_translated() {
        assert_eq!(
            url("log", "follow=true&tailLines=5&insecureSkipTLSVerifyBackend=true").unwrap(),
            "/containerLogs/default/web/a?follow=true&tailLines=5"
        );
        assert_eq!(
            url("exec", "container=a&command=sh&command=-c&command=a%26b&stdin=true&stdout=true&tty=true").unwrap(),
            "/exec/default/web/a?input=1&output=1&tty=1&command=sh&command=-c&command=a%26b"
        );
        assert_eq!(url("attach", "stdout=1").unwrap(), "/attach/default/web/a?output=1");
        // The Python client writes its own truth values.
        assert_eq!(url("attach", "stdin=False&stdout=True&stderr=0").unwrap(), "/attach/default/web/a?output=1");
        assert_eq!(url("portforward", "").unwrap(), "/portForward/default/web");
    }

    #[test]
    fn wrong_options_are_named() {
        assert_eq!(url("log", "container=b").unwrap_err(), "container b is not valid for pod web");
        assert_eq!(url("exec", "command=ls").unwrap_err(), "you must specify at least one of stdin, stdout, stderr");
        assert!(url("exec", "stdout=true").unwrap_err().contains("at least 1 command"));
    }

    #[test]
    fn several_containers_are_offered() {
        let pod = json!({"metadata": {"name": "web"}, "spec": {
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(
            container(&pod, "").unwrap_err().message,
            "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(container(&pod, "i").unwrap(), "i");
    }
}
