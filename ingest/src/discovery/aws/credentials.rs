//! Where AWS keys and the region come from: the configuration, the environment, a web identity token, the shared
//! credentials file, the container's or the machine's metadata service; and roles to assume on top.
//!
//! Promise: temporary keys are fetched again shortly before they expire; an error never shows a secret. The order is
//! the AWS SDK's. Not here: signing (`sign`).

use super::sign::{Keys, Signing, sign};
use super::xml::Element;
use crate::clock::{Clock, SystemClock};
use crate::discovery::config::AwsConfig;
use crate::http_client::{Connection, HttpAnswer, HttpClient, HttpRequest};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;
use url::form_urlencoded;

/// Temporary keys are renewed this long after they were fetched, at the latest.
const KEYS_LIFETIME: Duration = Duration::from_secs(600);

/// Most bytes of an answer with keys.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// How long one question may take; the machine's metadata service is near or not there at all.
const TIMEOUT: Duration = Duration::from_secs(5);

const METADATA: &str = "http://169.254.169.254";

/// The world outside: environment variables by name.
pub(super) type Variables = fn(&str) -> Option<String>;

/// The process's own environment.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Finds keys and keeps them for a while.
#[derive(Debug)]
pub(super) struct KeyRing {
    config: AwsConfig,
    client: HttpClient,
    variables: Variables,
    metadata: String,
    kept: Option<(Instant, Keys)>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct MetadataKeys {
    access_key_id: String,
    secret_access_key: String,
    token: String,
}

impl MetadataKeys {
    fn keys(self) -> Result<Keys, String> {
        if self.access_key_id.is_empty() {
            return Err("the metadata service has no keys".to_owned());
        }
        Ok(Keys {
            access_key: self.access_key_id,
            secret_key: self.secret_access_key,
            session_token: self.token,
        })
    }
}

impl KeyRing {
    pub(super) fn new(config: AwsConfig, client: HttpClient) -> Self {
        KeyRing {
            config,
            client,
            variables: environment,
            metadata: METADATA.to_owned(),
            kept: None,
        }
    }

    /// With another world, for tests.
    #[cfg(test)]
    pub(super) fn in_world(mut self, variables: Variables, metadata: String) -> Self {
        self.variables = variables;
        self.metadata = metadata;
        self
    }

    fn variable(&self, name: &str) -> String {
        (self.variables)(name).unwrap_or_default()
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpAnswer, String> {
        let answer = self.client.request(&mut Connection::new(), &request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(format!("{}: {}", request.url, answer.status_text)),
        }
    }

    fn get(url: String) -> HttpRequest {
        HttpRequest::get(url, ANSWER_BYTES_MAX, Instant::now() + TIMEOUT)
    }

    /// A token for the machine's metadata service, version 2.
    async fn metadata_headers(&self) -> Result<HeaderMap, String> {
        let mut request = HttpRequest {
            method: Method::PUT,
            ..Self::get(format!("{}/latest/api/token", self.metadata))
        };
        request.headers.insert(
            HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"),
            HeaderValue::from_static("300"),
        );
        let answer = self.ask(request).await?;
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static("x-aws-ec2-metadata-token"),
            HeaderValue::from_bytes(&answer.body).map_err(|e| e.to_string())?,
        );
        Ok(headers)
    }

    async fn metadata(&self, path: &str, headers: &HeaderMap) -> Result<Vec<u8>, String> {
        let request = HttpRequest {
            headers: headers.clone(),
            ..Self::get(format!("{}/latest/meta-data/{path}", self.metadata))
        };
        Ok(self.ask(request).await?.body)
    }

    /// The region: the configuration's, the environment's, or the machine's.
    pub(super) async fn region(&self) -> Result<String, String> {
        if !self.config.region.is_empty() {
            return Ok(self.config.region.clone());
        }
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            let value = self.variable(name);
            if !value.is_empty() {
                return Ok(value);
            }
        }
        let own = async {
            let headers = self.metadata_headers().await?;
            self.metadata("placement/region", &headers).await
        };
        match own.await {
            Ok(region) => Ok(String::from_utf8_lossy(&region).trim().to_owned()),
            Err(_) => Err("EC2 SD configuration requires a region".to_owned()),
        }
    }

