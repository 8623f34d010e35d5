//! `remote_write`, `remote_read` and the ways to sign their requests.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use super::http_client::HttpClient;
use super::relabel::Relabel;
use crate::config::field::{FilePath, LabelSet, Ms, Url, section};
use crate::config::yaml::{Node, Problem};
use ingest::http_client::config::Secret;
use std::collections::BTreeMap;

section! {
    /// Signature version 4.
    SigV4 as "sigv4.plain" {
        region: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        use_fips_sts_endpoint: bool = false, filled;
        service_name: String = String::new(), filled;
    }
}

section! {
    /// Identity given by the platform.
    ManagedIdentity as "azuread.ManagedIdentityConfig" {
        client_id: String = String::new(), filled;
    }
}

section! {
    /// Identity by client secret.
    AzureOAuth as "azuread.OAuthConfig" {
        client_id: String = String::new(), filled;
        client_secret: Secret = Secret::default(), filled;
        tenant_id: String = String::new(), filled;
    }
}

section! {
    /// Identity by the SDK's own chain.
    AzureSdk as "azuread.SDKConfig" {
        tenant_id: String = String::new(), filled;
    }
}

section! {
    /// Identity of a workload.
    WorkloadIdentity as "azuread.WorkloadIdentityConfig" {
        client_id: String = String::new(), filled;
        tenant_id: String = String::new(), filled;
        token_file_path: FilePath = FilePath::default(), filled;
    }
}

section! {
    /// Identity by certificate.
    AzureCertificate as "azuread.CertificateConfig" {
        client_id: String = String::new(), filled;
        tenant_id: String = String::new(), filled;
        certificate_path: FilePath = FilePath::default(), filled;
        certificate_key_path: FilePath = FilePath::default(), filled;
        certificate_password: Secret = Secret::default(), filled;
        send_certificate_chain: bool = false, filled;
    }
}

section! {
    /// Azure AD.
    AzureAd as "azuread.plain" {
        managed_identity: Option<ManagedIdentity> = None, filled;
        workload_identity: Option<WorkloadIdentity> = None, filled;
        oauth: Option<AzureOAuth> = None, filled;
        sdk: Option<AzureSdk> = None, filled;
        certificate: Option<AzureCertificate> = None, filled;
        cloud: String = "AzurePublic".to_owned(), filled;
        scope: String = String::new(), filled;
    }
}

section! {
    /// Google's IAM.
    GoogleIam as "googleiam.Config" {
        credentials_file: FilePath = FilePath::default(), filled;
    }
}

section! {
    /// How samples wait and leave.
    Queue as "config.QueueConfig" {
        capacity: i64 = 10_000, filled;
        max_shards: i64 = 50, filled;
        min_shards: i64 = 1, filled;
        max_samples_per_send: i64 = 2_000, filled;
        batch_send_deadline: Ms = Ms::secs(5), filled;
        min_backoff: Ms = Ms(30), filled;
        max_backoff: Ms = Ms::secs(5), filled;
        retry_on_http_429: bool = false, filled;
        sample_age_limit: Ms = Ms(0), filled;
    }
}

section! {
    /// How metadata leaves.
    Metadata as "config.MetadataConfig" {
        send: bool = true, always;
        send_interval: Ms = Ms::secs(60), always;
        max_samples_per_send: i64 = 2_000, filled;
    }
}

section! {
    /// One receiver.
    RemoteWrite as "config.plain" checked by check_write {
        url: Url = Url::default(), always;
        remote_timeout: Ms = Ms::secs(30), filled;
        headers: BTreeMap<String, String> = BTreeMap::new(), filled;
        write_relabel_configs: Vec<Relabel> = Vec::new(), filled;
        name: String = String::new(), filled;
        send_exemplars: bool = false, filled;
        send_native_histograms: bool = false, filled;
        round_robin_dns: bool = false, filled;
        protobuf_message: String = "prometheus.WriteRequest".to_owned(), filled;
        failed_request_logging: bool = false, filled;
        client: HttpClient = HttpClient { enable_http2: false, ..HttpClient::default() }, inline;
        queue_config: Queue = Queue::default(), always;
        metadata_config: Metadata = Metadata::default(), always;
        sigv4: Option<SigV4> = None, filled;
        azuread: Option<AzureAd> = None, filled;
        google_iam: Option<GoogleIam> = None, filled;
    }
}

section! {
    /// One server to read from.
    RemoteRead as "config.plain" checked by check_read {
        url: Url = Url::default(), always;
        remote_timeout: Ms = Ms::secs(60), filled;
        chunked_read_limit: u64 = 50_000_000, filled;
        headers: BTreeMap<String, String> = BTreeMap::new(), filled;
        read_recent: bool = false, filled;
        name: String = String::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
        required_matchers: LabelSet = LabelSet::default(), filled;
        filter_external_labels: bool = true, filled;
    }
}

/// Headers that the protocol sets itself.
const RESERVED_HEADERS: [&str; 14] = [
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
];

fn check_headers(headers: &BTreeMap<String, String>, node: &Node) -> Result<(), Problem> {
    for name in headers.keys() {
        let place = node.get("headers").map_or(node.place, |h| h.place_of(name));
        let lower = name.to_ascii_lowercase();
        if lower == "authorization" {
            return Err(Problem::new(
                place,
                "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter",
            ));
        }
        if RESERVED_HEADERS.contains(&lower.as_str()) {
            return Err(Problem::new(
                place,
                format!("{name} is a reserved header. It must not be changed"),
            ));
        }
    }
    Ok(())
}

fn check_write(write: &mut RemoteWrite, node: &Node) -> Result<(), Problem> {
    if node.is_null() {
        return Err(Problem::new(
            node.place,
            "empty or null remote write config section",
        ));
    }
    if write.url.0.is_empty() {
        return Err(Problem::new(
            node.place_of("url"),
            "url for remote_write is empty",
        ));
    }
    check_headers(&write.headers, node)?;
    let message = write.protobuf_message.as_str();
    if !["prometheus.WriteRequest", "io.prometheus.write.v2.Request"].contains(&message) {
        return Err(Problem::new(
            node.place_of("protobuf_message"),
            format!(
                "invalid protobuf_message value: unknown type for remote write protobuf message {message}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
            ),
        ));
    }
    let ways = [
        write.client.basic_auth.is_some(),
        write.client.authorization.is_some(),
        write.client.oauth2.is_some(),
        write.sigv4.is_some(),
        write.azuread.is_some(),
        write.google_iam.is_some(),
    ];
    if ways.iter().filter(|w| **w).count() > 1 {
        return Err(Problem::new(
            node.place,
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured",
        ));
    }
    Ok(())
}

fn check_read(read: &mut RemoteRead, node: &Node) -> Result<(), Problem> {
    if node.is_null() {
        return Err(Problem::new(
            node.place,
            "empty or null remote read config section",
        ));
    }
    if read.url.0.is_empty() {
        return Err(Problem::new(
            node.place_of("url"),
            "url for remote_read is empty",
        ));
    }
    check_headers(&read.headers, node)
}
