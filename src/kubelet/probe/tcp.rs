//! Connecting to a port, as probes do.

use std::{io, time::Duration};

use tokio::net::TcpStream;

use crate::kubelet::probe::authority;

/// Whether somebody listens; the error reads as upstream's.
pub async fn connect(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    dial(host, port, timeout).await.map(drop)
}

/// A connection within `timeout`.
pub async fn dial(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let at = authority(host, port);
    match tokio::time::timeout(timeout, TcpStream::connect(at.as_str())).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {at}: {}", describe(&error))),
        Err(_) => Err(format!("dial tcp {at}: i/o timeout")),
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_an_open_port_from_a_closed_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        connect("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        drop(listener);
        let error = connect("127.0.0.1", port, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error, format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
    }
}
