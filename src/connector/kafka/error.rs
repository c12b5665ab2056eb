//! What goes wrong with Kafka: always the broker's address or the topic, and what librdkafka says last.

use rdkafka::types::RDKafkaErrorCode as Code;

use super::ffi::Failure;
use super::rights::{Request, Right};
use crate::connector::{Partition, TopicError};
use crate::error::{ErrorKind, Explain, nearest};

/// An error of the Kafka connector.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// Nobody answers there.
    #[error("no Kafka broker answers at \"{address}\": {reason}")]
    Unreachable {
        /// As given.
        address: String,
        /// What librdkafka says.
        reason: String,
    },
    /// The broker does not let us in.
    #[error("the Kafka broker at \"{address}\" refuses the credentials: {reason}")]
    Credentials {
        /// As given.
        address: String,
        /// What librdkafka says.
        reason: String,
    },
    /// TLS does not come about: the certificate is not trusted, or is another's.
    #[error("TLS with the Kafka broker at \"{address}\" fails: {reason}")]
    Tls {
        /// As given.
        address: String,
        /// What librdkafka says.
        reason: String,
    },
    /// A listener answers whose protocol is not the client's.
    #[error(
        "the Kafka broker at \"{address}\" hangs up on a client {}: {reason}",
        if *tls { "that speaks TLS" } else { "that speaks no TLS" }
    )]
    WrongProtocol {
        /// As given.
        address: String,
        /// Whether the client speaks TLS.
        tls: bool,
        /// What librdkafka says.
        reason: String,
    },
    /// Properties of TLS and SASL that cannot be meant so.
    #[error("{what}")]
    Security {
        /// What is missing or wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// librdkafka has no such property.
    #[error("unknown Kafka property \"{name}\"")]
    UnknownProperty {
        /// As given.
        name: String,
        /// All there are.
        known: Vec<String>,
    },
    /// A property that decides what is promised.
    #[error("the Kafka property \"{name}\" is set by vatic")]
    OwnProperty {
        /// As given.
        name: String,
    },
    /// A value that its property does not take.
    #[error("the Kafka property \"{name}\" cannot be {value}{takes}")]
    BadValue {
        /// Of the property, as given.
        name: String,
        /// In quotes; of a secret one only that it was given.
        value: String,
        /// What it takes, where librdkafka says it.
        takes: String,
    },
    /// Values that do not go together.
    #[error("a Kafka property does not fit: {reason}")]
    BadProperty {
        /// What librdkafka says.
        reason: String,
    },
    /// The broker was asked in vain.
    #[error("Kafka at \"{address}\" could not {what}: {reason}")]
    Failed {
        /// As given.
        address: String,
        /// `list the topics`
        what: String,
        /// What the broker or librdkafka says.
        reason: String,
        /// Its code.
        code: Code,
    },
    /// Our principal has no right to it.
    #[error("Kafka at \"{address}\" does not allow vatic to {what}: {reason}")]
    Forbidden {
        /// As given.
        address: String,
        /// `write topic "t"`
        what: String,
        /// What the broker says.
        reason: String,
        /// The right that is missing, where it is known.
        right: Option<Right>,
    },
    /// The broker refuses a topic's name or settings.
    #[error("topic \"{topic}\" cannot be created: {reason}")]
    BadTopic {
        /// As given.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// A topic, a partition or an offset that is not there, or a record that the topic does not take.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The group's offsets are in use.
    #[error("job group \"{group}\" cannot be reset while a process runs it")]
    GroupBusy {
        /// The group.
        group: String,
    },
    /// Another process has taken over.
    #[error("a newer writer of group \"{group}\" has taken over; nothing of the commit was written: {reason}")]
    Fenced {
        /// The group.
        group: String,
        /// What the broker says.
        reason: String,
    },
    /// Partitions of the commit are another member's now.
    #[error(
        "topic \"{topic}\" partition {partition} went to another process of group \"{group}\"; nothing of the commit was written"
    )]
    NotOurs {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// Its partition.
        partition: Partition,
    },
    /// A broker does not take a record as it is.
    #[error("topic \"{topic}\" does not take a record: {reason}")]
    Rejected {
        /// The topic.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// A commit's outcome is not known, or it failed.
    #[error("a commit to Kafka at \"{address}\" failed: {reason}")]
    Commit {
        /// As given.
        address: String,
        /// What librdkafka says.
        reason: String,
    },
    /// The process has no more threads or sockets.
    #[error("the Kafka client could not be started: {0}")]
    Start(String),
    /// What the engine hands over breaks the rules of the interface.
    #[error("{0}")]
    Misuse(String),
}

