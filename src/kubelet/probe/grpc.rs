//! The gRPC health check (grpc.health.v1): one unary call with a message of one string and an
//! answer of one number, too little to bring a gRPC stack for.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::kubelet::probe;

/// `HealthCheckResponse.ServingStatus.SERVING`
const SERVING: u64 = 1;
/// Largest answer that is read.
const ANSWER_LIMIT_BYTES: usize = 4096;

/// Whether the service (empty for the whole server) is serving.
pub async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, call(host, port, service, timeout)).await {
        Ok(result) => result,
        Err(_) => {
            let at = probe::authority(host, port);
            Err(format!(
                "timeout: failed to connect service \"{at}\" within {}s: context deadline exceeded",
                timeout.as_secs()
            ))
        }
    }
}

async fn call(host: &str, port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    let stream = probe::tcp::dial(host, port, timeout).await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
    let request = Request::post(format!("http://{}/grpc.health.v1.Health/Check", probe::authority(host, port)))
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .body(Full::new(message(service)))
        .map_err(text)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let headers = answer.headers().clone();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT_BYTES).collect().await.map_err(text)?;
        let code = body.trailers().and_then(|trailers| trailers.get("grpc-status")).or(headers.get("grpc-status"));
        match code.map(|code| code.to_str().unwrap_or_default().to_owned()) {
            Some(code) if code != "0" => Err(format!("rpc error: code = {code}")),
            _ => verdict(&body.to_bytes()),
        }
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => result,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(text(error)),
        },
    }
}

/// A length-prefixed `HealthCheckRequest` (field 1: the service's name).
fn message(service: &str) -> Bytes {
    let mut body = BytesMut::new();
    if !service.is_empty() {
        body.put_u8(0x0a);
        put_varint(&mut body, service.len() as u64);
        body.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(body.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&body);
    framed.freeze()
}

/// A `HealthCheckResponse` (field 1: the status; absent means unknown).
fn verdict(framed: &[u8]) -> Result<(), String> {
    let status = match framed.get(5..) {
        Some([0x08, value, ..]) => u64::from(*value),
        _ => 0,
    };
    if status == SERVING { Ok(()) } else { Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()) }
}

fn put_varint(buffer: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8((value & 0x7f) as u8);
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_protobuf() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert!(verdict(&[0, 0, 0, 0, 2, 8, 1]).is_ok());
        assert!(verdict(&[0, 0, 0, 0, 2, 8, 2]).is_err());
        assert!(verdict(&[0, 0, 0, 0, 0]).is_err());
    }
}
