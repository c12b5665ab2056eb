//! The messages of the model topic, as prost types.   `model.proto` ─► `generated.rs` (committed) ─► this crate
//!
//! The generated code is committed, so that a build needs no protobuf compiler; a test generates it again and compares.
//! To change a message: edit `model.proto` (new fields from 16 up, numbers are never reused), then run
//! `VATIC_REGENERATE=1 cargo test -p vatic-proto`.

#[rustfmt::skip] // As prost-build writes it, so that it can be compared.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod generated;

pub use generated::*;
pub use prost::Message;
pub use prost::bytes::Bytes;

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of both older dialects, byte by byte: 1 name, 4 modeltype, 5 data or 6 location.
    #[test]
    fn both_dialects_in_the_field_decode() {
        for modeltype in 0..=2_u8 {
            let bytes = [&b"\x0a\x05fraud\x1a\x04wine\x20"[..], &[modeltype], b"\x2a\x03abc"].concat();
            let descriptor = ModelDescriptor::decode(bytes.as_slice()).unwrap();
            assert_eq!((descriptor.name.as_str(), descriptor.data_type.as_str()), ("fraud", "wine"));
            assert_eq!(descriptor.modeltype, i32::from(modeltype));
            assert_eq!(descriptor.content, Some(model_descriptor::Content::Data(Bytes::from_static(b"abc"))));
        }
        let descriptor = ModelDescriptor::decode(&b"\x32\x04/m.x\x20\x63"[..]).unwrap();
        assert_eq!(descriptor.content, Some(model_descriptor::Content::Location("/m.x".to_owned())));
        assert_eq!(descriptor.modeltype, 0x63, "an unknown enum value is kept, not refused");
    }
}
