//! Which requests go through a proxy: the settings, the environment, `no_proxy` patterns, and the proxy's own address.
//!
//! Patterns as in Go's `httpproxy`: `*`, host names, domains with or without a leading dot, addresses, CIDR ranges, each
//! with an optional port.

use super::config::ProxyConfig;
use super::connection::Origin;
use super::fetch::FetchError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use std::net::IpAddr;
use std::sync::OnceLock;
use url::Url;

/// How one speaks with a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Http,
    /// HTTP over TLS.
    Https,
    Socks5,
}

/// A proxy to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) kind: ProxyKind,
    pub(super) host: String,
    pub(super) port: u16,
    /// From the user part of the proxy's URL.
    pub(super) user: Option<(String, String)>,
}

/// What the environment says about proxies, read once.
#[derive(Debug, Default)]
struct Environment {
    http: Option<String>,
    https: Option<String>,
    no_proxy: String,
}

impl Environment {
    fn get() -> &'static Environment {
        static READ: OnceLock<Environment> = OnceLock::new();
        READ.get_or_init(|| {
            let any = |names: [&str; 2]| {
                names
                    .into_iter()
                    .filter_map(|name| std::env::var(name).ok())
                    .find(|value| !value.is_empty())
            };
            Environment {
                http: any(["HTTP_PROXY", "http_proxy"]),
                https: any(["HTTPS_PROXY", "https_proxy"]),
                no_proxy: any(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
            }
        })
    }

    fn choose(&self, origin: &Origin) -> Option<&str> {
        let url = if origin.tls { &self.https } else { &self.http };
        let url = url.as_deref()?;
        (!is_local(&origin.host) && !bypasses(&self.no_proxy, &origin.host, origin.port))
            .then_some(url)
    }
}

/// The proxy on the way to `origin`, if there is one.
pub(super) fn choose(config: &ProxyConfig, origin: &Origin) -> Result<Option<Proxy>, FetchError> {
    if config.from_environment {
        // As Go: a host without a scheme is an HTTP proxy.
        return Environment::get()
            .choose(origin)
            .map(|url| match url.contains("://") {
                true => Proxy::parse(url),
                false => Proxy::parse(&format!("http://{url}")),
            })
            .transpose();
    }
    let Some(url) = &config.url else {
        return Ok(None);
    };
    let direct = !config.no_proxy.is_empty()
        && (is_local(&origin.host) || bypasses(&config.no_proxy, &origin.host, origin.port));
    (!direct).then(|| Proxy::parse(url)).transpose()
}

/// Go never asks a proxy for the own machine once there are rules for what to ask it.
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Proxy {
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let refuse =
            |reason: &str| FetchError::Configuration(format!("invalid proxy URL: {reason}"));
        let url = Url::parse(text).map_err(|e| refuse(&e.to_string()))?;
        let (kind, default_port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            _ => return Err(refuse("only http, https and socks5 proxies are supported")),
        };
        let host = url.host_str().ok_or_else(|| refuse("it has no host"))?;
        let decode = |s: &str| {
            percent_encoding::percent_decode_str(s)
                .decode_utf8_lossy()
                .into_owned()
        };
        let user = (!url.username().is_empty()).then(|| {
            let password = url.password().unwrap_or_default();
            (decode(url.username()), decode(password))
        });
        Ok(Proxy {
            kind,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(default_port),
            user,
        })
    }

    /// `Proxy-Authorization`
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let (name, password) = self.user.as_ref()?;
        let line = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        let mut value = HeaderValue::from_str(&line).ok()?;
        value.set_sensitive(true);
        Some(value)
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
            proxy.authorization().unwrap().to_str().unwrap(),
            "Basic dXNAZXI6cHc="
        );
        assert_eq!(Proxy::parse("socks5://x").unwrap().port, 1080);
        assert_eq!(Proxy::parse("https://x").unwrap().kind, ProxyKind::Https);
        assert!(Proxy::parse("ftp://x").is_err());
    }

    #[test]
    fn who_is_asked_for_a_proxy() {
        let origin = |tls: bool, host: &str| Origin {
            tls,
            host: host.into(),
            port: if tls { 443 } else { 80 },
        };
        let environment = Environment {
            http: Some("http://plain:1".into()),
            https: Some("secure:2".into()),
            no_proxy: "inside".into(),
        };
        assert_eq!(
            environment.choose(&origin(false, "far")),
            Some("http://plain:1")
        );
        assert_eq!(environment.choose(&origin(true, "far")), Some("secure:2"));
        assert_eq!(environment.choose(&origin(true, "a.inside")), None);
        assert_eq!(environment.choose(&origin(true, "127.0.0.9")), None);
        let mut config = ProxyConfig {
            url: Some("http://p:3".into()),
            ..ProxyConfig::default()
        };
        let chosen = |config: &ProxyConfig, host: &str| {
            choose(config, &origin(false, host))
                .unwrap()
                .map(|p| p.port)
        };
        assert_eq!(
            chosen(&config, "localhost"),
            Some(3),
            "the only rule is the proxy"
        );
        config.no_proxy = "inside".into();
        assert_eq!(chosen(&config, "localhost"), None);
        assert_eq!(chosen(&config, "inside"), None);
        assert_eq!(chosen(&config, "far"), Some(3));
    }
}
