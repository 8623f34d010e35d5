//! TLS for targets: trust, client certificates, versions; material is read again when its files change.
//!
//! Promise: an unchanged configuration reuses one rustls configuration (and its session cache); a changed file counts
//! from the next connection on. Not here: the connection itself.

use super::config::{SecretSource, TextSource, TlsConfig, TlsVersion};
use super::fetch::FetchError;
use rustls::CertificateError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The files' contents that a configuration was built from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Material {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

/// Builds rustls configurations for one `tls_config`.
#[derive(Debug)]
pub(super) struct TlsFactory {
    config: TlsConfig,
    /// Offer HTTP/2.
    http2: bool,
    built: Mutex<Option<(Material, Arc<ClientConfig>)>>,
}

impl TlsFactory {
    pub(super) fn new(config: TlsConfig, http2: bool) -> Self {
        TlsFactory {
            config,
            http2,
            built: Mutex::new(None),
        }
    }

    /// The name that the server's certificate must carry.
    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, FetchError> {
        let name = if self.config.server_name.is_empty() {
            host.trim_matches(['[', ']'])
        } else {
            &self.config.server_name
        };
        ServerName::try_from(name.to_owned())
            .map_err(|e| FetchError::Configuration(format!("invalid server name {name:?}: {e}")))
    }

    /// The configuration for a new connection.
    pub(super) async fn client_config(&self) -> Result<Arc<ClientConfig>, FetchError> {
        let config = self.config.clone();
        let material = tokio::task::spawn_blocking(move || read_material(&config))
            .await
            .map_err(|e| FetchError::Configuration(e.to_string()))??;
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((old, config)) = built.as_ref()
            && *old == material
        {
            return Ok(Arc::clone(config));
        }
        let mut config = build(&self.config, &material)?;
        if self.http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let config = Arc::new(config);
        *built = Some((material, Arc::clone(&config)));
        Ok(config)
    }
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, FetchError> {
    std::fs::read(path).map_err(|e| {
        FetchError::Configuration(format!(
            "unable to load specified {what} {}: {e}",
            path.display()
        ))
    })
}

fn read_material(config: &TlsConfig) -> Result<Material, FetchError> {
    let text = |source: &Option<TextSource>, what: &str| match source {
        None => Ok(None),
        Some(TextSource::Inline(text)) => Ok(Some(text.clone().into_bytes())),
        Some(TextSource::File(path)) => read(path, what).map(Some),
    };
    let key = match &config.key {
        None => None,
        Some(SecretSource::Inline(secret)) => Some(secret.expose().as_bytes().to_vec()),
        Some(SecretSource::File(path)) => Some(read(path, "client key")?),
    };
    Ok(Material {
        ca: text(&config.ca, "CA cert")?,
        cert: text(&config.cert, "client cert")?,
        key,
    })
}

fn build(config: &TlsConfig, material: &Material) -> Result<ClientConfig, FetchError> {
    let refuse = |reason: String| FetchError::Configuration(format!("tls_config: {reason}"));
    let provider = Arc::new(ring::default_provider());
    let lowest = config.min_version.unwrap_or(TlsVersion::Tls12);
    let highest = config.max_version.unwrap_or(TlsVersion::Tls13);
    let versions: Vec<_> = [
        (TlsVersion::Tls12, &rustls::version::TLS12),
        (TlsVersion::Tls13, &rustls::version::TLS13),
    ]
    .into_iter()
    .filter(|(version, _)| lowest <= *version && *version <= highest)
    .map(|(_, supported)| supported)
    .collect();
    if versions.is_empty() {
        return Err(refuse(
            "no TLS version is left: TLS 1.2 and 1.3 are supported".to_owned(),
        ));
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|e| refuse(e.to_string()))?;
    let builder = if config.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate { provider }))
    } else {
        let roots = roots(material)?;
        let chains = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|e| refuse(e.to_string()))?;
        let pinned = pinned_certificates(material);
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(VerifyChainOrPinned { chains, pinned }))
    };
    let (Some(cert), Some(key)) = (&material.cert, &material.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| refuse(format!("unable to use specified client cert: {e}")))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| refuse(format!("unable to use specified client key: {e}")))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|e| refuse(format!("unable to use specified client cert and key: {e}")))
}

fn roots(material: &Material) -> Result<Arc<RootCertStore>, FetchError> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let Some(pem) = &material.ca else {
        return Ok(Arc::clone(SYSTEM.get_or_init(|| {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                // A container without a certificate bundle: Mozilla's list, built in.
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            Arc::new(store)
        })));
    };
    let mut store = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem) {
        let refuse = |reason: String| {
            FetchError::Configuration(format!("unable to use specified CA cert: {reason}"))
        };
        let cert = cert.map_err(|e| refuse(e.to_string()))?;
        store.add(cert).map_err(|e| refuse(e.to_string()))?;
    }
    if store.is_empty() {
        return Err(FetchError::Configuration(
            "unable to use specified CA cert: no certificate found".to_owned(),
        ));
    }
    Ok(Arc::new(store))
}

/// The certificates of `ca`, byte for byte.
fn pinned_certificates(material: &Material) -> Vec<CertificateDer<'static>> {
    match &material.ca {
        Some(pem) => CertificateDer::pem_slice_iter(pem).flatten().collect(),
        None => Vec::new(),
    }
}

/// The usual verification, and one exception that Go makes too: exporters often serve a self-signed certificate that
/// says it is an authority, and the user names that very certificate as `ca_file`. It is then trusted for its names.
#[derive(Debug)]
struct VerifyChainOrPinned {
    chains: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl VerifyChainOrPinned {
    /// Is this the refusal of an authority's certificate as a server's? It comes after the check of the validity period,
    /// so what is left to check is the name.
    fn is_authority_as_server(error: &rustls::Error) -> bool {
        matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity"))
    }
}

impl ServerCertVerifier for VerifyChainOrPinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(error)
                if Self::is_authority_as_server(&error)
                    && self.pinned.iter().any(|pinned| pinned == end_entity) =>
            {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: the handshake's signature is still checked, the certificate's chain and name are not.
#[derive(Debug)]
struct AcceptAnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
