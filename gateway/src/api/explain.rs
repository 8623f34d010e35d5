//! `explain=1`: what answering a query took, as a tree beside `data`.
//!
//! The shape is described in `docs/operations/explain.md`. Not here: the measuring (`query_engine::explain`).

use crate::http::respond::push_json_string;
use query_engine::explain::{Explanation, NodeReport};
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds since the first call.
pub(super) fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the time went outside the plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phases {
    pub(super) prepared: Duration,
    pub(super) waited: Duration,
    pub(super) evaluated: Duration,
}

/// The member `explain`.
pub(super) fn json(explanation: &Explanation, phases: Phases) -> String {
    let mut out = String::from("{\"timings\":{");
    let phases = [
        ("prepare", phases.prepared),
        ("queue", phases.waited),
        ("evaluate", phases.evaluated),
    ];
    for (i, (name, time)) in phases.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        push(
            &mut out,
            format_args!("{comma}\"{name}\":{}", time.as_secs_f64()),
        );
    }
    push(
        &mut out,
        format_args!("}},\"bytesPeak\":{},\"plan\":", explanation.bytes_peak),
    );
    match explanation.nodes.len().checked_sub(1) {
        Some(root) => tree(&explanation.nodes, root, &mut out),
        None => out.push_str("null"),
    }
    out.push('}');
    out
}

/// Writing to a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// What is still to be written of a node.
enum Open {
    Node(usize),
    Text(&'static str),
}

/// A node with its inputs inside it. Long chains of operators nest deeply, so no call nests with them.
fn tree(nodes: &[NodeReport], root: usize, out: &mut String) {
    let mut open = vec![Open::Node(root)];
    while let Some(next) = open.pop() {
        let number = match next {
            Open::Node(number) => number,
            Open::Text(text) => {
                out.push_str(text);
                continue;
            }
        };
        let Some(node) = nodes.get(number) else {
            out.push_str("null");
            continue;
        };
        head(number, node, out);
        if node.same_as.is_some() {
            out.push('}');
            continue;
        }
        out.push_str(",\"inputs\":[");
        open.push(Open::Text("]}"));
        for (i, &input) in node.inputs.iter().enumerate().rev() {
            open.push(Open::Node(input));
            if i > 0 {
                open.push(Open::Text(","));
            }
        }
    }
}

/// A node up to its inputs, without the closing brace.
fn head(number: usize, node: &NodeReport, out: &mut String) {
    push(
        out,
        format_args!(
            "{{\"id\":{number},\"operator\":\"{}\",\"detail\":",
            node.operator
        ),
    );
    push_json_string(out, &node.detail);
    if let Some(same) = node.same_as {
        push(out, format_args!(",\"sameAs\":{same}"));
        return;
    }
    let grid = node.grid;
    push(
        out,
        format_args!(
            ",\"place\":\"{}\",\"steps\":{{\"start\":{},\"step\":{},\"count\":{}}}",
            node.place.name(),
            grid.start as f64 / 1000.0,
            grid.step as f64 / 1000.0,
            grid.count
        ),
    );
    push(
        out,
        format_args!(
            ",\"series\":{},\"samples\":{},\"bytes\":{},\"seconds\":{}",
            node.series,
            node.samples,
            node.bytes,
            seconds(node.duration_ns)
        ),
    );
    if let Some(shards) = node.fragment {
        push(
            out,
            format_args!(
                ",\"shards\":{{\"series\":{},\"samples\":{},\"pagesDecoded\":{},\"pagesSkipped\":{},\"bytesRead\":{},\"slices\":{},\"seconds\":{}}}",
                shards.series_selected,
                shards.samples_decoded,
                shards.pages_decoded,
                shards.pages_skipped,
                shards.bytes_read,
                shards.slices,
                seconds(shards.busy_ns)
            ),
        );
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
