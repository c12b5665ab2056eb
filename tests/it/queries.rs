//! The saved queries, run as their own headers say, and compared with the output that lies beside them.
//!
//! ```text
//! queries/NAME.sql: header   vatic publish ..., vatic produce ... NAME/input.jsonl, vatic run ..., vatic consume ...
//! queries/NAME/expected.jsonl                                                                    └─► compared
//! ```
//!
//! Each runs straight, and again with its input in two parts: a `vatic run` over the first, one that is killed somewhere in
//! the second, and one that finishes it. A file as the source is there as a whole, and only the kill remains. All of it goes
//! through a broker's address, so that the cases hold for any broker: an embedded one for each, and a real Kafka for all.
//! A query that answers is run once, by the last command of its header. Where it ends in ORDER BY its rows are compared in their order; else,
//! and where a topic is read, no order is promised, and `expected.jsonl` lists them by their first column.
//! To add one: write `queries/NAME.sql` with such a header and `queries/NAME/`; then add a line to [`cases`] below.
//! `UPDATE=1` writes `expected.jsonl` anew.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Longer than any single command takes, on any machine.
const DEADLINE: Duration = Duration::from_secs(120);

macro_rules! cases {
    ($($name:ident)*) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        mod straight { $(#[test] fn $name() { super::on_embedded(super::straight, stringify!($name)); })* }
        mod interrupted { $(#[test] fn $name() { super::on_embedded(super::interrupted, stringify!($name)); })* }
    };
}

cases! { scored alerts routed orders flowers churn anomalies enriched masked letters compared backfill }

/// Runs a case on an embedded broker of its own.
fn on_embedded(run: fn(&Case), name: &str) {
    let dir = tempfile::tempdir().unwrap();
    run(&Case::new(name, &format!("embedded:{}", dir.path().join("broker").display())));
}

/// All cases on a real Kafka, one after the other: their topics have fixed names, and are deleted in between.
mod on_kafka {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::{CASES, Case};
    use crate::kafka::cluster::{self, Cluster};

    #[test]
    fn straight() {
        all(super::straight);
    }

    #[test]
    fn interrupted() {
        all(super::interrupted);
    }

    /// A broker of their own, on which one case runs at a time.
    fn all(run: fn(&Case)) {
        static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
        if !cluster::wanted() {
            return;
        }
        let cluster = CLUSTER.get_or_init(|| Mutex::new(Cluster::start(1))).lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut failed = Vec::new();
        for name in CASES {
            // A killed process's partitions are soon free again.
            let quick = ["-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=200"];
            let case = Case { options: quick.map(str::to_owned).to_vec(), ..Case::new(name, &cluster.address()) };
            if catch_unwind(AssertUnwindSafe(|| run(&case))).is_err() {
                failed.push(*name);
            }
            runtime.block_on(async {
                let broker = cluster.open();
                for topic in broker.topics().await.unwrap() {
                    broker.delete_topic(&topic.name).await.unwrap();
                }
            });
        }
        assert!(failed.is_empty(), "on Kafka these fail (see above): {failed:?}");
    }
}

/// Every command of the header once, in its order.
fn straight(case: &Case) {
    for command in &case.commands {
        case.done(command);
    }
    case.compare();
}

/// The input in two parts, with a run that is killed while it works on the second.
fn interrupted(case: &Case) {
    let scratch = tempfile::tempdir().unwrap();
    let mut second = Vec::new();
    for command in &case.commands {
        match command[0].as_str() {
            "produce" => {
                let [first, rest] = halves(&case.path(&command[2]), scratch.path());
                case.done(&with_file(command, &first));
                second.push(with_file(command, &rest));
            }
            "run" if !second.is_empty() => {
                case.done(command);
                second.iter().for_each(|produce| case.done(produce));
                case.killed(command);
                case.done(command);
            }
            "run" => {
                case.killed(command);
                case.done(command);
                case.done(command); // there is nothing left to do
            }
            _ => case.done(command),
        }
    }
    if !case.commands.iter().any(|command| command[0] == "run") {
        second.iter().for_each(|produce| case.done(produce)); // its run is an answer, which shows what came out
    }
    case.compare();
}

/// A saved query on a broker.
struct Case {
    name: String,
    broker: String,
    /// What goes before each command.
    options: Vec<String>,
    /// The commands of the header without their `vatic`; the last one shows the output.
    commands: Vec<Vec<String>>,
    show: Vec<String>,
}

impl Case {
    fn new(name: &str, broker: &str) -> Self {
        let mut commands = commands_of(&queries().join(format!("{name}.sql")));
        let show = commands.pop().unwrap();
        let answers = show[0] == "run" && show.iter().any(|word| word == "json");
        assert!(show[0] == "consume" || answers, "the last command of the header of {name}.sql shows what came out");
        Self { name: name.to_owned(), broker: broker.to_owned(), options: Vec::new(), commands, show }
    }

    /// A path of the header, which stands at the top of the repository.
    fn path(&self, path: &str) -> PathBuf {
        root().join(path)
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vatic"));
        command
            .args(&self.options)
            .args(arguments)
            .current_dir(root())
            .env("VATIC_BROKER", &self.broker)
            .stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[String]) -> Output {
        let child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Running(Some(child)).output();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "vatic {} ended with {}: {said}", arguments.join(" "), output.status);
        output
    }

    fn done(&self, arguments: &[String]) {
        self.output(arguments);
    }

    /// Starts a run and kills it as soon as its job reads, which is before, in or after its first commits.
    fn killed(&self, arguments: &[String]) {
        let mut child = self.command(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let _running = Running(Some(child)); // killed when dropped
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
        // The end of the lines is fine as well: then the run was faster than this test.
        let _reads = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(" reads ")));
    }

    /// Whether the query that is shown promises an order.
    fn is_ordered(&self) -> bool {
        let text = std::fs::read_to_string(queries().join(format!("{}.sql", self.name))).unwrap();
        self.show[0] == "run" && text.trim_end().lines().last().unwrap().starts_with("ORDER BY ")
    }

    /// The output equals the expected one, in its order if that is promised; numbers to six digits.
    fn compare(&self) {
        let output = self.output(&self.show);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut found = json_lines(&text);
        let expected_path = queries().join(&self.name).join("expected.jsonl");
        if std::env::var_os("UPDATE").is_some() {
            let mut lines: Vec<(&str, &Value)> = text.lines().zip(&found).collect();
            lines.sort_by_key(|(_, row)| sort_key(row));
            let text: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
            std::fs::write(&expected_path, text).unwrap();
        }
        let mut expected = json_lines(&std::fs::read_to_string(&expected_path).unwrap());
        if !self.is_ordered() {
            found.sort_by_key(sort_key);
            expected.sort_by_key(sort_key);
        }
        assert_eq!(found.len(), expected.len(), "rows of {}: lost or doubled", self.name);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(alike(found, expected), "{}:\n   found {found}\nexpected {expected}", self.name);
        }
    }
}

