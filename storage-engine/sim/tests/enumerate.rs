//! A crash at every operation of the scripts, and of their recovery.

use ferula_sim::enumerate::{crash_everywhere, scripts};

#[test]
fn a_crash_at_every_operation_loses_nothing_that_was_promised() {
    for script in scripts() {
        let done = crash_everywhere(&script, 1, true);
        println!("{}: {done:?}", script.name);
        assert!(done.operations > 50 && done.states > 500, "{done:?}");
    }
}
