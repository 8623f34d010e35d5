//! The binary `ferula`: a command line in, an exit code out.

use gateway::cli::{self, Ask};
use gateway::start::StartError;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("tsdb") => return gateway::tsdb_command::run(arguments),
        Some("check") if std::env::args().nth(2).as_deref() == Some("web-config") => {
            return gateway::web_config::command::run(arguments.skip(1));
        }
        Some("check") => return gateway::check_command::run(arguments),
        Some("test") => return gateway::test_command::run(arguments),
        Some("promql") => return gateway::promql_command::run(arguments),
        _ => {}
    }
    let given = match cli::parse(std::env::args().skip(1)) {
        Ok(given) => given,
        Err(error) => {
            complain(&format!("ferula: error: {error}, try --help\n"));
            return ExitCode::from(2);
        }
    };
    if let Some(ask) = given.ask {
        say(&match ask {
            Ask::Help => cli::help(false),
            Ask::HelpLong => cli::help(true),
            Ask::Version => cli::version(),
            Ask::Documentation => cli::documentation(),
        });
        return ExitCode::SUCCESS;
    }
    let flags = match cli::Flags::new(&given) {
        Ok(flags) => flags,
        Err(error) => {
            complain(&format!("ferula: error: {error}\n"));
            return ExitCode::from(error.exit_code());
        }
    };
    if flags.print_default_config {
        say(gateway::config::DEFAULT_CONFIG);
        return ExitCode::SUCCESS;
    }
    gateway::logging::init(flags.log_level, flags.log_format);
    match gateway::start::run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config { path, reason }) => {
            tracing::error!(err = %reason, "Error loading config (--config.file={path})");
            ExitCode::FAILURE
        }
        Err(StartError::Web(error)) => {
            tracing::error!(err = %error, "Unable to validate web configuration file");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(err = %error, "Error starting the server");
            ExitCode::FAILURE
        }
    }
}

/// To standard output; a reader that went away is no reason to fail.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// To standard error, where the log is not set up yet.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
