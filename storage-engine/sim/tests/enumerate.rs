//! A crash at the operations of the scripts, and of their recovery; `cargo xtask sim-enumerate` does all of them.

use ferula_sim::enumerate::{crash_everywhere, scripts};

#[test]
fn a_crash_at_every_operation_loses_nothing_that_was_promised() {
    for script in scripts(1) {
        // Those with blocks are long: every ninth operation, the recovery from it at all.
        let step = if script.profile.blocks.is_some() {
            9
        } else {
            1
        };
        let done = crash_everywhere(&script, step, true);
        println!("{}: {done:?}", script.name);
        assert!(done.operations > 50 && done.states > 500, "{done:?}");
    }
}
