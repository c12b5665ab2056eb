//! What an ONNX file says of itself in its first fields: who wrote it, and for which sets of operators.
//!
//! Read off the bytes without decoding the graph, so that as much is known of a file that is refused.

use super::super::Facts;
use super::scan::{tag, value, varint};

/// The fields that were found before the bytes end or are damaged.
pub(super) fn facts(bytes: &[u8]) -> Facts {
    let mut facts = Facts::default();
    let mut rest = bytes;
    while let Some((field, wire, after)) = tag(rest) {
        let Some((payload, behind)) = value(wire, after) else { break };
        rest = behind;
        match (field, wire) {
            (1, 0) => facts.format_version = varint(after).map(|(version, _)| format!("IR version {version}")),
            (2, 2) => facts.producer = text(payload),
            (3, 2) => facts.producer_version = text(payload),
            (8, 2) if facts.opsets.len() < 100 => {
                // Some writers say it twice.
                facts.opsets.extend(opset(payload).filter(|opset| !facts.opsets.contains(opset)));
            }
            _ => {}
        }
    }
    facts
}

/// Text that is not empty, and not longer than a name is.
fn text(bytes: &[u8]) -> Option<String> {
    let text: String =
        String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}

fn opset(bytes: &[u8]) -> Option<(String, i64)> {
    let (mut domain, mut version) = ("ai.onnx".to_owned(), 0);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (field, wire, after) = tag(rest)?;
        let (payload, behind) = value(wire, after)?;
        rest = behind;
        match (field, wire) {
            (1, 2) => domain = text(payload).unwrap_or(domain),
            (2, 0) => version = varint(after)?.0.cast_signed(),
            _ => {}
        }
    }
    Some((domain, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_off_tells_what_it_still_has() {
        let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/iris_species.onnx")).unwrap();
        let whole = facts(&file);
        assert_eq!(whole.producer.as_deref(), Some("skl2onnx"));
        assert!(whole.opsets.iter().any(|(domain, version)| domain == "ai.onnx.ml" && *version >= 1), "{whole:?}");
        assert!(whole.opsets.iter().any(|(domain, version)| domain == "ai.onnx" && *version > 8), "{whole:?}");
        let cut = facts(&file[..file.len() / 2]);
        assert_eq!((cut.producer, cut.format_version), (whole.producer, whole.format_version));
        assert_eq!(facts(b""), Facts::default());
        assert_eq!(facts(&[0xff; 40]), Facts::default());
    }
}
