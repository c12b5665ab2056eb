//! Bytes of a model file: loaded or refused, without a panic, within libFuzzer's limits of time and memory.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _loaded_or_refused = vatic::model::load_any(bytes);
});
