//! What the self metrics say of the answers that are kept.

use crate::self_metrics::Exposition;
use query_engine::cache::CacheCounts;

/// Adds the cache's families.
pub(crate) fn write(page: &mut Exposition, counts: CacheCounts) {
    page.counter(
        "ferula_query_cache_requests_total",
        "Range queries that could be answered from kept answers, by how much of them was there.",
    );
    for (found, count) in [
        ("all", counts.hits),
        ("part", counts.partial_hits),
        ("none", counts.misses),
    ] {
        page.sample(&[("found", found)], count as f64);
    }
    page.one_counter(
        "ferula_query_cache_steps_total",
        "Steps of range queries that were answered from kept answers.",
        counts.steps as f64,
    );
    page.one_gauge(
        "ferula_query_cache_answers",
        "Answers that are kept.",
        counts.answers as f64,
    );
    page.one_gauge(
        "ferula_query_cache_bytes",
        "Bytes of the answers that are kept.",
        counts.bytes as f64,
    );
}
