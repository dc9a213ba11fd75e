//! Lifecycle hooks: exec, httpGet, tcpSocket, sleep.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use crate::kubelet::{names, probe, shared::Shared};

/// Longest wait for a hook's HTTP answer (as upstream's client).
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a hook to its end; the error is what the container's event says. There is no limit to a
/// hook but the one its caller sets.
pub async fn run(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    id: &str,
    address: Option<IpAddr>,
    handler: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        let shown = command.join(" ");
        let ended = shared.containers.exec(names::uid(pod), id, command, limit).await;
        let ended = ended.map_err(|error| format!("Exec lifecycle hook ({shown}) failed: {error}"))?;
        if ended.code != 0 {
            let output = String::from_utf8_lossy(&ended.output);
            return Err(format!("error: command '{shown}' exited with {}: {output}", ended.code));
        }
        return Ok(());
    }
    if let Some(get) = &handler.http_get {
        let target = probe::http::Target::new(get, container, address)?;
        return match probe::http::get(&target, HTTP_TIMEOUT.min(limit)).await {
            Ok(answer) if answer.code < 400 => Ok(()),
            Ok(answer) => Err(format!("HTTP lifecycle hook failed with status code {}", answer.code)),
            Err(error) => Err(error.to_string()),
        };
    }
    if let Some(sleep) = &handler.sleep {
        let wanted = Duration::from_secs(sleep.seconds.max(0).unsigned_abs());
        tokio::time::sleep(wanted.min(limit)).await;
    }
    Ok(())
}
