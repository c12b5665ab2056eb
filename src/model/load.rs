//! From bytes of unknown kind to a model: asks the formats in [`MODEL_FORMATS`] who knows them.

use super::{Loaded, MODEL_FORMATS, ModelError, ModelFormat};

/// The format that knows `bytes`; cheap.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Option<&'static dyn ModelFormat> {
    MODEL_FORMATS.iter().find(|format| format.sniff(bytes)).copied()
}

/// Loads a model of any format; returns the format's name too. Takes up to seconds: call it off the hot path.
///
/// # Errors
/// `Unknown` if no format knows the bytes; else as [`ModelFormat::load`].
pub fn load_any(bytes: &[u8]) -> Result<(&'static str, Loaded), ModelError> {
    let format = sniff(bytes).ok_or_else(|| ModelError::Unknown { found: describe(bytes) })?;
    Ok((format.name(), format.load(bytes)?))
}

/// What bytes look like that no format knows.
fn describe(bytes: &[u8]) -> String {
    let start = bytes.get(..bytes.len().min(256)).unwrap_or_default();
    let text = std::str::from_utf8(start).or_else(|e| std::str::from_utf8(start.get(..e.valid_up_to()).unwrap_or_default()));
    let text = text.unwrap_or_default().trim_start_matches('\u{feff}').trim_start();
    let printable = !text.is_empty() && !text.contains(|c: char| c.is_control() && !c.is_whitespace());
    let what = match start {
        [] => "it is empty",
        [b'P', b'K', 3, 4, ..] => "it is a zip archive",
        [0x1f, 0x8b, ..] => "it is compressed with gzip",
        [0x80, 2..=5, ..] => "it is a Python pickle",
        [0x89, b'H', b'D', b'F', ..] => "it is an HDF5 file",
        _ if printable && text.starts_with('<') => "it is XML",
        _ if printable && text.starts_with('{') => "it is JSON",
        _ if printable && bytes.len() <= 256 => "it is text",
        _ => return format!("{} bytes that no model format knows", bytes.len()),
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_nobody_knows_are_described() {
        for (bytes, wanted) in [
            (&b""[..], "not a model: it is empty"),
            (b"  <PMML/>", "not a model: it is XML"),
            (b"PK\x03\x04zip", "not a model: it is a zip archive"),
            (b"hello", "not a model: it is text"),
            (b"\xff\xfe\x00\x01", "not a model: 4 bytes that no model format knows"),
        ] {
            assert_eq!(ModelError::Unknown { found: describe(bytes) }.to_string(), wanted);
        }
        assert!(load_any(b"hello").is_err());
    }
}
