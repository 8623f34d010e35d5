//! `ec2_sd_configs`: instances of EC2, by its query interface.
//!
//! Not here: keys (`credentials`), the timer (`updates`).

use super::credentials::{KeyRing, domain, form, post, refusal, sign_post};
use super::xml::Element;
use crate::discovery::config::Ec2SdConfig;
use crate::discovery::group::TargetGroup;
use crate::discovery::labels::{Pairs, enclosed, join_host_port, pair, sanitize};
use crate::discovery::updates::Refresher;
use crate::http_client::{Connection, HttpClient};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Version of the interface that the questions and answers follow.
const API_VERSION: &str = "2016-11-15";

/// Most pages of one list: a server that always has one more is not followed for ever.
const PAGES_MAX: usize = 10_000;

/// One `ec2_sd_configs` entry at work.
#[derive(Debug)]
pub(in crate::discovery) struct Ec2Discovery {
    config: Ec2SdConfig,
    client: HttpClient,
    connection: Connection,
    keys: KeyRing,
    /// Name to identity of the account's availability zones, once known.
    zones: Option<BTreeMap<String, String>>,
}

impl Ec2Discovery {
    pub(in crate::discovery) fn new(config: Ec2SdConfig) -> Self {
        let client = || HttpClient::new(config.http.clone());
        Ec2Discovery {
            keys: KeyRing::new(config.aws.clone(), client()),
            client: client(),
            connection: Connection::new(),
            zones: None,
            config,
        }
    }

    /// With another world, for tests.
    #[cfg(test)]
    pub(in crate::discovery) fn in_world(
        mut self,
        variables: fn(&str) -> Option<String>,
        metadata: String,
    ) -> Self {
        self.keys = self.keys.in_world(variables, metadata);
        self
    }

