//! `ec2_sd_configs` against a scripted endpoint: pages, labels, keys from everywhere.

use super::*;
use crate::discovery::Refresher;
use crate::discovery::aws::ec2::Ec2Discovery;
use crate::discovery::config::{ApiFilter, AwsConfig, Ec2SdConfig};
use crate::http_client::config::{HttpClientConfig, Secret};
use crate::test_http::{Answer, Seen, Server, answer};

const ZONES: &str = "<DescribeAvailabilityZonesResponse><availabilityZoneInfo><item><zoneName>eu-west-2a</zoneName><zoneId>euw2-az2</zoneId></item></availabilityZoneInfo></DescribeAvailabilityZonesResponse>";

const FIRST: &str = "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><reservationSet><item><ownerId>777</ownerId><instancesSet>
<item><instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-10.internal</privateDnsName><dnsName>ec2.example</dnsName><instanceType>t3.micro</instanceType>
<placement><availabilityZone>eu-west-2a</availabilityZone></placement><platform>windows</platform><architecture>x86_64</architecture><instanceLifecycle>spot</instanceLifecycle>
<privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>1.2.3.4</ipAddress><vpcId>vpc-1</vpcId><subnetId>sub-1</subnetId>
<networkInterfaceSet><item><subnetId>sub-1</subnetId><attachment><deviceIndex>1</deviceIndex></attachment><ipv6AddressesSet><item><ipv6Address>2001:db8::1</ipv6Address></item><item><ipv6Address>2001:db8::2</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item></ipv6AddressesSet></item>
<item><subnetId>sub-2</subnetId></item><item><subnetId>sub-1</subnetId></item></networkInterfaceSet>
<tagSet><item><key>Name &amp; co</key><value>web</value></item></tagSet></item>
<item><instanceId>i-terminated</instanceId></item>
</instancesSet></item></reservationSet><nextToken>more</nextToken></DescribeInstancesResponse>";

const SECOND: &str = "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-2</instanceId><vpcId>vpc-1</vpcId>
<networkInterfaceSet><item><subnetId>sub-1</subnetId><ipv6AddressesSet><item><ipv6Address>2001:db8::9</ipv6Address></item></ipv6AddressesSet></item></networkInterfaceSet></item></instancesSet></item></reservationSet></DescribeInstancesResponse>";

fn endpoint(seen: &Seen) -> Answer {
    let is = |part: &str| seen.body.contains(part);
    if !seen.header("authorization").contains("Credential=AK") {
        return answer(
            401,
            "text/xml",
            "<Response><Errors><Error><Code>AuthFailure</Code><Message>who?</Message></Error></Errors></Response>",
        );
    }
    answer(
        200,
        "text/xml",
        match () {
            () if is("DescribeAvailabilityZones") => ZONES,
            () if is("NextToken=more") => SECOND,
            () => FIRST,
        },
    )
}

fn config(server: &Server, access_key: &str) -> Ec2SdConfig {
    Ec2SdConfig {
        aws: AwsConfig {
            region: "eu-west-2".into(),
            access_key: access_key.into(),
            secret_key: Secret::new("sk"),
            ..AwsConfig::default()
        },
        endpoint: server.url("/"),
        port: 9100,
        filters: vec![ApiFilter {
            name: "tag:env".into(),
            values: vec!["a".into(), "b".into()],
        }],
        refresh_interval: Duration::from_secs(5),
        http: HttpClientConfig::default(),
    }
}

fn no_variables(_: &str) -> Option<String> {
    None
}

