//! `ferula-bench promql-diff`: the same questions, listed and made up at random, to two servers that hold the same data.
//!
//! Promise: every answer that differs is printed with the smallest query found that still differs and with the request that shows it; what a
//! later version of Prometheus changed is excused by name (`exclusions`). True only when no difference is left.
//! Not here: the data (`special_data`), what equal means (`compare`), the queries (`grammar`).

mod compare;
mod exclusions;
mod grammar;
mod tree;
mod vocabulary;

use crate::differ::{Client, encode};
use crate::process::Server;
use crate::servers::{Kind, Setup};
use crate::special_data::{ARITHMETIC_QUERIES, SPECIAL_QUERIES, send};
use crate::{ferula_args, ferula_path, number, path_of};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
pub(crate) use compare::Verdict;
use compare::{TOLERANCE, compare};
use exclusions::{Difference, EXCLUSIONS, explanation};
use grammar::Generator;
use loadgen::sender::now_ms;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tree::Node;

const START_MAX: Duration = Duration::from_secs(60);
const HOUR: i64 = 3600;
const CONFIG: &str = "storage:\n  tsdb:\n    out_of_order_time_window: 2d\n";
const FEATURES: &str = "--enable-feature=promql-experimental-functions,native-histograms";
/// Requests spent on making one difference smaller.
const ATTEMPTS_MAX: usize = 120;
/// Differences that are made smaller and printed.
const PRINTED_MAX: usize = 100;
const STEPS_MAX: usize = 40;
const STEPS_SECONDS: [f64; 6] = [15.0, 30.0, 47.0, 60.0, 300.0, 7.5];

/// Queries whose answers are mostly errors, to compare what is refused and why.
const REFUSED: &[&str] = &[
    "",
    "sum(",
    "sum by (",
    "rate(special_up)",
    "special_up[5m] + 1",
    "special_up{job=\"a\"",
    "special_up{job=~\"(\"}",
    "{}",
    "{job=~\".*\"}",
    "special_up[0s]",
    "special_up offset",
    "special_up @ x",
    "1 > 2",
    "1 and 1",
    "nonsense(special_up)",
    "topk(special_up, special_up)",
    "label_replace(special_up, \"~\", \"\", \"\", \"\")",
    "label_replace(special_up, \"\\xff\", \"\", \"\", \"\")",
    "count_values(\"\", special_up)",
    "quantile(\"a\", special_up)",
    "special_up + on(job) group_left special_temperature",
    "special_temperature / on(job) special_up",
    "special_limit / on(job) group_right group_left special_up",
    "histogram_quantile(special_up)",
    "time(1)",
    "\"text\" + 1",
    "-\"text\"",
    "special_up[5m][5m]",
    "(special_up[5m])[5m:1m]",
    "predict_linear(special_up[5m])",
    "double_exponential_smoothing(special_up[5m], 2, 0.5)",
    "special_up unless bool special_up",
    "special_up == bool special_up",
    "sum by (job) without (job) (special_up)",
    "topk(NaN, special_up)",
    "topk(1e30, special_up)",
    "limitk(NaN, special_up)",
    "limit_ratio(1.5, special_up)",
    "limit_ratio(NaN, special_up)",
];

/// One question.
#[derive(Clone, Copy)]
enum When {
    /// Seconds.
    Instant(f64),
    Range {
        start: f64,
        end: f64,
        step: f64,
    },
}

impl When {
    fn path(self, query: &str) -> String {
        let query = encode(query);
        match self {
            When::Instant(time) => format!("/api/v1/query?query={query}&time={time}"),
            When::Range { start, end, step } => {
                format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}")
            }
        }
    }
}

/// The two servers.
struct Pair {
    reference: Client,
    test: Client,
}

struct Answers {
    reference: Value,
    test: Value,
    verdict: Verdict,
}

impl Pair {
    async fn ask(&mut self, query: &str, when: When) -> Result<Answers> {
        let path = when.path(query);
        let (reference, test) = tokio::join!(self.reference.get(&path), self.test.get(&path));
        let (reference, test) = (
            reference.context("the reference")?,
            test.context("the tested")?,
        );
        // Only an instant query has an order, and only that of its outermost function.
        let ordered = matches!(when, When::Instant(_)) && query.starts_with("sort");
        let verdict = compare(&reference, &test, ordered, TOLERANCE);
        Ok(Answers {
            reference,
            test,
            verdict,
        })
    }

    /// Functions that one of the two does not know.
    async fn unknown_functions(&mut self) -> Result<Vec<&'static str>> {
        let mut unknown = Vec::new();
        for function in vocabulary::functions() {
            let path = When::Instant(0.0).path(&vocabulary::example(function));
            let answers = [
                self.reference.get(&path).await?,
                self.test.get(&path).await?,
            ];
            for (server, answer) in ["reference", "tested"].into_iter().zip(&answers) {
                if answer["status"] == "error" {
                    println!(
                        "not asked: {function}(): the {server} says {}",
                        answer["error"]
                    );
                    unknown.push(function);
                }
            }
        }
        Ok(unknown)
    }
}

