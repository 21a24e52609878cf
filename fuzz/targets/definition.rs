#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stepbus_fuzz::definition::run(data));
