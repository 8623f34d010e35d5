//! Service discovery: every provider of Prometheus, so that a real file loads.
//!
//! Active are `static_configs` and `file_sd_configs`; the others are read, checked, shown, and named in the log as not active.
#![allow(
    missing_docs,
    reason = "fields carry the names and meanings of Prometheus's configuration"
)]

use super::http_client::{HttpClient, Tls};
use super::kubernetes::KubernetesSd;
use crate::config::field::{FilePath, LabelSet, Ms, Section, section};
use crate::config::yaml::{Node, Problem};
use ingest::discovery::config as plain;
use ingest::http_client::config::Secret;
use std::collections::BTreeMap;

section! {
    /// Addresses that share labels.
    StaticSd as "targetgroup.Group" {
        targets: Vec<String> = Vec::new(), always;
        labels: LabelSet = LabelSet::default(), filled;
    }
}

section! {
    /// A filter of the provider's own API.
    Filter as "discovery.Filter" {
        name: String = String::new(), always;
        values: Vec<String> = Vec::new(), always;
    }
}

section! {
    /// All providers of a job.
    Discovery as "discovery.Configs" {
        static_configs: Vec<StaticSd> = Vec::new(), filled;
        aws_sd_configs: Vec<AwsSd> = Vec::new(), filled;
        azure_sd_configs: Vec<AzureSd> = Vec::new(), filled;
        consul_sd_configs: Vec<ConsulSd> = Vec::new(), filled;
        digitalocean_sd_configs: Vec<DigitaloceanSd> = Vec::new(), filled;
        dns_sd_configs: Vec<DnsSd> = Vec::new(), filled;
        docker_sd_configs: Vec<DockerSd> = Vec::new(), filled;
        dockerswarm_sd_configs: Vec<DockerswarmSd> = Vec::new(), filled;
        ec2_sd_configs: Vec<Ec2Sd> = Vec::new(), filled;
        ecs_sd_configs: Vec<EcsSd> = Vec::new(), filled;
        elasticache_sd_configs: Vec<ElasticacheSd> = Vec::new(), filled;
        eureka_sd_configs: Vec<EurekaSd> = Vec::new(), filled;
        file_sd_configs: Vec<FileSd> = Vec::new(), filled;
        gce_sd_configs: Vec<GceSd> = Vec::new(), filled;
        hetzner_sd_configs: Vec<HetznerSd> = Vec::new(), filled;
        http_sd_configs: Vec<HttpSd> = Vec::new(), filled;
        ionos_sd_configs: Vec<IonosSd> = Vec::new(), filled;
        kubernetes_sd_configs: Vec<KubernetesSd> = Vec::new(), filled;
        kuma_sd_configs: Vec<KumaSd> = Vec::new(), filled;
        lightsail_sd_configs: Vec<LightsailSd> = Vec::new(), filled;
        linode_sd_configs: Vec<LinodeSd> = Vec::new(), filled;
        marathon_sd_configs: Vec<MarathonSd> = Vec::new(), filled;
        msk_sd_configs: Vec<MskSd> = Vec::new(), filled;
        nerve_sd_configs: Vec<NerveSd> = Vec::new(), filled;
        nomad_sd_configs: Vec<NomadSd> = Vec::new(), filled;
        oci_sd_configs: Vec<OciSd> = Vec::new(), filled;
        openstack_sd_configs: Vec<OpenstackSd> = Vec::new(), filled;
        outscale_sd_configs: Vec<OutscaleSd> = Vec::new(), filled;
        ovhcloud_sd_configs: Vec<OvhcloudSd> = Vec::new(), filled;
        puppetdb_sd_configs: Vec<PuppetdbSd> = Vec::new(), filled;
        rds_sd_configs: Vec<RdsSd> = Vec::new(), filled;
        scaleway_sd_configs: Vec<ScalewaySd> = Vec::new(), filled;
        serverset_sd_configs: Vec<ServersetSd> = Vec::new(), filled;
        stackit_sd_configs: Vec<StackitSd> = Vec::new(), filled;
        triton_sd_configs: Vec<TritonSd> = Vec::new(), filled;
        uyuni_sd_configs: Vec<UyuniSd> = Vec::new(), filled;
        vultr_sd_configs: Vec<VultrSd> = Vec::new(), filled;
    }
}

