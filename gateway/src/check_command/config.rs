//! `check config`.

use super::{Lint, Verdict, complain, rules, say};
use crate::config::{Config, Defaults, format_duration_ms, parse_duration_ms};
use clap::ArgMatches;
use query_engine::parse::ParserOptions;
use std::path::Path;

/// Checks these files, and the rule files that they name.
pub(super) fn run(
    matches: &ArgMatches,
    files: &[String],
    parser: &ParserOptions,
    lint: &Lint,
) -> Verdict {
    let mut verdict = Verdict::default();
    let syntax_only = matches.get_flag("syntax-only");
    let lookback = matches.get_one::<String>("query.lookback-delta");
    let lookback_ms = lookback.and_then(|text| parse_duration_ms(text).ok());
    for file in files {
        say(format!("Checking {file}"));
        let mut found = Vec::new();
        let loaded = Config::load(Path::new(file), Defaults::default());
        let checked = loaded
            .map_err(|error| error.to_string())
            .and_then(|config| {
                if !syntax_only {
                    found = rule_files(&config)?;
                }
                Ok(config)
            });
        let config = match checked {
            Ok(config) => config,
            Err(error) => {
                complain(format!("  FAILED: {error}"));
                verdict.refuse();
                say("");
                continue;
            }
        };
        if !found.is_empty() {
            say(format!("  SUCCESS: {} rule files found", found.len()));
        }
        say(format!(
            " SUCCESS: {file} is valid prometheus config file syntax"
        ));
        say("");
        if syntax_only {
            continue;
        }
        verdict.failed |= lint.long_intervals && intervals(&config, lookback_ms);
        let of_rules = rules::run(&found, parser, config.names(), lint);
        verdict.failed |= of_rules.failed;
        verdict.errors |= of_rules.errors;
    }
    verdict
}

/// The files of `rule_files`; one that is named without a wildcard must be there.
fn rule_files(config: &Config) -> Result<Vec<String>, String> {
    for pattern in &config.document().rule_files {
        if !pattern.0.contains('*') && !Path::new(&pattern.0).exists() {
            return Err(format!(
                "{:?} does not point to an existing file",
                pattern.0
            ));
        }
    }
    let files = config.rule_files();
    Ok(files.iter().map(|f| f.display().to_string()).collect())
}

/// Is a job scraped so seldom that its series are stale in between?
fn intervals(config: &Config, lookback_ms: Option<i64>) -> bool {
    let Some(lookback_ms) = lookback_ms.filter(|ms| *ms > 0) else {
        return false;
    };
    for job in config.scrape_configs() {
        let interval_ms = i64::try_from(job.interval.as_millis()).unwrap_or(i64::MAX);
        if interval_ms >= lookback_ms {
            complain(format!(
                "  FAILED: too long scrape interval found, data point will be marked as stale - job: {}, interval: {}",
                job.job_name,
                format_duration_ms(interval_ms)
            ));
            return true;
        }
    }
    false
}
