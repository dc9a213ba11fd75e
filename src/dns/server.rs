//! The sockets: UDP and TCP at each listen address. Answers that need no waiting are sent from the
//! receiving loop itself; others are tasks, whose number is bounded by the resolver.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use super::resolver::{Resolver, Step, Transport};
use crate::base::{backoff::Backoff, task::Supervisor};

/// Datagrams that wait for upstream resolvers at once; further ones are dropped, as a network would.
const WAITING_LIMIT: usize = 1024;
/// TCP connections at once.
const CONNECTIONS_LIMIT: usize = 128;
/// How long a TCP connection may be silent (RFC 7766 leaves it to the server).
const IDLE_LIMIT: Duration = Duration::from_secs(10);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// Listens at `address` for good: an address that is taken, or not there yet, is tried again.
pub(super) fn start(supervisor: &Supervisor, address: SocketAddr, resolver: &Arc<Resolver>) {
    let (tasks, shared) = (supervisor.clone(), resolver.clone());
    supervisor.spawn("dns udp", async move {
        let socket = Arc::new(persist(address, || UdpSocket::bind(address)).await);
        serve_udp(&tasks, &socket, &shared).await;
    });
    let (tasks, shared) = (supervisor.clone(), resolver.clone());
    supervisor.spawn("dns tcp", async move {
        let listener = persist(address, || TcpListener::bind(address)).await;
        serve_tcp(&tasks, &listener, &shared).await;
    });
}

async fn persist<T, F: Future<Output = io::Result<T>>>(address: SocketAddr, bind: impl Fn() -> F) -> T {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LIMIT);
    loop {
        match bind().await {
            Ok(bound) => return bound,
            Err(error) => tracing::warn!(%address, %error, "cluster DNS cannot listen, trying again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn serve_udp(supervisor: &Supervisor, socket: &Arc<UdpSocket>, resolver: &Arc<Resolver>) {
    let waiting = Arc::new(Semaphore::new(WAITING_LIMIT));
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An error here belongs to an earlier answer that could not be delivered.
        let Ok((len, client)) = socket.recv_from(&mut buffer).await else { continue };
        match resolver.answer(&buffer[..len], Transport::Udp) {
            Step::Ignore => {}
            Step::Answer(answer) => {
                let _ = socket.send_to(&answer, client).await;
            }
            Step::Forward(request) => {
                let Ok(permit) = waiting.clone().try_acquire_owned() else { continue };
                let (socket, resolver) = (socket.clone(), resolver.clone());
                supervisor.spawn("dns look-up", async move {
                    let _permit = permit;
                    if let Some(answer) = resolver.forward(&request, Transport::Udp).await {
                        let _ = socket.send_to(&answer, client).await;
                    }
                });
            }
        }
    }
}

async fn serve_tcp(supervisor: &Supervisor, listener: &TcpListener, resolver: &Arc<Resolver>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let resolver = resolver.clone();
                supervisor.spawn("dns connection", async move {
                    let _permit = permit;
                    // Ends with the client, or with its silence.
                    let _ = serve_connection(stream, &resolver).await;
                });
            }
            // Out of file descriptors: waiting lets some connections end.
            Err(_) => tokio::time::sleep(RETRY_FIRST).await,
        }
    }
}

async fn serve_connection(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    loop {
        let len = timeout(IDLE_LIMIT, stream.read_u16()).await??;
        let mut packet = vec![0; usize::from(len)];
        timeout(IDLE_LIMIT, stream.read_exact(&mut packet)).await??;
        let answer = match resolver.answer(&packet, Transport::Tcp) {
            Step::Ignore => None,
            Step::Answer(answer) => Some(answer),
            Step::Forward(request) => resolver.forward(&request, Transport::Tcp).await,
        };
        let Some(answer) = answer else { return Ok(()) };
        let len = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        timeout(IDLE_LIMIT, stream.write_all(&[&len.to_be_bytes()[..], &answer].concat())).await??;
    }
}