/// A child that does not outlive the test.
struct Running(Option<Child>);

impl Running {
    fn output(mut self) -> Output {
        let child = self.0.take().unwrap();
        let id = child.id();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(child.wait_with_output()));
        receive
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| {
                let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
                panic!("a command was not done after {DEADLINE:?}");
            })
            .unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The `vatic` commands in the header of a saved query, split at blanks.
fn commands_of(file: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file).unwrap();
    let header = text.lines().map_while(|line| line.strip_prefix("--"));
    let commands = header.filter_map(|line| line.trim().strip_prefix("vatic "));
    commands.map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

/// `command` with another file behind the topic.
fn with_file(command: &[String], file: &Path) -> Vec<String> {
    let mut command = command.to_vec();
    command[2] = file.display().to_string();
    command
}

/// The lines of a file as two files.
fn halves(file: &Path, dir: &Path) -> [PathBuf; 2] {
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let write = |name: &str, lines: &[&str]| {
        let path = dir.join(name);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        path
    };
    [write("first", first), write("second", second)]
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// Rows begin with their identity, and rows of one identity differ in what is not a computed number.
fn sort_key(row: &Value) -> (i64, String) {
    let fields = row.as_object().unwrap();
    let id = fields.values().next().and_then(Value::as_i64).unwrap();
    (id, fields.values().filter(|value| !value.is_f64()).map(Value::to_string).collect())
}

fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if a.is_f64() || b.is_f64() => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            (x - y).abs() <= 1e-6 * x.abs().max(y.abs()).max(1.0)
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|((k, v), (l, w))| k == l && alike(v, w))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(v, w)| alike(v, w)),
        _ => a == b,
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn queries() -> PathBuf {
    root().join("queries")
}

#[test]
fn every_saved_query_says_how_to_run_it_and_is_run() {
    for entry in std::fs::read_dir(queries()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let question = std::fs::read_to_string(&path).unwrap().lines().next().unwrap_or_default().to_owned();
        assert!(question.starts_with("-- ") && question.ends_with('?'), "{name}.sql begins with its question");
        let file = format!("queries/{name}.sql");
        assert!(
            commands_of(&path).iter().any(|c| c[0] == "run" && c.last() == Some(&file)),
            "{name}.sql says how to run it"
        );
        // The payments are made, not read: the demo's test runs them.
        assert!(CASES.contains(&name) || name == "payments", "{name}.sql is a case here");
    }
}

#[test]
fn the_models_are_those_of_the_training_script() {
    for entry in std::fs::read_dir(queries().join("models")).unwrap() {
        let path = entry.unwrap().path();
        let trained = root().join("tests/models").join(path.file_name().unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&trained).unwrap(), "{}", path.display());
    }
}
