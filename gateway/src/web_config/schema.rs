//! The file as it is written, and everything that it names, read.
//!
//! Promise: strict, as exporter-toolkit: unknown keys, unknown words and wrong kinds are refused with its texts. Paths are relative to the
//! file. Not here: making something of it (`tls`, `guard`).

use super::WebConfigError;
use super::roles::{Role, Roles};
use crate::config::field::{Field, Section, assign, decode_section};
use crate::config::parse_duration_ms;
use crate::config::yaml::{self, Node, Out, Problem, Value};
use crate::limits::{CONFIG_FILE_BYTES_MAX, TOKEN_BYTES_MIN};
use ingest::http_client::config::Secret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names that a section refuses or takes one by one, without the writing side that this file does not need.
macro_rules! fields {
    ($ty:ident { $($field:ident : $key:literal),* $(,)? }) => {
        impl Section for $ty {
            fn set(&mut self, key: &str, value: &Node) -> Option<Result<(), Problem>> {
                match key {
                    $($key => Some(assign(&mut self.$field, value)),)*
                    _ => None,
                }
            }
            fn show(&self, _out: &mut Vec<(String, Out)>) {}
            fn check(&mut self, _node: &Node) -> Result<(), Problem> {
                Ok(())
            }
        }
    };
}

/// A section inside another.
macro_rules! nested {
    ($ty:ident as $go:literal) => {
        impl Field for $ty {
            fn decode(node: &Node) -> Result<Self, Problem> {
                decode_section(node, $go)
            }
            fn encode(&self) -> Out {
                Out::Map(Vec::new())
            }
            fn is_empty(&self) -> bool {
                false
            }
        }
    };
}

/// `tls_server_config`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TlsSection {
    pub(super) cert: String,
    pub(super) key: Secret,
    pub(super) client_ca: String,
    pub(super) cert_file: String,
    pub(super) key_file: String,
    pub(super) client_auth_type: String,
    pub(super) client_ca_file: String,
    pub(super) cipher_suites: Vec<String>,
    pub(super) curve_preferences: Vec<String>,
    pub(super) min_version: String,
    pub(super) max_version: String,
    pub(super) prefer_server_cipher_suites: bool,
    pub(super) client_allowed_sans: Option<Vec<String>>,
}

impl Default for TlsSection {
    fn default() -> Self {
        TlsSection {
            cert: String::new(),
            key: Secret::new(""),
            client_ca: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
            client_auth_type: String::new(),
            client_ca_file: String::new(),
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            min_version: "TLS12".to_owned(),
            max_version: "TLS13".to_owned(),
            prefer_server_cipher_suites: true,
            client_allowed_sans: None,
        }
    }
}

fields!(TlsSection {
    cert: "cert",
    key: "key",
    client_ca: "client_ca",
    cert_file: "cert_file",
    key_file: "key_file",
    client_auth_type: "client_auth_type",
    client_ca_file: "client_ca_file",
    cipher_suites: "cipher_suites",
    curve_preferences: "curve_preferences",
    min_version: "min_version",
    max_version: "max_version",
    prefer_server_cipher_suites: "prefer_server_cipher_suites",
    client_allowed_sans: "client_allowed_sans",
});
nested!(TlsSection as "web.TLSConfig");

impl TlsSection {
    /// Does the file ask for TLS at all?
    pub(super) fn is_enabled(&self) -> bool {
        let texts = [
            &self.cert_file,
            &self.cert,
            &self.key_file,
            &self.client_ca_file,
            &self.client_ca,
            &self.client_auth_type,
        ];
        !self.key.is_empty() || texts.iter().any(|text| !text.is_empty())
    }
}

/// `http_server_config`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HttpSection {
    pub(super) http2: bool,
    pub(super) headers: BTreeMap<String, String>,
}

impl Default for HttpSection {
    fn default() -> Self {
        HttpSection {
            http2: true,
            headers: BTreeMap::new(),
        }
    }
}

fields!(HttpSection {
    http2: "http2",
    headers: "headers"
});
nested!(HttpSection as "web.HTTPConfig");

/// A duration as Go's YAML reader takes it: Go's own notation, or a number of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct GoDuration(pub(super) Duration);

