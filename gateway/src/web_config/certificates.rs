//! Certificates of clients: whether one is asked for, whether it must be there, and what makes it good (`client_auth_type`).
//!
//! Promise: the five ways of Go's `crypto/tls`; a certificate that is not verified still has to prove that the client has its key.

use super::WebConfigError;
use super::names;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;

/// `client_auth_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// No certificate is asked for.
    No,
    /// One is asked for, none is needed, none is verified.
    Request,
    /// One must be there; its issuer does not matter.
    RequireAny,
    /// What is there must be good.
    VerifyIfGiven,
    /// A good one must be there.
    RequireAndVerify,
}

impl ClientAuth {
    /// By exporter-toolkit's word.
    pub(super) fn from_word(word: &str) -> Result<Self, WebConfigError> {
        Ok(match word {
            "" | "NoClientCert" => ClientAuth::No,
            "RequestClientCert" => ClientAuth::Request,
            // The second word is the first one's older spelling.
            "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
            "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
            "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
            other => {
                return Err(WebConfigError::Invalid(format!(
                    "invalid ClientAuth: {other}"
                )));
            }
        })
    }

    fn is_mandatory(self) -> bool {
        matches!(self, ClientAuth::RequireAny | ClientAuth::RequireAndVerify)
    }

    fn verifies(self) -> bool {
        matches!(
            self,
            ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify
        )
    }
}

/// The verifier that these settings ask for; `None` when no certificate is asked for.
pub(super) fn verifier(
    auth: ClientAuth,
    authorities: Option<&[u8]>,
    allowed_names: Option<&[String]>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, WebConfigError> {
    let invalid = |text: String| Err(WebConfigError::Invalid(text));
    if authorities.is_some() && auth == ClientAuth::No {
        return invalid("client CA's have been configured without a Client Auth Policy".to_owned());
    }
    if allowed_names.is_some() && !auth.is_mandatory() {
        return invalid("client_allowed_sans requires client_auth_type to be one of RequireAnyClientCert or RequireAndVerifyClientCert".to_owned());
    }
    if auth == ClientAuth::No {
        return Ok(None);
    }
    let mut named = Vec::new();
    let chains = match auth.verifies() {
        true => {
            let roots = roots(authorities, &mut named)?;
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let built = builder.allow_unauthenticated().build();
            Some(built.map_err(|e| WebConfigError::Invalid(format!("client CA: {e}")))?)
        }
        false => None,
    };
    Ok(Some(Arc::new(ClientVerifier {
        auth,
        chains,
        named,
        allowed_names: allowed_names.map(<[String]>::to_vec),
        provider: Arc::clone(provider),
    })))
}

/// The authorities of the file, or the system's when there is none, as in Go.
fn roots(
    pem: Option<&[u8]>,
    named: &mut Vec<CertificateDer<'static>>,
) -> Result<Arc<RootCertStore>, WebConfigError> {
    let mut store = RootCertStore::empty();
    match pem {
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(pem) => {
            named.extend(CertificateDer::pem_slice_iter(pem).flatten());
            store.add_parsable_certificates(named.iter().cloned());
        }
    }
    if store.is_empty() {
        return Err(WebConfigError::Invalid(
            "client CA: no certificate found; no client could connect".to_owned(),
        ));
    }
    Ok(Arc::new(store))
}

#[derive(Debug)]
struct ClientVerifier {
    auth: ClientAuth,
    chains: Option<Arc<dyn ClientCertVerifier>>,
    /// The certificates of the client CA file. Go takes one of them as a client's own too, although it says that it is an authority.
    named: Vec<CertificateDer<'static>>,
    allowed_names: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    /// Is this the refusal of an authority's certificate as a client's? It comes after the check of the validity period.
    fn is_authority_as_client(error: &Error) -> bool {
        matches!(error, Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity"))
    }

    fn check_names(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(allowed) = &self.allowed_names else {
            return Ok(());
        };
        if names::of(certificate)
            .iter()
            .any(|name| allowed.contains(name))
        {
            return Ok(());
        }
        tracing::debug!(?allowed, "could not find allowed SANs in client cert");
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.auth.is_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.chains {
            Some(chains) => chains.root_hint_subjects(),
            None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chains) = &self.chains {
            match chains.verify_client_cert(end_entity, intermediates, now) {
                Err(error)
                    if Self::is_authority_as_client(&error)
                        && self.named.iter().any(|named| named == end_entity) => {}
                verified => {
                    verified?;
                }
            }
        } else if rustls::server::ParsedCertificate::try_from(end_entity).is_err() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        self.check_names(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
