//! Starting processes: a helper is forked for each, and what it reports is heard here, along with
//! what the new process itself has to say when it cannot become its program.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt, net::UnixStream},
    },
    path::PathBuf,
};

use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::{
    connection::Role,
    container::Output,
    helper::{self, Job, Message, Stdio},
    log::{Log, Stream},
    server::Server,
};
use crate::{
    oci::{
        ContainerState, ExecConfig,
        protocol::{Reason, Reply, StreamKind},
    },
    sys::{fd, fork},
};

/// Exit code of a container whose process could not be started, as containerd reports it.
const START_FAILED: i32 = 128;
const REPORT_LIMIT: usize = 64 << 10;

/// A helper at work.
pub(super) struct Launch {
    pub number: u64,
    pub socket: UnixStream,
    connection: u64,
    purpose: Purpose,
    heard: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    over: bool,
}

enum Purpose {
    Container { id: String },
    Command { streams: Vec<(StreamKind, OwnedFd)>, stdin: bool },
}

impl Server {
    /// Starts a container that was created.
    pub fn start(&mut self, connection: u64, id: &str) {
        let Some(container) = self.containers.get(id) else { return self.refuse_unknown(connection, id) };
        if container.starting || container.record.state != ContainerState::Created {
            return self.refuse(connection, Reason::WrongState, format!("container {id} has been started before"));
        }
        match self.prepare_start(id).and_then(|stdio| {
            let purpose = Purpose::Container { id: id.to_owned() };
            self.launch(connection, id, stdio, purpose, helper::start)
        }) {
            Ok(()) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.starting = true;
                }
            }
            Err(error) => self.fail_start(connection, id, &error.to_string()),
        }
    }

    /// Runs a command in a running container.
    pub fn execute(&mut self, connection: u64, id: &str, config: &ExecConfig) {
        let running = match self.containers.get(id) {
            None => return self.refuse_unknown(connection, id),
            Some(container) => container.pid().is_some(),
        };
        if !running {
            return self.refuse(connection, Reason::WrongState, format!("container {id} is not running"));
        }
        let name = format!("exec-{}", self.number());
        let result = command_streams(config).and_then(|(streams, stdio)| {
            let purpose = Purpose::Command { streams, stdin: config.stdin };
            self.launch(connection, id, stdio, purpose, |job| helper::execute(job, &name, &config.args, config.tty))
        });
        if let Err(error) = result {
            self.refuse(connection, Reason::Internal, error.to_string());
        }
    }

    /// Hands copies of a container's streams out.
    pub fn attach(&mut self, connection: u64, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return self.refuse_unknown(connection, id) };
        let Some(pid) = container.pid() else {
            return self.refuse(connection, Reason::WrongState, format!("container {id} is not running"));
        };
        let streams = (|| {
            let mut streams = Vec::new();
            if let (true, Some(stdin)) = (container.record.config.stdin, &container.stdin) {
                streams.push((StreamKind::Stdin, stdin.try_clone()?));
            }
            if let Some(terminal) = &container.terminal {
                streams.push((StreamKind::Terminal, terminal.try_clone()?));
            }
            streams.extend(container.attach(connection)?.into_iter().map(|(stream, end)| (kind(stream), end)));
            Ok::<_, io::Error>(streams)
        })();
        match (streams, self.connections.get_mut(&connection)) {
            (Ok(streams), Some(found)) => {
                found.role = Role::Attached { container: id.to_owned() };
                let (kinds, descriptors) = streams.into_iter().unzip();
                found.send_with(&Reply::Streams { kinds, pid }, descriptors);
            }
            (Err(error), _) => self.refuse(connection, Reason::Internal, format!("open pipes: {error}")),
            (Ok(_), None) => {}
        }
    }

    /// Reads what a helper or its process has said, and concludes when both have fallen silent.
    pub fn hear(&mut self, number: u64) {
        let Some(launch) = self.launches.iter_mut().find(|launch| launch.number == number) else { return };
        launch.listen();
        if launch.over {
            let position = self.launches.iter().position(|launch| launch.number == number);
            if let Some(launch) = position.map(|position| self.launches.remove(position)) {
                self.conclude(launch);
            }
        }
    }

    /// Everything that helpers have said so far.
    pub fn hear_all(&mut self) {
        let numbers: Vec<u64> = self.launches.iter().map(|launch| launch.number).collect();
        numbers.into_iter().for_each(|number| self.hear(number));
    }

    /// Opens the log and the pipes; the container keeps its ends.
    fn prepare_start(&mut self, id: &str) -> io::Result<Stdio> {
        let bundle = self.layout.bundle(id);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(bundle)?;
        let Some(container) = self.containers.get_mut(id) else { return Err(io::ErrorKind::NotFound.into()) };
        let config = &container.record.config;
        container.log = Some(Log::open(&config.log_path, config.log_limit_bytes, config.log_files)?);
        if config.tty {
            return Ok(Stdio::default());
        }
        let (stdin, keep) = if config.stdin {
            let (read_end, write_end) = fd::pipe()?;
            (read_end, Some(write_end))
        } else {
            (null()?, None)
        };
        container.stdin = keep;
        let mut ends = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (read_end, write_end) = fd::pipe()?;
            fd::set_nonblocking(&read_end)?;
            container.outputs.push(Output { stream, source: read_end.into() });
            ends.push(write_end);
        }
        let stderr = ends.pop();
        Ok(Stdio { stdin: Some(stdin), stdout: ends.pop(), stderr })
    }

    fn launch(
        &mut self,
        connection: u64,
        id: &str,
        stdio: Stdio,
        purpose: Purpose,
        work: impl FnOnce(Job<'_>) -> i32,
    ) -> io::Result<()> {
        let (socket, report) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let container = self.containers.get(id).ok_or(io::ErrorKind::NotFound)?;
        let job = Job {
            config: &container.record.config,
            bundle: self.layout.bundle(id),
            runtime_root: self.layout.runtime_root(),
            shared_memory: self.shared_memory(),
            cgroup: self.cgroup.child(id),
            pid_namespace: self.init.map(|init| PathBuf::from(format!("/proc/{init}/ns/pid"))),
            host_pid: self.config.sandbox.host_pid,
            cgroup_namespace: self.unified,
            report: report.into(),
            stdio,
        };
        // The parent's copies of what the job holds close when this returns.
        let job = std::cell::Cell::new(Some(job));
        fork::helper(|| job.take().map_or(1, work))?;
        let number = self.number();
        let (heard, descriptors) = (Vec::new(), Vec::new());
        self.launches.push(Launch { number, socket, connection, purpose, heard, descriptors, over: false });
        Ok(())
    }

    fn shared_memory(&self) -> PathBuf {
        if self.config.sandbox.host_ipc { "/dev/shm".into() } else { self.layout.shared_memory() }
    }

    fn conclude(&mut self, launch: Launch) {
        let (pid, failure) = launch.outcome();
        match launch.purpose {
            Purpose::Container { id } => {
                self.conclude_start(launch.connection, &id, pid, failure, launch.descriptors);
            }
            Purpose::Command { streams, stdin } => {
                let streams = with_terminal(streams, stdin, launch.descriptors);
                self.conclude_command(launch.connection, pid, failure, streams);
            }
        }
        if self.launches.is_empty() {
            self.unclaimed.clear();
        }
    }

    fn conclude_start(
        &mut self,
        connection: u64,
        id: &str,
        pid: Option<i32>,
        failure: Option<String>,
        mut terminals: Vec<OwnedFd>,
    ) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.starting = false;
        let (Some(pid), None) = (pid, &failure) else {
            let message = failure.unwrap_or_else(|| "the helper ended without a word".to_owned());
            return self.fail_start(connection, id, &message);
        };
        container.record.state = ContainerState::Running { pid, started_at_ns: now_ns() };
        if let Some(terminal) = terminals.pop() {
            container.use_terminal(terminal);
        }
        self.changed(id);
        self.reply(connection, &Reply::Done);
        if let Some(ended) = self.claim(pid) {
            self.end(&ended);
        }
    }

    /// The container has ended before it began. A process that was there is killed and reaped later.
    fn fail_start(&mut self, connection: u64, id: &str, message: &str) {
        self.cgroup.child(id).kill();
        if let Some(container) = self.containers.get_mut(id) {
            container.close_streams();
            container.record.state = ContainerState::Exited {
                code: START_FAILED,
                signal: 0,
                oom_killed: false,
                started_at_ns: 0,
                finished_at_ns: now_ns(),
            };
            self.changed(id);
        }
        self.refuse(connection, Reason::Start, message);
    }

    fn conclude_command(
        &mut self,
        connection: u64,
        pid: Option<i32>,
        failure: Option<String>,
        streams: io::Result<Vec<(StreamKind, OwnedFd)>>,
    ) {
        let answer = match (pid, failure, streams) {
            (_, Some(message), _) => Err((Reason::Start, message)),
            (None, None, _) => Err((Reason::Start, "the helper ended without a word".to_owned())),
            (Some(_), None, Err(error)) => Err((Reason::Internal, format!("share the terminal: {error}"))),
            (Some(pid), None, Ok(streams)) => Ok((pid, streams)),
        };
        let ended = pid.and_then(|pid| self.claim(pid));
        let Some(found) = self.connections.get_mut(&connection) else {
            // Nobody waits for the command any more.
            if let (Ok((pid, _)), None) = (&answer, &ended) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL);
            }
            return;
        };
        match answer {
            Err((reason, message)) => found.fail(reason, message),
            Ok((pid, streams)) => {
                let (kinds, descriptors) = streams.into_iter().unzip();
                found.send_with(&Reply::Streams { kinds, pid }, descriptors);
                match ended {
                    Some(ended) => found.send(&Reply::Exited { code: ended.code }),
                    None => found.role = Role::Executing { pid },
                }
            }
        }
    }
}

