//! `tsdb analyze`: which labels make a block large, and which come and go.

use super::arguments::{number, path, selector, text};
use super::source::{Damage, expect_directory};
use super::table::go_duration;
use super::{Failure, Output};
use clap::ArgMatches;
use query_engine::eval::text::go_quote;
use std::collections::{BTreeMap, BTreeSet};
use storage_engine::block::Block;
use storage_engine::io::ReadOnlyDisk;
use storage_engine::model::{Labels, METRIC_NAME, Matcher};
use storage_engine::prometheus::{PrometheusBlock, PrometheusDirectory};
use storage_engine::shard_api::TimeRange;
use storage_engine::store::offline::{OfflineStore, offline_blocks};

/// What is analysed: one block, or blocks of all shards that hold the same range.
struct Analysed {
    ids: Vec<String>,
    min_time: i64,
    /// Behind the newest sample.
    max_time: i64,
    /// All series, with the times of the first and the last sample.
    series: Vec<(Labels, i64, i64)>,
}

/// Prints the analysis.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let dir = path(matches, "db path");
    let limit = number(matches, "limit")?.unwrap_or(20);
    let wanted = text(matches, "block id");
    let matchers = text(matches, "match").map(selector).transpose()?;
    let mut damage = Damage::default();
    expect_directory(&dir)?;
    let analysed = match OfflineStore::is_store(&dir) {
        true => ferula_blocks(&dir, wanted, &mut damage)?,
        false => prometheus_block(&dir, wanted, &mut damage)?,
    };
    print(&analysed, matchers.as_deref(), limit)?;
    damage.result()
}

fn not_found(wanted: Option<&str>) -> Failure {
    Failure::Text(format!("block {} not found", wanted.unwrap_or("")))
}

fn prometheus_block(
    dir: &std::path::Path,
    wanted: Option<&str>,
    damage: &mut Damage,
) -> Result<Analysed, Failure> {
    let mut note = |text| damage.note(text);
    let blocks = PrometheusDirectory::read_blocks(&ReadOnlyDisk, dir, &mut note)?;
    let is_wanted = |block: &&PrometheusBlock| wanted.is_none_or(|id| block.meta().ulid == id);
    let mut blocks = blocks.iter().filter(is_wanted);
    let block = blocks.next_back().ok_or_else(|| not_found(wanted))?;
    let mut series = Vec::new();
    for one in block.series() {
        match one {
            Ok(one) => {
                if let (Some(first), Some(last)) = (one.chunks.first(), one.chunks.last()) {
                    series.push((one.labels.clone(), first.min_time, last.max_time));
                }
            }
            Err(error) => damage.note(error.to_string()),
        }
    }
    let meta = block.meta();
    Ok(Analysed {
        ids: vec![meta.ulid.clone()],
        min_time: meta.min_time,
        max_time: meta.max_time,
        series,
    })
}

fn ferula_blocks(
    dir: &std::path::Path,
    wanted: Option<&str>,
    damage: &mut Damage,
) -> Result<Analysed, Failure> {
    let blocks = offline_blocks(dir, &mut |text| damage.note(text))?;
    let mut blocks: Vec<Block> = blocks.into_iter().map(|found| found.block).collect();
    blocks.retain(|block| wanted.is_none_or(|id| block.meta().id.to_string() == id));
    let newest = blocks.iter().map(|b| b.meta()).max_by_key(|m| m.max_time);
    let newest = newest.ok_or_else(|| not_found(wanted))?;
    let range = TimeRange {
        min: newest.min_time,
        max: newest.max_time,
    };
    blocks.retain(|b| b.meta().max_time >= range.min && b.meta().min_time <= range.max);
    let mut analysed = Analysed {
        ids: Vec::new(),
        min_time: i64::MAX,
        max_time: i64::MIN,
        series: Vec::new(),
    };
    for block in &blocks {
        let meta = block.meta();
        analysed.ids.push(meta.id.to_string());
        analysed.min_time = analysed.min_time.min(meta.min_time);
        analysed.max_time = analysed.max_time.max(meta.max_time.saturating_add(1));
        for ordinal in 0..meta.series {
            let mut canonical = Vec::new();
            block.put_canonical(ordinal, &mut canonical)?;
            let pages = block.page_stats(ordinal);
            let times = pages.map(|p| (p.first_time, p.last_time));
            let times = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            if let Some((first, last)) = times {
                let labels = Labels::from_canonical(&canonical)?;
                analysed.series.push((labels, first, last));
            }
        }
    }
    Ok(analysed)
}

