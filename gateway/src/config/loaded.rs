//! A configuration as loaded: the file read, inherited values filled in, checked across sections, converted for the scraper.

use super::field::{Field, FilePath};
use super::schema::alerting::plain_rules;
use super::schema::global::{EXEMPLARS_MAX, Exemplars};
use super::schema::scrape::{Job, protocol_names};
use super::schema::{Document, JobsFile};
use super::yaml::{self, Node, Place, Problem};
use crate::cli::{Flags, retention_of};
use crate::limits::CONFIG_FILE_BYTES_MAX;
use crate::notify::NotifySettings;
use crate::rules::LoadedRules;
use ingest::otlp::{LabelNames, OtlpSettings, Strategy};
use ingest::scrape::config::ScrapeConfig;
use query_engine::parse::ParserOptions;
use rules::file::Names;
use rules::source::External;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use storage_engine::maintenance::RetentionSettings;
use storage_engine::model::Labels;

/// What runs when there is no file: this server scrapes itself every 5 seconds.
pub const DEFAULT_CONFIG: &str = "\
# The configuration that ferula uses when there is no prometheus.yml.
global:
  scrape_interval: 5s
  scrape_timeout: 5s

scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: [\"localhost:9090\"]
";

/// Why a configuration was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("open {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Rule files are wrong.
    #[error("loading rules failed:\n{}", .0.join("\n"))]
    Rules(Vec<String>),
    /// Something in it is wrong.
    #[error("parsing YAML file {path}: line {line}, column {column}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What.
        reason: String,
    },
}

/// What the command line changes about the defaults of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// `global.scrape_protocols` begins with protobuf, the format that has most start timestamps.
    pub protobuf_first: bool,
}

impl Defaults {
    /// What these flags ask for.
    pub fn of(flags: &Flags) -> Self {
        Defaults {
            protobuf_first: flags.reads_starts(),
        }
    }
}

/// A configuration that passed all checks.
#[derive(Debug, Clone)]
pub struct Config {
    document: Document,
    scrape_configs: Vec<ScrapeConfig>,
    extra_jobs: Vec<Job>,
    external_labels: Vec<(String, String)>,
    warnings: Vec<String>,
    rules: LoadedRules,
}

impl Config {
    /// Reads and checks the file.
    pub fn load(path: &Path, defaults: Defaults) -> Result<Self, LoadError> {
        let text = read(path)?;
        Self::parse(&text, path, defaults)
    }

    /// Checks a text that stands (or would stand) in `path`.
    pub fn parse(text: &str, path: &Path, defaults: Defaults) -> Result<Self, LoadError> {
        let locate = |problem: Problem| invalid(path, problem);
        let dir = path.parent().unwrap_or_else(|| Path::new(""));
        let root = yaml::parse(text).map_err(locate)?;
        let mut document = Document::decode(&root).map_err(locate)?;
        if document.global.scrape_timeout.0 == 0 {
            // Without a `global` section, its own check did not run.
            document.global.scrape_timeout =
                super::field::Ms::secs(10).min(document.global.scrape_interval);
            "utf8".clone_into(&mut document.global.metric_name_validation_scheme);
            "allow-utf-8".clone_into(&mut document.global.metric_name_escaping_scheme);
        }
        if defaults.protobuf_first && document.global.scrape_protocols.is_empty() {
            document.global.scrape_protocols = protocol_names(true);
        }
        check_translation(&document, &root).map_err(locate)?;
        let mut warnings = Vec::new();
        let external_labels = external_labels(&document, &root, &mut warnings).map_err(locate)?;
        for (key, files) in [
            ("rule_files", &document.rule_files),
            ("scrape_config_files", &document.scrape_config_files),
        ] {
            check_globs(key, files, &root).map_err(locate)?;
        }
        let jobs_node = root.get("scrape_configs").unwrap_or(&root);
        let mut names = Vec::new();
        inherit(
            &mut document.scrape_configs,
            &document.global,
            jobs_node,
            &mut names,
        )
        .map_err(locate)?;
        check_remote_names(&document, &root).map_err(locate)?;
        document.resolve(dir);

        let mut extra_jobs = Vec::new();
        for pattern in &document.scrape_config_files {
            for file in expand(Path::new(&pattern.0)) {
                let mut jobs = load_jobs(&file, &document, &mut names)?;
                for job in &mut jobs {
                    job.resolve(file.parent().unwrap_or_else(|| Path::new("")));
                }
                extra_jobs.append(&mut jobs);
            }
        }
        let scrape_configs = document
            .scrape_configs
            .iter()
            .chain(&extra_jobs)
            .map(Job::plain)
            .collect::<Result<_, _>>()
            .map_err(locate)?;
        Ok(Config {
            document,
            scrape_configs,
            extra_jobs,
            external_labels,
            warnings,
            rules: LoadedRules::default(),
        })
    }