#[tokio::test]
async fn instances_of_all_pages_become_targets() {
    let server = Server::start(endpoint).await;
    let mut discovery = Ec2Discovery::new(config(&server, "AKID"));
    let groups = discovery.refresh().await.unwrap();
    assert_eq!((groups.len(), groups[0].source.as_str()), (1, "eu-west-2"));
    let targets = labels_of(&groups[0]);
    assert_eq!(targets.len(), 2);
    assert_labels(
        &targets[0],
        "__address__ 10.0.0.1:9100
        __meta_ec2_ami ami-1
        __meta_ec2_architecture x86_64
        __meta_ec2_availability_zone eu-west-2a
        __meta_ec2_availability_zone_id euw2-az2
        __meta_ec2_default_ipv6_address 2001:db8::2
        __meta_ec2_instance_id i-1
        __meta_ec2_instance_lifecycle spot
        __meta_ec2_instance_state running
        __meta_ec2_instance_type t3.micro
        __meta_ec2_ipv6_addresses ,2001:db8::1,2001:db8::2,
        __meta_ec2_owner_id 777
        __meta_ec2_platform windows
        __meta_ec2_primary_ipv6_addresses ,,2001:db8::2,
        __meta_ec2_primary_subnet_id sub-1
        __meta_ec2_private_dns_name ip-10.internal
        __meta_ec2_private_ip 10.0.0.1
        __meta_ec2_public_dns_name ec2.example
        __meta_ec2_public_ip 1.2.3.4
        __meta_ec2_region eu-west-2
        __meta_ec2_subnet_id ,sub-1,sub-2,
        __meta_ec2_tag_Name___co web
        __meta_ec2_vpc_id vpc-1",
    );
    assert_eq!(targets[1]["__address__"], "[2001:db8::9]:9100");
    discovery.refresh().await.unwrap();
    let bodies: Vec<String> = server.seen().into_iter().map(|s| s.body).collect();
    let list = "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=tag%3Aenv&Filter.1.Value.1=a&Filter.1.Value.2=b";
    assert_eq!(
        bodies[0],
        "Action=DescribeAvailabilityZones&Version=2016-11-15"
    );
    assert_eq!(bodies[1], list);
    assert_eq!(bodies[2], format!("{list}&NextToken=more"));
    assert_eq!(bodies.len(), 5, "the zones are asked for once");
}

#[tokio::test]
async fn refusals_say_what_the_service_said() {
    let server = Server::start(endpoint).await;
    let mut discovery = Ec2Discovery::new(config(&server, "nobody"));
    assert_eq!(
        discovery.refresh().await.unwrap_err(),
        "could not describe instances: 401 Unauthorized: AuthFailure: who?"
    );
}

#[tokio::test]
async fn keys_and_region_come_from_the_machine_when_nothing_else_has_them() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/latest/api/token" => {
            assert_eq!(seen.method, ::http::Method::PUT);
            answer(200, "text/plain", "session")
        }
        path if path.starts_with("/latest/")
            && seen.header("x-aws-ec2-metadata-token") != "session" =>
        {
            answer(401, "text/plain", "")
        }
        "/latest/meta-data/placement/region" => answer(200, "text/plain", "eu-west-2"),
        "/latest/meta-data/iam/security-credentials/" => answer(200, "text/plain", "role-1"),
        "/latest/meta-data/iam/security-credentials/role-1" => answer(
            200,
            "application/json",
            r#"{"AccessKeyId":"AKTEMP","SecretAccessKey":"s","Token":"tok"}"#,
        ),
        _ => endpoint(seen),
    })
    .await;
    let mut config = config(&server, "");
    config.aws = AwsConfig::default();
    let mut discovery = Ec2Discovery::new(config).in_world(no_variables, server.url(""));
    assert_eq!(discovery.refresh().await.unwrap()[0].source, "eu-west-2");
    let seen = server.seen();
    let signed = seen.last().unwrap();
    assert_eq!(signed.header("x-amz-security-token"), "tok");
    assert!(
        signed
            .header("authorization")
            .contains("Credential=AKTEMP/")
    );
}

#[tokio::test]
async fn roles_are_assumed_with_keys_of_the_environment() {
    let server = Server::start(|seen| match seen.body.contains("Action=AssumeRole&") {
        true => answer(
            200,
            "text/xml",
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>",
        ),
        false => endpoint(seen),
    })
    .await;
    // A plain function cannot know the server's address: it goes through here.
    static STS: Mutex<String> = Mutex::new(String::new());
    *STS.lock().unwrap() = server.url("/");
    fn variables(name: &str) -> Option<String> {
        match name {
            "AWS_ACCESS_KEY_ID" => Some("AKENV".into()),
            "AWS_SECRET_ACCESS_KEY" => Some("s".into()),
            "AWS_ENDPOINT_URL_STS" => Some(STS.lock().unwrap().clone()),
            _ => None,
        }
    }
    let mut config = config(&server, "");
    config.aws = AwsConfig {
        region: "eu-west-2".into(),
        role_arn: "arn:aws:iam::1:role/r".into(),
        external_id: "x".into(),
        ..AwsConfig::default()
    };
    let mut discovery = Ec2Discovery::new(config).in_world(variables, String::new());
    discovery.refresh().await.unwrap();
    let seen = server.seen();
    assert!(
        seen[0]
            .body
            .contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr")
    );
    assert!(seen[0].body.ends_with("ExternalId=x"));
    assert!(
        seen[0]
            .header("authorization")
            .contains("Credential=AKENV/")
    );
    assert!(
        seen[1]
            .header("authorization")
            .contains("Credential=AKROLE/")
    );
}
