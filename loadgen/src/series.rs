//! The made-up fleet: label sets and values, both pure functions of small numbers.

/// Series per `instance` label; the checker reads one instance at a time.
pub const SERIES_PER_INSTANCE: usize = 500;

/// SplitMix64: one well-mixed word per input word (Steele, Lea, Flood 2014).
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The fleet's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// Number of series.
    pub series: usize,
    /// Chooses values.
    pub seed: u64,
    /// Changes with churn: series of another generation are other series.
    pub generation: u32,
    /// Of a hundred series, how many are random floats (at most 30); the usual share is [`NOISE_PERCENT`].
    pub noise_percent: u32,
}

/// The usual share of random floats.
pub const NOISE_PERCENT: u32 = 10;

const NAMES: [&str; 10] = [
    "http_requests_handled_total",
    "http_request_bytes_received_total",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "node_network_transmit_packets_total",
    "node_filesystem_avail_bytes",
    "process_open_file_descriptors",
    "queue_messages_published_total",
    "cache_lookup_duration_seconds_sum",
    "worker_pool_utilisation_ratio",
];

impl Fleet {
    /// Number of instances.
    pub fn instances(&self) -> usize {
        self.series.div_ceil(SERIES_PER_INSTANCE)
    }

    /// The `instance` label of instance `index`.
    pub fn instance_name(&self, index: usize) -> String {
        format!(
            "10.{}.{}.{}:9100",
            index / 65536,
            index / 256 % 256,
            index % 256
        )
    }

    /// Sorted labels of a series: nine of them, about 280 bytes as remote write 1.0.
    pub fn labels(&self, index: usize) -> Vec<(String, String)> {
        let instance = index / SERIES_PER_INSTANCE;
        let inside = index % SERIES_PER_INSTANCE;
        let label = |n: &str, v: String| (n.to_owned(), v);
        vec![
            label("__name__", NAMES[inside % NAMES.len()].to_owned()),
            label("cluster", format!("production-eu-central-{}", instance % 3)),
            label(
                "container",
                format!("application-container-{:04}", inside / NAMES.len()),
            ),
            label("instance", self.instance_name(instance)),
            label("job", "kubernetes-service-endpoints".to_owned()),
            label("namespace", format!("team-{:02}-workloads", instance % 17)),
            label(
                "node",
                format!("worker-node-{:05}.internal.example", instance),
            ),
            label(
                "pod",
                format!(
                    "application-{:05}-{:08x}",
                    instance,
                    mix(instance as u64) as u32
                ),
            ),
            label("run", format!("generation-{}", self.generation)),
        ]
    }

    /// The value of a series in a round: 45 % integer counters, 25 % constants, then two-decimal gauges, and random
    /// floats in the last `noise_percent`.
    pub fn value(&self, index: usize, round: u64) -> f64 {
        let own = mix(self.seed ^ index as u64);
        let step = mix(own ^ round.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let gauges_end = 100 - u64::from(self.noise_percent.min(30));
        match own % 100 {
            0..45 => (own >> 40) as f64 + round as f64 * ((own >> 8) % 50) as f64,
            45..70 => ((own >> 20) % 1000) as f64,
            kind if kind < gauges_end => {
                (((own >> 20) % 10_000) as f64 + (step % 500) as f64) / 100.0
            }
            _ => (step >> 11) as f64 / (1u64 << 53) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_distinct() {
        let fleet = Fleet {
            series: 1200,
            seed: 7,
            generation: 0,
            noise_percent: NOISE_PERCENT,
        };
        let mut seen = std::collections::HashSet::new();
        for i in 0..fleet.series {
            let labels = fleet.labels(i);
            assert!(labels.windows(2).all(|w| w[0].0 < w[1].0));
            assert!(seen.insert(labels), "series {i} repeats");
        }
        assert_eq!(fleet.instances(), 3);
    }

    #[test]
    fn values_are_a_pure_function_and_counters_grow() {
        let fleet = Fleet {
            series: 100,
            seed: 7,
            generation: 0,
            noise_percent: NOISE_PERCENT,
        };
        for i in 0..100 {
            assert_eq!(fleet.value(i, 5).to_bits(), fleet.value(i, 5).to_bits());
            if mix(fleet.seed ^ i as u64) % 100 < 45 {
                assert!(fleet.value(i, 6) >= fleet.value(i, 5));
            }
        }
    }
}