impl KafkaError {
    /// What a broker's answer means, when it was asked to `what`.
    pub(super) fn of(address: &str, request: impl Into<Request>, failure: Failure) -> Self {
        let Request { what, right } = request.into();
        let address = address.to_owned();
        match failure.code {
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed => {
                let right = right.filter(|right| right.is_meant_by(failure.code));
                Self::Forbidden { address, what, reason: failure.text, right }
            }
            Code::Authentication | Code::SaslAuthenticationFailed => Self::Credentials { address, reason: failure.text },
            code => Self::Failed { address, what, reason: failure.text, code },
        }
    }
}

impl Explain for KafkaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownProperty { .. }
            | Self::Security { .. }
            | Self::OwnProperty { .. }
            | Self::BadValue { .. }
            | Self::BadProperty { .. }
            | Self::BadTopic { .. }
            | Self::GroupBusy { .. } => ErrorKind::User,
            Self::Topic(error) => error.kind(),
            Self::Rejected { .. } => ErrorKind::Data,
            Self::Misuse(_) => ErrorKind::Internal,
            _ => ErrorKind::External,
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Commit { .. } | Self::Fenced { .. } | Self::NotOurs { .. } => true,
            // What a broker can never do, it will not do later either.
            Self::Failed { code, .. } => !matches!(
                code,
                Code::UnsupportedVersion
                    | Code::UnsupportedFeature
                    | Code::UnsupportedForMessageFormat
                    | Code::InvalidArgument
                    | Code::InvalidRequest
                    | Code::InvalidConfig
                    | Code::PolicyViolation
                    | Code::InvalidGroupId
                    | Code::InvalidSessionTimeout
                    | Code::GroupMaxSizeReached
                    | Code::InvalidTransactionTimeout
                    | Code::InconsistentGroupProtocol
            ),
            _ => false,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Topic(error) => return error.hint(),
            Self::Rejected { .. } => "Compare the topic's settings (vatic topic describe) with what is written.".to_owned(),
            Self::Unreachable { .. } => {
                "Check the address, and that the broker runs and can be reached from here.".to_owned()
            }
            Self::Credentials { reason, .. } if reason.contains("mechanism handshake") => {
                "Set -X sasl.mechanism (SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, OAUTHBEARER) to one that the listener has."
                    .to_owned()
            }
            Self::Credentials { .. } => "Correct -X sasl.username or sasl.password, or the user on the brokers.".to_owned(),
            Self::Tls { reason, .. } if reason.contains("certificate verify failed") => {
                "Name the file that holds the certificate of the brokers' CA: -X ssl.ca.location=ca.pem.".to_owned()
            }
            Self::Tls { .. } => {
                "Compare -X security.protocol, ssl.ca.location and the client's certificate with the listener's settings."
                    .to_owned()
            }
            Self::WrongProtocol { tls: false, .. } => {
                "If the listener speaks TLS, use -X security.protocol=SSL, or SASL_SSL with a user and password.".to_owned()
            }
            Self::WrongProtocol { tls: true, .. } => {
                "If the listener speaks no TLS, leave out -X security.protocol, or use SASL_PLAINTEXT.".to_owned()
            }
            Self::Security { hint, .. } => hint.clone(),
            Self::UnknownProperty { name, known } => match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("Did you mean \"{near}\"?"),
                None => "Use one of librdkafka's properties (its CONFIGURATION.md lists them).".to_owned(),
            },
            Self::OwnProperty { .. } => "Leave it out: what is promised of a job depends on it.".to_owned(),
            Self::BadValue { .. } | Self::BadProperty { .. } => {
                "Correct the value given with -X or in WITH (kafka....).".to_owned()
            }
            Self::Forbidden { right: Some(right), .. } => {
                format!("It needs {right}; whoever may can grant it: {}", right.grant())
            }
            Self::Forbidden { .. } => "Grant the right with kafka-acls, or use other credentials.".to_owned(),
            Self::BadTopic { .. } => "Correct the name or the setting.".to_owned(),
            Self::GroupBusy { .. } => "Stop the job first, in every process that runs it.".to_owned(),
            Self::Fenced { .. } => "Stop one of the two.".to_owned(),
            Self::Failed { .. } | Self::Commit { .. } | Self::NotOurs { .. } | Self::Start(_) => return None,
            Self::Misuse(_) => return None,
        })
    }
}