    /// Keys that are good now.
    pub(super) async fn keys(&mut self, region: &str) -> Result<Keys, String> {
        if let Some((since, keys)) = &self.kept
            && since.elapsed() < KEYS_LIFETIME
        {
            return Ok(keys.clone());
        }
        let mut keys = self.own_keys(region).await?;
        if !self.config.role_arn.is_empty() {
            let form = form(&[
                ("Action", "AssumeRole"),
                ("Version", "2011-06-15"),
                ("RoleArn", &self.config.role_arn),
                ("RoleSessionName", "ferula"),
                ("ExternalId", &self.config.external_id),
            ]);
            let answer = self.sts(region, form, Some(&keys)).await?;
            keys = sts_keys(&answer, "AssumeRole")?;
        }
        self.kept = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }

    /// Forgets keys that were refused.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    async fn own_keys(&self, region: &str) -> Result<Keys, String> {
        let config = &self.config;
        if !config.access_key.is_empty() || !config.secret_key.is_empty() {
            return Ok(Keys {
                access_key: config.access_key.clone(),
                secret_key: config.secret_key.expose().to_owned(),
                session_token: String::new(),
            });
        }
        if config.profile.is_empty() {
            let access_key = self.variable("AWS_ACCESS_KEY_ID");
            if !access_key.is_empty() {
                return Ok(Keys {
                    access_key,
                    secret_key: self.variable("AWS_SECRET_ACCESS_KEY"),
                    session_token: self.variable("AWS_SESSION_TOKEN"),
                });
            }
            let token_file = self.variable("AWS_WEB_IDENTITY_TOKEN_FILE");
            if !token_file.is_empty() {
                return self.web_identity(region, &token_file).await;
            }
        }
        if let Some(keys) = self.profile_keys()? {
            return Ok(keys);
        }
        let relative = self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let full = self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        if !relative.is_empty() || !full.is_empty() {
            return self.container(&relative, &full).await;
        }
        let machine = async {
            let headers = self.metadata_headers().await?;
            let role = self.metadata("iam/security-credentials/", &headers).await?;
            let role = String::from_utf8_lossy(&role);
            let role = role.lines().next().unwrap_or_default();
            let path = format!("iam/security-credentials/{role}");
            let body = self.metadata(&path, &headers).await?;
            let keys: MetadataKeys = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
            keys.keys()
        };
        machine
            .await
            .map_err(|e| format!("no AWS credentials found: {e}"))
    }

    async fn web_identity(&self, region: &str, token_file: &str) -> Result<Keys, String> {
        let token = std::fs::read_to_string(token_file)
            .map_err(|e| format!("unable to read {token_file}: {e}"))?;
        let session = self.variable("AWS_ROLE_SESSION_NAME");
        let session = if session.is_empty() {
            "ferula"
        } else {
            &session
        };
        let form = form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.variable("AWS_ROLE_ARN")),
            ("RoleSessionName", session),
            ("WebIdentityToken", token.trim()),
        ]);
        let answer = self.sts(region, form, None).await?;
        sts_keys(&answer, "AssumeRoleWithWebIdentity")
    }

    async fn container(&self, relative: &str, full: &str) -> Result<Keys, String> {
        let url = match relative.is_empty() {
            true => full.to_owned(),
            false => format!("http://169.254.170.2{relative}"),
        };
        let mut request = Self::get(url);
        let mut token = self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        let file = self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        if !file.is_empty() {
            token = std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
        }
        if !token.trim().is_empty() {
            let value = HeaderValue::from_str(token.trim()).map_err(|e| e.to_string())?;
            request.headers.insert(http::header::AUTHORIZATION, value);
        }
        let answer = self.ask(request).await?;
        let keys: MetadataKeys = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        keys.keys()
    }

    /// A profile's keys in the shared credentials file.
    fn profile_keys(&self) -> Result<Option<Keys>, String> {
        let mut profile = self.config.profile.clone();
        let asked = !profile.is_empty();
        if !asked {
            profile = self.variable("AWS_PROFILE");
        }
        if profile.is_empty() {
            profile = "default".to_owned();
        }
        let given = self.variable("AWS_SHARED_CREDENTIALS_FILE");
        let path = match given.is_empty() {
            true => PathBuf::from(self.variable("HOME")).join(".aws/credentials"),
            false => PathBuf::from(given),
        };
        let found = std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| profile_in(&text, &profile));
        match found {
            None if asked => Err(format!(
                "profile {profile:?} has no keys in {}",
                path.display()
            )),
            found => Ok(found),
        }
    }

    /// Asks the Security Token Service.
    async fn sts(&self, region: &str, form: String, keys: Option<&Keys>) -> Result<String, String> {
        let endpoint = self.variable("AWS_ENDPOINT_URL_STS");
        let url = match endpoint.is_empty() {
            true => format!("https://sts.{region}.{}/", domain(region)),
            false => endpoint,
        };
        let mut request = post(url, form, Instant::now() + TIMEOUT);
        if let Some(keys) = keys {
            sign_post(&mut request, keys, region, "sts")?;
        }
        let answer = self.client.request(&mut Connection::new(), &request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status.is_success() {
            true => Ok(text),
            false => Err(format!("{}: {}", answer.status_text, refusal(&text))),
        }
    }
}

