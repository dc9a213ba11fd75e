//! The process as a whole: limits, the runtime, signals, the end.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use crate::{
    base::{lane::Lane, task::Supervisor},
    sys::allocator,
};

/// Time that components get to finish what they hold once the process is to end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// Threads for blocking work; lanes bound each kind of it below this.
const BLOCKING_THREADS: usize = 32;
/// An idle blocking thread, and its stack, goes after this.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// By then a start is over, and what it needed can be given back.
const START_OVER: Duration = Duration::from_secs(10);
/// How long after memory was spent it is given back: bursts come in rows.
const BURST_OVER: Duration = Duration::from_secs(2);

/// Builds the runtime, lets `start` start everything, waits for a signal or for a component that
/// the process cannot do without, and drains. A second signal ends the process at once.
pub fn run<F>(start: impl FnOnce(Supervisor) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    raise_file_limit();
    allocator::bound();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8)))
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .build()
        .context("failed to start the asynchronous runtime")?;
    let result = runtime.block_on(async {
        let supervisor = Supervisor::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        supervisor.spawn("memory of the start", give_back_memory());
        let ended = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            ended = live(&supervisor, start) => ended,
        };
        tracing::info!("stopping");
        tokio::select! {
            () = supervisor.shutdown(DRAIN_DEADLINE) => {}
            _ = terminate.recv() => bail!("interrupted while stopping"),
            _ = interrupt.recv() => bail!("interrupted while stopping"),
        }
        ended
    });
    runtime.shutdown_background();
    result
}

async fn live<F>(supervisor: &Supervisor, start: impl FnOnce(Supervisor) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    start(supervisor.clone()).await?;
    bail!("{}", supervisor.failed().await)
}

/// Returns memory some time after it was `spent`, when answers have been sent too.
pub async fn give_back_what_is_spent(spent: Arc<Notify>) {
    let lane = Lane::new(1);
    loop {
        spent.notified().await;
        tokio::time::sleep(BURST_OVER).await;
        lane.run(allocator::give_back).await;
    }
}

/// Starting needs more memory than running does.
async fn give_back_memory() {
    tokio::time::sleep(START_OVER).await;
    Lane::new(1).run(allocator::give_back).await;
}

/// Every connection and every pod needs file descriptors; the soft limit of a login shell is 1024.
fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Tells systemd, if it started this process, that it is ready (`sd_notify(3)`).
pub fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        match bytes.strip_prefix(b"@") {
            None => socket.send_to(b"READY=1", &path),
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(b"READY=1", &address)
            }
        }
    });
    if let Err(error) = told {
        tracing::warn!(%error, "systemd could not be told that the process is ready");
    }
}
