//! Probes: whether a container has started, lives, and is ready (API reference, "Probe").

pub mod grpc;
pub mod http;
pub mod run;
pub mod tcp;

use std::{net::IpAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::kubelet::{host, names, shared::Shared};

/// The three kinds of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Holds the others back until the program is up.
    Startup,
    /// Restarts a program that hangs.
    Liveness,
    /// Takes a program that is busy out of its Services.
    Readiness,
}

impl Kind {
    /// As upstream's messages spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The container's probe of this kind.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// Counts answers against a probe's thresholds.
#[derive(Debug, Default)]
pub struct Thresholds {
    last: Option<bool>,
    run: i32,
}

impl Thresholds {
    /// Takes an answer; the verdict when enough of the same have come in a row.
    pub fn count(&mut self, probe: &Probe, good: bool) -> Option<bool> {
        self.run = if self.last == Some(good) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let needed = if good { probe.success_threshold.unwrap_or(1) } else { probe.failure_threshold.unwrap_or(3) };
        (self.run >= needed).then_some(good)
    }
}

/// One try; the error is what the event says.
pub async fn once(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    id: &str,
    address: Option<IpAddr>,
    probe: &Probe,
) -> Result<(), String> {
    let timeout = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1));
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return match shared.containers.exec(names::uid(pod), id, command, timeout).await {
            Ok(result) if result.code == 0 => Ok(()),
            Ok(result) => Err(String::from_utf8_lossy(&result.output).into_owned()),
            Err(host::Error::ExecTimeout { command, .. }) => {
                Err(format!("command timed out: \"{command}\" timed out after {}s", timeout.as_secs()))
            }
            Err(error) => Err(error.to_string()),
        };
    }
    if let Some(get) = &probe.http_get {
        let target = http::Target::new(get, container, address)?;
        return match http::get(&target, timeout).await {
            Ok(answer) if (200..400).contains(&answer.code) => Ok(()),
            Ok(answer) => Err(format!("HTTP probe failed with statuscode: {}", answer.code)),
            Err(error) => Err(error.to_string()),
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let port = port(&socket.port, container)?;
        let host = host(socket.host.as_deref(), address)?;
        return tcp::connect(&host, port, timeout).await;
    }
    if let Some(action) = &probe.grpc {
        let port = u16::try_from(action.port).map_err(|_| format!("invalid port number: {}", action.port))?;
        let host = host(None, address)?;
        return grpc::check(&host, port, action.service.as_deref().unwrap_or_default(), timeout).await;
    }
    Ok(())
}

/// A port by number, or by the name that the container gives it.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| match port {
        IntOrString::Int(number) => format!("invalid port number: {number}"),
        IntOrString::String(name) => format!("couldn't find port: {name}"),
    })
}

/// The host a probe goes to: its own wish, or the pod.
pub fn host(wish: Option<&str>, address: Option<IpAddr>) -> Result<String, String> {
    match (wish.filter(|wish| !wish.is_empty()), address) {
        (Some(wish), _) => Ok(wish.to_owned()),
        (None, Some(address)) => Ok(address.to_string()),
        (None, None) => Err("the pod has no address".to_owned()),
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_its_threshold_in_a_row() {
        let probe = Probe { failure_threshold: Some(3), success_threshold: Some(2), ..Probe::default() };
        let mut thresholds = Thresholds::default();
        let verdicts: Vec<_> = [true, true, false, false, true, false, false, false]
            .into_iter()
            .map(|good| thresholds.count(&probe, good))
            .collect();
        assert_eq!(verdicts, [None, Some(true), None, None, None, None, None, Some(false)]);
    }

    #[test]
    fn ports_are_found_by_name() {
        let container: Container =
            serde_json::from_value(serde_json::json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]}))
                .unwrap();
        assert_eq!(port(&IntOrString::String("web".into()), &container), Ok(80));
        assert_eq!(port(&IntOrString::Int(8080), &container), Ok(8080));
        assert!(port(&IntOrString::String("none".into()), &container).is_err());
        assert_eq!(authority("::1", 80), "[::1]:80");
    }
}
