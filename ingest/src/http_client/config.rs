//! How to reach an HTTP server: credentials, TLS, proxy, redirects, as plain data (Prometheus `http_config`).
//!
//! Promise: a secret never appears in `Debug` output; equality compares real contents, so a changed secret is a change.
//! Not here: YAML (the gateway owns the schema and converts into these), reading the files (`http_client::credentials`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Text that must not be shown: `Debug` and `Display` print `<secret>`, as Prometheus does in `/api/v1/status/config`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself; only for putting it on the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True for the empty text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A secret given in place, or in a file that is read again for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In the configuration itself.
    Inline(Secret),
    /// In a file; surrounding white space is cut off.
    File(PathBuf),
}

/// Text given in place or in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    /// In the configuration itself.
    Inline(String),
    /// In a file.
    File(PathBuf),
}

/// `basic_auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// `username` or `username_file`.
    pub username: Option<TextSource>,
    /// `password` or `password_file`.
    pub password: Option<SecretSource>,
}

/// `authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Scheme before the credentials; `Bearer` when the user gave none.
    pub kind: String,
    /// `credentials` or `credentials_file`.
    pub credentials: Option<SecretSource>,
}

/// TLS protocol versions that `min_version` and `max_version` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS10`
    Tls10,
    /// `TLS11`
    Tls11,
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

/// `tls_config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// `ca` or `ca_file`: PEM bundle of the authorities to trust; none means the system's.
    pub ca: Option<TextSource>,
    /// `cert` or `cert_file`: PEM chain of the client certificate.
    pub cert: Option<TextSource>,
    /// `key` or `key_file`: PEM key of the client certificate.
    pub key: Option<SecretSource>,
    /// Name to expect in the server's certificate; empty means the host of the URL.
    pub server_name: String,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// Lowest version to speak; none means TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// Highest version to speak.
    pub max_version: Option<TlsVersion>,
}

/// One entry of `http_headers`; each value, secret and file becomes one header line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderValues {
    /// Plain values.
    pub values: Vec<String>,
    /// Values that are not shown.
    pub secrets: Vec<Secret>,
    /// Files whose trimmed contents are values.
    pub files: Vec<PathBuf>,
}

/// Where requests go instead of straight to their host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// `proxy_url`: `http`, `https` or `socks5`; `https` targets are reached through `CONNECT`.
    pub url: Option<String>,
    /// `no_proxy`: comma-separated hosts, domains, addresses and CIDR ranges that are reached directly.
    pub no_proxy: String,
    /// `proxy_from_environment`: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (or in small letters) say where.
    pub from_environment: bool,
    /// `proxy_connect_header`: headers of the `CONNECT` request.
    pub connect_headers: BTreeMap<String, Vec<Secret>>,
}

/// What proves to the token server who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OAuth2Grant {
    /// `client_secret` or `client_secret_file`.
    ClientCredentials {
        /// None means an empty one.
        secret: Option<SecretSource>,
    },
    /// `grant_type: urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523).
    JwtBearer {
        /// `client_certificate_key` or `client_certificate_key_file`: PEM of an RSA key.
        key: Option<SecretSource>,
        /// `client_certificate_key_id`: `kid` of the token's header.
        key_id: String,
        /// `signature_algorithm`: `RS256` (when empty), `RS384` or `RS512`.
        algorithm: String,
        /// `iss`; empty means `client_id`.
        issuer: String,
        /// `audience`; empty means the token's URL.
        audience: String,
        /// `claims`: further claims.
        claims: BTreeMap<String, String>,
    },
}

/// `oauth2`: a token that is fetched with our own credentials and sent as `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2Config {
    /// `client_id`
    pub client_id: String,
    /// How the token is asked for.
    pub grant: OAuth2Grant,
    /// `scopes`
    pub scopes: Vec<String>,
    /// `token_url`
    pub token_url: String,
    /// `endpoint_params`: further fields of the request.
    pub endpoint_params: BTreeMap<String, String>,
    /// `tls_config` for the token server.
    pub tls: TlsConfig,
    /// Proxy to the token server.
    pub proxy: ProxyConfig,
}

/// Everything about the connection to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpClientConfig {
    /// `basic_auth`.
    pub basic_auth: Option<BasicAuth>,
    /// `authorization`.
    pub authorization: Option<Authorization>,
    /// `oauth2`.
    pub oauth2: Option<Box<OAuth2Config>>,
    /// `tls_config`.
    pub tls: TlsConfig,
    /// `http_headers`, by header name.
    pub headers: BTreeMap<String, HeaderValues>,
    /// `follow_redirects`.
    pub follow_redirects: bool,
    /// `enable_http2`: HTTP/2 where TLS agrees on it.
    pub enable_http2: bool,
    /// `proxy_url` and its companions.
    pub proxy: ProxyConfig,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        HttpClientConfig {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls: TlsConfig::default(),
            headers: BTreeMap::new(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let config = HttpClientConfig {
            basic_auth: Some(BasicAuth {
                username: Some(TextSource::Inline("alice".into())),
                password: Some(SecretSource::Inline(Secret::new("hunter2"))),
            }),
            ..HttpClientConfig::default()
        };
        let shown = format!("{config:?} {}", Secret::new("hunter2"));
        assert!(shown.contains("alice") && shown.contains("<secret>"));
        assert!(!shown.contains("hunter2"));
    }
}