/// The domain of a region's services.
pub(super) fn domain(region: &str) -> &'static str {
    match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    }
}

/// A form, without fields that are empty.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        form.append_pair(name, value);
    }
    form.finish()
}

pub(super) fn post(url: String, form: String, deadline: Instant) -> HttpRequest {
    let mut request = HttpRequest {
        method: Method::POST,
        body: Bytes::from(form),
        ..HttpRequest::get(url, crate::limits::DISCOVERY_ANSWER_BYTES_MAX, deadline)
    };
    request.headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"),
    );
    request
}

/// Signs a POST to the root of a service.
pub(super) fn sign_post(
    request: &mut HttpRequest,
    keys: &Keys,
    region: &str,
    service: &str,
) -> Result<(), String> {
    let uri: http::Uri = request
        .url
        .parse()
        .map_err(|e| format!("{}: {e}", request.url))?;
    let host = uri.authority().map_or("", |a| a.as_str()).to_owned();
    let signing = Signing {
        method: "POST",
        host: &host,
        path: uri.path(),
        query: "",
        headers: &[(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )],
        body: &request.body,
        region,
        service,
        now_secs: SystemClock::new().wall_ms().div_euclid(1000),
    };
    for (name, value) in sign(keys, &signing) {
        let mut value = HeaderValue::from_str(&value).map_err(|e| e.to_string())?;
        value.set_sensitive(true);
        request.headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

/// What a refusal says, in either of its two forms.
pub(super) fn refusal(xml: &str) -> String {
    let Ok(tree) = Element::read(xml) else {
        return xml.trim().to_owned();
    };
    for path in [
        ["Response", "Errors", "Error"],
        ["ErrorResponse", "Error", ""],
    ] {
        let names: Vec<&str> = path.into_iter().filter(|n| !n.is_empty()).collect();
        let of = |last: &str| {
            let all: Vec<&str> = names.iter().copied().chain([last]).collect();
            tree.text(&all).to_owned()
        };
        if !of("Code").is_empty() {
            return format!("{}: {}", of("Code"), of("Message"));
        }
    }
    xml.trim().to_owned()
}

fn sts_keys(xml: &str, action: &str) -> Result<Keys, String> {
    let tree = Element::read(xml)?;
    let (answer, result) = (format!("{action}Response"), format!("{action}Result"));
    let of = |name: &str| {
        tree.text(&[&answer, &result, "Credentials", name])
            .to_owned()
    };
    let keys = Keys {
        access_key: of("AccessKeyId"),
        secret_key: of("SecretAccessKey"),
        session_token: of("SessionToken"),
    };
    match keys.access_key.is_empty() {
        true => Err(format!("{action}: the answer has no keys")),
        false => Ok(keys),
    }
}

/// Keys of a profile in the text of a credentials file.
fn profile_in(text: &str, profile: &str) -> Option<Keys> {
    let mut inside = false;
    let mut keys = Keys {
        access_key: String::new(),
        secret_key: String::new(),
        session_token: String::new(),
    };
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((name, value)) = line.split_once('=') {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => keys.access_key = value,
                "aws_secret_access_key" => keys.secret_key = value,
                "aws_session_token" => keys.session_token = value,
                _ => {}
            }
        }
    }
    (!keys.access_key.is_empty()).then_some(keys)
}
