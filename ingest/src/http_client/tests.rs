//! The client beyond scraping: bodies, HTTP/2, unix sockets, SOCKS, OAuth 2, streams.

use super::config::{
    HttpClientConfig, OAuth2Config, OAuth2Grant, ProxyConfig, Secret, SecretSource, TextSource,
    TlsConfig,
};
use super::{Connection, FetchError, HttpAnswer, HttpClient, HttpRequest};
use crate::test_http::{Server, answer, json};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn fetch(client: &HttpClient, url: &str) -> Result<HttpAnswer, FetchError> {
    let request = HttpRequest::get(url, 1 << 20, soon());
    client.request(&mut Connection::new(), &request).await
}

#[tokio::test]
async fn a_post_keeps_its_body_through_the_newer_redirects_only() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/old" | "/new" => {
            let mut reply = answer(if seen.target == "/old" { 302 } else { 308 }, "", "");
            reply
                .headers_mut()
                .insert("Location", "/there".parse().unwrap());
            reply
        }
        _ => answer(418, "text/plain", "short"),
    })
    .await;
    let client = HttpClient::new(HttpClientConfig::default());
    let mut connection = Connection::new();
    for path in ["/old", "/new"] {
        let request = HttpRequest {
            method: Method::POST,
            body: Bytes::from_static(b"words"),
            ..HttpRequest::get(server.url(path), 1 << 10, soon())
        };
        let reply = client.request(&mut connection, &request).await.unwrap();
        assert_eq!(reply.status_text, "418 I'm a teapot");
        assert_eq!(reply.body, b"short");
    }
    let seen = server.seen();
    let calls: Vec<_> = seen
        .iter()
        .map(|s| (s.method.as_str(), s.body.as_str()))
        .collect();
    assert_eq!(
        calls,
        [
            ("POST", "words"),
            ("GET", ""),
            ("POST", "words"),
            ("POST", "words")
        ]
    );
    assert!(seen[0].header("user-agent").starts_with("ferula/"));
    let tight = HttpRequest::get(server.url("/x"), 5, soon());
    let error = client.request(&mut connection, &tight).await.unwrap_err();
    assert_eq!(error, FetchError::BodySizeLimit);
}

#[tokio::test]
async fn http2_is_spoken_where_tls_agrees() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = certified.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start_tls(Some(acceptor), |seen| {
        answer(200, "text/plain", seen.body.clone())
    })
    .await;
    let url = format!("https://localhost:{}/a?b=c", server.address().port());
    for enable_http2 in [true, false] {
        let client = HttpClient::new(HttpClientConfig {
            enable_http2,
            tls: TlsConfig {
                ca: Some(TextSource::Inline(certified.cert.pem())),
                ..TlsConfig::default()
            },
            ..HttpClientConfig::default()
        });
        let mut connection = Connection::new();
        for _ in 0..2 {
            let request = HttpRequest {
                method: Method::POST,
                body: Bytes::from_static(b"echo"),
                ..HttpRequest::get(url.as_str(), 1 << 10, soon())
            };
            let reply = client.request(&mut connection, &request).await.unwrap();
            assert_eq!(reply.body, b"echo");
        }
    }
    let versions: Vec<Version> = server.seen().iter().map(|s| s.version).collect();
    let (two, one) = (Version::HTTP_2, Version::HTTP_11);
    assert_eq!(versions, [two, two, one, one]);
    assert_eq!(server.seen()[0].target, "/a?b=c");
}

