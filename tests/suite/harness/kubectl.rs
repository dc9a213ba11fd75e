//! The real kubectl, in the network namespace of a host.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
    thread,
};

use parking_lot::Mutex;
use serde_json::Value;

use super::host::text;

/// Longest time for one command, in seconds: a test that waits for something waits for longer than
/// any command may hang.
const LIMIT_SECONDS: &str = "150";

/// The minor version of Kubernetes whose kubectl is used when none is asked for: the server's own.
const MINOR: u32 = 36;

/// kubectl with a kubeconfig, and maybe for one namespace. Commands are given as one line; words are
/// split at blanks, and single quotes keep blanks.
#[derive(Clone)]
pub struct Kubectl {
    host: String,
    kubeconfig: PathBuf,
    minor: u32,
    namespace: Option<String>,
    flags: Vec<String>,
    variables: Vec<(String, OsString)>,
}

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    /// The command line.
    pub command: String,
    /// Its exit code, or that of the signal that ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "kubectl {command}: exit code {code:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

impl Kubectl {
    pub(super) fn new(host: &str, kubeconfig: &Path) -> Self {
        Self {
            host: host.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            minor: MINOR,
            namespace: None,
            flags: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// The same for one namespace.
    pub fn namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The same with another kubeconfig.
    pub fn kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), ..self.clone() }
    }

    /// The same with a flag in front of every command, such as `--token=…`.
    pub fn flag(&self, flag: &str) -> Self {
        let mut flags = self.flags.clone();
        flags.push(flag.to_owned());
        Self { flags, ..self.clone() }
    }

    /// The same of another minor version of Kubernetes, such as 30.
    pub fn minor(&self, minor: u32) -> Self {
        Self { minor, ..self.clone() }
    }

    /// The same with an environment variable, such as `EDITOR`.
    pub fn variable(&self, name: &str, value: impl Into<OsString>) -> Self {
        let mut variables = self.variables.clone();
        variables.push((name.to_owned(), value.into()));
        Self { variables, ..self.clone() }
    }

    /// Runs a command, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        self.try_run(line).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Runs a command and returns what it printed.
    pub fn try_run(&self, line: &str) -> Result<String, Failure> {
        self.try_run_with(line, b"")
    }

    /// Runs a command with standard input, which must succeed.
    #[track_caller]
    pub fn run_with(&self, line: &str, input: &[u8]) -> String {
        self.try_run_with(line, input).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Runs a command that must fail, and returns what it complained of.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        self.fails_with(line, b"")
    }

    /// Runs a command with standard input that must fail, and returns what it complained of.
    #[track_caller]
    pub fn fails_with(&self, line: &str, input: &[u8]) -> String {
        match self.try_run_with(line, input) {
            Ok(output) => panic!("kubectl {line} should have failed, but printed: {output}"),
            Err(failure) => failure.stderr.trim().to_owned(),
        }
    }

    /// `kubectl apply -f -` of these documents.
    #[track_caller]
    pub fn apply(&self, documents: &str) -> String {
        self.run_with("apply -f -", documents.as_bytes())
    }

    /// The object or list that a `get` command gives, such as `pod web`.
    #[track_caller]
    pub fn get(&self, what: &str) -> Value {
        self.try_get(what).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// The object or list that a `get` command gives.
    pub fn try_get(&self, what: &str) -> Result<Value, Failure> {
        let output = self.try_run(&format!("get {what} -o json"))?;
        Ok(serde_json::from_str(&output).expect("kubectl prints JSON"))
    }

    /// One value of an object, such as `{.status.phase}`; empty if it is not there.
    #[track_caller]
    pub fn path(&self, what: &str, path: &str) -> String {
        self.run(&format!("get {what} -o jsonpath={path}"))
    }

    /// Runs a command with standard input and returns what it printed.
    pub fn try_run_with(&self, line: &str, input: &[u8]) -> Result<String, Failure> {
        let output = self.output(line, input);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure { command: line.to_owned(), code: output.status.code(), stdout, stderr })
    }

    /// Runs a command with standard input to its end.
    pub fn output(&self, line: &str, input: &[u8]) -> Output {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        // It may end without reading all of it.
        let writer = thread::spawn(move || stdin.write_all(&input).ok());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Starts a command that runs until it is dropped, such as `port-forward` or `logs -f`.
    pub fn spawn(&self, line: &str) -> Child {
        Child::start(self.command(line))
    }

    /// The command, to be run with standard streams of the caller's choice.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", LIMIT_SECONDS, "nsenter"]).arg(format!("--net=/run/netns/{}", self.host));
        command.arg(program(self.minor, "kubectl")).arg("--kubeconfig").arg(&self.kubeconfig);
        // What one version has cached is not what another would have asked for.
        command.arg("--cache-dir").arg(self.kubeconfig.with_extension(format!("cache{}", self.minor)));
        command.args(self.namespace.iter().flat_map(|namespace| ["--namespace", namespace]));
        command.args(&self.flags).args(words(line)).env_remove("KUBECONFIG");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A kubectl that runs on. What it prints goes to a file, so that it never blocks.
pub struct Child {
    process: process::Child,
    output: tempfile::NamedTempFile,
}

impl Child {
    fn start(mut command: Command) -> Self {
        let output = tempfile::Builder::new().prefix("nauplius-test-").tempfile().unwrap();
        let file = || output.as_file().try_clone().unwrap();
        let process = command.stdin(Stdio::null()).stdout(file()).stderr(file()).spawn().unwrap();
        Self { process, output }
    }

    /// What it has printed so far, complaints included.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.output.path()).unwrap()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<process::ExitStatus> {
        self.process.try_wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // `timeout` hands SIGTERM on to kubectl.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        self.process.wait().ok();
    }
}

/// The words of a line; single quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut started) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        match character {
            '\'' => (quoted, started) = (!quoted, true),
            blank if blank.is_whitespace() && !quoted => {
                if std::mem::take(&mut started) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                started = true;
                word.push(other);
            }
        }
    }
    assert!(!quoted, "a quote is missing in: {line}");
    words.extend(started.then_some(word));
    words
}

/// The path of kubectl, which is fetched when it is not there.
pub fn kubectl() -> PathBuf {
    program(MINOR, "kubectl")
}

/// The path of a program (`kubectl` or `helm`) of a minor version of Kubernetes, which is fetched when
/// it is not there.
pub fn program(minor: u32, name: &str) -> PathBuf {
    static FETCHED: Mutex<BTreeMap<u32, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut fetched = FETCHED.lock();
    let kubectl = fetched.entry(minor).or_insert_with(|| fetch("fetch-kubectl", &[&minor.to_string()]));
    kubectl.with_file_name(name)
}

/// Runs a script of `scripts/` that brings something into `target/tools`, and returns the path that it
/// prints.
pub fn fetch(script: &str, arguments: &[&str]) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let output = Command::new(path).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script} failed: {}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

#[test]
fn words_are_split_at_blanks_outside_quotes() {
    assert_eq!(words("exec web -- sh -c 'echo a  b' ''"), ["exec", "web", "--", "sh", "-c", "echo a  b", ""]);
}
