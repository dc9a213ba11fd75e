//! Rules of probes and lifecycle hooks.

use k8s_openapi::{
    api::core::v1::{
        Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec, Probe, SleepAction,
        TCPSocketAction,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::api::{
    field::{self, Path},
    status::Cause,
    validation::{name, network, value},
};

const SCHEMES: &[&str] = &["HTTP", "HTTPS"];
/// What a negative grace period is taken for.
const LEAST_GRACE_SECONDS: i64 = 1;

/// Problems of a container's probes and hooks.
pub fn of_container(container: &Container, spec: &PodSpec, path: &Path) -> Vec<Cause> {
    let grace = spec.termination_grace_period_seconds;
    let mut causes = Vec::new();
    if let Some(hooks) = &container.lifecycle {
        causes.extend(lifecycle(hooks, grace, &path.child("lifecycle")));
    }
    let probes = [
        ("livenessProbe", &container.liveness_probe, true),
        ("readinessProbe", &container.readiness_probe, false),
        ("startupProbe", &container.startup_probe, true),
    ];
    for (name, one, kills) in probes {
        if let Some(one) = one {
            causes.extend(probe(one, kills, grace, &path.child(name)));
        }
    }
    causes
}

/// A probe that kills its container succeeds at once; one that does not has no grace period.
fn probe(probe: &Probe, kills: bool, grace: Option<i64>, path: &Path) -> Vec<Cause> {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    let mut causes = handler.validate(grace, path);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (name, number) in numbers {
        let number = number.unwrap_or_default();
        causes.extend(field::invalid_each(&path.child(name), number, &value::non_negative(number.into())));
    }
    let own = path.child("terminationGracePeriodSeconds");
    match probe.termination_grace_period_seconds {
        Some(seconds) if seconds <= 0 => causes.push(field::invalid(&own, seconds, value::NOT_POSITIVE)),
        Some(seconds) if !kills => causes.push(field::invalid(&own, seconds, "must not be set for readinessProbes")),
        _ => {}
    }
    let successes = probe.success_threshold.unwrap_or(1);
    if kills && successes != 1 {
        causes.push(field::invalid(&path.child("successThreshold"), successes, "must be 1"));
    }
    causes
}

fn lifecycle(lifecycle: &Lifecycle, grace: Option<i64>, path: &Path) -> Vec<Cause> {
    let hooks = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
    let given = hooks.into_iter().filter_map(|(name, hook)| Some((name, hook.as_ref()?)));
    given.flat_map(|(name, hook)| Handler::of_hook(hook).validate(grace, &path.child(name))).collect()
}

/// What probes and hooks do, one of these.
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> Handler<'a> {
    fn of_hook(hook: &'a LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }

    fn validate(&self, grace: Option<i64>, path: &Path) -> Vec<Cause> {
        let checks: [(&str, Option<Vec<Cause>>); 5] = [
            ("exec", self.exec.map(|action| exec(action, &path.child("exec")))),
            ("httpGet", self.http_get.map(|action| http_get(action, &path.child("httpGet")))),
            ("tcpSocket", self.tcp_socket.map(|action| port(&action.port, &path.child("tcpSocket").child("port")))),
            ("grpc", self.grpc.map(|action| port(&IntOrString::Int(action.port), &path.child("grpc").child("port")))),
            ("sleep", self.sleep.map(|action| sleep(action, grace, &path.child("sleep")))),
        ];
        let mut given = checks.into_iter().filter_map(|(name, causes)| Some((name, causes?)));
        let Some((_, mut causes)) = given.next() else {
            return vec![field::required(path, "must specify a handler type")];
        };
        causes.extend(
            given.map(|(name, _)| field::forbidden(&path.child(name), "may not specify more than 1 handler type")),
        );
        causes
    }
}

fn exec(action: &ExecAction, path: &Path) -> Vec<Cause> {
    let none = action.command.as_ref().is_none_or(Vec::is_empty);
    if none { vec![field::required(&path.child("command"), "")] } else { Vec::new() }
}

fn http_get(action: &HTTPGetAction, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    if action.path.as_deref().unwrap_or_default().is_empty() {
        causes.push(field::required(&path.child("path"), ""));
    }
    causes.extend(port(&action.port, &path.child("port")));
    let scheme = action.scheme.as_deref().unwrap_or_default();
    if !SCHEMES.contains(&scheme) {
        causes.push(field::unsupported(&path.child("scheme"), scheme, SCHEMES));
    }
    for header in action.http_headers.iter().flatten() {
        causes.extend(field::invalid_each(
            &path.child("httpHeaders"),
            &header.name,
            &name::http_header_name(&header.name),
        ));
    }
    causes
}

fn sleep(action: &SleepAction, grace: Option<i64>, path: &Path) -> Vec<Cause> {
    let Some(grace) = grace.map(|grace| if grace < 0 { LEAST_GRACE_SECONDS } else { grace }) else {
        return Vec::new();
    };
    if (0..=grace).contains(&action.seconds) {
        return Vec::new();
    }
    let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
    vec![field::invalid(path, action.seconds, &detail)]
}

fn port(port: &IntOrString, path: &Path) -> Vec<Cause> {
    match port {
        IntOrString::Int(number) => field::invalid_each(path, number, &network::port((*number).into())),
        IntOrString::String(text) => field::invalid_each(path, text, &network::port_name(text)),
    }
}