impl Field for GoDuration {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let refuse = || node.refuse("time.Duration");
        let Value::Scalar { text, .. } = &node.value else {
            return Err(refuse());
        };
        if let Ok(nanos) = text.parse::<u64>() {
            return Ok(GoDuration(Duration::from_nanos(nanos)));
        }
        if let Some(seconds) = crate::cli::parse_go_duration(text)
            && let Ok(duration) = Duration::try_from_secs_f64(seconds)
        {
            return Ok(GoDuration(duration));
        }
        // Prometheus's notation (`1d`) is more than Go takes; being generous costs nothing here.
        let ms = parse_duration_ms(text).map_err(|_| refuse())?;
        Ok(GoDuration(Duration::from_millis(
            u64::try_from(ms).map_err(|_| refuse())?,
        )))
    }
    fn encode(&self) -> Out {
        Out::Map(Vec::new())
    }
    fn is_empty(&self) -> bool {
        self.0.is_zero()
    }
}

/// `rate_limit`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct RateLimitSection {
    pub(super) burst: i64,
    pub(super) interval: GoDuration,
}

fields!(RateLimitSection {
    burst: "burst",
    interval: "interval"
});
nested!(RateLimitSection as "web.RateLimiterConfig");

/// One of `bearer_tokens`; ours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TokenSection {
    pub(super) name: String,
    pub(super) token: Secret,
    pub(super) token_file: String,
    pub(super) token_sha256: String,
    pub(super) roles: Vec<String>,
}

impl Default for TokenSection {
    fn default() -> Self {
        TokenSection {
            name: String::new(),
            token: Secret::new(""),
            token_file: String::new(),
            token_sha256: String::new(),
            roles: Vec::new(),
        }
    }
}

fields!(TokenSection {
    name: "name",
    token: "token",
    token_file: "token_file",
    token_sha256: "token_sha256",
    roles: "roles",
});
nested!(TokenSection as "web.BearerToken");

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct WebFile {
    pub(super) tls: TlsSection,
    pub(super) http: HttpSection,
    pub(super) rate_limit: RateLimitSection,
    pub(super) users: BTreeMap<String, Secret>,
    pub(super) tokens: Vec<TokenSection>,
}

fields!(WebFile {
    tls: "tls_server_config",
    http: "http_server_config",
    rate_limit: "rate_limit",
    users: "basic_auth_users",
    tokens: "bearer_tokens",
});

/// A token with what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) name: String,
    /// SHA-256 of the token.
    pub(super) digest: [u8; 32],
    pub(super) roles: Roles,
}

/// The file and the bytes of everything that it names.
#[derive(Clone, PartialEq)]
pub(super) struct Loaded {
    pub(super) file: WebFile,
    pub(super) cert: Vec<u8>,
    pub(super) key: Secret,
    pub(super) client_ca: Option<Vec<u8>>,
    pub(super) tokens: Vec<Token>,
}

impl Loaded {
    /// Reads the file and what it names; checks what needs no cryptography.
    pub(super) fn read(path: &Path) -> Result<Self, WebConfigError> {
        let text = read_text(path)?;
        let root = yaml::parse(&text).map_err(|problem| {
            WebConfigError::Yaml(format!(
                "yaml: line {}: {}",
                problem.place.line, problem.reason
            ))
        })?;
        let file: WebFile = decode_section(&root, "web.Config").map_err(|problem| {
            WebConfigError::Yaml(format!(
                "yaml: unmarshal errors:\n  line {}: {}",
                problem.place.line, problem.reason
            ))
        })?;
        check_headers(&file.http.headers)?;
        for hash in file.users.values() {
            super::bcrypt_hash::cost(hash.expose()).map_err(WebConfigError::Invalid)?;
        }
        let dir = path.parent().unwrap_or_else(|| Path::new(""));
        let tokens = read_tokens(&file.tokens, dir)?;
        let mut loaded = Loaded {
            cert: file.tls.cert.clone().into_bytes(),
            key: file.tls.key.clone(),
            client_ca: None,
            tokens,
            file,
        };
        loaded.read_tls(dir)?;
        Ok(loaded)
    }

