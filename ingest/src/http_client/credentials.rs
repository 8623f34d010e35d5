//! Header lines that prove who we are, read anew for every request so that a rotated file counts at once.
//!
//! Promise: values are marked sensitive; errors name the file and never the secret.

use super::config::{HttpClientConfig, SecretSource, TextSource};
use super::fetch::FetchError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::path::Path;

/// Authorization and `http_headers` of one request.
pub(super) async fn headers(config: &HttpClientConfig) -> Result<HeaderMap, FetchError> {
    let mut out = HeaderMap::new();
    if let Some(basic) = &config.basic_auth {
        let username = match &basic.username {
            Some(source) => read_text(source, "basic auth username").await?,
            None => String::new(),
        };
        let password = match &basic.password {
            Some(source) => read_secret(source, "basic auth password").await?,
            None => String::new(),
        };
        let pair = STANDARD.encode(format!("{username}:{password}"));
        out.insert(AUTHORIZATION, sensitive(&format!("Basic {pair}"))?);
    } else if let Some(authorization) = &config.authorization {
        let credentials = match &authorization.credentials {
            Some(source) => read_secret(source, "authorization credentials").await?,
            None => String::new(),
        };
        let line = format!("{} {credentials}", authorization.kind);
        out.insert(AUTHORIZATION, sensitive(line.trim_end())?);
    }
    for (name, values) in &config.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| FetchError::Configuration(format!("invalid header name {name:?}")))?;
        for value in &values.values {
            out.append(name.clone(), sensitive(value)?);
        }
        for secret in &values.secrets {
            out.append(name.clone(), sensitive(secret.expose())?);
        }
        for path in &values.files {
            let text = read_file(path, "headers").await?;
            out.append(name.clone(), sensitive(text.trim())?);
        }
    }
    Ok(out)
}

pub(super) fn sensitive(text: &str) -> Result<HeaderValue, FetchError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        FetchError::Configuration("a header value holds characters that HTTP forbids".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read_text(source: &TextSource, what: &str) -> Result<String, FetchError> {
    match source {
        TextSource::Inline(text) => Ok(text.clone()),
        TextSource::File(path) => Ok(read_file(path, what).await?.trim().to_owned()),
    }
}

pub(super) async fn read_secret(source: &SecretSource, what: &str) -> Result<String, FetchError> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.expose().to_owned()),
        SecretSource::File(path) => Ok(read_file(path, what).await?.trim().to_owned()),
    }
}

/// Reads a small file off the worker's thread: a network file system may take its time.
async fn read_file(path: &Path, what: &str) -> Result<String, FetchError> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(owned)).await;
    let reason = match read {
        Ok(Ok(text)) => return Ok(text),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(FetchError::Configuration(format!(
        "unable to read {what}: unable to read file {}: {reason}",
        path.display()
    )))
}
