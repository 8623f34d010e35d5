//! Shell of the fuzz target `wal_payload`; what it does is in `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::wal::payload(data));