    /// What runs when there is no file: the server scrapes itself at its first address.
    pub fn built_in(flags: &Flags) -> Self {
        let address = flags.listen_addresses.first().copied();
        let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090)));
        Self::built_in_at(address, &flags.route_prefix, Defaults::of(flags))
    }

    /// As [`Config::built_in`], for the address that the server really listens on and the prefix (`/x` or nothing) of its routes.
    pub fn built_in_at(address: SocketAddr, route_prefix: &str, defaults: Defaults) -> Self {
        let own = if address.ip().is_unspecified() {
            format!("localhost:{}", address.port())
        } else {
            address.to_string()
        };
        let mut text = DEFAULT_CONFIG.replace("localhost:9090", &own);
        if !route_prefix.is_empty() {
            let path = serde_json::Value::from(format!("{route_prefix}/metrics"));
            let job = "  - job_name: prometheus\n";
            text = text.replace(job, &format!("{job}    metrics_path: {path}\n"));
        }
        match Self::parse(&text, Path::new("built-in.yml"), defaults) {
            Ok(config) => config,
            Err(error) => unreachable!("BUG: the built-in configuration is refused: {error}"),
        }
    }

    /// All sections.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The jobs, as the scraper takes them.
    pub fn scrape_configs(&self) -> Vec<ScrapeConfig> {
        self.scrape_configs.clone()
    }

    /// `global.scrape_interval`
    pub fn scrape_interval(&self) -> Duration {
        self.document.global.scrape_interval.std()
    }

    /// `global.evaluation_interval`
    pub fn evaluation_interval(&self) -> Duration {
        self.document.global.evaluation_interval.std()
    }

    /// `storage.tsdb.retention` over what the flags ask for.
    pub fn retention(&self, flags: &Flags) -> RetentionSettings {
        let section = self.document.storage.tsdb.as_ref();
        let Some(section) = section.and_then(|tsdb| tsdb.retention.as_ref()) else {
            return flags.retention();
        };
        let time = Some(section.time.std()).filter(|time| !time.is_zero());
        let size = Some(section.size.0).filter(|bytes| *bytes > 0);
        let percent = Some(section.percentage).filter(|percent| *percent > 0.0);
        retention_of(
            time.or(flags.retention_time),
            size.or(flags.retention_size),
            percent,
        )
    }

    /// `otlp`; what an instant query looks back decides how often `target_info` comes.
    pub fn otlp(&self, lookback_delta: Duration) -> OtlpSettings {
        let otlp = &self.document.otlp;
        let strategy = Strategy::from_name(&otlp.translation_strategy);
        OtlpSettings {
            promote_all: otlp.promote_all_resource_attributes,
            not_promoted: otlp.ignore_resource_attributes.clone(),
            promoted: otlp.promote_resource_attributes.clone(),
            keep_identifying: otlp.keep_identifying_resource_attributes,
            histograms_to_native: otlp.convert_histograms_to_nhcb,
            promote_scope: otlp.promote_scope_metadata,
            label_names: LabelNames {
                strategy: strategy.unwrap_or_default(),
                key_before_underscore: otlp.label_name_underscore_sanitization,
                keep_underscores: otlp.label_name_preserve_multiple_underscores,
            },
            lookback_delta_ms: i64::try_from(lookback_delta.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// `storage.tsdb.out_of_order_time_window`
    pub fn out_of_order_window_ms(&self) -> i64 {
        let section = self.document.storage.tsdb.as_ref();
        section.map_or(0, |tsdb| tsdb.out_of_order_time_window.0)
    }

    /// Exemplars to keep at most, if that feature is on; 0: none.
    pub fn exemplars_max(&self) -> usize {
        let exemplars = self.document.storage.exemplars.as_ref();
        let max = exemplars.map_or(EXEMPLARS_MAX, |e| e.max_exemplars);
        usize::try_from(max).unwrap_or(0)
    }

    /// Shows the number of exemplars in the text of this configuration, where the file does not give one: they are kept.
    pub fn show_exemplars(&mut self) {
        self.document.storage.exemplars.get_or_insert(Exemplars {
            max_exemplars: EXEMPLARS_MAX,
        });
    }

    /// One job's section as text.
    pub fn job_yaml(&self, job_name: &str) -> Option<String> {
        let mut jobs = self.document.scrape_configs.iter().chain(&self.extra_jobs);
        jobs.find(|j| j.job_name == job_name).map(Job::to_yaml)
    }

    /// `global.external_labels` with the environment filled in.
    pub fn external_labels(&self) -> Labels {
        // Names come from a map, so they are unique; that is all `from_pairs` asks for.
        Labels::from_pairs(self.external_labels.iter().map(|(n, v)| (n, v)))
            .unwrap_or_else(|_| Labels::empty())
    }

    /// With the rule files that it names, read and checked.
    pub fn with_rules(mut self, parser: &ParserOptions) -> Result<Self, LoadError> {
        let files = self.rule_files();
        self.rules = crate::rules::load(&files, parser, self.names()).map_err(LoadError::Rules)?;
        Ok(self)
    }

    /// The jobs as written, those of `scrape_config_files` after the others.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.document.scrape_configs.iter().chain(&self.extra_jobs)
    }

    /// The rule files that there are for the patterns of `rule_files`.
    pub fn rule_files(&self) -> Vec<PathBuf> {
        let patterns = self.document.rule_files.iter().map(|f| f.0.as_str());
        crate::rules::expand_globs(patterns)
    }

    /// What [`Config::with_rules`] has read.
    pub fn rules(&self) -> &LoadedRules {
        &self.rules
    }

    /// Where alerts go.
    pub fn notify_settings(&self, external: External) -> NotifySettings {
        let alerting = &self.document.alerting;
        NotifySettings {
            external,
            relabel: plain_rules(&alerting.alert_relabel_configs),
            sets: alerting
                .alertmanagers
                .iter()
                .map(|set| set.plain())
                .collect(),
        }
    }

    /// Which names rules may give.
    pub fn names(&self) -> Names {
        match self.document.global.metric_name_validation_scheme.as_str() {
            "legacy" => Names::Legacy,
            _ => Names::Utf8,
        }
    }

    /// What to tell the operator once for this load.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The configuration with its defaults, as Prometheus shows it; secrets are hidden.
    pub fn to_yaml(&self) -> String {
        let mut shown = self.document.clone();
        for (name, value) in &self.external_labels {
            shown
                .global
                .external_labels
                .0
                .insert(name.clone(), value.clone());
        }
        yaml::write(&shown.encode())
    }

    /// Sections that were read and do nothing yet, each as a phrase for the log.
    pub fn inactive_sections(&self) -> Vec<String> {
        let document = &self.document;
        let mut out = Vec::new();
        let mut note = |used: bool, name: &str| {
            if used {
                out.push(name.to_owned());
            }
        };
        for set in &document.alerting.alertmanagers {
            for name in set.inactive() {
                note(true, &format!("alerting.alertmanagers: {name}"));
            }
        }
        note(!document.remote_write.is_empty(), "remote_write");
        note(!document.remote_read.is_empty(), "remote_read");
        note(document.tracing.is_some(), "tracing");
        for name in document.storage.inactive() {
            note(true, name);
        }
        note(
            !document.global.query_log_file.0.is_empty(),
            "global.query_log_file",
        );
        let mut by_kind: Vec<(String, Vec<&str>)> = Vec::new();
        for job in document.scrape_configs.iter().chain(&self.extra_jobs) {
            let mut kinds = job.discovery.inactive();
            if !job.scrape_failure_log_file.0.is_empty() {
                kinds.push("scrape_failure_log_file".to_owned());
            }
            if job.convert_classic_histograms_to_nhcb == Some(true) {
                kinds.push("convert_classic_histograms_to_nhcb".to_owned());
            }
            for kind in kinds {
                match by_kind.iter_mut().find(|(k, _)| *k == kind) {
                    Some((_, jobs)) => jobs.push(&job.job_name),
                    None => by_kind.push((kind, vec![&job.job_name])),
                }
            }
        }
        for (kind, jobs) in by_kind {
            out.push(format!("{kind} (jobs: {})", jobs.join(", ")));
        }
        out
    }
}

fn invalid(path: &Path, problem: Problem) -> LoadError {
    let Place { line, column } = problem.place;
    LoadError::Invalid {
        path: path.display().to_string(),
        line,
        column,
        reason: problem.reason,
    }
}

fn read(path: &Path) -> Result<String, LoadError> {
    let refuse = |reason: String| LoadError::Read {
        path: path.display().to_string(),
        reason,
    };
    let meta = std::fs::metadata(path).map_err(|e| refuse(io_reason(&e)))?;
    if meta.len() > CONFIG_FILE_BYTES_MAX {
        return Err(refuse(format!("longer than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|e| refuse(io_reason(&e)))?;
    String::from_utf8(bytes).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let place = Place {
            line,
            column: String::from_utf8_lossy(&before[line_start..])
                .chars()
                .count()
                + 1,
        };
        invalid(path, Problem::new(place, "not valid UTF-8"))
    })
}

/// The system's words without Rust's error number.
pub(crate) fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Fills the jobs of one list from `global`, and refuses a name that was seen before.
fn inherit(
    jobs: &mut [Job],
    global: &super::schema::global::Global,
    list: &Node,
    names: &mut Vec<String>,
) -> Result<(), Problem> {
    for (i, job) in jobs.iter_mut().enumerate() {
        let node = list.item(i).unwrap_or(list);
        job.inherit(global, node)?;
        if names.contains(&job.job_name) {
            return Err(Problem::new(
                node.place_of("job_name"),
                format!(
                    "found multiple scrape configs with job name {:?}",
                    job.job_name
                ),
            ));
        }
        names.push(job.job_name.clone());
    }
    Ok(())
}

fn load_jobs(
    path: &Path,
    document: &Document,
    names: &mut Vec<String>,
) -> Result<Vec<Job>, LoadError> {
    let locate = |problem: Problem| invalid(path, problem);
    let root = yaml::parse(&read(path)?).map_err(locate)?;
    let mut file = JobsFile::decode(&root).map_err(locate)?;
    let list = root.get("scrape_configs").unwrap_or(&root);
    inherit(&mut file.scrape_configs, &document.global, list, names).map_err(locate)?;
    Ok(file.scrape_configs)
}

/// Names that keep UTF-8 cannot be stored where only legacy names are valid.
fn check_translation(document: &Document, root: &Node) -> Result<(), Problem> {
    let strategy = document.otlp.translation_strategy.as_str();
    let keeps_utf8 = matches!(strategy, "NoUTF8EscapingWithSuffixes" | "NoTranslation");
    if !keeps_utf8 || document.global.metric_name_validation_scheme != "legacy" {
        return Ok(());
    }
    let node = root.get("otlp").unwrap_or(root);
    Err(Problem::new(
        node.place_of("translation_strategy"),
        format!("OTLP translation strategy {strategy:?} is not allowed when UTF8 is disabled"),
    ))
}

/// A wildcard may stand once, in the last element of the path.
fn check_globs(key: &str, files: &[FilePath], root: &Node) -> Result<(), Problem> {
    for (i, file) in files.iter().enumerate() {
        let bad = file
            .0
            .split_once('*')
            .is_some_and(|(_, rest)| rest.contains(['*', '/']));
        if bad {
            let place = root
                .get(key)
                .and_then(|n| n.item(i))
                .map_or(root.place, |n| n.place);
            let what = match key {
                "rule_files" => "rule",
                _ => "scrape config",
            };
            return Err(Problem::new(
                place,
                format!("invalid {what} file path {:?}", file.0),
            ));
        }
    }
    Ok(())
}

/// Files that a path with at most one `*` in its last element means, in order of name.
pub(crate) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let Some(name) = pattern.file_name().and_then(|n| n.to_str()) else {
        return Vec::new();
    };
    let Some((before, after)) = name.split_once('*') else {
        return pattern
            .exists()
            .then(|| pattern.to_path_buf())
            .into_iter()
            .collect();
    };
    let dir = match pattern.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|n| {
                n.len() >= before.len() + after.len() && n.starts_with(before) && n.ends_with(after)
            })
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn check_remote_names(document: &Document, root: &Node) -> Result<(), Problem> {
    let write: Vec<&str> = document
        .remote_write
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    let read: Vec<&str> = document
        .remote_read
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    for (key, what, names) in [
        ("remote_write", "remote write", write),
        ("remote_read", "remote read", read),
    ] {
        for (i, name) in names.iter().enumerate() {
            if !name.is_empty() && names.iter().take(i).any(|n| n == name) {
                let node = root.get(key).and_then(|n| n.item(i)).unwrap_or(root);
                return Err(Problem::new(
                    node.place_of("name"),
                    format!("found multiple {what} configs with job name {name:?}"),
                ));
            }
        }
    }
    Ok(())
}

fn external_labels(
    document: &Document,
    root: &Node,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, String)>, Problem> {
    let node = root.get("global").and_then(|g| g.get("external_labels"));
    let mut out = Vec::new();
    for (name, value) in &document.global.external_labels.0 {
        if name.is_empty() || name.contains('\0') {
            let place = node.map_or(root.place, |n| n.place_of(name));
            return Err(Problem::new(
                place,
                format!("{name:?} is not a valid label name"),
            ));
        }
        let expanded = expand_env(value, |variable| {
            let found = std::env::var(variable).ok();
            if found.is_none() {
                warnings.push(format!(
                    "Empty environment variable {variable} in external label {name}"
                ));
            }
            found.unwrap_or_default()
        });
        out.push((name.clone(), expanded));
    }
    Ok(out)
}

/// `$NAME` and `${NAME}` as Go's `os.Expand` reads them; `$$` is a dollar sign.
fn expand_env(text: &str, mut lookup: impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('{') {
            match tail.split_once('}') {
                Some((name, after)) => {
                    if !name.is_empty() {
                        out.push_str(&lookup(name));
                    }
                    rest = after;
                }
                // Go eats the opening of an unfinished name.
                None => rest = tail,
            }
        } else {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            match name {
                "" => out.push('$'),
                _ => out.push_str(&lookup(name)),
            }
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_expanded_as_go_does() {
        let lookup = |name: &str| format!("<{name}>");
        for (text, want) in [
            ("plain", "plain"),
            ("$A", "<A>"),
            ("${A}b", "<A>b"),
            ("x$A-y", "x<A>-y"),
            ("$$A", "$A"),
            ("a$", "a$"),
        ] {
            assert_eq!(expand_env(text, lookup), want, "{text}");
        }
    }
}