    async fn call(
        &mut self,
        region: &str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<Element, String> {
        let keys = self.keys.keys(region).await?;
        let url = match self.config.endpoint.as_str() {
            "" => format!("https://ec2.{region}.{}/", domain(region)),
            endpoint if endpoint.contains("://") => endpoint.to_owned(),
            endpoint => format!("https://{endpoint}/"),
        };
        let mut all = vec![("Action", action), ("Version", API_VERSION)];
        all.extend(fields);
        let deadline = Instant::now() + self.config.refresh_interval;
        let mut request = post(url, form(&all), deadline);
        sign_post(&mut request, &keys, region, "ec2")?;
        let answer = self.client.request(&mut self.connection, &request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&answer.body);
        if !answer.status.is_success() {
            self.keys.forget();
            return Err(format!("{}: {}", answer.status_text, refusal(&text)));
        }
        Element::read(&text)
    }

    async fn describe_zones(&mut self, region: &str) -> Result<BTreeMap<String, String>, String> {
        let answer = self.call(region, "DescribeAvailabilityZones", &[]).await?;
        let root = answer.child("DescribeAvailabilityZonesResponse");
        let zones = root
            .into_iter()
            .flat_map(|r| r.items("availabilityZoneInfo"));
        let ids = zones.map(|z| {
            (
                z.text(&["zoneName"]).to_owned(),
                z.text(&["zoneId"]).to_owned(),
            )
        });
        Ok(ids.collect())
    }

    async fn ask(&mut self) -> Result<Vec<TargetGroup>, String> {
        let region = self.keys.region().await?;
        if self.zones.is_none() {
            match self.describe_zones(&region).await {
                Ok(zones) => self.zones = Some(zones),
                Err(error) => tracing::debug!(err = error, "Unable to describe availability zones"),
            }
        }
        let mut fields: Vec<(String, String)> = Vec::new();
        for (i, filter) in self.config.filters.iter().enumerate() {
            fields.push((format!("Filter.{}.Name", i + 1), filter.name.clone()));
            for (k, value) in filter.values.iter().enumerate() {
                fields.push((format!("Filter.{}.Value.{}", i + 1, k + 1), value.clone()));
            }
        }
        let mut targets = Vec::new();
        let mut next = String::new();
        for _ in 0..PAGES_MAX {
            let mut asked: Vec<(&str, &str)> = fields
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            asked.push(("NextToken", &next));
            let page = self
                .call(&region, "DescribeInstances", &asked)
                .await
                .map_err(|e| format!("could not describe instances: {e}"))?;
            let Some(root) = page.child("DescribeInstancesResponse") else {
                return Err("could not describe instances: the answer is none".to_owned());
            };
            for reservation in root.items("reservationSet") {
                let owner = reservation.text(&["ownerId"]);
                let instances = reservation.items("instancesSet");
                targets.extend(instances.filter_map(|i| self.labels(&region, owner, i)));
            }
            root.text(&["nextToken"]).clone_into(&mut next);
            if next.is_empty() {
                return Ok(vec![TargetGroup {
                    source: region,
                    targets,
                    labels: Vec::new(),
                }]);
            }
        }
        Err(format!(
            "could not describe instances: more than {PAGES_MAX} pages"
        ))
    }

    /// Labels of an instance that has an address.
    fn labels(&self, region: &str, owner: &str, instance: &Element) -> Option<Pairs> {
        let text = |path: &[&str]| instance.text(path);
        let (primary_ipv6, ipv6) = ipv6_addresses(instance);
        let default_ipv6 = primary_ipv6.iter().chain(&ipv6).find(|a| !a.is_empty());
        let private = text(&["privateIpAddress"]);
        let host = match private {
            "" => default_ipv6?,
            private => private,
        };
        let mut out = vec![pair("__address__", join_host_port(host, self.config.port))];
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                out.push(pair(format!("__meta_ec2_{name}"), value));
            }
        };
        add("region", region);
        add("owner_id", owner);
        add("instance_id", text(&["instanceId"]));
        add("private_ip", private);
        add("private_dns_name", text(&["privateDnsName"]));
        add("platform", text(&["platform"]));
        if !text(&["ipAddress"]).is_empty() {
            add("public_ip", text(&["ipAddress"]));
            add("public_dns_name", text(&["dnsName"]));
        }
        add("default_ipv6_address", default_ipv6.map_or("", |a| a));
        if !primary_ipv6.is_empty() {
            add("primary_ipv6_addresses", &enclosed(&primary_ipv6, ","));
        }
        if !ipv6.is_empty() {
            add("ipv6_addresses", &enclosed(&ipv6, ","));
        }
        add("ami", text(&["imageId"]));
        let zone = text(&["placement", "availabilityZone"]);
        add("availability_zone", zone);
        let zone_id = self.zones.as_ref().and_then(|zones| zones.get(zone));
        add("availability_zone_id", zone_id.map_or("", |id| id));
        add("instance_state", text(&["instanceState", "name"]));
        add("instance_type", text(&["instanceType"]));
        add("instance_lifecycle", text(&["instanceLifecycle"]));
        add("architecture", text(&["architecture"]));
        if !text(&["vpcId"]).is_empty() {
            add("vpc_id", text(&["vpcId"]));
            add("primary_subnet_id", text(&["subnetId"]));
            let mut subnets: Vec<String> = Vec::new();
            for interface in instance.items("networkInterfaceSet") {
                let subnet = interface.text(&["subnetId"]);
                if !subnet.is_empty() && !subnets.iter().any(|s| s == subnet) {
                    subnets.push(subnet.to_owned());
                }
            }
            add("subnet_id", &enclosed(&subnets, ","));
        }
        for tag in instance.items("tagSet") {
            let name = format!("tag_{}", sanitize(tag.text(&["key"])));
            add(&name, tag.text(&["value"]));
        }
        Some(out)
    }
}

/// An instance's IPv6 addresses: the primary ones at the place of their device, and all.
fn ipv6_addresses(instance: &Element) -> (Vec<String>, Vec<String>) {
    /// Devices beyond this are no instance's.
    const DEVICES_MAX: usize = 256;
    let (mut primary, mut all) = (Vec::new(), Vec::new());
    if instance.text(&["vpcId"]).is_empty() {
        return (primary, all);
    }
    for interface in instance.items("networkInterfaceSet") {
        if interface.text(&["subnetId"]).is_empty() {
            continue;
        }
        for entry in interface.items("ipv6AddressesSet") {
            let address = entry.text(&["ipv6Address"]);
            if address.is_empty() {
                continue;
            }
            all.push(address.to_owned());
            let device = interface
                .text(&["attachment", "deviceIndex"])
                .parse::<usize>();
            if entry.text(&["isPrimaryIpv6"]) != "true" {
                continue;
            }
            if let Ok(device) = device
                && device < DEVICES_MAX
            {
                if primary.len() <= device {
                    primary.resize(device + 1, String::new());
                }
                if let Some(slot) = primary.get_mut(device) {
                    address.clone_into(slot);
                }
            }
        }
    }
    (primary, all)
}

impl Refresher for Ec2Discovery {
    fn refresh(&mut self) -> BoxFuture<'_, Result<Vec<TargetGroup>, String>> {
        Box::pin(self.ask())
    }
}