#[tokio::test]
async fn unix_sockets_lead_where_no_host_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let server = Server::start_unix(&path, |_| json("{}"));
    let client = HttpClient::new(HttpClientConfig::default());
    let mut connection = Connection::to_socket(path.clone());
    let request = HttpRequest::get("http://nowhere.invalid/x", 100, soon());
    let reply = client.request(&mut connection, &request).await.unwrap();
    assert_eq!(reply.body, b"{}");
    assert_eq!(server.seen()[0].header("host"), "nowhere.invalid");
    let gone = folder.path().join("gone");
    let error = client
        .request(&mut Connection::to_socket(gone.clone()), &request)
        .await
        .unwrap_err()
        .to_string();
    let reason = format!(
        "dial unix {}: connect: no such file or directory",
        gone.display()
    );
    assert_eq!(error, format!("Get \"http://nowhere.invalid/x\": {reason}"));
}

/// A SOCKS 5 proxy for one connection, which wants `u` and `p`, and tells the name that it was asked for.
async fn socks_proxy(to: std::net::SocketAddr) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello, [5, 2, 0, 2]);
        stream.write_all(&[5, 2]).await.unwrap();
        let mut user = [0; 5];
        stream.read_exact(&mut user).await.unwrap();
        assert_eq!(&user, b"\x01\x01u\x01p");
        stream.write_all(&[1, 0]).await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let mut name = vec![0; usize::from(head[4]) + 2];
        stream.read_exact(&mut name).await.unwrap();
        stream
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
        });
        String::from_utf8_lossy(&name[..name.len() - 2]).into_owned()
    });
    (port, task)
}

#[tokio::test]
async fn socks_proxies_resolve_names_themselves() {
    let server = Server::start(|_| json("[]")).await;
    let (port, proxy) = socks_proxy(server.address()).await;
    let client = HttpClient::new(HttpClientConfig {
        proxy: ProxyConfig {
            url: Some(format!("socks5://u:p@127.0.0.1:{port}")),
            ..ProxyConfig::default()
        },
        ..HttpClientConfig::default()
    });
    let reply = fetch(&client, "http://far.invalid/list").await.unwrap();
    assert_eq!(reply.body, b"[]");
    assert_eq!(proxy.await.unwrap(), "far.invalid");
    assert_eq!(server.seen()[0].target, "/list");
}

fn with_oauth2(oauth2: OAuth2Config) -> HttpClient {
    HttpClient::new(HttpClientConfig {
        oauth2: Some(Box::new(oauth2)),
        ..HttpClientConfig::default()
    })
}

