//! PromQL: what can be parsed prints as a query that parses to the same, on one line and on many.

use query_engine::parse::{ParserOptions, parse, parse_bytes, prettify};

/// A query.
pub fn query(data: &[u8]) {
    let options = ParserOptions::all();
    let Ok(expr) = parse_bytes(data, &options) else {
        return;
    };
    let printed = expr.to_string();
    // Printing may add parentheses; what they add to the nesting is bounded for the text that came, not for this.
    let roomy = ParserOptions {
        nesting_max: usize::MAX,
        tree_depth_max: usize::MAX,
        query_bytes_max: usize::MAX,
        ..ParserOptions::all()
    };
    let again = parse(&printed, &roomy);
    let again = again.unwrap_or_else(|error| panic!("{printed:?} does not parse: {error}"));
    assert_eq!(again.to_string(), printed, "printing is not a fixpoint");
    let pretty = prettify(&expr);
    let again = parse(&pretty, &roomy);
    let again = again.unwrap_or_else(|error| panic!("{pretty:?} does not parse: {error}"));
    assert_eq!(
        again.to_string(),
        printed,
        "the pretty text means something else"
    );
}