/// A query whose answers differ, and how.
struct Found {
    query: String,
    text: String,
    /// The exclusion that explains it.
    excuse: Option<usize>,
}

/// What came out of all questions.
#[derive(Default)]
struct Report {
    asked: usize,
    same: usize,
    errors: usize,
    empty: usize,
    /// Errors in other words: both texts, how often, a query.
    wordings: BTreeMap<String, (usize, String)>,
    /// By number of the exclusion: how often, an example.
    excused: BTreeMap<usize, (usize, String)>,
    different: usize,
}

impl Report {
    fn print(&self) {
        println!(
            "\n{} questions: {} answers the same ({} of them errors, {} without any series), {} in other words, {} excused, {} different",
            self.asked,
            self.same,
            self.errors,
            self.empty,
            self.wordings.values().map(|w| w.0).sum::<usize>(),
            self.excused.values().map(|e| e.0).sum::<usize>(),
            self.different
        );
        for (text, (count, query)) in &self.wordings {
            println!("  in other words, {count} times: {text}\n    {query}");
        }
        for (number, (count, query)) in &self.excused {
            let exclusion = &EXCLUSIONS[*number];
            println!(
                "  excused {count} times: {}: {}\n    {query}",
                exclusion.name, exclusion.reason
            );
        }
    }
}

/// A run over both servers.
struct Run {
    pair: Pair,
    report: Report,
    reference_url: String,
    test_url: String,
}

impl Run {
    /// Asks one question; a tree can be made smaller when the answers differ.
    async fn question(&mut self, query: &str, tree: Option<&Node>, when: When) -> Result<()> {
        let answers = self
            .pair
            .ask(query, when)
            .await
            .with_context(|| query.to_owned())?;
        self.report.asked += 1;
        match &answers.verdict {
            Verdict::Same => {
                self.report.same += 1;
                let result = answers.reference["data"]["result"].as_array();
                self.report.errors += usize::from(answers.reference["status"] == "error");
                self.report.empty += usize::from(result.is_some_and(Vec::is_empty));
            }
            Verdict::Wording(text) => {
                let entry = self
                    .report
                    .wordings
                    .entry(without_particulars(text))
                    .or_default();
                *entry = (entry.0 + 1, query.to_owned());
            }
            Verdict::Different(text) => {
                let found = Found {
                    query: query.to_owned(),
                    text: text.clone(),
                    excuse: excuse(query, &answers),
                };
                let found = self.smallest(found, tree.cloned(), when).await?;
                if let Some(number) = found.excuse {
                    let entry = self.report.excused.entry(number).or_default();
                    *entry = (entry.0 + 1, found.query);
                    return Ok(());
                }
                self.report.different += 1;
                if self.report.different <= PRINTED_MAX {
                    self.print(query, &found, when);
                }
            }
        }
        Ok(())
    }

    /// Makes a query smaller as long as the answers differ: first without excuses, so that none hides a difference beside it; when that comes
    /// to an end, a part that differs and is excused explains the whole.
    async fn smallest(
        &mut self,
        mut found: Found,
        mut tree: Option<Node>,
        when: When,
    ) -> Result<Found> {
        let mut attempts = 0;
        'smaller: while let Some(now) = &tree {
            let mut excused = None;
            for candidate in now.smaller() {
                attempts += 1;
                if attempts > ATTEMPTS_MAX {
                    break 'smaller;
                }
                let query = candidate.to_string();
                let answers = self.pair.ask(&query, when).await?;
                let Verdict::Different(text) = &answers.verdict else {
                    continue;
                };
                let smaller = Found {
                    text: text.clone(),
                    excuse: excuse(&query, &answers),
                    query,
                };
                if smaller.excuse.is_none() {
                    (found, tree) = (smaller, Some(candidate));
                    continue 'smaller;
                }
                excused = excused.or(Some(smaller));
            }
            return Ok(excused.unwrap_or(found));
        }
        Ok(found)
    }

    fn print(&self, query: &str, found: &Found, when: When) {
        println!("DIFFERENT {}\n  {:.600}", found.query, found.text);
        if found.query != query {
            println!("  from: {query}");
        }
        let path = when.path(&found.query);
        println!("  {}{path}\n  {}{path}", self.reference_url, self.test_url);
    }

    async fn listed(&mut self, start: i64, end: i64) -> Result<()> {
        let (first, last) = (start as f64, end as f64);
        let lists = [SPECIAL_QUERIES, ARITHMETIC_QUERIES, REFUSED];
        for query in lists.into_iter().flatten() {
            for time in [last, first + (last - first) / 3.0 + 0.007, first + 180.0] {
                self.question(query, None, When::Instant(time)).await?;
            }
            let step = ((end - start) / 97).max(1) as f64;
            let when = When::Range {
                start: first,
                end: last,
                step,
            };
            self.question(query, None, when).await?;
        }
        Ok(())
    }

    async fn generated(
        &mut self,
        mut generator: Generator,
        count: usize,
        (start, end): (i64, i64),
    ) -> Result<()> {
        let span = (end - start) as usize;
        for n in 0..count {
            let tree = generator.query(n % 2 == 0);
            let when = if n % 2 == 0 {
                // From a little before the data to a while after it.
                let ms = generator.below((span + 400) * 1000);
                When::Instant(start as f64 - 30.0 + ms as f64 / 1000.0)
            } else {
                let step = STEPS_SECONDS[generator.below(STEPS_SECONDS.len())];
                let first = start as f64 - 60.0 + generator.below(span) as f64;
                let steps = generator.below(STEPS_MAX) as f64;
                When::Range {
                    start: first,
                    end: first + steps * step,
                    step,
                }
            };
            self.question(&tree.to_string(), Some(&tree), when).await?;
            if (n + 1) % 1000 == 0 {
                println!(
                    "{} generated queries asked, {} answers different",
                    n + 1,
                    self.report.different
                );
            }
        }
        Ok(())
    }
}

