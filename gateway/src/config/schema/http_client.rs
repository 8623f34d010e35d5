//! `http_config`: credentials, TLS, proxy, headers of the connection to a server.
//!
//! Shared by scrapes, discovery, remote write and read, and Alertmanagers. Texts are those of prometheus/common.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use crate::config::field::{FilePath, Url, section};
use crate::config::yaml::{Node, Problem};
use ingest::http_client::config::{
    self as plain, HttpClientConfig, Secret, SecretSource, TextSource, TlsVersion,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

section! {
    /// User and password.
    BasicAuth as "config.plain" {
        username: String = String::new(), filled;
        username_file: FilePath = FilePath::default(), filled;
        username_ref: String = String::new(), filled;
        password: Secret = Secret::default(), filled;
        password_file: FilePath = FilePath::default(), filled;
        password_ref: String = String::new(), filled;
    }
}

section! {
    /// The `Authorization` header.
    Authorization as "config.plain" {
        kind ["type"]: String = String::new(), filled;
        credentials: Secret = Secret::default(), filled;
        credentials_file: FilePath = FilePath::default(), filled;
        credentials_ref: String = String::new(), filled;
    }
}

section! {
    /// TLS to the server.
    Tls as "config.plain" checked by check_tls {
        ca: String = String::new(), filled;
        cert: String = String::new(), filled;
        key: Secret = Secret::default(), filled;
        ca_file: FilePath = FilePath::default(), filled;
        cert_file: FilePath = FilePath::default(), filled;
        key_file: FilePath = FilePath::default(), filled;
        ca_ref: String = String::new(), filled;
        cert_ref: String = String::new(), filled;
        key_ref: String = String::new(), filled;
        server_name: String = String::new(), filled;
        insecure_skip_verify: bool = false, always;
        min_version: String = String::new(), filled;
        max_version: String = String::new(), filled;
    }
}

section! {
    /// The way out.
    Proxy as "config.plain" checked by check_proxy {
        proxy_url: Url = Url::default(), filled;
        no_proxy: String = String::new(), filled;
        proxy_from_environment: bool = false, filled;
        proxy_connect_header: BTreeMap<String, Vec<Secret>> = BTreeMap::new(), filled;
    }
}

section! {
    /// Tokens from an OAuth 2 server.
    OAuth2 as "config.plain" {
        client_id: String = String::new(), always;
        client_secret: Secret = Secret::default(), filled;
        client_secret_file: FilePath = FilePath::default(), filled;
        client_secret_ref: String = String::new(), filled;
        client_certificate_key_id: String = String::new(), filled;
        client_certificate_key: Secret = Secret::default(), filled;
        client_certificate_key_file: FilePath = FilePath::default(), filled;
        client_certificate_key_ref: String = String::new(), filled;
        grant_type: String = String::new(), filled;
        signature_algorithm: String = String::new(), filled;
        iss: String = String::new(), filled;
        audience: String = String::new(), filled;
        claims: BTreeMap<String, String> = BTreeMap::new(), filled;
        scopes: Vec<String> = Vec::new(), filled;
        token_url: String = String::new(), always;
        endpoint_params: BTreeMap<String, String> = BTreeMap::new(), filled;
        tls_config: Tls = Tls::default(), filled;
        proxy: Proxy = Proxy::default(), inline;
    }
}

section! {
    /// Values of one header.
    Header as "config.Header" {
        values: Vec<String> = Vec::new(), filled;
        secrets: Vec<Secret> = Vec::new(), filled;
        files: Vec<FilePath> = Vec::new(), filled;
    }
}

section! {
    /// Everything about the connection to a server.
    HttpClient as "config.HTTPClientConfig" checked by check_client {
        basic_auth: Option<BasicAuth> = None, filled;
        authorization: Option<Authorization> = None, filled;
        oauth2: Option<OAuth2> = None, filled;
        bearer_token: Secret = Secret::default(), filled;
        bearer_token_file: FilePath = FilePath::default(), filled;
        tls_config: Tls = Tls::default(), filled;
        follow_redirects: bool = true, always;
        enable_http2: bool = true, always;
        proxy: Proxy = Proxy::default(), inline;
        http_headers: BTreeMap<String, Header> = BTreeMap::new(), filled;
    }
}

/// Headers that the client sets itself.
const RESERVED_HEADERS: [&str; 15] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
];

fn count(given: &[bool]) -> usize {
    given.iter().filter(|g| **g).count()
}

