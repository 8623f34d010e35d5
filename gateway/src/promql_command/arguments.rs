//! The command line of `ferula promql`. Names are those of `promtool promql` and `promtool query` where these have them.

use clap::{Arg, ArgAction, ArgMatches, Command};

fn option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help)
}

fn query() -> Arg {
    Arg::new("query").required(true).help("PromQL query")
}

fn local(name: &'static str, about: &'static str) -> Command {
    let features = option(
        "enable-feature",
        "Comma separated feature names: promql-experimental-functions, promql-extended-range-selectors, promql-binop-fill-modifiers",
    );
    Command::new(name)
        .about(about)
        .arg(features.action(ArgAction::Append))
        .arg(query())
}

fn remote(name: &'static str, about: &'static str, formats: [&'static str; 2]) -> Command {
    let server = Arg::new("server")
        .required(true)
        .help("Server to ask, as http://host:port, with a path prefix if it has one");
    Command::new(name)
        .about(about)
        .arg(option("time", "Evaluation time (RFC 3339 or Unix seconds); now when not given").conflicts_with("start"))
        .arg(option("start", "Start of a range query (RFC 3339 or Unix seconds)").requires("end"))
        .arg(option("end", "End of a range query (RFC 3339 or Unix seconds)").requires("start"))
        .arg(option("step", "Distance of the steps of a range query (a duration or seconds); a 250th of the range when not given").requires("start"))
        .arg(option("timeout", "Longest time that the server may take (a duration)").default_value("2m"))
        .arg(
            option("header", "Extra header, name: value; may be given several times")
                .action(ArgAction::Append),
        )
        .arg(
            option("format", "Output format")
                .short('o')
                .value_parser(formats)
                .default_value(formats[0]),
        )
        .arg(server)
        .arg(query())
}

/// All of it.
pub(super) fn command() -> Command {
    Command::new("ferula promql")
        .about("Format, parse, run and explain queries")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            local("format", "Print the query as its pretty-printer writes it"),
            local("parse", "Print the syntax tree of the query as JSON"),
            remote("query", "Ask a server for the answer", ["promql", "json"]),
            remote(
                "explain",
                "Ask a server for the answer and print what it took: the plan, where each part ran, what it read, how long it took",
                ["text", "json"],
            ),
        ])
}

/// A text argument; empty when it was not given.
pub(super) fn text<'m>(matches: &'m ArgMatches, name: &str) -> &'m str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
        let given = ["ferula promql", "query", "--time=5", "http://x", "up"];
        let matches = command().try_get_matches_from(given).unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        assert_eq!(text(matches, "server"), "http://x");
        assert_eq!(text(matches, "format"), "promql");
        for wrong in [
            &["ferula promql", "query", "http://x"][..],
            &["ferula promql", "query", "--start=1", "http://x", "up"],
            &[
                "ferula promql",
                "query",
                "--start=1",
                "--end=2",
                "--time=1",
                "http://x",
                "up",
            ],
            &[
                "ferula promql",
                "explain",
                "--format=promql",
                "http://x",
                "up",
            ],
        ] {
            assert!(command().try_get_matches_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
