//! A record of the model topic: a descriptor, or the reason why it is none.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _descriptor_or_reason = vatic::model::descriptor::decode(Some(b"m"), Some(bytes));
});
