//! Every sync that the simulator's seeds reach is needed: without it, one of them fails.

use ferula_sim::mutants::{caught_by, is_spare, reached};

#[test]
fn a_program_that_forgets_a_sync_is_caught() {
    let sites = reached(1..=60);
    println!("{sites:#?}");
    assert!(sites.len() >= 5, "{sites:?}");
    assert!(!sites.keys().any(|site| site.starts_with("unknown")));
    let missed: Vec<_> = sites
        .keys()
        .filter(|site| !is_spare(site) && caught_by(site, 1..=300).is_none())
        .collect();
    assert!(missed.is_empty(), "nobody misses {missed:?}");
}