impl Launch {
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match fd::receive(&self.socket, &mut buffer, &mut self.descriptors) {
                Ok(0) => self.over = true,
                Ok(count) if self.heard.len() < REPORT_LIMIT => {
                    self.heard.extend_from_slice(&buffer[..count]);
                    continue;
                }
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.over = true,
            }
            return;
        }
    }

    /// The process, and the first failure that was told.
    fn outcome(&self) -> (Option<i32>, Option<String>) {
        let lines = self.heard.split(|byte| *byte == b'\n');
        let messages = lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
        messages.fold((None, None), |(pid, failure), message| match message {
            Message::Started { pid } => (Some(pid), failure),
            Message::Failed(text) => (pid, failure.or(Some(text))),
        })
    }
}

/// Pipes for a command: the caller's ends and the process's.
fn command_streams(config: &ExecConfig) -> io::Result<(Vec<(StreamKind, OwnedFd)>, Stdio)> {
    let mut streams = Vec::new();
    if config.tty {
        return Ok((streams, Stdio::default()));
    }
    let stdin = if config.stdin {
        let (read_end, write_end) = fd::pipe()?;
        streams.push((StreamKind::Stdin, write_end));
        read_end
    } else {
        null()?
    };
    let (stdout, stdout_end) = fd::pipe()?;
    let (stderr, stderr_end) = fd::pipe()?;
    streams.extend([(StreamKind::Stdout, stdout), (StreamKind::Stderr, stderr)]);
    Ok((streams, Stdio { stdin: Some(stdin), stdout: Some(stdout_end), stderr: Some(stderr_end) }))
}

/// A terminal is input, output and what is resized at once.
fn with_terminal(
    mut streams: Vec<(StreamKind, OwnedFd)>,
    stdin: bool,
    terminals: Vec<OwnedFd>,
) -> io::Result<Vec<(StreamKind, OwnedFd)>> {
    for terminal in terminals {
        if stdin {
            streams.push((StreamKind::Stdin, terminal.try_clone()?));
        }
        streams.push((StreamKind::Stdout, terminal.try_clone()?));
        streams.push((StreamKind::Terminal, terminal));
    }
    Ok(streams)
}

fn kind(stream: Stream) -> StreamKind {
    match stream {
        Stream::Stdout => StreamKind::Stdout,
        Stream::Stderr => StreamKind::Stderr,
    }
}

fn null() -> io::Result<OwnedFd> {
    Ok(fs::File::open("/dev/null")?.into())
}

/// Now, in nanoseconds since the epoch.
pub(super) fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
