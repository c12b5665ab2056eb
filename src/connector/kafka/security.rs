//! Clients that brokers let in.   properties ─► checked and completed ─► client ─► a first answer, or why there is none
//!
//! librdkafka says of a refusal only that nobody answers, and the reason in an event of its own; of a listener that speaks
//! another protocol, that it hung up. Both are put together here, within [`PATIENCE`], so that people read what is wrong: a
//! password, a certificate, a protocol. To explain another mistake: add it to [`check`] if the properties alone show it, else to
//! [`refusal`].

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;

use super::admin::tidy;
use super::error::KafkaError;
use super::ffi::{Client, Failure, Kind};
use super::properties::Properties;

/// How long a broker may take to answer a first question.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a listener may hang up on us before we believe that it means it.
const STUBBORN: Duration = Duration::from_secs(3);

/// Properties that name files.
const FILES: &[&str] = &[
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.keystore.location",
];

/// A client with these properties.
///
/// # Errors
/// `User` for properties that librdkafka does not take, or that cannot be meant so.
pub(super) fn client(kind: Kind, properties: &Properties) -> Result<Client, KafkaError> {
    check(properties)?;
    let mut all = properties.clone();
    let tls = protocol(properties).ends_with("ssl");
    if tls && !["ssl.ca.location", "ssl.ca.pem", "ssl.ca.certificate.stores"].iter().any(|name| all.contains_key(*name)) {
        // Ours is linked statically and has no certificates of its own: those of the system.
        all.insert("ssl.ca.location".to_owned(), "probe".to_owned());
    }
    Ok(Client::new(kind, &all)?)
}

/// Whether a table's own properties make its clients other people than the process's.
pub(super) fn differs(table: &Properties) -> bool {
    table.keys().any(|name| ["sasl.", "ssl.", "security."].iter().any(|family| name.starts_with(family)))
}

/// Waits until a broker answers the client.
///
/// # Errors
/// `External`: nobody answers within 10 s, or a broker refuses, at once.
pub(super) fn greet(client: &Client, address: &str, properties: &Properties) -> Result<(), KafkaError> {
    let begun = Instant::now();
    loop {
        // In short steps, because a refusal is told by an event and not by the answer.
        let answer = client.topics(Duration::from_millis(300));
        client.poll(Duration::ZERO);
        let Err(failure) = answer else {
            client.is_let_in();
            return Ok(());
        };
        if let Some(error) = refusal(client, address) {
            return Err(error);
        }
        let note = tidy(&client.note().unwrap_or(failure.text));
        let hangs_up = note.contains("Disconnected") || note.contains("handshake failed");
        if hangs_up && begun.elapsed() > STUBBORN {
            let tls = protocol(properties).ends_with("ssl");
            return Err(KafkaError::WrongProtocol { address: address.to_owned(), tls, reason: note });
        }
        if begun.elapsed() > PATIENCE {
            return Err(KafkaError::Unreachable { address: address.to_owned(), reason: note });
        }
    }
}

/// Why the broker does not let this client in, if it said so.
pub(super) fn refusal(client: &Client, address: &str) -> Option<KafkaError> {
    let Failure { code, text, .. } = client.refused()?;
    let (address, reason) = (address.to_owned(), tidy(&text));
    Some(match code {
        Code::SSL => KafkaError::Tls { address, reason },
        _ => KafkaError::Credentials { address, reason },
    })
}

fn protocol(properties: &Properties) -> String {
    properties.get("security.protocol").map_or_else(|| "plaintext".to_owned(), |name| name.to_ascii_lowercase())
}

/// What no broker need be asked for.
fn check(properties: &Properties) -> Result<(), KafkaError> {
    let has = |name: &str| properties.get(name).is_some_and(|value| !value.is_empty());
    let wrong = |what: String, hint: &str| Err(KafkaError::Security { what, hint: hint.to_owned() });
    let protocol = protocol(properties);
    if protocol.starts_with("sasl") {
        let name = protocol.to_ascii_uppercase();
        let Some(mechanism) = properties.get("sasl.mechanisms") else {
            let what = format!("security.protocol={name} needs the Kafka property \"sasl.mechanism\"");
            return wrong(what, "Add -X sasl.mechanism=SCRAM-SHA-512, or SCRAM-SHA-256, PLAIN, OAUTHBEARER.");
        };
        let by_password = mechanism.starts_with("SCRAM") || mechanism == "PLAIN";
        let missing = ["sasl.username", "sasl.password"].into_iter().find(|name| by_password && !has(name));
        if let Some(missing) = missing {
            let what = format!("sasl.mechanism={mechanism} needs the Kafka property \"{missing}\"");
            return wrong(what, &format!("Add -X {missing}=..."));
        }
    } else if let Some(name) = ["sasl.mechanisms", "sasl.username", "sasl.password"].into_iter().find(|name| has(name)) {
        let name = name.trim_end_matches('s');
        let what = format!("the Kafka property \"{name}\" has no effect without \"security.protocol\"");
        return wrong(what, "Add -X security.protocol=SASL_SSL, or SASL_PLAINTEXT where the listener speaks no TLS.");
    }
    for name in FILES {
        let Some(path) = properties.get(*name).filter(|path| *path != "probe" && !path.is_empty()) else { continue };
        if let Err(e) = std::fs::metadata(path) {
            let what = format!("the file \"{path}\" of the Kafka property \"{name}\" cannot be read: {e}");
            return wrong(what, "Correct the path; relative ones are relative to the working directory.");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn mistake(properties: &[(&str, &str)]) -> (String, String) {
        let properties = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let error = Error::from(check(&properties).unwrap_err());
        (error.message().to_owned(), error.get_hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn what_the_properties_alone_show_is_told_without_a_broker() {
        let (message, hint) = mistake(&[("security.protocol", "sasl_ssl")]);
        assert_eq!(message, "security.protocol=SASL_SSL needs the Kafka property \"sasl.mechanism\"");
        assert!(hint.contains("SCRAM-SHA-512"), "{hint}");
        let scram = [("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "PLAIN"), ("sasl.username", "a")];
        assert_eq!(mistake(&scram).0, "sasl.mechanism=PLAIN needs the Kafka property \"sasl.password\"");
        let (message, hint) = mistake(&[("sasl.password", "very secret")]);
        assert_eq!(message, "the Kafka property \"sasl.password\" has no effect without \"security.protocol\"");
        assert!(hint.contains("SASL_SSL") && !hint.contains("very"), "{hint}");
        let (message, _) = mistake(&[("security.protocol", "SSL"), ("ssl.ca.location", "/no/such.pem")]);
        assert!(message.starts_with("the file \"/no/such.pem\" of the Kafka property \"ssl.ca.location\""), "{message}");
        check(&Properties::new()).unwrap();
    }

    #[test]
    fn nobody_home_is_told_within_ten_seconds() {
        let begun = Instant::now();
        let client = client(Kind::Admin, &super::super::properties::admin("127.0.0.1:1", &Properties::new())).unwrap();
        let error = Error::from(greet(&client, "127.0.0.1:1", &Properties::new()).unwrap_err());
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(error.kind(), crate::ErrorKind::External);
        assert!(error.message().starts_with("no Kafka broker answers at \"127.0.0.1:1\": "), "{error:?}");
        assert!(error.message().contains("Connection refused"), "{error:?}");
    }
}
