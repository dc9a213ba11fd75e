//! Waiting for a container to end, and what status says of how it did.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, ContainerStateTerminated, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    kubelet::{names, record::UNKNOWN_EXIT_CODE, shared::Shared},
    oci::ContainerState,
};

/// Longest termination message from its file (upstream's `MaxContainerTerminationMessageLength`).
const MESSAGE_LIMIT_BYTES: u64 = 4096;
/// Longest one from the log, and its most lines.
const LOG_LIMIT_BYTES: u64 = 2048;
const LOG_LIMIT_LINES: usize = 80;

/// Resolves when the container has ended.
pub async fn run(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    container: Container,
    id: String,
    attempt: i32,
) -> ContainerStateTerminated {
    let ended = match shared.containers.wait(names::uid(&pod), &id).await {
        Ok(status) => status.state,
        Err(error) => {
            tracing::debug!(container = id, error = %error, "container lost");
            ContainerState::Created
        }
    };
    shared.lane.clone().run(move || terminated(&shared, &pod, &container, &id, attempt, &ended)).await
}

/// What status says of a container that ended. Blocks: it reads the termination message.
pub fn terminated(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    id: &str,
    attempt: i32,
    state: &ContainerState,
) -> ContainerStateTerminated {
    let container_id = Some(format!("nauplius://{id}"));
    let ContainerState::Exited { code, signal, oom_killed, started_at_ns, finished_at_ns } = state else {
        return ContainerStateTerminated {
            exit_code: UNKNOWN_EXIT_CODE,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            container_id,
            finished_at: Some(Time(Timestamp::now())),
            ..ContainerStateTerminated::default()
        };
    };
    let reason = match (oom_killed, code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    let time = |nanoseconds: i64| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok().map(Time);
    let file = names::termination_file(&names::directory(&shared.config, names::uid(pod)), &container.name, id);
    let log = names::log_path(&shared.config, pod, &container.name, attempt);
    ContainerStateTerminated {
        exit_code: *code,
        signal: (*signal != 0).then_some(*signal),
        reason: Some(reason.to_owned()),
        message: message(container, &file, &log, *code),
        container_id,
        started_at: time(*started_at_ns),
        finished_at: time(*finished_at_ns),
    }
}

/// The message a container left (API reference, `terminationMessagePolicy`).
fn message(container: &Container, file: &Path, log: &Path, code: i32) -> Option<String> {
    let text = read_tail(file, MESSAGE_LIMIT_BYTES).unwrap_or_default();
    let fall_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    let text = if text.is_empty() && fall_back && code != 0 { log_tail(log) } else { text };
    (!text.is_empty()).then_some(text)
}

/// The end of a log without its time stamps, stream names and tags (CRI log format).
fn log_tail(log: &Path) -> String {
    // A line carries about forty bytes beside its text.
    let raw = read_tail(log, LOG_LIMIT_BYTES * 4).unwrap_or_default();
    let mut text = String::new();
    let lines: Vec<&str> = raw.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(LOG_LIMIT_LINES)) {
        let mut parts = line.splitn(4, ' ');
        let (Some(_), Some(_), Some(tag), Some(content)) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        text.push_str(content);
        if tag == "F" {
            text.push('\n');
        }
    }
    let limit = usize::try_from(LOG_LIMIT_BYTES).unwrap_or(usize::MAX);
    let start = text.ceil_char_boundary(text.len().saturating_sub(limit));
    text.split_off(start)
}

fn read_tail(path: &Path, limit: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_comes_from_its_file_or_on_failure_from_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let (file, log) = (directory.path().join("message"), directory.path().join("0.log"));
        std::fs::write(
            &log,
            "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr P tw\n2026-01-01T00:00:00Z stderr F o\n",
        )
        .unwrap();
        let container =
            |policy: &str| Container { termination_message_policy: Some(policy.into()), ..Container::default() };
        let fallback = container("FallbackToLogsOnError");
        assert_eq!(message(&fallback, &file, &log, 1).as_deref(), Some("one\ntwo\n"));
        assert_eq!(message(&fallback, &file, &log, 0), None);
        assert_eq!(message(&container("File"), &file, &log, 1), None);
        std::fs::write(&file, "DONE").unwrap();
        assert_eq!(message(&fallback, &file, &log, 1).as_deref(), Some("DONE"));
    }
}
