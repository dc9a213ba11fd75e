//! Exec and attach: finds the container, switches the connection to WebSocket or SPDY, and leaves
//! the rest to [`session`].

use std::sync::Arc;

use http::{Request, Response};

use super::{
    Service, answer,
    backend::{Backend, ContainerRef, Error, PodName, Session},
    query::{Query, StreamOptions},
    session, spdy,
};
use crate::{
    http::{
        body::Body,
        channel::{Receive, Transmit},
        websocket,
    },
    oci::ExecConfig,
};

/// What the client wants to be connected to.
enum Target {
    Exec(Vec<String>),
    Attach,
}

impl<B: Backend> Service<B> {
    /// `/exec/{namespace}/{pod}/{container}?command=…`
    pub(super) fn exec<R>(&self, request: &mut Request<R>, pod: &PodName, container: &str) -> Response<Body> {
        let command = Query::parse(request.uri().query()).all("command");
        if command.is_empty() {
            return answer::bad_request("you must specify the command to run");
        }
        self.command(request, pod, container, Target::Exec(command))
    }

    /// `/attach/{namespace}/{pod}/{container}`
    pub(super) fn attach<R>(&self, request: &mut Request<R>, pod: &PodName, container: &str) -> Response<Body> {
        self.command(request, pod, container, Target::Attach)
    }

    fn command<R>(&self, request: &mut Request<R>, pod: &PodName, container: &str, target: Target) -> Response<Body> {
        let mut wanted = Query::parse(request.uri().query()).streams();
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            return answer::bad_request("you must specify at least 1 of stdin, stdout, stderr");
        }
        let container = match self.backend.container(pod, container) {
            Ok(container) => container,
            Err(error) => return answer::error(&error),
        };
        if matches!(target, Target::Attach) {
            // What the container has not, nobody can attach to.
            wanted.stdin &= container.stdin;
            wanted.tty = container.tty;
            wanted.stderr &= !container.tty;
        }
        let job = Job { backend: self.backend.clone(), container, target, wanted };
        if websocket::is_upgrade(request.headers()) {
            self.over_websocket(request, job)
        } else {
            self.over_spdy(request, job)
        }
    }

    fn over_websocket<R>(&self, request: &mut Request<R>, job: Job<B>) -> Response<Body> {
        let (response, accepted) = match websocket::accept(request, &websocket::REMOTE_COMMAND) {
            Ok(accepted) => accepted,
            Err(error) => return answer::bad_request(&error.to_string()),
        };
        self.supervisor.spawn_fallible("remote command", crate::base::task::OnFailure::Log, async move {
            let protocol = accepted.protocol;
            let (receiver, transmitter) = websocket::remote_command(accepted.open().await?, protocol);
            job.run(receiver, transmitter).await;
            Ok::<_, websocket::Error>(())
        });
        response
    }

    fn over_spdy<R>(&self, request: &mut Request<R>, job: Job<B>) -> Response<Body> {
        let (response, upgrade) = match spdy::accept(request, &spdy::REMOTE_COMMAND) {
            Ok(accepted) => accepted,
            Err(refusal) => return *refusal,
        };
        self.supervisor.spawn_fallible("remote command", crate::base::task::OnFailure::Log, async move {
            let wanted = job.wanted;
            spdy::remote_command(upgrade.await?, wanted, |receiver, transmitter| job.run(receiver, transmitter)).await;
            Ok::<_, hyper::Error>(())
        });
        response
    }
}

struct Job<B> {
    backend: Arc<B>,
    container: ContainerRef,
    target: Target,
    wanted: StreamOptions,
}

impl<B: Backend> Job<B> {
    async fn run(self, receiver: impl Receive, transmitter: impl Transmit) {
        let wanted = self.wanted;
        match self.start().await {
            Ok(session) => session::run(session, wanted, receiver, transmitter).await,
            Err(error) => session::fail(error, transmitter).await,
        }
    }

    async fn start(self) -> Result<Session, Error> {
        match self.target {
            Target::Exec(args) => {
                let config = ExecConfig { args, tty: self.wanted.tty, stdin: self.wanted.stdin };
                self.backend.exec(&self.container, config).await
            }
            Target::Attach => self.backend.attach(&self.container, self.wanted.stdin).await,
        }
    }
}
