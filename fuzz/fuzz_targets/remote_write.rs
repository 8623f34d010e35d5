//! Shell of the fuzz target `remote_write`; what it does is in `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::remote_write::body(data));