fn check_tls(tls: &mut Tls, node: &Node) -> Result<(), Problem> {
    let fail = |key: &str, reason: &str| Err(Problem::new(node.place_of(key), reason));
    let ca = count(&[
        !tls.ca.is_empty(),
        !tls.ca_file.0.is_empty(),
        !tls.ca_ref.is_empty(),
    ]);
    let cert = count(&[
        !tls.cert.is_empty(),
        !tls.cert_file.0.is_empty(),
        !tls.cert_ref.is_empty(),
    ]);
    let key = count(&[
        !tls.key.is_empty(),
        !tls.key_file.0.is_empty(),
        !tls.key_ref.is_empty(),
    ]);
    if ca > 1 {
        return fail(
            "ca_file",
            "at most one of ca, ca_file & ca_ref must be configured",
        );
    }
    if cert > 1 {
        return fail(
            "cert_file",
            "at most one of cert, cert_file & cert_ref must be configured",
        );
    }
    if key > 1 {
        return fail(
            "key_file",
            "at most one of key and key_file must be configured",
        );
    }
    if cert == 1 && key == 0 {
        return Err(Problem::new(
            node.place,
            "exactly one of key or key_file must be configured when a client certificate is configured",
        ));
    }
    if key == 1 && cert == 0 {
        return Err(Problem::new(
            node.place,
            "exactly one of cert or cert_file must be configured when a client key is configured",
        ));
    }
    for (name, version) in [
        ("min_version", &tls.min_version),
        ("max_version", &tls.max_version),
    ] {
        if !version.is_empty() && tls_version(version).is_none() {
            return fail(name, &format!("unknown TLS version: {version}"));
        }
    }
    if let (Some(min), Some(max)) = (tls_version(&tls.min_version), tls_version(&tls.max_version))
        && min > max
    {
        return fail(
            "max_version",
            "tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified",
        );
    }
    Ok(())
}

fn check_proxy(proxy: &mut Proxy, node: &Node) -> Result<(), Problem> {
    let fail = |key: &str, reason: &str| Err(Problem::new(node.place_of(key), reason));
    let has_url = !proxy.proxy_url.0.is_empty();
    if !proxy.proxy_connect_header.is_empty() && !proxy.proxy_from_environment && !has_url {
        return fail(
            "proxy_connect_header",
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
        );
    }
    if proxy.proxy_from_environment && has_url {
        return fail(
            "proxy_url",
            "if proxy_from_environment is configured, proxy_url must not be configured",
        );
    }
    if proxy.proxy_from_environment && !proxy.no_proxy.is_empty() {
        return fail(
            "no_proxy",
            "if proxy_from_environment is configured, no_proxy must not be configured",
        );
    }
    if !has_url && !proxy.no_proxy.is_empty() {
        return fail(
            "no_proxy",
            "if no_proxy is configured, proxy_url must also be configured",
        );
    }
    Ok(())
}

fn check_client(client: &mut HttpClient, node: &Node) -> Result<(), Problem> {
    let fail = |key: &str, reason: &str| Err(Problem::new(node.place_of(key), reason));
    let bearer = count(&[
        !client.bearer_token.is_empty(),
        !client.bearer_token_file.0.is_empty(),
    ]);
    if bearer > 1 {
        return fail(
            "bearer_token_file",
            "at most one of bearer_token & bearer_token_file must be configured",
        );
    }
    if (client.basic_auth.is_some() || client.oauth2.is_some()) && bearer > 0 {
        let key = match client.bearer_token.is_empty() {
            true => "bearer_token_file",
            false => "bearer_token",
        };
        return fail(
            key,
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
        );
    }
    if let Some(basic) = &client.basic_auth {
        if count(&[
            !basic.username.is_empty(),
            !basic.username_file.0.is_empty(),
            !basic.username_ref.is_empty(),
        ]) > 1
        {
            return fail(
                "basic_auth",
                "at most one of basic_auth username, username_file & username_ref must be configured",
            );
        }
        if count(&[
            !basic.password.is_empty(),
            !basic.password_file.0.is_empty(),
            !basic.password_ref.is_empty(),
        ]) > 1
        {
            return fail(
                "basic_auth",
                "at most one of basic_auth password, password_file & password_ref must be configured",
            );
        }
    }
    if let Some(auth) = &mut client.authorization {
        if bearer > 0 {
            return fail(
                "authorization",
                "authorization is not compatible with bearer_token & bearer_token_file",
            );
        }
        if count(&[
            !auth.credentials.is_empty(),
            !auth.credentials_file.0.is_empty(),
            !auth.credentials_ref.is_empty(),
        ]) > 1
        {
            return fail(
                "authorization",
                "at most one of authorization credentials & credentials_file must be configured",
            );
        }
        auth.kind = auth.kind.trim().to_owned();
        if auth.kind.is_empty() {
            auth.kind = "Bearer".to_owned();
        }
        if auth.kind.eq_ignore_ascii_case("basic") {
            return fail(
                "authorization",
                "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
            );
        }
        if client.basic_auth.is_some() || client.oauth2.is_some() {
            return fail(
                "authorization",
                "at most one of basic_auth, oauth2 & authorization must be configured",
            );
        }
    } else if bearer > 0 {
        // The old spelling becomes the new one, also in what is shown.
        client.authorization = Some(Authorization {
            kind: "Bearer".to_owned(),
            credentials: std::mem::take(&mut client.bearer_token),
            credentials_file: std::mem::take(&mut client.bearer_token_file),
            credentials_ref: String::new(),
        });
    }
    if let Some(oauth) = &client.oauth2 {
        if client.basic_auth.is_some() {
            return fail(
                "oauth2",
                "at most one of basic_auth, oauth2 & authorization must be configured",
            );
        }
        if oauth.client_id.is_empty() {
            return fail("oauth2", "oauth2 client_id must be configured");
        }
        if oauth.token_url.is_empty() {
            return fail("oauth2", "oauth2 token_url must be configured");
        }
        if count(&[
            !oauth.client_secret.is_empty(),
            !oauth.client_secret_file.0.is_empty(),
            !oauth.client_secret_ref.is_empty(),
        ]) > 1
        {
            return fail(
                "oauth2",
                "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured",
            );
        }
    }
    for name in client.http_headers.keys() {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let place = node
                .get("http_headers")
                .map_or(node.place, |h| h.place_of(name));
            return Err(Problem::new(
                place,
                format!("setting header {name:?} is not allowed"),
            ));
        }
    }
    Ok(())
}

