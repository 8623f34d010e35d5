//! The client's side of SOCKS 5 (RFC 1928) with user and password (RFC 1929): names are resolved by the proxy.

use super::connection::{Origin, os_text};
use super::fetch::FetchError;
use super::proxy::Proxy;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

fn failed(reason: impl std::fmt::Display) -> FetchError {
    FetchError::Dial(format!("socks connect: {reason}"))
}

/// Asks the proxy at the other end of `stream` for a connection to `origin`.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    origin: &Origin,
    proxy: &Proxy,
) -> Result<(), FetchError> {
    let io = |e: std::io::Error| failed(os_text(&e));
    let methods: &[u8] = match &proxy.user {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    stream.write_all(methods).await.map_err(io)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(io)?;
    match (chosen, &proxy.user) {
        ([VERSION, NO_AUTHENTICATION], _) => {}
        ([VERSION, USER_AND_PASSWORD], Some((name, password))) => {
            let mut message = vec![1];
            for text in [name, password] {
                let length =
                    u8::try_from(text.len()).map_err(|_| failed("invalid username/password"))?;
                message.push(length);
                message.extend(text.as_bytes());
            }
            stream.write_all(&message).await.map_err(io)?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await.map_err(io)?;
            if answer != [1, 0] {
                return Err(failed("username/password authentication failed"));
            }
        }
        ([VERSION, _], _) => return Err(failed("no acceptable authentication methods")),
        ([version, _], _) => {
            return Err(failed(format_args!(
                "unexpected protocol version {version}"
            )));
        }
    }
    let host = origin.host.trim_matches(['[', ']']);
    let mut message = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            message.push(1);
            message.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(4);
            message.extend(address.octets());
        }
        Err(_) => {
            let length = u8::try_from(host.len()).map_err(|_| failed("FQDN too long"))?;
            message.extend([3, length]);
            message.extend(host.as_bytes());
        }
    }
    message.extend(origin.port.to_be_bytes());
    stream.write_all(&message).await.map_err(io)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(io)?;
    let [_, code, _, kind] = head;
    if code != 0 {
        return Err(failed(reason(code)));
    }
    let address_bytes = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(io)?),
        _ => return Err(failed("unknown address type")),
    };
    // The bound address and its port: nothing that we need.
    let mut bound = vec![0; address_bytes + 2];
    stream.read_exact(&mut bound).await.map_err(io)?;
    Ok(())
}

fn reason(code: u8) -> &'static str {
    match code {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown code",
    }
}
