//! VictoriaMetrics's JSON lines: `{"metric":{"__name__":"x","job":"y"},"values":[1,2],"timestamps":[1700000000000,1700000015000]}`.
//!
//! Times are milliseconds. A value may be a number, `null` (not a number), or the text of one (`"NaN"`, `"Infinity"`).

use super::{RowProtocol, Rows};
use crate::json_number::{double_or_nan_list, nesting};
use crate::text::go_quote;
use serde::Deserialize;
use std::collections::BTreeMap;
use storage_engine::model::{METRIC_NAME, TimestampMs};

/// Levels of lists and objects in a line.
const NESTING_MAX: usize = 4;
/// Bytes of a line in an error text.
const SHOWN_BYTES: usize = 200;

/// The protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonLines;

#[derive(Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    #[serde(deserialize_with = "double_or_nan_list")]
    values: Vec<f64>,
    timestamps: Vec<i64>,
}

impl RowProtocol for JsonLines {
    fn read(&self, body: &[u8], _now: TimestampMs, rows: &mut Rows) {
        let mut room = Vec::new();
        for line in body.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            room.clear();
            room.extend_from_slice(line);
            if let Err(reason) = take(&mut room, rows) {
                let shown = &line[..line.len().min(SHOWN_BYTES)];
                rows.fault(|| format!("unable to parse {}: {reason}", go_quote(shown)));
            }
        }
    }
}

fn take(line: &mut [u8], rows: &mut Rows) -> Result<(), String> {
    if nesting(line) > NESTING_MAX {
        return Err(format!("nested deeper than {NESTING_MAX} levels"));
    }
    let line: Line = simd_json::serde::from_slice(line).map_err(|e| e.to_string())?;
    if line.values.len() != line.timestamps.len() {
        return Err(format!(
            "the number of values ({}) is not that of timestamps ({})",
            line.values.len(),
            line.timestamps.len()
        ));
    }
    if !line.metric.contains_key(METRIC_NAME) {
        return Err("no __name__".to_owned());
    }
    let labels = line.metric.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let samples = line.timestamps.iter().copied().zip(line.values);
    match rows.push_many(&mut labels.collect(), samples) {
        true => Ok(()),
        false => Err("too many rows in one request".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_rows_and_bad_ones_are_told() {
        let body = br#"{"metric":{"__name__":"x","a":"b"},"values":[1,2.5,null,"Infinity"],"timestamps":[1,2,3,4]}
            {"metric":{"__name__":"y","empty":""},"values":[],"timestamps":[]}

            {"metric":{"__name__":"x"},"values":[1],"timestamps":[1,2]}
            {"metric":{"a":"b"},"values":[1],"timestamps":[1]}
            {"metric":{"__name__":"x"},"values":[[[[[1]]]]],"timestamps":[1]}
            {"metric":"#;
        let mut rows = Rows::new();
        JsonLines.read(body, 0, &mut rows);
        assert_eq!((rows.count(), rows.faulty()), (4, 4));
        let faults = rows.faults();
        assert!(faults[0].ends_with("the number of values (1) is not that of timestamps (2)"));
        assert!(faults[1].ends_with("no __name__"));
        assert!(faults[2].ends_with("nested deeper than 4 levels"));
        assert!(
            faults[3].starts_with("unable to parse \"{\\\"metric\\\":\""),
            "{}",
            faults[3]
        );
    }
}
