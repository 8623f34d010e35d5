//! A sample of the sweep over a damaged log; `cargo xtask wal-sweep` does all of it.

use ferula_sim::wal_sweep::sweep;

#[test]
fn a_damaged_log_costs_one_record_at_most() {
    let swept = sweep(64 << 10, 397, 1);
    println!("{swept:?}");
    assert!(swept.log_bytes >= 64 << 10);
    assert!(
        swept.bits > 1_000 && swept.bits_that_cost > 100,
        "{swept:?}"
    );
    assert!(swept.truncations > 100 && swept.sectors > 100, "{swept:?}");
}