    fn read_tls(&mut self, dir: &Path) -> Result<(), WebConfigError> {
        let tls = &self.file.tls;
        let invalid = |text: &str| Err(WebConfigError::Invalid(text.to_owned()));
        if !tls.is_enabled() {
            return Ok(());
        }
        if tls.cert_file.is_empty() && tls.cert.is_empty() {
            return invalid("missing one of cert or cert_file");
        }
        if tls.key_file.is_empty() && tls.key.is_empty() {
            return invalid("missing one of key or key_file");
        }
        if !tls.cert_file.is_empty() {
            self.cert = read_named(dir, &tls.cert_file, "cert_file")?;
        }
        if !tls.key_file.is_empty() {
            let key = read_named(dir, &tls.key_file, "key_file")?;
            self.key = Secret::new(String::from_utf8_lossy(&key).into_owned());
        }
        if !tls.client_ca_file.is_empty() {
            self.client_ca = Some(read_bytes(&joined(dir, &tls.client_ca_file))?);
        } else if !tls.client_ca.is_empty() {
            self.client_ca = Some(tls.client_ca.clone().into_bytes());
        }
        Ok(())
    }
}

fn joined(dir: &Path, file: &str) -> PathBuf {
    dir.join(file)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, WebConfigError> {
    let refuse = |reason: String| WebConfigError::Read {
        path: path.display().to_string(),
        reason,
    };
    let size = std::fs::metadata(path).map_err(|e| refuse(system_words(&e)))?;
    if size.len() > CONFIG_FILE_BYTES_MAX {
        return Err(refuse(format!("longer than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    std::fs::read(path).map_err(|e| refuse(system_words(&e)))
}

fn read_text(path: &Path) -> Result<String, WebConfigError> {
    String::from_utf8(read_bytes(path)?)
        .map_err(|_| WebConfigError::Yaml("yaml: invalid leading UTF-8 octet".to_owned()))
}

fn read_named(dir: &Path, file: &str, what: &str) -> Result<Vec<u8>, WebConfigError> {
    let path = joined(dir, file);
    read_bytes(&path).map_err(|e| {
        WebConfigError::Invalid(format!("failed to read {what} ({}): {e}", path.display()))
    })
}

/// The system's words as Go prints them, without the number.
fn system_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Headers that may be set, and the words that some are limited to.
const HEADERS: &[(&str, &[&str])] = &[
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), WebConfigError> {
    for (name, value) in headers {
        let Some((_, words)) = HEADERS.iter().find(|(known, _)| known == name) else {
            return Err(WebConfigError::Invalid(format!(
                "HTTP header {name:?} can not be configured"
            )));
        };
        if !words.is_empty() && !words.contains(&value.as_str()) {
            let quoted: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
            return Err(WebConfigError::Invalid(format!(
                "invalid value for {name}. Expected one of: [{}], but got: {value:?}",
                quoted.join(" ")
            )));
        }
        if http::HeaderValue::from_str(value).is_err() {
            return Err(WebConfigError::Invalid(format!(
                "invalid value for {name}: not printable"
            )));
        }
    }
    Ok(())
}

fn read_tokens(sections: &[TokenSection], dir: &Path) -> Result<Vec<Token>, WebConfigError> {
    let mut tokens: Vec<Token> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let token = read_token(section, dir)
            .map_err(|e| WebConfigError::Invalid(format!("bearer_tokens[{index}]: {e}")))?;
        if let Some(twin) = tokens
            .iter()
            .find(|t| t.digest == token.digest || t.name == token.name)
        {
            return Err(WebConfigError::Invalid(format!(
                "bearer_tokens[{index}]: has the name or the token of {:?}",
                twin.name
            )));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn read_token(section: &TokenSection, dir: &Path) -> Result<Token, String> {
    if section.name.is_empty() {
        return Err("name is missing".to_owned());
    }
    let mut roles = Roles::default();
    for word in &section.roles {
        let role = Role::from_word(word).ok_or_else(|| {
            format!("unknown role {word:?}: it is one of read, write, push, admin")
        })?;
        roles = roles.with(role);
    }
    if section.roles.is_empty() {
        return Err("roles is missing: it is a list of read, write, push, admin".to_owned());
    }
    let given = [
        !section.token.is_empty(),
        !section.token_file.is_empty(),
        !section.token_sha256.is_empty(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err("exactly one of token, token_file and token_sha256 must be there".to_owned());
    }
    let digest = if !section.token_sha256.is_empty() {
        from_hex(&section.token_sha256).ok_or("token_sha256 is not 64 hexadecimal digits")?
    } else {
        let plain = match section.token_file.as_str() {
            "" => section.token.clone(),
            file => {
                let bytes = read_bytes(&joined(dir, file)).map_err(|e| e.to_string())?;
                Secret::new(String::from_utf8_lossy(&bytes).trim())
            }
        };
        if plain.expose().len() < TOKEN_BYTES_MIN {
            return Err(format!(
                "a token has at least {TOKEN_BYTES_MIN} characters: use a random one"
            ));
        }
        if !plain.expose().bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a token has only printable ASCII characters without spaces".to_owned());
        }
        sha256(plain.expose().as_bytes())
    };
    Ok(Token {
        name: section.name.clone(),
        digest,
        roles,
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Loaded, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        std::fs::write(&path, text).unwrap();
        Loaded::read(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_refused_is_refused_in_exporter_toolkit_s_words() {
        let hash = "$2b$04$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
        for (text, wrong) in [
            (
                "foo: 1\n",
                "yaml: unmarshal errors:\n  line 1: field foo not found in type web.Config",
            ),
            (
                "tls_server_config:\n  x: 1\n",
                "line 2: field x not found in type web.TLSConfig",
            ),
            ("http_server_config: 3\n", "yaml"),
            ("a: [\n", "yaml: line"),
            (
                "tls_server_config:\n  cert_file: a\n",
                "missing one of key or key_file",
            ),
            (
                "tls_server_config:\n  key_file: a\n",
                "missing one of cert or cert_file",
            ),
            (
                "tls_server_config:\n  client_auth_type: x\n",
                "missing one of cert or cert_file",
            ),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n",
                "failed to read cert_file (",
            ),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n",
                "no such file or directory",
            ),
            (
                "basic_auth_users:\n  a: b\n",
                "hashedSecret too short to be a bcrypted password",
            ),
            (
                "http_server_config:\n  headers:\n    Foo: x\n",
                "HTTP header \"Foo\" can not be configured",
            ),
            (
                "http_server_config:\n  headers:\n    X-Frame-Options: x\n",
                "invalid value for X-Frame-Options. Expected one of: [\"deny\" \"sameorigin\"], but got: \"x\"",
            ),
            (
                "bearer_tokens:\n- name: a\n",
                "bearer_tokens[0]: roles is missing",
            ),
            (
                "bearer_tokens:\n- name: a\n  roles: [root]\n",
                "unknown role \"root\"",
            ),
            (
                "bearer_tokens:\n- name: a\n  roles: [read]\n",
                "exactly one of",
            ),
            (
                "bearer_tokens:\n- name: a\n  roles: [read]\n  token: short\n",
                "at least",
            ),
            (
                "bearer_tokens:\n- name: a\n  roles: [read]\n  token_sha256: 12\n",
                "64 hexadecimal",
            ),
            ("bearer_tokens:\n- roles: [read]\n", "name is missing"),
            (
                "bearer_tokens:\n- {name: a, roles: [read], token: 0123456789abcdef}\n- {name: b, roles: [push], token: 0123456789abcdef}\n",
                "has the name or the token of \"a\"",
            ),
        ] {
            let error = load(text).err().unwrap_or_default();
            assert!(error.contains(wrong), "{text:?}: {error}");
        }
        assert!(load(&format!("basic_auth_users:\n  a: {hash}\n")).is_ok());
        let missing = Loaded::read(Path::new("nowhere/web.yml")).err().unwrap();
        assert_eq!(
            missing.to_string(),
            "open nowhere/web.yml: no such file or directory"
        );
    }

    #[test]
    fn an_empty_file_and_all_of_it() {
        let empty = load("").ok().unwrap();
        assert!(!empty.file.tls.is_enabled() && empty.file.http.http2);
        let all = load(
            "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n\
             rate_limit:\n  burst: 5\n  interval: 100ms\n\
             bearer_tokens:\n- name: a\n  roles: [read, push]\n  token: 0123456789abcdef\n",
        )
        .ok()
        .unwrap();
        assert!(!all.file.http.http2);
        assert_eq!(all.file.rate_limit.burst, 5);
        assert_eq!(all.file.rate_limit.interval.0, Duration::from_millis(100));
        let token = &all.tokens[0];
        assert!(token.roles.has(Role::Push) && !token.roles.has(Role::Write));
        assert_eq!(token.digest, sha256(b"0123456789abcdef"));
        let shown = format!("{:?}", all.file);
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }
}
