//! `tls_server_config` made into a configuration of rustls.
//!
//! Promise: versions, cipher suites and curves that Go knows by name and rustls has not are left out with a warning, never replaced by
//! something weaker; when nothing is left, the file is refused. 0-RTT is off.

use super::WebConfigError;
use super::certificates::{ClientAuth, verifier};
use super::schema::{Loaded, TlsSection};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring as provider};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// The suites that Go has, and rustls's for each: those with an elliptic Diffie-Hellman exchange and an authenticated cipher.
const SUITES: &[(&str, Option<SupportedCipherSuite>)] = {
    use provider::cipher_suite as own;
    &[
        (
            "TLS_AES_128_GCM_SHA256",
            Some(own::TLS13_AES_128_GCM_SHA256),
        ),
        (
            "TLS_AES_256_GCM_SHA384",
            Some(own::TLS13_AES_256_GCM_SHA384),
        ),
        (
            "TLS_CHACHA20_POLY1305_SHA256",
            Some(own::TLS13_CHACHA20_POLY1305_SHA256),
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Some(own::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Some(own::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        ),
        (
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Some(own::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ),
        (
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Some(own::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Some(own::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        (
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            Some(own::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
        ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", None),
        ("TLS_RSA_WITH_AES_256_CBC_SHA", None),
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", None),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", None),
    ]
};

fn curve(name: &str) -> Option<Option<&'static dyn SupportedKxGroup>> {
    Some(match name {
        "X25519" => Some(provider::kx_group::X25519),
        "CurveP256" => Some(provider::kx_group::SECP256R1),
        "CurveP384" => Some(provider::kx_group::SECP384R1),
        "CurveP521" => None,
        _ => return None,
    })
}

/// Go's number of a version by its name in the file.
fn version(name: &str) -> Result<u8, WebConfigError> {
    ["TLS10", "TLS11", "TLS12", "TLS13"]
        .iter()
        .zip(10..)
        .find_map(|(known, number)| (*known == name).then_some(number))
        .ok_or_else(|| WebConfigError::Invalid(format!("unknown TLS version: {name}")))
}

fn versions(tls: &TlsSection) -> Result<Vec<&'static SupportedProtocolVersion>, WebConfigError> {
    // An empty word is Go's zero, which means the default.
    let (lowest, highest) = (version(&tls.min_version)?, version(&tls.max_version)?);
    let chosen: Vec<_> = [(12, &rustls::version::TLS12), (13, &rustls::version::TLS13)]
        .into_iter()
        .filter(|(number, _)| (lowest..=highest).contains(number))
        .map(|(_, version)| version)
        .collect();
    if chosen.is_empty() {
        return Err(WebConfigError::Invalid(
            "tls: no supported versions satisfy MinVersion and MaxVersion: TLS 1.2 and 1.3 are supported".to_owned(),
        ));
    }
    Ok(chosen)
}

fn crypto(tls: &TlsSection, warnings: &mut Vec<String>) -> Result<CryptoProvider, WebConfigError> {
    let mut crypto = provider::default_provider();
    if !tls.cipher_suites.is_empty() {
        let mut chosen = Vec::new();
        for name in &tls.cipher_suites {
            let (_, suite) = SUITES
                .iter()
                .find(|(known, _)| known == name)
                .ok_or_else(|| WebConfigError::Invalid(format!("unknown cipher: {name}")))?;
            match suite {
                Some(suite) if suite.tls13().is_none() && !chosen.contains(suite) => {
                    chosen.push(*suite);
                }
                // As in Go, the suites of TLS 1.3 cannot be chosen.
                Some(_) => {}
                None => warnings.push(format!("cipher suite {name} is left out: it is not safe")),
            }
        }
        let of_tls12 = chosen.len();
        chosen.extend(crypto.cipher_suites.iter().filter(|s| s.tls13().is_some()));
        let only_tls12 = version(&tls.max_version)? < 13;
        if of_tls12 == 0 && only_tls12 {
            return Err(WebConfigError::Invalid(
                "cipher_suites: none of them is supported with TLS 1.2".to_owned(),
            ));
        }
        crypto.cipher_suites = chosen;
    }
    if !tls.curve_preferences.is_empty() {
        let mut chosen = Vec::new();
        for name in &tls.curve_preferences {
            let known = curve(name)
                .ok_or_else(|| WebConfigError::Invalid(format!("unknown curve: {name}")))?;
            match known {
                Some(group) => chosen.push(group),
                None => warnings.push(format!("curve {name} is left out: it is not supported")),
            }
        }
        if chosen.is_empty() {
            return Err(WebConfigError::Invalid(
                "curve_preferences: none of them is supported".to_owned(),
            ));
        }
        crypto.kx_groups = chosen;
    }
    Ok(crypto)
}

/// The configuration for new connections; `None` when the file does not ask for TLS.
pub(super) fn server_config(
    loaded: &Loaded,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<ServerConfig>>, WebConfigError> {
    let tls = &loaded.file.tls;
    let crypto = Arc::new(crypto(tls, warnings)?);
    let versions = versions(tls)?;
    let auth = ClientAuth::from_word(&tls.client_auth_type)?;
    if !tls.is_enabled() {
        return Ok(None);
    }
    let pair =
        |text: String| WebConfigError::Invalid(format!("failed to load X509KeyPair: {text}"));
    let chain = CertificateDer::pem_slice_iter(&loaded.cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| pair(format!("tls: failed to parse certificate: {e}")))?;
    if chain.is_empty() {
        return Err(pair(
            "tls: failed to find any PEM data in certificate input".to_owned(),
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(loaded.key.expose().as_bytes())
        .map_err(|_| pair("tls: failed to find any PEM data in key input".to_owned()))?;
    let verifier = verifier(
        auth,
        loaded.client_ca.as_deref(),
        tls.client_allowed_sans.as_deref(),
        &crypto,
    )?;
    let builder = ServerConfig::builder_with_provider(crypto)
        .with_protocol_versions(&versions)
        .map_err(|e| WebConfigError::Invalid(format!("tls: {e}")))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        pair(match error {
            rustls::Error::InconsistentKeys(_) => {
                "tls: private key does not match public key".to_owned()
            }
            other => format!("tls: {other}"),
        })
    })?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = match loaded.file.http.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(Some(Arc::new(config)))
}