fn excuse(query: &str, answers: &Answers) -> Option<usize> {
    explanation(&Difference {
        query,
        reference: &answers.reference,
        test: &answers.test,
    })
}

/// The words of two texts without what belongs to one query only: label sets and numbers.
fn without_particulars(text: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            '0'..='9' if depth == 0 && out.ends_with('#') => {}
            '0'..='9' if depth == 0 => out.push('#'),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Holds an answer against the reference's, as every question does whose order does not matter.
pub(crate) fn compare_answers(reference: &Value, test: &Value) -> Verdict {
    compare(reference, test, false, TOLERANCE)
}

/// Why two answers to a query may differ, if an exclusion says so.
pub(crate) fn excused(query: &str, reference: &Value, test: &Value) -> Option<&'static str> {
    let number = explanation(&Difference {
        query,
        reference,
        test,
    })?;
    Some(EXCLUSIONS[number].reason)
}

/// Servers that were started here, kept until the end.
struct Started {
    urls: [String; 2],
    _servers: Vec<Server>,
    _directory: tempfile::TempDir,
}

async fn start_both(matches: &ArgMatches) -> Result<Started> {
    let prometheus = path_of(matches, "prometheus")
        .context("neither --ref and --test nor --prometheus is given")?;
    let directory = tempfile::tempdir()?;
    let mut flags = vec![FEATURES.to_owned()];
    let theirs = Setup::new(
        Kind::Prometheus,
        prometheus,
        &directory.path().join("prometheus"),
        CONFIG,
        flags.clone(),
    )?;
    flags.extend(ferula_args(matches));
    let home = directory.path().join("ferula");
    let ours = Setup::new(Kind::Ferula, ferula_path(matches)?, &home, CONFIG, flags)?;
    let mut servers = Vec::new();
    for setup in [&theirs, &ours] {
        let mut server = setup.start()?;
        server.wait_ready(setup.ready_path(), START_MAX).await?;
        servers.push(server);
    }
    Ok(Started {
        urls: [theirs.base_url(), ours.base_url()],
        _servers: servers,
        _directory: directory,
    })
}

/// Runs it; true when nothing is different that is not excused.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let url = |name: &str| matches.get_one::<String>(name).cloned();
    let (queries, seed, hours): (usize, u64, i64) = (
        number(matches, "queries")?,
        number(matches, "seed")?,
        number(matches, "hours")?,
    );
    let end: i64 = match number(matches, "end")? {
        0 => now_ms() / 1000 - 300,
        end => end,
    };
    let (start, end) = (end - hours * HOUR, end);
    let (started, urls) = match (url("ref"), url("test")) {
        (Some(reference), Some(test)) => (None, [reference, test]),
        (None, None) => {
            let started = start_both(matches).await?;
            let urls = started.urls.clone();
            (Some(started), urls)
        }
        _ => bail!("--ref and --test go together"),
    };
    if started.is_some() || matches.get_flag("fill") {
        for url in &urls {
            let sent = send(url, start * 1000, end * 1000).await?;
            println!("{sent} samples sent to {url}");
        }
    }
    println!("seed {seed}, data from {start} to {end} (--end={end} --hours={hours})");
    let [reference_url, test_url] = urls;
    let mut pair = Pair {
        reference: Client::new(&reference_url)?,
        test: Client::new(&test_url)?,
    };
    let unknown = pair.unknown_functions().await?;
    let mut run = Run {
        pair,
        report: Report::default(),
        reference_url,
        test_url,
    };
    run.listed(start, end).await?;
    let generator = Generator::new(seed, unknown, start, end);
    run.generated(generator, queries, (start, end)).await?;
    run.report.print();
    let good = run.report.different == 0;
    println!("{}", if good { "PASS" } else { "FAIL" });
    Ok(good)
}
