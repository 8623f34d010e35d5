//! `features`: what this server can do, under the names that Prometheus 3.14 gives its abilities.
//!
//! Promise: true only for what acts here and now, with the flags in force; abilities of Prometheus that this version lacks are listed as
//! false, so that a client sees the same names on both.

use crate::cli::Flags;
use crate::http::respond::{ApiData, ApiError};
use crate::worker::Worker;
use query_engine::parse::functions::FUNCTIONS;
use std::collections::BTreeMap;

/// Abilities that do not depend on a flag. A category is here once for what acts and once for what does not.
const FIXED: &[(&str, bool, &[&str])] = &[
    (
        "api",
        true,
        &[
            "label_values_match",
            "query_stats",
            "query_warnings",
            "time_range_labels",
            "time_range_series",
        ],
    ),
    (
        "api",
        false,
        &[
            "exclude_alerts",
            "openapi_3.1",
            "openapi_3.2",
            "search",
            "search_fuzz_alg_jarowinkler",
            "search_fuzz_alg_subsequence",
        ],
    ),
    (
        "otlp_receiver",
        false,
        &["delta_conversion", "native_delta_ingestion"],
    ),
    ("prometheus", true, &["server_mode"]),
    ("prometheus", false, &["agent_mode", "stringlabels"]),
    (
        "promql",
        true,
        &[
            "at_modifier",
            "bool",
            "by",
            "duration_expr",
            "group_left",
            "group_right",
            "ignoring",
            "negative_offset",
            "offset",
            "on",
            "per_query_lookback_delta",
            "subqueries",
            "without",
        ],
    ),
    ("promql", false, &["type_and_unit_labels"]),
    (
        "promql_operators",
        true,
        &[
            "!=",
            "!~",
            "%",
            "*",
            "+",
            "-",
            "/",
            "<",
            "<=",
            "==",
            "=~",
            ">",
            ">=",
            "@",
            "^",
            "and",
            "atan2",
            "avg",
            "bottomk",
            "count",
            "count_values",
            "group",
            "max",
            "min",
            "or",
            "quantile",
            "stddev",
            "stdvar",
            "sum",
            "topk",
            "unless",
        ],
    ),
    ("promql_operators", false, &["</", ">/"]),
    ("rules", true, &["keep_firing_for", "query_offset"]),
    ("rules", false, &["concurrent_rule_eval"]),
    ("scrape", true, &["extra_scrape_metrics"]),
    ("scrape", false, &["type_and_unit_labels"]),
    (
        "service_discovery_providers",
        true,
        &[
            "consul",
            "dns",
            "docker",
            "ec2",
            "file",
            "http",
            "kubernetes",
            "static",
        ],
    ),
    (
        "service_discovery_providers",
        false,
        &[
            "aws",
            "azure",
            "digitalocean",
            "dockerswarm",
            "ecs",
            "elasticache",
            "eureka",
            "gce",
            "hetzner",
            "ionos",
            "kuma",
            "lightsail",
            "linode",
            "marathon",
            "msk",
            "nerve",
            "nomad",
            "oci",
            "openstack",
            "outscale",
            "ovhcloud",
            "puppetdb",
            "rds",
            "scaleway",
            "serverset",
            "stackit",
            "triton",
            "uyuni",
            "vultr",
        ],
    ),
    (
        "tsdb",
        false,
        &[
            "delayed_compaction",
            "histograms_st_encoding",
            "use_uncached_io",
            "xor2_encoding",
        ],
    ),
    ("ui", false, &["ui_v2", "ui_v3"]),
];

type Registry = BTreeMap<&'static str, BTreeMap<&'static str, bool>>;

fn registry(flags: &Flags) -> Registry {
    let mut all = Registry::new();
    for (category, acts, names) in FIXED {
        let entries = all.entry(category).or_default();
        entries.extend(names.iter().map(|name| (*name, *acts)));
    }
    let mut set = |category, name, acts| {
        all.entry(category).or_default().insert(name, acts);
    };
    set("api", "admin", flags.admin_api);
    set("api", "lifecycle", flags.lifecycle);
    set("api", "remote_write_receiver", flags.remote_write_receiver);
    set("api", "otlp_write_receiver", flags.otlp_receiver);
    let auto_reload = flags.auto_reload_interval.is_some();
    set("prometheus", "auto_reload_config", auto_reload);
    let delayed = flags.has_feature("promql-delayed-name-removal");
    set("promql", "delayed_name_removal", delayed);
    let fill = flags.has_feature("promql-binop-fill-modifiers");
    for name in ["fill", "fill_left", "fill_right"] {
        set("promql", name, fill);
    }
    let extended = flags.has_feature("promql-extended-range-selectors");
    for name in ["anchored", "smoothed"] {
        set("promql", name, extended);
    }
    let concurrent = flags.has_feature("concurrent-rule-eval");
    set("rules", "concurrent_rule_eval", concurrent);
    let per_step = flags.has_feature("promql-per-step-stats");
    set("promql", "per_step_stats", per_step);
    let exemplars = flags.has_feature("exemplar-storage");
    set("tsdb", "exemplar_storage", exemplars);
    let starts = flags.has_feature("st-storage");
    set("tsdb", "st_storage", starts);
    let zeros = flags.has_feature("created-timestamp-zero-ingestion");
    set("scrape", "start_timestamp_zero_ingestion", zeros);
    let experimental = flags.has_feature("promql-experimental-functions");
    for name in ["limitk", "limit_ratio"] {
        set("promql_operators", name, experimental);
    }
    for function in FUNCTIONS {
        let acts = experimental || !function.experimental;
        set("promql_functions", function.name, acts);
    }
    all
}

/// `/api/v1/features`.
pub fn features(worker: &Worker) -> Result<ApiData, ApiError> {
    let json = serde_json::json!(registry(worker.app.flags()));
    Ok(ApiData::json(json.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry_of(args: &[&str]) -> Registry {
        let given = crate::cli::parse(args.iter().map(|a| (*a).to_owned())).unwrap();
        registry(&Flags::new(&given).unwrap())
    }

    #[test]
    fn flags_show_in_the_registry() {
        let plain = registry_of(&[]);
        assert!(plain["promql_functions"]["rate"]);
        assert!(!plain["promql_functions"]["mad_over_time"]);
        assert!(!plain["api"]["lifecycle"] && plain["api"]["remote_write_receiver"]);
        let more = registry_of(&[
            "--web.enable-lifecycle",
            "--enable-feature=promql-experimental-functions,promql-extended-range-selectors",
        ]);
        assert!(more["promql_functions"]["mad_over_time"] && more["api"]["lifecycle"]);
        assert!(more["promql_functions"]["info"]);
        assert!(more["promql"]["anchored"] && !plain["promql"]["anchored"]);
    }

    #[test]
    fn counts_are_those_of_prometheus_3_14() {
        let all = registry_of(&[]);
        for (category, count) in [
            ("api", 15),
            ("otlp_receiver", 2),
            ("promql", 21),
            ("promql_functions", 90),
            ("promql_operators", 35),
            ("rules", 3),
            ("scrape", 3),
            ("service_discovery_providers", 37),
            ("ui", 2),
        ] {
            assert_eq!(all[category].len(), count, "{category}");
        }
    }
}
