//! Which requests go through a proxy: `no_proxy` patterns and the proxy's own address.
//!
//! Patterns as in Go's `httpproxy`: `*`, host names, domains with or without a leading dot, addresses, CIDR ranges, each
//! with an optional port.

use super::fetch::FetchError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use std::net::IpAddr;
use url::Url;

/// An HTTP proxy to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// `Proxy-Authorization`, from the user part of the proxy's URL.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let refuse =
            |reason: &str| FetchError::Configuration(format!("invalid proxy URL: {reason}"));
        let url = Url::parse(text).map_err(|e| refuse(&e.to_string()))?;
        if url.scheme() != "http" {
            return Err(refuse("only http proxies are supported"));
        }
        let host = url.host_str().ok_or_else(|| refuse("it has no host"))?;
        let authorization = if url.username().is_empty() {
            None
        } else {
            let decode = |s: &str| {
                percent_encoding::percent_decode_str(s)
                    .decode_utf8_lossy()
                    .into_owned()
            };
            let pair = format!(
                "{}:{}",
                decode(url.username()),
                decode(url.password().unwrap_or_default())
            );
            let line = format!("Basic {}", STANDARD.encode(pair));
            let mut value = HeaderValue::from_str(&line).map_err(|e| refuse(&e.to_string()))?;
            value.set_sensitive(true);
            Some(value)
        };
        Ok(Proxy {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(80),
            authorization,
        })
    }
}

/// Is `host` to be reached directly?
pub(super) fn bypasses(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    no_proxy.split(',').map(str::trim).any(|pattern| {
        if pattern.is_empty() {
            return false;
        }
        if pattern == "*" {
            return true;
        }
        if let Some((network, bits)) = pattern.split_once('/') {
            return match (address, network.parse::<IpAddr>(), bits.parse::<u32>()) {
                (Some(address), Ok(network), Ok(bits)) => in_network(address, network, bits),
                _ => false,
            };
        }
        let (name, wanted_port) = match pattern.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
            _ => (pattern, None),
        };
        if wanted_port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
        if let Ok(wanted) = name.parse::<IpAddr>() {
            return address == Some(wanted);
        }
        let suffix = name.strip_prefix('*').unwrap_or(&name);
        match suffix.strip_prefix('.') {
            Some(domain) => host
                .strip_suffix(domain)
                .is_some_and(|head| head.ends_with('.')),
            None => {
                host == suffix
                    || host
                        .strip_suffix(suffix)
                        .is_some_and(|head| head.ends_with('.'))
            }
        }
    })
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(a) & mask == u32::from(n) & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(a) & mask == u128::from(n) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_patterns() {
        for (patterns, host, port, expected) in [
            ("", "a.example", 80, false),
            ("*", "a.example", 80, true),
            ("example", "a.example", 80, true),
            (".example", "example", 80, false),
            (".example", "a.example", 80, true),
            ("ample", "a.example", 80, false),
            ("a.example:81", "a.example", 80, false),
            ("a.example:80", "a.example", 80, true),
            ("10.0.0.0/8", "10.1.2.3", 80, true),
            ("10.0.0.0/8", "11.1.2.3", 80, false),
            ("x, ::1", "[::1]", 80, true),
        ] {
            assert_eq!(
                bypasses(patterns, host, port),
                expected,
                "{patterns} {host}"
            );
        }
    }

    #[test]
    fn proxy_urls() {
        let proxy = Proxy::parse("http://us%40er:pw@127.0.0.1:3128").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("127.0.0.1", 3128));
        assert_eq!(
            proxy.authorization.unwrap().to_str().unwrap(),
            "Basic dXNAZXI6cHc="
        );
        assert!(Proxy::parse("socks5://x").is_err());
    }
}
