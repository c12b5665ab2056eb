//! What goes wrong with models.

use crate::error::{BoxError, ErrorKind, Explain, nearest};

/// What goes wrong with models.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No format knows the bytes.
    #[error("not a model: {found}")]
    Unknown {
        /// What the bytes look like.
        found: String,
    },
    /// The bytes cannot be used.
    #[error("{reason}")]
    Load {
        /// The true reason, fit for the registry's `error` column.
        reason: String,
        /// Its cause, if a library gave one.
        source: Option<BoxError>,
    },
    /// The runtime failed while scoring.
    #[error("model \"{model}\" failed: {reason}")]
    Run {
        /// `name:version`, or the file.
        model: String,
        /// What the runtime said.
        reason: String,
    },
    /// The features do not fit.
    #[error("model \"{model}\" {difference}")]
    Features {
        /// `name:version`, or the file.
        model: String,
        /// What was given and what it takes.
        difference: String,
        /// How to give them.
        hint: String,
        /// Which of them does not fit, from 0, if it is one.
        argument: Option<usize>,
    },
    /// The name is not that of a model.
    #[error("\"{name}\" is not a model's name")]
    BadName {
        /// As given.
        name: String,
    },
    /// Nobody published the model, or not that version.
    #[error("no model \"{name}\" on topic \"{topic}\"")]
    Missing {
        /// As asked for: `fraud`, `fraud:7`.
        name: String,
        /// The model topic.
        topic: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There are versions, and none of them can be used.
    #[error("no version of model \"{name}\" can be used; version {version}: {reason}")]
    Unusable {
        /// As asked for.
        name: String,
        /// The newest.
        version: u64,
        /// Why.
        reason: String,
    },
}

impl Explain for ModelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Features { .. } | Self::BadName { .. } | Self::Missing { .. } => ErrorKind::User,
            Self::Unknown { .. } | Self::Load { .. } | Self::Run { .. } | Self::Unusable { .. } => ErrorKind::Data,
        }
    }
    fn argument(&self) -> Option<usize> {
        match self {
            Self::Features { argument, .. } => *argument,
            _ => None,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("Export the model to ONNX.".to_owned()),
            Self::Features { hint, .. } => Some(hint.clone()),
            Self::BadName { .. } => {
                Some("Use letters, digits, \"_\", \".\" and \"-\"; a version follows a colon: 'fraud:7'.".to_owned())
            }
            Self::Missing { name, known, .. } if known.is_empty() => Some(format!("Publish it: vatic publish {name} FILE")),
            Self::Missing { name, known, .. } => {
                let near = nearest(name, known.iter().map(String::as_str)).map(|n| format!("Did you mean \"{n}\"?"));
                Some(match (near, known.as_slice()) {
                    (Some(near), [_]) => near,
                    (near, _) => {
                        format!("{} There are: {}.", near.unwrap_or_default(), known.join(", ")).trim_start().to_owned()
                    }
                })
            }
            Self::Unusable { .. } => Some("Publish a version that loads; SELECT * FROM models shows them all.".to_owned()),
            Self::Load { .. } | Self::Run { .. } => None,
        }
    }
}
