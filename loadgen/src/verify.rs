//! The checker: reads everything back over the query API and holds it against the ledger.
//!
//! Three ways to be wrong: an acknowledged sample is missing, a stored value differs from what was sent, a stored sample was never sent.

use crate::http_client::{Connection, split_url};
use crate::ledger::{Fate, Ledger};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// How many examples of each fault are kept for the report.
const EXAMPLES_MAX: usize = 5;

/// What the checker found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Acknowledged samples of the series that were checked.
    pub acknowledged: u64,
    /// Samples read back.
    pub read: u64,
    /// Acknowledged and not there.
    pub missing: u64,
    /// Of the missing: those with a newer sample of the same series present (a hole, not a cut tail).
    pub holes: u64,
    /// There with another value.
    pub wrong: u64,
    /// There and never sent.
    pub invented: u64,
    /// Some of the faults, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Nothing lost, changed or invented.
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.wrong == 0 && self.invented == 0
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<SeriesAnswer>,
}

#[derive(Deserialize)]
struct SeriesAnswer {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// Checks the server at `base_url` (`http://host:port`) against the ledger.
///
/// At most `instances_max` instances are read, evenly spread over the fleet; counts are of those.
pub async fn verify(base_url: &str, ledger: &Ledger, instances_max: usize) -> Result<Verdict> {
    let (authority, path) = split_url(base_url)?;
    let prefix = path.trim_end_matches('/').to_owned();
    let mut connection = Connection::new(authority);
    let mut verdict = Verdict::default();
    let fleet = ledger.layout.fleet;
    let mut body_of = vec![0usize; fleet.series];
    for (body, series) in ledger.layout.bodies().into_iter().enumerate() {
        for index in series {
            body_of[index] = body;
        }
    }
    let times = ledger.entries.iter().flat_map(HashMap::keys);
    let (Some(first), Some(last)) = (times.clone().min().copied(), times.max().copied()) else {
        return Ok(verdict);
    };
    let stride = fleet.instances().div_ceil(instances_max.max(1)).max(1);
    for instance in (0..fleet.instances()).step_by(stride) {
        let from = instance * crate::series::SERIES_PER_INSTANCE;
        let to = (from + crate::series::SERIES_PER_INSTANCE).min(fleet.series);
        let expected: HashMap<BTreeMap<String, String>, usize> = (from..to)
            .map(|i| (fleet.labels(i).into_iter().collect(), i))
            .collect();
        let query = format!(
            "{{instance=\"{}\",run=\"generation-{}\"}}[{}ms]",
            fleet.instance_name(instance),
            fleet.generation,
            last - first + 1000
        );
        let found = read_matrix(&mut connection, &prefix, &query, last).await?;
        let mut present: HashMap<usize, Vec<(f64, String)>> = HashMap::new();
        for series in found {
            match expected.get(&series.metric) {
                Some(index) => {
                    present.entry(*index).or_default().extend(series.values);
                }
                None => {
                    verdict.read += series.values.len() as u64;
                    verdict.invented += series.values.len() as u64;
                    verdict.example(format!("a series nobody sent: {:?}", series.metric));
                }
            }
        }
        for (index, body) in body_of.iter().enumerate().take(to).skip(from) {
            let values = present.remove(&index).unwrap_or_default();
            check_series(&mut verdict, ledger, *body, index, &values);
        }
    }
    Ok(verdict)
}

fn check_series(
    verdict: &mut Verdict,
    ledger: &Ledger,
    body: usize,
    index: usize,
    values: &[(f64, String)],
) {
    let fleet = ledger.layout.fleet;
    let entries = &ledger.entries[body];
    let mut there = std::collections::HashSet::with_capacity(values.len());
    let mut newest = i64::MIN;
    for (seconds, text) in values {
        verdict.read += 1;
        let at = (seconds * 1000.0).round() as i64;
        newest = newest.max(at);
        match entries.get(&at) {
            None => {
                verdict.invented += 1;
                verdict.example(format!("series {index} at {at}: {text} was never sent"));
            }
            Some((round, _)) => {
                let sent = fleet.value(index, *round);
                let got: f64 = text.parse().unwrap_or(f64::NAN);
                if got.to_bits() != sent.to_bits() {
                    verdict.wrong += 1;
                    verdict.example(format!("series {index} at {at}: {text} instead of {sent}"));
                }
                if !there.insert(at) {
                    verdict.invented += 1;
                    verdict.example(format!("series {index} at {at} comes twice"));
                }
            }
        }
    }
    for (at, (round, fate)) in entries {
        verdict.acknowledged += u64::from(*fate == Fate::Acknowledged);
        if *fate == Fate::Acknowledged && !there.contains(at) {
            verdict.missing += 1;
            if *at < newest {
                verdict.holes += 1;
            }
            verdict.example(format!(
                "series {index} at {at} (round {round}) was acknowledged and is not there"
            ));
        }
    }
}

async fn read_matrix(
    connection: &mut Connection,
    prefix: &str,
    query: &str,
    at_ms: i64,
) -> Result<Vec<SeriesAnswer>> {
    let form: String = url_encode(&[
        ("query", query),
        ("time", &format!("{}", at_ms as f64 / 1000.0)),
    ]);
    let request = http::Request::post(format!("{prefix}/api/v1/query"))
        .header("content-type", "application/x-www-form-urlencoded");
    let (status, body) = connection
        .send(request, Bytes::from(form))
        .await
        .with_context(|| format!("query {query}"))?;
    let answer: Answer = serde_json::from_slice(&body)
        .with_context(|| format!("query {query}: status {status}, not JSON"))?;
    match answer {
        Answer {
            data: Some(data), ..
        } if answer.status == "success" => Ok(data.result),
        Answer { error, .. } => bail!("query {query}: {}", error.unwrap_or_default()),
    }
}

fn url_encode(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                out.push(byte as char);
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Layout;
    use crate::series::Fleet;

    fn ledger() -> Ledger {
        let fleet = Fleet {
            series: 2,
            seed: 1,
            generation: 0,
            noise_percent: crate::series::NOISE_PERCENT,
        };
        let layout = Layout {
            fleet,
            batch: 2,
            shuffle: 0,
        };
        let entries = vec![HashMap::from([
            (1000, (0, Fate::Acknowledged)),
            (2000, (1, Fate::Acknowledged)),
            (3000, (2, Fate::Sent)),
        ])];
        Ledger { layout, entries }
    }

    fn sample(l: &Ledger, at: i64, round: u64) -> (f64, String) {
        (
            at as f64 / 1000.0,
            l.layout.fleet.value(0, round).to_string(),
        )
    }

    #[test]
    fn tells_missing_wrong_and_invented_apart() {
        let l = ledger();
        let check = |values: &[(f64, String)]| {
            let mut verdict = Verdict::default();
            check_series(&mut verdict, &l, 0, 0, values);
            (
                verdict.missing,
                verdict.holes,
                verdict.wrong,
                verdict.invented,
            )
        };
        assert_eq!(
            check(&[sample(&l, 1000, 0), sample(&l, 2000, 1)]),
            (0, 0, 0, 0)
        );
        assert_eq!(check(&[sample(&l, 1000, 0)]), (1, 0, 0, 0));
        assert_eq!(check(&[sample(&l, 2000, 1)]), (1, 1, 0, 0));
        assert_eq!(
            check(&[
                sample(&l, 1000, 0),
                (2.0, "-77".into()),
                sample(&l, 3000, 2)
            ]),
            (0, 0, 1, 0)
        );
        assert_eq!(
            check(&[sample(&l, 1000, 0), sample(&l, 2000, 1), (9.0, "1".into())]),
            (0, 0, 0, 1)
        );
    }
}
