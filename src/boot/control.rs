//! The node's control socket `<run-dir>/agent.sock` (0600): what the command line asks a running
//! node to do. HTTP over a Unix socket; who may open it is root anyway.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};

use crate::{
    base::{log, task::Supervisor},
    http::body::{self, Body},
    image::{Image, ImageStore},
};

/// Path of the list of images.
pub const IMAGES: &str = "/images";
/// Path that imports an archive.
pub const IMPORT: &str = "/images/import";
/// Path that removes an image.
pub const REMOVE: &str = "/images/remove";
/// Most bytes of a request.
const REQUEST_LIMIT_BYTES: usize = 64 * 1024;
/// Most bytes of an answer.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// An archive to import.
#[derive(Debug, Serialize, Deserialize)]
pub struct Import {
    /// Absolute path.
    pub path: PathBuf,
}

/// An image to remove.
#[derive(Debug, Serialize, Deserialize)]
pub struct Remove {
    /// Name or ID.
    pub name: String,
}

/// Where the socket is.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("agent.sock")
}

/// Serves the socket until shutdown.
pub fn serve(run_dir: &Path, images: ImageStore, supervisor: &Supervisor) -> std::io::Result<()> {
    let path = socket_path(run_dir);
    // A socket that an earlier process left behind: nobody listens on it any more.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let connections = supervisor.clone();
    supervisor.spawn("control socket", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let images = images.clone();
            connections.spawn("control connection", async move {
                let service = service_fn(|request| answer(images.clone(), request));
                if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                    tracing::debug!(%error, "control connection ended");
                }
            });
        }
    });
    Ok(())
}

async fn answer(images: ImageStore, request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    let result = act(&images, request).await;
    let (status, text) = match result {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.into_bytes()),
    };
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    Ok(response)
}

async fn act(images: &ImageStore, request: Request<Incoming>) -> Result<Vec<u8>, String> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match (method, path.as_str()) {
        (Method::GET, IMAGES) => Ok(encode(&images.list())),
        (Method::POST, IMPORT) => {
            let import: Import = decode(request).await?;
            let imported = images.import(&import.path).await.map_err(|error| log::chain(&error))?;
            Ok(encode(&imported))
        }
        (Method::POST, REMOVE) => {
            let remove: Remove = decode(request).await?;
            images.remove(&remove.name).await.map_err(|error| log::chain(&error))?;
            Ok(Vec::new())
        }
        _ => Err(format!("{path} is not known")),
    }
}

fn encode(images: &[Image]) -> Vec<u8> {
    serde_json::to_vec(images).expect("images are plain structs")
}

async fn decode<T: for<'de> Deserialize<'de>>(request: Request<Incoming>) -> Result<T, String> {
    let body =
        Limited::new(request.into_body(), REQUEST_LIMIT_BYTES).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

/// Why a running node could not be asked, or what it answered instead of doing it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("no node is running on this machine ({} cannot be reached)", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The exchange broke off.
    #[error("the node's answer broke off: {0}")]
    Http(String),
    /// The node could not do it.
    #[error("{0}")]
    Failed(String),
}

/// Asks the node on this machine and returns its answer.
pub async fn ask(run_dir: &Path, method: Method, path: &str, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
    let socket = socket_path(run_dir);
    let stream = UnixStream::connect(&socket).await.map_err(|source| Error::NotRunning { path: socket, source })?;
    let broken = |error: hyper::Error| Error::Http(log::chain(&error));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "nauplius")
        .body(body::full(payload))
        .expect("method and path are constants");
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES).collect().await;
        let answer = answer.map_err(|error| Error::Http(error.to_string()))?.to_bytes().to_vec();
        if status.is_success() { Ok(answer) } else { Err(Error::Failed(String::from_utf8_lossy(&answer).into_owned())) }
    };
    tokio::select! {
        answer = exchange => answer,
        Err(error) = connection => Err(broken(error)),
    }
}
