//! A record of the model topic.   key, value ─► [`decode`] ─► a version's descriptor, or an order, or a note why neither
//!
//! The key is the model's name, the value a protobuf `ModelDescriptor` (crate `vatic-proto`). Two older dialects give its
//! enum different meanings, so the enum is never read: the model's bytes decide what they are. Times are milliseconds
//! since the Unix epoch. A record that is neither never stops anything: it is left out and counted.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use vatic_proto::model_descriptor::Content as Wire;
use vatic_proto::{Message, ModelDescriptor, control};

use super::ModelError;
use super::reference::is_name;
use crate::time::{self, Millis};

/// A SHA-256.
pub type Hash = [u8; 32];

/// One published version, as its publisher describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The model's name, checked.
    pub name: String,
    /// What people should know; may be empty.
    pub description: String,
    /// The format's name as the publisher gives it: a hint.
    pub format: Option<String>,
    /// When the publisher made it.
    pub created_at: Option<Millis>,
    /// Where the model is.
    pub content: Content,
    /// The hash that the publisher gives; not compared yet.
    pub sha256: Option<Vec<u8>>,
}

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The model file itself.
    Data(Bytes),
    /// Somewhere else.
    Location(String),
    /// Nowhere: the descriptor has neither.
    Nothing,
}

/// What a record of the model topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A version.
    Version(Descriptor),
    /// An order about the model `name`: `alias`, `route`, `rollback` or `retire`. Reserved, without effect so far.
    Order {
        /// The model.
        name: String,
        /// The order's name.
        order: &'static str,
    },
}

impl Descriptor {
    /// A descriptor of a model file, made now, with its hash.
    ///
    /// # Errors
    /// `BadName`.
    pub fn new(name: &str, data: Bytes, format: &str, description: &str) -> Result<Self, ModelError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            description: description.to_owned(),
            format: Some(format.to_owned()),
            created_at: Some(time::now()),
            sha256: Some(sha256(&data).to_vec()),
            content: Content::Data(data),
        })
    }
    /// The value of its record; the key is the name.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let content = match &self.content {
            Content::Data(data) => Some(Wire::Data(data.clone())),
            Content::Location(location) => Some(Wire::Location(location.clone())),
            Content::Nothing => None,
        };
        let message = ModelDescriptor {
            name: self.name.clone(),
            description: self.description.clone(),
            content,
            sha256: self.sha256.clone().unwrap_or_default().into(),
            format: self.format.clone().unwrap_or_default(),
            created_at: self.created_at.unwrap_or_default(),
            ..ModelDescriptor::default()
        };
        message.encode_to_vec()
    }
}

/// Reads a record.
///
/// # Errors
/// A note for people: why the record is left out.
pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Parsed, String> {
    let value = value.ok_or("it has no value (a tombstone); versions cannot be deleted")?;
    let message = ModelDescriptor::decode(value).map_err(|error| format!("it is no model descriptor: {error}"))?;
    let name = if message.name.is_empty() {
        key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default().to_owned()
    } else {
        message.name
    };
    if name.is_empty() {
        return Err("neither its descriptor nor its key names a model".to_owned());
    }
    check_name(&name).map_err(|error| error.to_string())?;
    if let Some(control) = message.control {
        let order = match control.order {
            Some(control::Order::Alias(_)) => "alias",
            Some(control::Order::Route(_)) => "route",
            Some(control::Order::Rollback(_)) => "rollback",
            Some(control::Order::Retire(_)) => "retire",
            None => "unknown",
        };
        return Ok(Parsed::Order { name, order });
    }
    Ok(Parsed::Version(Descriptor {
        name,
        description: message.description,
        format: Some(message.format).filter(|format| !format.is_empty()),
        created_at: Some(message.created_at).filter(|at| *at != 0),
        content: match message.content {
            Some(Wire::Data(data)) => Content::Data(data),
            Some(Wire::Location(location)) => Content::Location(location),
            None => Content::Nothing,
        },
        sha256: Some(message.sha256.to_vec()).filter(|hash| !hash.is_empty()),
    }))
}

/// Refuses what cannot be a model's name.
///
/// # Errors
/// `BadName`.
pub fn check_name(name: &str) -> Result<(), ModelError> {
    if is_name(name) { Ok(()) } else { Err(ModelError::BadName { name: name.to_owned() }) }
}

/// The SHA-256 of `bytes`: about 1 to 4 ms per megabyte.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// `bytes` in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_survives_its_record() {
        let descriptor = Descriptor::new("fraud", Bytes::from_static(b"abc"), "onnx", "better").unwrap();
        assert_eq!(
            hex(descriptor.sha256.as_deref().unwrap_or_default()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(decode(Some(b"fraud"), Some(&descriptor.encode())), Ok(Parsed::Version(descriptor)));
        assert!(Descriptor::new("fr aud", Bytes::new(), "onnx", "").is_err());
    }

    #[test]
    fn the_key_names_a_descriptor_that_does_not() {
        let old = ModelDescriptor { content: Some(Wire::Location("/m".into())), modeltype: 2, ..Default::default() };
        let Ok(Parsed::Version(read)) = decode(Some(b"wine"), Some(&old.encode_to_vec())) else { panic!("not a version") };
        assert_eq!((read.name.as_str(), read.content), ("wine", Content::Location("/m".into())));
        assert!(decode(None, Some(&old.encode_to_vec())).unwrap_err().contains("names a model"));
    }

    #[test]
    fn what_is_no_descriptor_is_told_apart() {
        assert!(decode(Some(b"a"), None).unwrap_err().contains("tombstone"));
        assert!(decode(Some(b"a"), Some(b"{\"name\": \"a\"}")).unwrap_err().contains("no model descriptor"));
        assert_eq!(decode(Some(b"a b"), Some(b"")).unwrap_err(), "\"a b\" is not a model's name");
        let order = vatic_proto::Control { order: Some(control::Order::Retire(vatic_proto::Retire { version: 3 })) };
        let record = ModelDescriptor { name: "a".into(), control: Some(order), ..Default::default() }.encode_to_vec();
        assert_eq!(decode(None, Some(&record)), Ok(Parsed::Order { name: "a".into(), order: "retire" }));
    }
}
