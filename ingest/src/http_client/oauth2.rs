//! OAuth 2 tokens by our own credentials (RFC 6749 section 4.4, RFC 7523), kept until shortly before they expire.
//!
//! Promise: at most one request for a token is under way; a changed secret file counts with the next request; an error
//! never shows a secret. Not here: putting the token on a request (`fetch`).

use super::config::{HttpClientConfig, OAuth2Config, OAuth2Grant};
use super::connection::Connection;
use super::credentials::read_secret;
use super::fetch::{FetchError, HttpClient, HttpRequest};
use crate::clock::{Clock, SystemClock};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use ring::signature::{self, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

/// A token counts as expired this long before it is.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// How long a signed assertion is good for.
const ASSERTION_LIFETIME_SECS: i64 = 3600;

/// Most bytes of a token server's answer.
const TOKEN_ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Fetches and keeps the token of one `oauth2` section.
#[derive(Debug)]
pub(super) struct TokenSource {
    config: OAuth2Config,
    client: HttpClient,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Connection,
    token: Option<Token>,
    /// The server wants our credentials in the form, not in the header: learned by trying.
    in_form: Option<bool>,
}

struct Token {
    header: HeaderValue,
    expires: Option<Instant>,
    /// The secret it was fetched with.
    secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    token_type: String,
    /// Some servers send it as text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl TokenSource {
    pub(super) fn new(config: OAuth2Config) -> Self {
        let client = HttpClient::new(HttpClientConfig {
            tls: config.tls.clone(),
            proxy: config.proxy.clone(),
            ..HttpClientConfig::default()
        });
        TokenSource {
            config,
            client,
            state: Mutex::default(),
        }
    }

    /// The value of `Authorization`.
    pub(super) async fn authorization(&self, deadline: Instant) -> Result<HeaderValue, FetchError> {
        let secret = match &self.config.grant {
            OAuth2Grant::ClientCredentials { secret: Some(s) } => {
                read_secret(s, "oauth2 client secret").await?
            }
            OAuth2Grant::JwtBearer { key: Some(key), .. } => {
                read_secret(key, "oauth2 client certificate key").await?
            }
            _ => String::new(),
        };
        let mut state = self.state.lock().await;
        if let Some(token) = &state.token
            && token.secret == secret
            && token
                .expires
                .is_none_or(|at| at > Instant::now() + EXPIRY_MARGIN)
        {
            return Ok(token.header.clone());
        }
        let token = self.fetch(&mut state, secret, deadline).await?;
        let header = token.header.clone();
        state.token = Some(token);
        Ok(header)
    }

    async fn fetch(
        &self,
        state: &mut State,
        secret: String,
        deadline: Instant,
    ) -> Result<Token, FetchError> {
        let body = match &self.config.grant {
            OAuth2Grant::ClientCredentials { .. } => {
                let tries: &[bool] = match state.in_form {
                    Some(true) => &[true],
                    Some(false) => &[false],
                    None => &[false, true],
                };
                let mut last = Err(FetchError::Dial("oauth2: no way to ask".to_owned()));
                for in_form in tries {
                    let form = self.credentials_form(in_form.then_some(secret.as_str()));
                    let header = (!in_form).then_some(secret.as_str());
                    last = self.ask(state, form, header, deadline).await;
                    if last.is_ok() {
                        state.in_form = Some(*in_form);
                        break;
                    }
                }
                last?
            }
            OAuth2Grant::JwtBearer { .. } => {
                let form = assertion_form(&self.assertion(&secret)?);
                self.ask(state, form, None, deadline).await?
            }
        };
        self.read(&body, secret)
    }

    fn credentials_form(&self, secret: Option<&str>) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.config.scopes.is_empty() {
            form.append_pair("scope", &self.config.scopes.join(" "));
        }
        for (name, value) in &self.config.endpoint_params {
            form.append_pair(name, value);
        }
        if let Some(secret) = secret {
            form.append_pair("client_id", &self.config.client_id);
            if !secret.is_empty() {
                form.append_pair("client_secret", secret);
            }
        }
        form.finish()
    }

    /// One POST; the secret goes into the header if given here.
    async fn ask(
        &self,
        state: &mut State,
        form: String,
        secret: Option<&str>,
        deadline: Instant,
    ) -> Result<Vec<u8>, FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        if let Some(secret) = secret {
            let escape = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let pair = format!("{}:{}", escape(&self.config.client_id), escape(secret));
            let line = format!("Basic {}", STANDARD.encode(pair));
            headers.insert(AUTHORIZATION, super::credentials::sensitive(&line)?);
        }
        let request = HttpRequest {
            method: Method::POST,
            url: self.config.token_url.clone(),
            headers,
            body: Bytes::from(form),
            body_bytes_max: TOKEN_ANSWER_BYTES_MAX,
            deadline,
        };
        // The client has no credentials of its own, so this does not come back here.
        let answer = Box::pin(self.client.request(&mut state.connection, &request)).await?;
        if !answer.status.is_success() {
            return Err(FetchError::Dial(format!(
                "oauth2: cannot fetch token: {}\nResponse: {}",
                answer.status_text,
                String::from_utf8_lossy(&answer.body)
            )));
        }
        Ok(answer.body)
    }

    fn read(&self, body: &[u8], secret: String) -> Result<Token, FetchError> {
        let refuse = |reason: &str| FetchError::Dial(format!("oauth2: {reason}"));
        let answer: Answer =
            serde_json::from_slice(body).map_err(|e| refuse(&format!("cannot parse json: {e}")))?;
        if answer.access_token.is_empty() {
            return Err(refuse("server response missing access_token"));
        }
        let kind = match answer.token_type.to_ascii_lowercase().as_str() {
            "" | "bearer" => "Bearer",
            "mac" => "MAC",
            "basic" => "Basic",
            _ => &answer.token_type,
        };
        let seconds = match &answer.expires_in {
            serde_json::Value::Number(n) => n.as_f64().unwrap_or(0.0),
            serde_json::Value::String(text) => text.parse().unwrap_or(0.0),
            _ => 0.0,
        };
        let expires = (seconds > 0.0)
            .then(|| Duration::try_from_secs_f64(seconds).ok())
            .flatten()
            .and_then(|lifetime| Instant::now().checked_add(lifetime));
        Ok(Token {
            header: super::credentials::sensitive(&format!("{kind} {}", answer.access_token))?,
            expires,
            secret,
        })
    }

    /// A signed statement of who we are.
    fn assertion(&self, key_pem: &str) -> Result<String, FetchError> {
        let OAuth2Grant::JwtBearer {
            key_id,
            algorithm,
            issuer,
            audience,
            claims,
            ..
        } = &self.config.grant
        else {
            return Err(FetchError::Configuration("oauth2: no key".to_owned()));
        };
        let refuse = |reason: String| FetchError::Configuration(format!("oauth2: {reason}"));
        let (name, encoding): (_, &'static dyn signature::RsaEncoding) = match algorithm.as_str() {
            "" | "RS256" => ("RS256", &signature::RSA_PKCS1_SHA256),
            "RS384" => ("RS384", &signature::RSA_PKCS1_SHA384),
            "RS512" => ("RS512", &signature::RSA_PKCS1_SHA512),
            other => return Err(refuse(format!("unknown signature algorithm {other:?}"))),
        };
        let der = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|e| refuse(format!("client certificate key: {e}")))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(refuse("client certificate key: not an RSA key".to_owned())),
        }
        .map_err(|e| refuse(format!("client certificate key: {e}")))?;
        let now = SystemClock::new().wall_ms() / 1000;
        let or = |text: &String, other: &String| match text.is_empty() {
            true => other.clone(),
            false => text.clone(),
        };
        let mut body = serde_json::Map::new();
        for (claim, value) in claims {
            body.insert(claim.clone(), value.clone().into());
        }
        body.insert("iss".into(), or(issuer, &self.config.client_id).into());
        body.insert("sub".into(), self.config.client_id.clone().into());
        body.insert("aud".into(), or(audience, &self.config.token_url).into());
        body.insert("iat".into(), now.into());
        body.insert("exp".into(), (now + ASSERTION_LIFETIME_SECS).into());
        if !self.config.scopes.is_empty() {
            body.insert("scope".into(), self.config.scopes.join(" ").into());
        }
        let mut head = serde_json::json!({"alg": name, "typ": "JWT"});
        if !key_id.is_empty() {
            head["kid"] = key_id.clone().into();
        }
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        let signed = format!(
            "{}.{}",
            part(head.to_string()),
            part(serde_json::Value::Object(body).to_string())
        );
        let mut proof = vec![0; pair.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        pair.sign(encoding, &random, signed.as_bytes(), &mut proof)
            .map_err(|_| refuse("the key cannot sign".to_owned()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(proof)))
    }
}

fn assertion_form(assertion: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    form.append_pair("assertion", assertion);
    form.finish()
}

/// The token source of a client, if its settings ask for one.
pub(super) fn source(config: &HttpClientConfig) -> Option<Arc<TokenSource>> {
    let config = config.oauth2.as_ref()?;
    Some(Arc::new(TokenSource::new((**config).clone())))
}