/// Sums by key.
type Sums = BTreeMap<String, u64>;

fn add(sums: &mut Sums, key: &str, value: u64) {
    match sums.get_mut(key) {
        Some(sum) => *sum += value,
        None => drop(sums.insert(key.to_owned(), value)),
    }
}

fn print_list(
    title: &str,
    sums: impl IntoIterator<Item = (String, u64)>,
    limit: usize,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut rows: Vec<(String, u64)> = sums.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    out.line(format_args!("\n{title}:"))?;
    for (key, value) in rows.into_iter().take(limit) {
        out.line(format_args!("{value} {key}"))?;
    }
    Ok(())
}

fn print(analysed: &Analysed, selector: Option<&[Matcher]>, limit: usize) -> Result<(), Failure> {
    let mut out = Output::new();
    let duration = analysed.max_time.saturating_sub(analysed.min_time);
    out.line(format_args!("Block ID: {}", analysed.ids.join(" ")))?;
    out.line(format_args!("Duration: {}", go_duration(duration)))?;
    out.line(format_args!("Total Series: {}", analysed.series.len()))?;
    let passes = |labels: &Labels| {
        let mut matchers = selector.unwrap_or_default().iter();
        matchers.all(|m| m.matches(labels.value(&m.name)))
    };
    let matched = analysed
        .series
        .iter()
        .filter(|(labels, _, _)| passes(labels));
    let matched: Vec<&(Labels, i64, i64)> = matched.collect();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut names_uncovered, mut pairs_uncovered) = (Sums::new(), Sums::new());
    let (mut pairs, mut metrics) = (Sums::new(), Sums::new());
    let mut entries = 0_u64;
    for (labels, first, last) in &matched {
        // What of the block's time the series does not cover.
        let uncovered = duration.abs_diff(last.saturating_sub(*first));
        for (name, value) in labels {
            let pair = format!("{name}={value}");
            add(&mut names_uncovered, name, uncovered);
            add(&mut pairs_uncovered, &pair, uncovered);
            add(&mut pairs, &pair, 1);
            values.entry(name).or_default().insert(value);
            entries += 1;
        }
        if let Some(name) = labels.get(METRIC_NAME) {
            add(&mut metrics, name, 1);
        }
    }
    if let Some(matchers) = selector {
        // As Go prints a list.
        let quoted = |m: &Matcher| {
            let value = go_quote(m.value.as_bytes());
            format!("{}{}{value}", m.name, m.op.as_str())
        };
        let all: Vec<String> = matchers.iter().map(quoted).collect();
        out.line(format_args!("Matcher: [{}]", all.join(" ")))?;
    }
    out.line(format_args!("Label names: {}", values.len()))?;
    if selector.is_some() {
        out.line(format_args!("Matched series: {}", matched.len()))?;
    }
    out.line(format_args!(
        "Postings (unique label pairs): {}",
        pairs.len()
    ))?;
    out.line(format_args!(
        "Postings entries (total label pairs): {entries}"
    ))?;
    let in_blocks = |sums: Sums| {
        let share = move |sum: u64| (sum as f64 / duration.max(1) as f64) as u64;
        sums.into_iter().map(move |(key, sum)| (key, share(sum)))
    };
    print_list(
        "Label pairs most involved in churning",
        in_blocks(pairs_uncovered),
        limit,
        &mut out,
    )?;
    print_list(
        "Label names most involved in churning",
        in_blocks(names_uncovered),
        limit,
        &mut out,
    )?;
    print_list("Most common label pairs", pairs, limit, &mut out)?;
    let lengths = values.iter().map(|(name, values)| {
        let length: usize = values.iter().map(|value| value.len()).sum();
        ((*name).to_owned(), length as u64)
    });
    print_list(
        "Label names with highest cumulative label value length",
        lengths,
        limit,
        &mut out,
    )?;
    let counts = values
        .iter()
        .map(|(name, values)| ((*name).to_owned(), values.len() as u64));
    print_list("Highest cardinality labels", counts, limit, &mut out)?;
    print_list("Highest cardinality metric names", metrics, limit, &mut out)?;
    out.finish()
}
