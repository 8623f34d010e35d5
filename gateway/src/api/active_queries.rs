//! `status/active_queries`, its `cancel`, and `status/top_queries`, in the shapes of VictoriaMetrics's single node.

use super::params::parse_duration;
use super::query::form_of;
use crate::http::request::{Form, Request};
use crate::http::respond::{
    ApiError, ErrorType, Response, empty, envelope, json, push_json_string,
};
use crate::limits::{QUERIES_REMEMBERED_MAX, QUERY_REMEMBERED_AFTER};
use crate::query_registry::Group;
use crate::worker::Worker;
use std::cmp::Reverse;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// GET `/api/v1/status/active_queries`.
pub fn active(worker: &Worker) -> Response {
    let now = Instant::now();
    let mut out = String::from("{\"status\":\"ok\",\"data\":[");
    for (i, active) in worker
        .services
        .queries
        .registry()
        .active()
        .iter()
        .enumerate()
    {
        let query = &active.query;
        let running = now.saturating_duration_since(active.since).as_secs_f64();
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(
            out,
            "{comma}{{\"duration\":\"{running:.3}s\",\"id\":\"{:016X}\",\"remote_addr\":",
            active.id
        );
        let peer = query.peer.map_or_else(String::new, |peer| peer.to_string());
        push_json_string(&mut out, &peer);
        out.push_str(",\"query\":");
        push_json_string(&mut out, &query.text);
        let _ = write!(
            out,
            ",\"start\":{},\"end\":{},\"step\":{}}}",
            query.start_ms, query.end_ms, query.step_ms
        );
    }
    out.push_str("]}");
    json(200, out)
}

/// POST `/api/v1/status/active_queries/cancel`, with `id`; ours.
pub async fn cancel(worker: &Worker, mut request: Request) -> Response {
    let form = match form_of(&mut request).await {
        Ok(form) => form,
        Err(error) => return envelope(Err(error)),
    };
    let Ok(id) = u64::from_str_radix(form.value("id"), 16) else {
        let text = "cannot parse it as the hexadecimal id of a query";
        return envelope(Err(ApiError::parameter("id", text)));
    };
    match worker.services.queries.registry().cancel(id) {
        true => empty(204),
        false => envelope(Err(ApiError::new(
            ErrorType::NotFound,
            format!("no query with the id {id:016X} is running"),
        ))),
    }
}

/// GET `/api/v1/status/top_queries`, with `topN` and `maxLifetime`.
pub async fn top(worker: &Worker, mut request: Request) -> Response {
    let form = match form_of(&mut request).await {
        Ok(form) => form,
        Err(error) => return envelope(Err(error)),
    };
    match asked(&form) {
        Ok((count, lifetime)) => {
            let registry = worker.services.queries.registry();
            json(
                200,
                lists(registry.groups(Instant::now(), lifetime), count, lifetime),
            )
        }
        Err(error) => envelope(Err(error)),
    }
}

fn asked(form: &Form) -> Result<(usize, Duration), ApiError> {
    let count = match form.value("topN") {
        "" => 20,
        text => text
            .parse()
            .map_err(|_| ApiError::parameter("topN", "it is not a number"))?,
    };
    let lifetime_ms = match form.value("maxLifetime") {
        "" => 600_000,
        text => parse_duration(text).map_err(|e| ApiError::parameter("maxLifetime", e))?,
    };
    let lifetime_ms = u64::try_from(lifetime_ms).unwrap_or(0);
    Ok((count, Duration::from_millis(lifetime_ms)))
}

fn lists(mut groups: Vec<Group>, count: usize, lifetime: Duration) -> String {
    let mut out = format!(
        "{{\"topN\":\"{count}\",\"maxLifetime\":\"{}s\",\"search.queryStats.lastQueriesCount\":{QUERIES_REMEMBERED_MAX},\"search.queryStats.minQueryDuration\":\"{}ms\"",
        lifetime.as_secs_f64(),
        QUERY_REMEMBERED_AFTER.as_millis()
    );
    // Equal ones in the order of their texts, so that the lists do not jump.
    groups.sort_by(|a, b| {
        a.text
            .cmp(&b.text)
            .then(a.range_seconds.cmp(&b.range_seconds))
    });
    let mut list = |name: &str, key: &dyn Fn(&Group) -> u128, figure: &dyn Fn(&Group) -> String| {
        let mut sorted: Vec<&Group> = groups.iter().collect();
        sorted.sort_by_key(|group| Reverse(key(group)));
        let _ = write!(out, ",\"{name}\":[");
        for (i, group) in sorted.iter().take(count).enumerate() {
            out.push_str(if i > 0 { ",{\"query\":" } else { "{\"query\":" });
            push_json_string(&mut out, &group.text);
            let _ = write!(
                out,
                ",\"timeRangeSeconds\":{}{},\"count\":{}}}",
                group.range_seconds,
                figure(group),
                group.count
            );
        }
        out.push(']');
    };
    list("topByCount", &|g| u128::from(g.count), &|_| String::new());
    list("topByAvgDuration", &|g| g.average().as_nanos(), &|g| {
        format!(",\"avgDurationSeconds\":{:.3}", g.average().as_secs_f64())
    });
    list("topBySumDuration", &|g| g.duration.as_nanos(), &|g| {
        format!(",\"sumDurationSeconds\":{:.3}", g.duration.as_secs_f64())
    });
    list(
        "topByAvgMemoryUsage",
        &|g| u128::from(g.average_bytes()),
        &|g| format!(",\"avgMemoryBytes\":{}", g.average_bytes()),
    );
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_lists() {
        let group = |text: &str, count, ms, bytes| Group {
            text: text.into(),
            range_seconds: 3600,
            count,
            duration: Duration::from_millis(ms),
            bytes,
        };
        let groups = vec![
            group("often", 9, 90, 9),
            group("\"slow\"", 1, 80, 5000),
            group("x", 1, 1, 1),
        ];
        let text = lists(groups, 2, Duration::from_secs(600));
        let lists: serde_json::Value = serde_json::from_str(&text).unwrap();
        let first = |name: &str| lists[name][0]["query"].as_str().unwrap().to_owned();
        assert_eq!(lists["topByCount"].as_array().unwrap().len(), 2);
        assert_eq!(first("topByCount"), "often");
        assert_eq!(first("topByAvgDuration"), "\"slow\"");
        assert_eq!(first("topBySumDuration"), "often");
        assert_eq!(first("topByAvgMemoryUsage"), "\"slow\"");
        assert_eq!(lists["topByAvgDuration"][0]["avgDurationSeconds"], 0.08);
        assert_eq!(lists["topN"], "2");
        assert_eq!(lists["maxLifetime"], "600s");
    }

    #[test]
    fn parameters() {
        let of = |query: &str| asked(&Form::from_query(query));
        assert_eq!(of("").unwrap(), (20, Duration::from_secs(600)));
        assert_eq!(
            of("topN=3&maxLifetime=1h").unwrap(),
            (3, Duration::from_secs(3600))
        );
        assert!(of("topN=x").is_err() && of("maxLifetime=x").is_err());
    }
}
