//! Rights that Kafka's authorizers grant, as `kafka-acls` names them: what a refused request would have needed.

use std::fmt;

use rdkafka::types::RDKafkaErrorCode as Code;

/// An operation on something: `Read` on topic "payments".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    operation: &'static str,
    kind: Kind,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Topic,
    Group,
    TransactionalId,
}

impl Right {
    /// To a topic.
    pub(super) fn topic(operation: &'static str, name: impl Into<String>) -> Self {
        Self { operation, kind: Kind::Topic, name: name.into() }
    }
    /// To a consumer group.
    pub(super) fn group(operation: &'static str, name: impl Into<String>) -> Self {
        Self { operation, kind: Kind::Group, name: name.into() }
    }
    /// To write with a transactional id.
    pub(super) fn transactional_id(name: impl Into<String>) -> Self {
        Self { operation: "Write", kind: Kind::TransactionalId, name: name.into() }
    }
    /// Whether a broker that answers `code` means this kind of thing.
    pub(super) fn is_meant_by(&self, code: Code) -> bool {
        match code {
            Code::TopicAuthorizationFailed => self.kind == Kind::Topic,
            Code::GroupAuthorizationFailed => self.kind == Kind::Group,
            Code::TransactionalIdAuthorizationFailed => self.kind == Kind::TransactionalId,
            _ => true,
        }
    }
    /// The command that grants it.
    pub(super) fn grant(&self) -> String {
        let (option, name) = match self.kind {
            Kind::Topic => ("topic", &self.name),
            Kind::Group => ("group", &self.name),
            Kind::TransactionalId => ("transactional-id", &self.name),
        };
        let more = if self.operation == "Describe" { " (Read and Write include Describe)" } else { "" };
        format!("kafka-acls --add --allow-principal User:... --operation {} --{option} {name}{more}", self.operation)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Topic => "topic",
            Kind::Group => "group",
            Kind::TransactionalId => "transactional id",
        };
        write!(f, "{} on {kind} \"{}\"", self.operation, self.name)
    }
}

/// What a broker is asked to do, and the right that it needs, where one is known.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub what: String,
    pub right: Option<Right>,
}

impl From<&str> for Request {
    fn from(what: &str) -> Self {
        Self { what: what.to_owned(), right: None }
    }
}

impl From<String> for Request {
    fn from(what: String) -> Self {
        Self { what, right: None }
    }
}

impl<W: Into<String>> From<(W, Right)> for Request {
    fn from((what, right): (W, Right)) -> Self {
        Self { what: what.into(), right: Some(right) }
    }
}