#[tokio::test]
async fn oauth2_tokens_are_kept_until_they_expire_or_the_secret_changes() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::start(move |seen| match seen.target.as_str() {
        // This server wants credentials in the form.
        "/token" if seen.header("authorization").is_empty() => {
            let n = count.fetch_add(1, Ordering::Relaxed) + 1;
            // The second token is as good as expired.
            let lifetime = if n == 2 { 5 } else { 3600 };
            json(format!(
                r#"{{"access_token":"t{n}","token_type":"bearer","expires_in":{lifetime}}}"#
            ))
        }
        "/token" => answer(401, "text/plain", "no header please"),
        _ => json("{}"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "one\n").unwrap();
    let client = with_oauth2(OAuth2Config {
        client_id: "me".into(),
        grant: OAuth2Grant::ClientCredentials {
            secret: Some(SecretSource::File(file.clone())),
        },
        scopes: vec!["a".into(), "b".into()],
        token_url: server.url("/token"),
        endpoint_params: [("resource".to_owned(), "r s".to_owned())].into(),
        tls: TlsConfig::default(),
        proxy: ProxyConfig::default(),
    });
    let url = server.url("/x");
    for _ in 0..2 {
        fetch(&client, &url).await.unwrap();
    }
    std::fs::write(&file, "two").unwrap();
    for _ in 0..2 {
        fetch(&client, &url).await.unwrap();
    }
    let seen = server.seen();
    let tokens: Vec<&str> = seen
        .iter()
        .filter(|s| s.target == "/x")
        .map(|s| s.header("authorization"))
        .collect();
    assert_eq!(tokens, ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t3"]);
    assert_eq!(
        seen[0].header("authorization"),
        "Basic bWU6b25l",
        "first as RFC 6749 prefers"
    );
    assert_eq!(
        seen[1].body,
        "grant_type=client_credentials&scope=a+b&resource=r+s&client_id=me&client_secret=one"
    );
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(
        seen.iter().filter(|s| s.target == "/token").count(),
        4,
        "tried the header once"
    );
}

#[tokio::test]
async fn oauth2_refusals_say_what_the_server_said() {
    let server = Server::start(|_| answer(403, "text/plain", "who are you")).await;
    let client = with_oauth2(OAuth2Config {
        client_id: "me".into(),
        grant: OAuth2Grant::ClientCredentials {
            secret: Some(SecretSource::Inline(Secret::new("hush"))),
        },
        scopes: Vec::new(),
        token_url: server.url("/token"),
        endpoint_params: Default::default(),
        tls: TlsConfig::default(),
        proxy: ProxyConfig::default(),
    });
    let url = server.url("/x");
    let error = fetch(&client, &url).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("Get {url:?}: oauth2: cannot fetch token: 403 Forbidden\nResponse: who are you")
    );
}

/// An RSA key of 2048 bits made for this test.
const RSA_KEY: &str = include_str!("testdata/rsa.pem");

#[tokio::test]
async fn oauth2_assertions_are_signed_and_say_who_we_are() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/token" => json(r#"{"access_token":"t","expires_in":"60"}"#),
        _ => json("{}"),
    })
    .await;
    let client = with_oauth2(OAuth2Config {
        client_id: "me".into(),
        grant: OAuth2Grant::JwtBearer {
            key: Some(SecretSource::Inline(Secret::new(RSA_KEY))),
            key_id: "k1".into(),
            algorithm: String::new(),
            issuer: String::new(),
            audience: "them".into(),
            claims: [("own".to_owned(), "claim".to_owned())].into(),
        },
        scopes: vec!["s".into()],
        token_url: server.url("/token"),
        endpoint_params: Default::default(),
        tls: TlsConfig::default(),
        proxy: ProxyConfig::default(),
    });
    fetch(&client, &server.url("/x")).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[1].header("authorization"), "Bearer t");
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(seen[0].body.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(fields[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let parts: Vec<&str> = fields[1].1.split('.').collect();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let read = |part: &str| -> serde_json::Value { serde_json::from_slice(&decode(part)).unwrap() };
    assert_eq!(read(parts[0])["kid"], "k1");
    let claims = read(parts[1]);
    assert_eq!(
        [
            &claims["iss"],
            &claims["sub"],
            &claims["aud"],
            &claims["own"],
            &claims["scope"]
        ],
        ["me", "me", "them", "claim", "s"]
    );
    let signed = format!("{}.{}", parts[0], parts[1]);
    let key = ring::signature::RsaKeyPair::from_pkcs8(&pem_body(RSA_KEY)).unwrap();
    ring::signature::UnparsedPublicKey::new(
        &ring::signature::RSA_PKCS1_2048_8192_SHA256,
        key.public().as_ref(),
    )
    .verify(signed.as_bytes(), &decode(parts[2]))
    .unwrap();
}

fn pem_body(pem: &str) -> Vec<u8> {
    use base64::engine::general_purpose::STANDARD;
    let lines: String = pem.lines().filter(|l| !l.starts_with("---")).collect();
    STANDARD.decode(lines).unwrap()
}

#[tokio::test]
async fn streams_come_piece_by_piece() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/watch", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(b"3\r\ntwo\r\n").await.unwrap();
        // It breaks off in the middle.
    });
    let client = HttpClient::new(HttpClientConfig::default());
    let mut stream = client
        .stream(&HttpRequest::get(url, 0, soon()))
        .await
        .unwrap();
    assert_eq!(stream.status, 200);
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "one");
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "two");
    let error = stream.chunk().await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("unexpected eof"), "{error}");
    server.await.unwrap();
}
