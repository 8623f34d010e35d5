//! The HTTP client against a real server: credentials, redirects, TLS, refused connections, proxies.

use super::target_server::{Reply, status, text};
use super::*;
use crate::http_client::config::{
    Authorization, BasicAuth, HeaderValues, HttpClientConfig, ProxyConfig, Secret, SecretSource,
    TextSource, TlsConfig,
};
use crate::http_client::{Connection, FetchError, HttpClient, PageRequest};
use http::HeaderMap;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

async fn get_with(
    client: &HttpClient,
    connection: &mut Connection,
    url: &str,
) -> Result<String, FetchError> {
    let headers = HeaderMap::new();
    let request = PageRequest {
        url,
        headers: &headers,
        body_bytes_max: 0,
        deadline: Instant::now() + Duration::from_secs(10),
    };
    let mut body = Vec::new();
    client.get(connection, &request, &mut body).await?;
    Ok(String::from_utf8(body).unwrap())
}

async fn get(config: HttpClientConfig, url: &str) -> Result<String, FetchError> {
    get_with(&HttpClient::new(config), &mut Connection::new(), url).await
}

fn secret(text: &str) -> Option<SecretSource> {
    Some(SecretSource::Inline(Secret::new(text)))
}

#[tokio::test]
async fn credentials_and_headers_are_sent() {
    let server = TargetServer::start().await;
    server.reply(text("a 1\n"));
    let url = format!("http://{}/metrics", server.address());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "first\n").unwrap();

    let basic = HttpClientConfig {
        basic_auth: Some(BasicAuth {
            username: Some(TextSource::Inline("user".into())),
            password: secret("pass"),
        }),
        ..HttpClientConfig::default()
    };
    get(basic, &url).await.unwrap();
    let header = HeaderValues {
        values: vec!["v".into()],
        secrets: vec![Secret::new("s")],
        files: vec![file.clone()],
    };
    let bearer = HttpClient::new(HttpClientConfig {
        authorization: Some(Authorization {
            kind: "Bearer".into(),
            credentials: Some(SecretSource::File(file.clone())),
        }),
        headers: [("X-Own".to_owned(), header)].into(),
        ..HttpClientConfig::default()
    });
    let mut connection = Connection::new();
    get_with(&bearer, &mut connection, &url).await.unwrap();
    std::fs::write(&file, "second").unwrap();
    get_with(&bearer, &mut connection, &url).await.unwrap();
    let heads = server.requests();
    assert!(
        heads[0].contains("authorization: Basic dXNlcjpwYXNz\r\n"),
        "{}",
        heads[0]
    );
    assert!(heads[1].contains("authorization: Bearer first\r\n"));
    for value in ["v", "s", "first"] {
        assert!(
            heads[1].contains(&format!("x-own: {value}\r\n")),
            "{}",
            heads[1]
        );
    }
    assert!(
        heads[2].contains("authorization: Bearer second\r\n"),
        "files are read anew"
    );
    std::fs::remove_file(&file).unwrap();
    let error = get_with(&bearer, &mut connection, &url)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("unable to read file") && !error.contains("second"),
        "{error}"
    );
}

#[tokio::test]
async fn redirects_are_followed_within_bounds_and_keep_secrets_home() {
    let server = TargetServer::start().await;
    let elsewhere = format!("http://localhost:{}/there", server.port());
    server.reply_on("/local", status("302 Found", "Location: /metrics\r\n"));
    server.reply_on(
        "/away",
        status(
            "307 Temporary Redirect",
            &format!("Location: {elsewhere}\r\n"),
        ),
    );
    server.reply_on(
        "/loop",
        status("301 Moved Permanently", "Location: /loop\r\n"),
    );
    server.reply(text("home 1\n"));
    server.reply_on("/there", text("there 1\n"));
    let config = HttpClientConfig {
        authorization: Some(Authorization {
            kind: "Bearer".into(),
            credentials: secret("tok"),
        }),
        ..HttpClientConfig::default()
    };
    let at = |path: &str| format!("http://{}{path}", server.address());
    assert_eq!(
        get(config.clone(), &at("/local")).await.unwrap(),
        "home 1\n"
    );
    assert!(
        server
            .requests()
            .iter()
            .all(|head| head.contains("Bearer tok"))
    );
    assert_eq!(
        get(config.clone(), &at("/away")).await.unwrap(),
        "there 1\n"
    );
    let last = server.requests().pop().unwrap();
    assert!(
        last.starts_with("GET /there") && !last.contains("Bearer"),
        "{last}"
    );

    let before = server.requests().len();
    let error = get(config.clone(), &at("/loop"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("stopped after 10 redirects"), "{error}");
    assert_eq!(server.requests().len() - before, 10);
    let stay = HttpClientConfig {
        follow_redirects: false,
        ..config
    };
    let error = get(stay, &at("/local")).await.unwrap_err();
    assert_eq!(error.to_string(), "server returned HTTP status 302 Found");
}

async fn tls_server(cert: &rcgen::Certificate, key: &rcgen::KeyPair) -> TargetServer {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    TargetServer::start_tls(TlsAcceptor::from(Arc::new(config))).await
}

#[tokio::test]
async fn a_self_signed_authority_may_be_the_server_itself() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).unwrap();
    let server = tls_server(&cert, &key).await;
    server.reply(text("own 1\n"));
    let by_name = format!("https://localhost:{}/metrics", server.port());
    let by_address = format!("https://{}/metrics", server.address());
    let trusting = |pem: String| HttpClientConfig {
        tls: TlsConfig {
            ca: Some(TextSource::Inline(pem)),
            ..TlsConfig::default()
        },
        ..HttpClientConfig::default()
    };
    assert_eq!(
        get(trusting(cert.pem()), &by_name).await.unwrap(),
        "own 1\n"
    );
    let error = get(trusting(cert.pem()), &by_address)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("not valid for name"),
        "the name still counts: {error}"
    );
    let stranger = params
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap();
    assert!(get(trusting(stranger.pem()), &by_name).await.is_err());
}

