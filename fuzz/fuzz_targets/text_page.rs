//! Shell of the fuzz target `text_page`; what it does is in `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::text::page(data));
