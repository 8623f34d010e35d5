//! What `--help`, `--version` and `--write-documentation` print.

use super::table::{FLAGS, FlagSpec, Kind, Status};
use std::fmt::Write;

/// Columns of the help text.
const WIDTH: usize = 80;
/// Where help texts begin.
const INDENT: usize = 30;

fn usage_of(spec: &FlagSpec) -> String {
    let name = spec.name;
    let value = if spec.default.is_empty() {
        spec.name.rsplit('.').next().unwrap_or(name).to_uppercase()
    } else if matches!(spec.kind, Kind::Text | Kind::List | Kind::Enum(_)) {
        format!("{:?}", spec.default)
    } else {
        spec.default.to_owned()
    };
    match spec.kind {
        Kind::Bool => format!("--[no-]{name}"),
        Kind::List => format!("--{name}={value} ..."),
        _ => format!("--{name}={value}"),
    }
}

fn put_row(out: &mut String, usage: &str, help: &str) {
    let mut line = format!("  {usage}");
    if line.len() + 2 > INDENT {
        out.push_str(&line);
        out.push('\n');
        line.clear();
    }
    let mut empty = true;
    let _ = write!(line, "{:width$}", "", width = INDENT - line.len());
    for word in help.split_whitespace() {
        if !empty && line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(INDENT);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}

/// The help text; with the hidden flags when `hidden_too`.
pub fn help(hidden_too: bool) -> String {
    let mut out = String::from(
        "usage: ferula [<flags>]\n       ferula tsdb <command> [<args> ...]\n       ferula promql <command> [<args> ...]\n\nA Prometheus-compatible metrics engine.\n\n\nFlags:\n",
    );
    put_row(
        &mut out,
        "-h, --[no-]help",
        "Show context-sensitive help (also try --help-long and --help-man).",
    );
    put_row(&mut out, "    --[no-]version", "Show application version.");
    for spec in FLAGS.iter().filter(|s| hidden_too || !s.hidden) {
        let usage = format!("    {}", usage_of(spec));
        match spec.status {
            Status::Works => put_row(&mut out, &usage, spec.help),
            Status::Inert => put_row(
                &mut out,
                &usage,
                &format!("{} (accepted, no effect here)", spec.help),
            ),
        }
    }
    out.push('\n');
    out
}

/// The version text, in the shape that scripts cut Prometheus's version out of.
pub fn version() -> String {
    format!(
        "ferula, version {} (branch: {}, revision: {})\n  build user:       {}\n  build date:       {}\n  rust version:     {}\n  platform:         {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("FERULA_BRANCH").unwrap_or(""),
        option_env!("FERULA_REVISION").unwrap_or("unknown"),
        option_env!("FERULA_BUILD_USER").unwrap_or(""),
        option_env!("FERULA_BUILD_DATE").unwrap_or(""),
        env!("CARGO_PKG_RUST_VERSION"),
        std::env::consts::OS,
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
    )
}

/// The page `docs/operations/flags.md`.
pub fn documentation() -> String {
    let mut out = String::from(
        "# Flags\n\nFlags are Prometheus's by name and meaning. `--flag=value`, `--flag value`, `-flag value`, `--x` and `--no-x` are all understood; \
         `@file` reads arguments from a file, one a line. An unknown flag ends the start with exit code 2. A flag that \
         Prometheus has and that changes nothing here is accepted, and named once in the log at start.\n\n\
         Two defaults differ from Prometheus's: the remote-write receiver is on, for both protobuf messages, and without `--config.file` and \
         without a `prometheus.yml` a built-in configuration is used that scrapes this server every 5 seconds \
         (`--print-default-config` shows it).\n\n\
         This page is written by `ferula --write-documentation`.\n\n| flag | default | effect | help |\n|---|---|---|---|\n",
    );
    let _ = writeln!(
        out,
        "| `-h`, `--help` | | yes | Show context-sensitive help (also try --help-long and --help-man). |"
    );
    let _ = writeln!(out, "| `--version` | | yes | Show application version. |");
    for spec in FLAGS {
        let default = if spec.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", spec.default)
        };
        let effect = match spec.status {
            Status::Works => "yes",
            Status::Inert => "none",
        };
        let hidden = if spec.hidden { " (hidden)" } else { "" };
        let help = spec.help.replace('|', "\\|").replace('<', "&lt;");
        let more = if spec.kind == Kind::List { " ..." } else { "" };
        let _ = writeln!(
            out,
            "| `--{}{more}`{hidden} | {default} | {effect} | {help} |",
            spec.name
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_has_every_visible_flag_within_the_width() {
        let text = help(false);
        for spec in FLAGS.iter().filter(|s| !s.hidden) {
            assert!(text.contains(spec.name), "{}", spec.name);
        }
        assert!(!text.contains("wal-segment-size"));
        assert!(help(true).contains("wal-segment-size"));
    }

    #[test]
    fn version_begins_as_prometheus_s_does() {
        assert!(version().starts_with("ferula, version 0."));
    }

    #[test]
    fn documentation_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/flags.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            page,
            documentation(),
            "write it again with `ferula --write-documentation`"
        );
    }
}
