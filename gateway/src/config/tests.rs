//! Good and bad configurations.

use super::*;
use std::path::Path;

fn parse(text: &str) -> Result<Config, LoadError> {
    Config::parse(text, Path::new("prometheus.yml"))
}

#[test]
fn the_built_in_configuration_loads() {
    let config = Config::built_in_at("127.0.0.1:1234".parse().unwrap());
    let job = &config.scrape_configs()[0];
    assert_eq!(job.interval.as_secs(), 5);
    assert_eq!(job.timeout.as_secs(), 5);
    assert_eq!(job.static_configs[0].targets, ["127.0.0.1:1234"]);
    assert!(config.inactive_sections().is_empty());
    assert!(
        config.to_yaml().contains("- job_name: prometheus\n"),
        "{}",
        config.to_yaml()
    );
}