section! {
    /// `azure_sd_configs`
    AzureSd as "azure.plain" {
        environment: String = "AzurePublicCloud".to_owned(), filled;
        port: i64 = 80, always;
        subscription_id: String = String::new(), filled;
        tenant_id: String = String::new(), filled;
        client_id: String = String::new(), filled;
        client_secret: Secret = Secret::default(), filled;
        refresh_interval: Ms = Ms::secs(300), filled;
        authentication_method: String = "OAuth".to_owned(), filled;
        resource_group: String = String::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `consul_sd_configs`
    ConsulSd as "consul.plain" checked by check_consul {
        server: String = "localhost:8500".to_owned(), filled;
        path_prefix: String = String::new(), filled;
        token: Secret = Secret::default(), filled;
        datacenter: String = String::new(), filled;
        namespace: String = String::new(), filled;
        partition: String = String::new(), filled;
        tag_separator: String = ",".to_owned(), filled;
        scheme: String = "http".to_owned(), filled;
        username: String = String::new(), filled;
        password: Secret = Secret::default(), filled;
        allow_stale: bool = true, always;
        refresh_interval: Ms = Ms::secs(30), filled;
        services: Vec<String> = Vec::new(), filled;
        tags: Vec<String> = Vec::new(), filled;
        node_meta: BTreeMap<String, String> = BTreeMap::new(), filled;
        filter: String = String::new(), filled;
        health_filter: String = String::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `digitalocean_sd_configs`
    DigitaloceanSd as "digitalocean.plain" {
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), always;
        port: i64 = 80, always;
        role: String = "droplets".to_owned(), always;
    }
}

section! {
    /// `docker_sd_configs`
    DockerSd as "moby.plain" checked by check_docker {
        client: HttpClient = HttpClient::default(), inline;
        host: String = String::new(), filled;
        port: i64 = 80, always;
        filters: Vec<Filter> = Vec::new(), filled;
        host_networking_host: String = "localhost".to_owned(), always;
        refresh_interval: Ms = Ms::secs(60), always;
        match_first_network: bool = true, always;
    }
}

section! {
    /// `dockerswarm_sd_configs`
    DockerswarmSd as "moby.plain" {
        client: HttpClient = HttpClient::default(), inline;
        host: String = String::new(), filled;
        role: String = String::new(), filled;
        port: i64 = 80, always;
        filters: Vec<Filter> = Vec::new(), filled;
        refresh_interval: Ms = Ms::secs(60), always;
    }
}

section! {
    /// `dns_sd_configs`
    DnsSd as "dns.plain" checked by check_dns {
        names: Vec<String> = Vec::new(), always;
        refresh_interval: Ms = Ms::secs(30), filled;
        kind ["type"]: String = "SRV".to_owned(), always;
        port: i64 = 0, always;
    }
}

section! {
    /// `aws_sd_configs`
    AwsSd as "aws.plain" {
        role: String = String::new(), filled;
        region: String = String::new(), filled;
        endpoint: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        refresh_interval: Ms = Ms::secs(60), filled;
        port: i64 = 0, filled;
        client: HttpClient = HttpClient::default(), inline;
        filters: Vec<Filter> = Vec::new(), filled;
        clusters: Vec<String> = Vec::new(), filled;
    }
}

section! {
    /// `ec2_sd_configs`
    Ec2Sd as "aws.plain" checked by check_ec2 {
        endpoint: String = String::new(), filled;
        region: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        refresh_interval: Ms = Ms::secs(60), filled;
        port: i64 = 80, always;
        filters: Vec<Filter> = Vec::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `ecs_sd_configs`
    EcsSd as "aws.plain" {
        region: String = String::new(), filled;
        endpoint: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        clusters: Vec<String> = Vec::new(), filled;
        port: i64 = 80, always;
        refresh_interval: Ms = Ms::secs(60), filled;
        request_concurrency: i64 = 20, filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `elasticache_sd_configs`
    ElasticacheSd as "aws.plain" {
        region: String = String::new(), filled;
        endpoint: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        clusters: Vec<String> = Vec::new(), filled;
        port: i64 = 80, always;
        refresh_interval: Ms = Ms::secs(60), filled;
        request_concurrency: i64 = 10, filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `lightsail_sd_configs`
    LightsailSd as "aws.plain" {
        endpoint: String = String::new(), filled;
        region: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        refresh_interval: Ms = Ms::secs(60), filled;
        port: i64 = 80, always;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `msk_sd_configs`
    MskSd as "aws.plain" {
        region: String = String::new(), filled;
        endpoint: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        clusters: Vec<String> = Vec::new(), filled;
        port: i64 = 80, always;
        refresh_interval: Ms = Ms::secs(60), filled;
        request_concurrency: i64 = 10, filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `rds_sd_configs`
    RdsSd as "aws.plain" {
        region: String = String::new(), filled;
        endpoint: String = String::new(), filled;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        profile: String = String::new(), filled;
        role_arn: String = String::new(), filled;
        external_id: String = String::new(), filled;
        clusters: Vec<String> = Vec::new(), filled;
        port: i64 = 80, always;
        refresh_interval: Ms = Ms::secs(60), filled;
        filters: Vec<Filter> = Vec::new(), filled;
        request_concurrency: i64 = 10, filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `eureka_sd_configs`
    EurekaSd as "eureka.plain" {
        server: String = String::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(30), filled;
    }
}

section! {
    /// `file_sd_configs`
    FileSd as "file.plain" checked by check_file {
        files: Vec<FilePath> = Vec::new(), always;
        refresh_interval: Ms = Ms::secs(300), filled;
    }
}

section! {
    /// `gce_sd_configs`
    GceSd as "gce.plain" {
        project: String = String::new(), filled;
        zone: String = String::new(), filled;
        filter: String = String::new(), filled;
        refresh_interval: Ms = Ms::secs(60), filled;
        port: i64 = 80, always;
        tag_separator: String = ",".to_owned(), filled;
    }
}

section! {
    /// `hetzner_sd_configs`
    HetznerSd as "hetzner.plain" {
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), always;
        port: i64 = 80, always;
        role: String = String::new(), filled;
        label_selector: String = String::new(), filled;
    }
}

section! {
    /// `http_sd_configs`
    HttpSd as "http.plain" checked by check_http {
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), filled;
        url: String = String::new(), filled;
    }
}

section! {
    /// `ionos_sd_configs`
    IonosSd as "ionos.plain" {
        datacenter_id: String = String::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), always;
        port: i64 = 80, always;
    }
}

section! {
    /// `kuma_sd_configs`
    KumaSd as "xds.plain" {
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(15), filled;
        fetch_timeout: Ms = Ms::secs(120), filled;
        server: String = String::new(), filled;
        client_id: String = String::new(), filled;
    }
}

section! {
    /// `linode_sd_configs`
    LinodeSd as "linode.plain" {
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), always;
        port: i64 = 80, always;
        tag_separator: String = ",".to_owned(), filled;
        region: String = String::new(), filled;
    }
}

section! {
    /// `marathon_sd_configs`
    MarathonSd as "marathon.plain" {
        servers: Vec<String> = Vec::new(), filled;
        refresh_interval: Ms = Ms::secs(30), filled;
        auth_token: Secret = Secret::default(), filled;
        auth_token_file: FilePath = FilePath::default(), filled;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `nerve_sd_configs`
    NerveSd as "zookeeper.plain" {
        servers: Vec<String> = Vec::new(), always;
        paths: Vec<String> = Vec::new(), always;
        timeout: Ms = Ms::secs(10), filled;
    }
}

section! {
    /// `nomad_sd_configs`
    NomadSd as "nomad.plain" {
        allow_stale: bool = true, always;
        client: HttpClient = HttpClient::default(), inline;
        namespace: String = "default".to_owned(), always;
        refresh_interval: Ms = Ms::secs(60), always;
        region: String = "global".to_owned(), always;
        server: String = "http://localhost:4646".to_owned(), always;
        tag_separator: String = ",".to_owned(), filled;
    }
}

section! {
    /// `oci_sd_configs`
    OciSd as "oci.plain" {
        auth: String = "api_key".to_owned(), filled;
        tenancy: String = String::new(), filled;
        user: String = String::new(), filled;
        fingerprint: String = String::new(), filled;
        key_file: FilePath = FilePath::default(), filled;
        key_passphrase: Secret = Secret::default(), filled;
        key_passphrase_file: FilePath = FilePath::default(), filled;
        region: String = String::new(), filled;
        compartments: Vec<String> = Vec::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
        port: i64 = 80, always;
        refresh_interval: Ms = Ms::secs(60), always;
    }
}

section! {
    /// `openstack_sd_configs`
    OpenstackSd as "openstack.plain" {
        identity_endpoint: String = String::new(), filled;
        username: String = String::new(), filled;
        userid: String = String::new(), filled;
        password: Secret = Secret::default(), filled;
        project_name: String = String::new(), filled;
        project_id: String = String::new(), filled;
        domain_name: String = String::new(), filled;
        domain_id: String = String::new(), filled;
        application_credential_name: String = String::new(), filled;
        application_credential_id: String = String::new(), filled;
        application_credential_secret: Secret = Secret::default(), filled;
        role: String = String::new(), filled;
        region: String = String::new(), filled;
        refresh_interval: Ms = Ms::secs(60), always;
        port: i64 = 80, always;
        all_tenants: bool = false, filled;
        tls_config: Tls = Tls::default(), filled;
        availability: String = "public".to_owned(), filled;
    }
}

section! {
    /// `outscale_sd_configs`
    OutscaleSd as "outscale.plain" {
        endpoint: String = String::new(), filled;
        region: String = "eu-west-2".to_owned(), always;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        secret_key_file: FilePath = FilePath::default(), filled;
        refresh_interval: Ms = Ms::secs(60), filled;
        port: i64 = 80, always;
        client: HttpClient = HttpClient::default(), inline;
    }
}

section! {
    /// `ovhcloud_sd_configs`
    OvhcloudSd as "ovhcloud.plain" {
        endpoint: String = "ovh-eu".to_owned(), always;
        application_key: String = String::new(), filled;
        application_secret: Secret = Secret::default(), filled;
        consumer_key: Secret = Secret::default(), filled;
        refresh_interval: Ms = Ms::secs(60), always;
        service: String = String::new(), filled;
    }
}

section! {
    /// `puppetdb_sd_configs`
    PuppetdbSd as "puppetdb.plain" {
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), filled;
        url: String = String::new(), filled;
        query: String = String::new(), filled;
        include_parameters: bool = false, always;
        port: i64 = 80, always;
    }
}

section! {
    /// `scaleway_sd_configs`
    ScalewaySd as "scaleway.plain" {
        project_id: String = String::new(), filled;
        api_url: String = "https://api.scaleway.com".to_owned(), filled;
        zone: String = "fr-par-1".to_owned(), always;
        access_key: String = String::new(), filled;
        secret_key: Secret = Secret::default(), filled;
        secret_key_file: FilePath = FilePath::default(), filled;
        name_filter: String = String::new(), filled;
        tags_filter: Vec<String> = Vec::new(), filled;
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), always;
        port: i64 = 80, always;
        role: String = String::new(), filled;
    }
}

section! {
    /// `serverset_sd_configs`
    ServersetSd as "zookeeper.plain" {
        servers: Vec<String> = Vec::new(), always;
        paths: Vec<String> = Vec::new(), always;
        timeout: Ms = Ms::secs(10), filled;
    }
}

section! {
    /// `stackit_sd_configs`
    StackitSd as "stackit.plain" {
        client: HttpClient = HttpClient::default(), inline;
        project: String = String::new(), filled;
        refresh_interval: Ms = Ms::secs(60), filled;
        port: i64 = 80, filled;
        region: String = "eu01".to_owned(), filled;
        endpoint: String = String::new(), filled;
        service_account_key: Secret = Secret::default(), filled;
        private_key: Secret = Secret::default(), filled;
        service_account_key_path: FilePath = FilePath::default(), filled;
        private_key_path: FilePath = FilePath::default(), filled;
        credentials_file_path: FilePath = FilePath::default(), filled;
    }
}

section! {
    /// `triton_sd_configs`
    TritonSd as "triton.plain" {
        account: String = String::new(), filled;
        role: String = "container".to_owned(), always;
        dns_suffix: String = String::new(), filled;
        endpoint: String = String::new(), filled;
        groups: Vec<String> = Vec::new(), filled;
        port: i64 = 9163, always;
        refresh_interval: Ms = Ms::secs(60), filled;
        tls_config: Tls = Tls::default(), filled;
        version: i64 = 1, always;
    }
}

section! {
    /// `uyuni_sd_configs`
    UyuniSd as "uyuni.plain" {
        server: String = String::new(), filled;
        username: String = String::new(), filled;
        password: Secret = Secret::default(), filled;
        client: HttpClient = HttpClient::default(), inline;
        entitlement: String = "monitoring_entitled".to_owned(), filled;
        separator: String = ",".to_owned(), filled;
        refresh_interval: Ms = Ms::secs(60), filled;
    }
}

section! {
    /// `vultr_sd_configs`
    VultrSd as "vultr.plain" {
        client: HttpClient = HttpClient::default(), inline;
        refresh_interval: Ms = Ms::secs(60), always;
        port: i64 = 80, always;
    }
}

/// Providers that do something here.
const ACTIVE: [&str; 8] = [
    "static_configs",
    "file_sd_configs",
    "http_sd_configs",
    "dns_sd_configs",
    "consul_sd_configs",
    "docker_sd_configs",
    "ec2_sd_configs",
    "kubernetes_sd_configs",
];

impl Discovery {
    /// Names of the providers in use that do nothing here.
    pub fn inactive(&self) -> Vec<String> {
        let mut used = Vec::new();
        self.show(&mut used);
        used.into_iter()
            .map(|(name, _)| name)
            .filter(|name| !ACTIVE.contains(&name.as_str()))
            .collect()
    }

    /// `static_configs` as the scraper takes them.
    pub fn plain_static(&self) -> Vec<plain::StaticConfig> {
        let group = |g: &StaticSd| plain::StaticConfig {
            targets: g.targets.clone(),
            labels: g.labels.0.clone().into_iter().collect(),
        };
        self.static_configs.iter().map(group).collect()
    }
}

/// Only the last element of the path may have a wildcard, and only one.
fn is_discovery_pattern(path: &str) -> bool {
    let one_star_in_last = match path.split_once('*') {
        None => true,
        Some((_, rest)) => !rest.contains(['*', '/']),
    };
    one_star_in_last
        && [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"]
            .iter()
            .any(|end| path.ends_with(end))
}

fn check_file(sd: &mut FileSd, node: &Node) -> Result<(), Problem> {
    if sd.files.is_empty() {
        return Err(Problem::new(
            node.place,
            "file service discovery config must contain at least one path name",
        ));
    }
    for (i, file) in sd.files.iter().enumerate() {
        if !is_discovery_pattern(&file.0) {
            let place = node
                .get("files")
                .and_then(|f| f.item(i))
                .map_or(node.place, |f| f.place);
            return Err(Problem::new(
                place,
                format!("path name {:?} is not valid for file discovery", file.0),
            ));
        }
    }
    Ok(())
}

fn check_http(sd: &mut HttpSd, node: &Node) -> Result<(), Problem> {
    let fail = |reason: &str| Err(Problem::new(node.place_of("url"), reason));
    if sd.url.is_empty() {
        return fail("URL is missing");
    }
    match url::Url::parse(&sd.url) {
        Err(error) if error != url::ParseError::RelativeUrlWithoutBase => fail(&error.to_string()),
        Ok(url) if url.scheme() == "http" || url.scheme() == "https" => match url.host_str() {
            None | Some("") => fail("host is missing in URL"),
            Some(_) => Ok(()),
        },
        _ => fail("URL scheme must be 'http' or 'https'"),
    }
}

fn check_dns(sd: &mut DnsSd, node: &Node) -> Result<(), Problem> {
    if sd.names.is_empty() {
        return Err(Problem::new(
            node.place,
            "DNS-SD config must contain at least one SRV record name",
        ));
    }
    match sd.kind.to_uppercase().as_str() {
        "SRV" => Ok(()),
        "A" | "AAAA" | "MX" | "NS" if sd.port == 0 => Err(Problem::new(
            node.place,
            "a port is required in DNS-SD configs for all record types except SRV",
        )),
        "A" | "AAAA" | "MX" | "NS" => Ok(()),
        _ => Err(Problem::new(
            node.place_of("type"),
            format!("invalid DNS-SD records type {}", sd.kind),
        )),
    }
}

fn check_consul(sd: &mut ConsulSd, node: &Node) -> Result<(), Problem> {
    if sd.server.trim().is_empty() {
        return Err(Problem::new(
            node.place_of("server"),
            "consul SD configuration requires a server address",
        ));
    }
    if !sd.username.is_empty() || !sd.password.is_empty() {
        let fail = |reason: &str| Err(Problem::new(node.place_of("username"), reason));
        if sd.client.basic_auth.is_some() {
            return fail(
                "at most one of consul SD configuration username and password and basic auth can be configured",
            );
        }
    }
    if !sd.token.is_empty() && (sd.client.authorization.is_some() || sd.client.oauth2.is_some()) {
        return Err(Problem::new(
            node.place_of("token"),
            "at most one of consul SD token, authorization, or oauth2 can be configured",
        ));
    }
    Ok(())
}

fn check_docker(sd: &mut DockerSd, node: &Node) -> Result<(), Problem> {
    let fail = |reason: String| Err(Problem::new(node.place_of("host"), reason));
    if sd.host.is_empty() {
        return fail("host missing".to_owned());
    }
    match url::Url::parse(&sd.host) {
        Err(error) if error != url::ParseError::RelativeUrlWithoutBase => fail(error.to_string()),
        _ => Ok(()),
    }
}

fn check_ec2(sd: &mut Ec2Sd, node: &Node) -> Result<(), Problem> {
    if sd.filters.iter().any(|filter| filter.values.is_empty()) {
        return Err(Problem::new(
            node.place_of("filters"),
            "EC2 SD configuration filter values cannot be empty",
        ));
    }
    Ok(())
}