fn tls_version(name: &str) -> Option<TlsVersion> {
    match name {
        "TLS10" => Some(TlsVersion::Tls10),
        "TLS11" => Some(TlsVersion::Tls11),
        "TLS12" => Some(TlsVersion::Tls12),
        "TLS13" => Some(TlsVersion::Tls13),
        _ => None,
    }
}

fn text_source(inline: &str, file: &FilePath) -> Option<TextSource> {
    match (inline.is_empty(), file.0.is_empty()) {
        (false, _) => Some(TextSource::Inline(inline.to_owned())),
        (true, false) => Some(TextSource::File(PathBuf::from(&file.0))),
        (true, true) => None,
    }
}

fn secret_source(inline: &Secret, file: &FilePath) -> Option<SecretSource> {
    match (inline.is_empty(), file.0.is_empty()) {
        (false, _) => Some(SecretSource::Inline(inline.clone())),
        (true, false) => Some(SecretSource::File(PathBuf::from(&file.0))),
        (true, true) => None,
    }
}

impl Tls {
    /// As the client takes it.
    pub fn plain(&self) -> plain::TlsConfig {
        plain::TlsConfig {
            ca: text_source(&self.ca, &self.ca_file),
            cert: text_source(&self.cert, &self.cert_file),
            key: secret_source(&self.key, &self.key_file),
            server_name: self.server_name.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            min_version: tls_version(&self.min_version),
            max_version: tls_version(&self.max_version),
        }
    }
}

impl Proxy {
    fn plain(&self) -> plain::ProxyConfig {
        plain::ProxyConfig {
            url: Some(self.proxy_url.0.clone()).filter(|u| !u.is_empty()),
            no_proxy: self.no_proxy.clone(),
            from_environment: self.proxy_from_environment,
            connect_headers: self.proxy_connect_header.clone(),
        }
    }
}

/// `grant_type` that asks for a signed assertion.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl OAuth2 {
    fn plain(&self) -> plain::OAuth2Config {
        let grant = if self.grant_type == JWT_BEARER {
            plain::OAuth2Grant::JwtBearer {
                key: secret_source(
                    &self.client_certificate_key,
                    &self.client_certificate_key_file,
                ),
                key_id: self.client_certificate_key_id.clone(),
                algorithm: self.signature_algorithm.clone(),
                issuer: self.iss.clone(),
                audience: self.audience.clone(),
                claims: self.claims.clone(),
            }
        } else {
            plain::OAuth2Grant::ClientCredentials {
                secret: secret_source(&self.client_secret, &self.client_secret_file),
            }
        };
        plain::OAuth2Config {
            client_id: self.client_id.clone(),
            grant,
            scopes: self.scopes.clone(),
            token_url: self.token_url.clone(),
            endpoint_params: self.endpoint_params.clone(),
            tls: self.tls_config.plain(),
            proxy: self.proxy.plain(),
        }
    }
}

impl HttpClient {
    /// As the client takes it.
    pub fn plain(&self) -> HttpClientConfig {
        HttpClientConfig {
            basic_auth: self.basic_auth.as_ref().map(|b| plain::BasicAuth {
                username: text_source(&b.username, &b.username_file),
                password: secret_source(&b.password, &b.password_file),
            }),
            authorization: self.authorization.as_ref().map(|a| plain::Authorization {
                kind: a.kind.clone(),
                credentials: secret_source(&a.credentials, &a.credentials_file),
            }),
            oauth2: self.oauth2.as_ref().map(|o| Box::new(o.plain())),
            tls: self.tls_config.plain(),
            headers: self
                .http_headers
                .iter()
                .map(|(name, header)| {
                    let values = plain::HeaderValues {
                        values: header.values.clone(),
                        secrets: header.secrets.clone(),
                        files: header.files.iter().map(|f| PathBuf::from(&f.0)).collect(),
                    };
                    (name.clone(), values)
                })
                .collect(),
            follow_redirects: self.follow_redirects,
            enable_http2: self.enable_http2,
            proxy: self.proxy.plain(),
        }
    }
}
