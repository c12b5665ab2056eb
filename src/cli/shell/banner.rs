//! The first words of the shell: where it is, what is there, and three things to type.

use super::catalog::Names;

/// What there is to say for a broker at `address`; `answered` is false where it did not in time.
pub(super) fn banner(address: &str, names: &Names, answered: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let there = if answered { format!(": {}", counted(names)) } else { String::new() };
    let head = format!("vatic {version} on {address}{there}.\nType help for help, \\q to leave.");
    let lines: Vec<(String, &str)> = match names.topics.iter().find(|topic| !is_own(topic, names)) {
        _ if !answered => {
            vec![("\\l".to_owned(), "the topics, once the broker answers"), ("\\?".to_owned(), "all commands")]
        }
        None => vec![
            ("\\demo".to_owned(), "fill topic \"payments\", publish model \"fraud\": data to play with"),
            ("\\h".to_owned(), "the statements there are"),
            ("\\?".to_owned(), "all commands"),
        ],
        Some(topic) => vec![
            (format!("SELECT * FROM topic('{topic}') LIMIT 5;"), "look into a topic"),
            ("\\l".to_owned(), "all topics; \\dm all models"),
            ("\\?".to_owned(), "all commands"),
        ],
    };
    let width = lines.iter().map(|(typed, _)| typed.chars().count()).max().unwrap_or(0);
    let lines = lines.iter().map(|(typed, what)| format!("  {typed:<width$}  {what}"));
    format!("{head}\n\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

/// `3 topics, 1 model`
pub(super) fn counted(names: &Names) -> String {
    let topics = names.topics.iter().filter(|topic| !is_own(topic, names)).count();
    format!("{}, {}", count(topics, "topic"), count(names.models.len(), "model"))
}

/// Topics that vatic made for itself.
fn is_own(topic: &str, names: &Names) -> bool {
    topic == names.models_topic() || topic.starts_with("vatic-") || topic.starts_with("__")
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s yet"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_broker_is_offered_data_and_a_full_one_a_look() {
        let empty = banner("embedded:.vatic", &Names::default(), true);
        assert!(empty.contains("embedded:.vatic: no topics yet, no models yet.") && empty.contains("  \\demo  "), "{empty}");
        let names = Names {
            topics: vec!["models".to_owned(), "vatic-dead-letters".to_owned(), "orders".to_owned()],
            ..Names::default()
        };
        let full = banner("localhost:9092", &names, true);
        assert!(
            full.contains(": 1 topic, no models yet.") && full.contains("SELECT * FROM topic('orders') LIMIT 5;"),
            "{full}"
        );
        let silent = banner("localhost:9092", &names, false);
        assert!(silent.contains("on localhost:9092.\n") && !silent.contains("orders"), "{silent}");
        for text in [empty, full, silent] {
            assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
            assert_eq!(text.lines().filter(|line| line.starts_with("  ")).count().min(2), 2);
        }
    }
}
