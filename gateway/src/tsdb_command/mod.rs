//! `ferula tsdb`: looks at, checks, exports, imports and compacts data directories that no server runs on.
//!
//! Promise: commands that look change nothing, not even a damaged log's tail; where `promtool tsdb` has a command of that name, the output has its
//! shape. All but `import`, `compact` and `export-prometheus-block` take a data directory of Prometheus too. Exit codes: 0, 1 for a failure, 2 for a wrong
//! command line. Not here: the formats (`storage_engine::prometheus`), the server's own flags (`cli`).

mod analyze;
mod arguments;
mod compact;
mod dump;
mod list;
mod source;
mod table;
mod transfer;
mod verify;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command failed.
enum Failure {
    /// In words.
    Text(String),
    /// Whoever read the output has gone.
    Output(io::Error),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Text(error.to_string())
    }
}

/// Standard output, for many small writes.
struct Output(io::BufWriter<io::StdoutLock<'static>>);

impl Output {
    fn new() -> Output {
        Output(io::BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line.
    fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.0, "{text}").map_err(Failure::Output)
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(Failure::Output)
    }
}

/// Says something that is not the answer: progress, damage.
fn remark(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Runs `ferula tsdb` with the arguments behind these two words.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let matches = match arguments::command()
        .try_get_matches_from(std::iter::once("ferula tsdb".to_owned()).chain(arguments))
    {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match matches.subcommand() {
        Some(("list", matches)) => list::run(matches),
        Some(("analyze", matches)) => analyze::run(matches),
        Some(("dump", matches)) => {
            let format = match arguments::text(matches, "format") {
                Some("seriesjson") => dump::Format::SeriesJson,
                _ => dump::Format::Prometheus,
            };
            dump::run(matches, format)
        }
        Some(("dump-openmetrics", matches)) => dump::run(matches, dump::Format::OpenMetrics),
        Some(("verify", matches)) => verify::run(matches),
        Some(("export-prometheus-block", matches)) => transfer::export(matches),
        Some(("import", matches)) => transfer::import(matches),
        Some(("compact", matches)) => compact::run(matches),
        _ => unreachable!("clap demands one of the commands"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `| head` is no failure.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => {
            remark(error);
            ExitCode::FAILURE
        }
        Err(Failure::Text(text)) => {
            remark(text);
            ExitCode::FAILURE
        }
    }
}
