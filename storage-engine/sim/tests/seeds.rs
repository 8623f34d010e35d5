//! A short run of the simulator, and every seed that once failed.

use ferula_sim::seeds::{kept, try_run};

#[test]
fn two_hundred_seeds_lose_and_invent_nothing() {
    let mut crash_points = 0;
    for seed in 1..=200 {
        match try_run(seed) {
            Ok(report) => crash_points += report.crash_points,
            Err(failure) => panic!("seed {seed}: {}", failure.text),
        }
    }
    assert!(crash_points > 300, "only {crash_points} crash points");
}

#[test]
fn seeds_that_failed_once_stay_repaired() {
    for seed in kept() {
        if let Err(failure) = try_run(seed) {
            panic!("seed {seed}: {}", failure.text);
        }
    }
}

#[test]
fn a_seed_is_the_same_story_twice() {
    for seed in (1..=200).step_by(10) {
        let first = try_run(seed).map_err(|failure| failure.text);
        assert_eq!(first, try_run(seed).map_err(|failure| failure.text));
    }
}
