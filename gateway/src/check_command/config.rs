//! `check config`.

use super::{Lint, Verdict, complain, rules, say};
use crate::config::field::FilePath;
use crate::config::{Config, Defaults, expand, format_duration_ms, io_reason, parse_duration_ms};
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
                    named_files(&config)?;
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

/// Files of secrets and certificates must be there; files of targets should be.
fn named_files(config: &Config) -> Result<(), String> {
    let exists = |what: &str, file: &FilePath| match std::fs::metadata(&file.0) {
        Err(error) if !file.0.is_empty() => Err(format!(
            "error checking {what} {:?}: stat {}: {}",
            file.0,
            file.0,
            io_reason(&error)
        )),
        _ => Ok(()),
    };
    let missing = |file: &FilePath, whose: &str| {
        if expand(Path::new(&file.0)).is_empty() {
            say(format!(
                "  WARNING: file {:?} for file_sd in {whose} does not exist",
                file.0
            ));
        }
    };
    for job in config.jobs() {
        if let Some(authorization) = &job.client.authorization {
            let what = "authorization credentials or bearer token file";
            exists(what, &authorization.credentials_file)?;
        }
        exists("client cert file", &job.client.tls_config.cert_file)?;
        exists("client key file", &job.client.tls_config.key_file)?;
        for file in job
            .discovery
            .file_sd_configs
            .iter()
            .flat_map(|sd| &sd.files)
        {
            missing(file, &format!("scrape job {:?}", job.job_name));
        }
    }
    for set in &config.document().alerting.alertmanagers {
        for file in set
            .discovery
            .file_sd_configs
            .iter()
            .flat_map(|sd| &sd.files)
        {
            missing(file, "alertmanager config");
        }
    }
    Ok(())
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
