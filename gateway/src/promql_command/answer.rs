//! Answers as `promtool query` prints them.

use serde_json::Value;
use std::fmt::Write;

/// The `data` of an answer as text.
pub(super) fn show(data: &Value) -> Result<String, String> {
    let result = &data["result"];
    let mut lines = Vec::new();
    match data["resultType"].as_str() {
        Some("scalar") => lines.push(format!("scalar: {}", point(result))),
        Some("string") => lines.push(text(&result[1]).to_owned()),
        Some("vector") => {
            for series in result.as_array().into_iter().flatten() {
                let sample = match series.get("value") {
                    Some(value) => point(value),
                    None => histogram_point(&series["histogram"]),
                };
                lines.push(format!("{} => {sample}", metric(&series["metric"])));
            }
        }
        Some("matrix") => {
            for series in result.as_array().into_iter().flatten() {
                lines.push(format!("{} =>", metric(&series["metric"])));
                let floats = series["values"].as_array().into_iter().flatten();
                lines.extend(floats.map(point));
                let histograms = series["histograms"].as_array().into_iter().flatten();
                lines.extend(histograms.map(histogram_point));
            }
        }
        _ => return Err("the server's answer is none to a query".to_owned()),
    }
    Ok(lines.join("\n"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `name{a="b", c="d"}`.
fn metric(labels: &Value) -> String {
    let labels = labels.as_object();
    let name = labels.and_then(|all| all.get("__name__")).map(text);
    let mut out = name.unwrap_or_default().to_owned();
    let others = labels
        .into_iter()
        .flatten()
        .filter(|(n, _)| *n != "__name__");
    let mut others: Vec<String> = others.map(|(n, v)| format!("{n}={v}")).collect();
    others.sort_unstable();
    if !others.is_empty() || out.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{{{}}}", others.join(", "));
    }
    out
}

/// `value @[time]` of `[time, "value"]`.
fn point(sample: &Value) -> String {
    format!("{} @[{}]", text(&sample[1]), sample[0])
}

fn histogram_point(sample: &Value) -> String {
    let histogram = &sample[1];
    let buckets = histogram["buckets"].as_array().into_iter().flatten();
    let buckets: Vec<String> = buckets.map(bucket).collect();
    format!(
        "Count: {}, Sum: {}, Buckets: [{}] @[{}]",
        text(&histogram["count"]),
        text(&histogram["sum"]),
        buckets.join(" "),
        sample[0]
    )
}

/// `(lower,upper]:count`, with the brackets that the boundary rule says.
fn bucket(bucket: &Value) -> String {
    let rule = bucket[0].as_u64().unwrap_or_default();
    let open = if matches!(rule, 1 | 3) { '[' } else { '(' };
    let close = if matches!(rule, 0 | 3) { ']' } else { ')' };
    let (lower, upper, count) = (text(&bucket[1]), text(&bucket[2]), text(&bucket[3]));
    format!("{open}{lower},{upper}{close}:{count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        show(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn answers_look_as_promtool_prints_them() {
        assert_eq!(
            shown(r#"{"resultType":"scalar","result":[1.5,"2"]}"#),
            "scalar: 2 @[1.5]"
        );
        assert_eq!(
            shown(
                r#"{"resultType":"vector","result":[
                {"metric":{"b":"x","__name__":"up","a":"y"},"value":[1,"1"]},
                {"metric":{},"histogram":[2,{"count":"3","sum":"4","buckets":[[1,"-2","-1","1"],[0,"1","2","2"]]}]}]}"#
            ),
            "up{a=\"y\", b=\"x\"} => 1 @[1]\n{} => Count: 3, Sum: 4, Buckets: [[-2,-1):1 (1,2]:2] @[2]"
        );
        assert_eq!(
            shown(
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1,"1"],[2,"0"]]}]}"#
            ),
            "up =>\n1 @[1]\n0 @[2]"
        );
        assert!(show(&Value::Null).is_err());
    }
}
