//! What answering a query took, as an indented tree: a node a line, its inputs below it.

use serde_json::Value;

/// The explanation of a server (`explain=1`) as text.
pub(super) fn show(explanation: &Value) -> String {
    let mut lines = Vec::new();
    let mut open = vec![(&explanation["plan"], 0)];
    while let Some((node, depth)) = open.pop() {
        lines.push(format!("{}{}", "  ".repeat(depth), line(node)));
        if let Some(inputs) = node["inputs"].as_array() {
            open.extend(inputs.iter().rev().map(|input| (input, depth + 1)));
        }
    }
    let timings = &explanation["timings"];
    let times = ["prepare", "queue", "evaluate"];
    let times = times.map(|name| format!("{name} {}", seconds(&timings[name])));
    lines.push(format!(
        "{}; most memory {} bytes",
        times.join(", "),
        explanation["bytesPeak"]
    ));
    lines.join("\n")
}

fn line(node: &Value) -> String {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let mut out = format!("#{} {}", node["id"], text("operator"));
    if !text("detail").is_empty() {
        out += &format!(" [{}]", text("detail"));
    }
    if !node["sameAs"].is_null() {
        return out + &format!(": the same as #{}", node["sameAs"]);
    }
    out += &format!(
        ": {}, {} steps, {} series, {} samples, {} bytes, {}",
        text("place"),
        node["steps"]["count"],
        node["series"],
        node["samples"],
        node["bytes"],
        seconds(&node["seconds"])
    );
    let shards = &node["shards"];
    if !shards.is_null() {
        out += &format!(
            "; read {} series, {} samples, {} pages ({} skipped), {} bytes, {} of the shards' time",
            shards["series"],
            shards["samples"],
            shards["pagesDecoded"],
            shards["pagesSkipped"],
            shards["bytesRead"],
            seconds(&shards["seconds"])
        );
    }
    out
}

fn seconds(value: &Value) -> String {
    format!("{:.3} ms", value.as_f64().unwrap_or_default() * 1000.0)
}