#[tokio::test]
async fn tls_trusts_what_it_is_told_to() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned(), "other.example".to_owned()])
            .unwrap();
    let server = tls_server(&cert, &signing_key).await;
    server.reply(text("secure 1\n"));
    let by_name = format!("https://localhost:{}/metrics", server.port());
    let by_address = format!("https://{}/metrics", server.address());
    let with = |tls: TlsConfig| HttpClientConfig {
        tls,
        ..HttpClientConfig::default()
    };
    let ca = Some(TextSource::Inline(cert.pem()));
    let trusting = with(TlsConfig {
        ca: ca.clone(),
        ..TlsConfig::default()
    });
    assert_eq!(get(trusting.clone(), &by_name).await.unwrap(), "secure 1\n");
    let error = get(trusting, &by_address).await.unwrap_err().to_string();
    assert!(
        error.contains("tls: ") && error.starts_with("Get \"https://127.0.0.1"),
        "{error}"
    );
    let named = with(TlsConfig {
        ca,
        server_name: "other.example".into(),
        ..TlsConfig::default()
    });
    assert_eq!(get(named, &by_address).await.unwrap(), "secure 1\n");
    assert!(get(with(TlsConfig::default()), &by_name).await.is_err());
    let careless = with(TlsConfig {
        insecure_skip_verify: true,
        ..TlsConfig::default()
    });
    assert_eq!(get(careless, &by_address).await.unwrap(), "secure 1\n");
    let missing = with(TlsConfig {
        ca: Some(TextSource::File("/nonexistent/ca.pem".into())),
        ..TlsConfig::default()
    });
    let error = get(missing, &by_name).await.unwrap_err().to_string();
    assert!(
        error.contains("unable to load specified CA cert /nonexistent/ca.pem"),
        "{error}"
    );
}

#[tokio::test]
async fn connections_fail_in_go_words_and_idle_ones_are_replaced() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let error = get(HttpClientConfig::default(), &format!("http://{closed}/m"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Get \"http://{closed}/m\": dial tcp {closed}: connect: connection refused")
    );

    // The server closes the connection after each answer without saying so.
    let server = TargetServer::start().await;
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n";
    server.reply(Reply::Raw(page.into()));
    let client = HttpClient::new(HttpClientConfig::default());
    let mut connection = Connection::new();
    for _ in 0..3 {
        let url = format!("http://{}/metrics", server.address());
        assert_eq!(
            get_with(&client, &mut connection, &url).await.unwrap(),
            "a 1\n"
        );
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn plain_requests_through_a_proxy_carry_the_whole_url() {
    let proxy = TargetServer::start().await;
    let config = HttpClientConfig {
        proxy: ProxyConfig {
            url: Some(format!("http://me:pw@{}", proxy.address())),
            no_proxy: "direct.example".into(),
            ..ProxyConfig::default()
        },
        ..HttpClientConfig::default()
    };
    proxy.reply_on("http://far.example:81/metrics", text("far 1\n"));
    assert_eq!(
        get(config, "http://far.example:81/metrics").await.unwrap(),
        "far 1\n"
    );
    let head = proxy.requests().remove(0);
    assert!(head.contains("host: far.example:81\r\n"), "{head}");
    assert!(
        head.contains("proxy-authorization: Basic bWU6cHc=\r\n"),
        "{head}"
    );
}
