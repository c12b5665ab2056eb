//! Outside witnesses: Kafka's own Java clients in one process, told what to do line by line (`Outside.java`), and certificates.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::jars::jars;

/// Java's clients, connected to one listener.
pub struct Outside {
    java: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Outside {
    /// Starts it; it compiles itself, which takes some two seconds.
    pub fn start(address: &str) -> Self {
        let jars = jars();
        let mut java = Command::new("java")
            .args(["-Xmx512m", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Dlog4j2.configurationFile=file:{}", jars.parent().unwrap().join("log4j2.properties").display()))
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kafka/Outside.java"))
            .arg(address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (orders, answers) = (java.stdin.take().unwrap(), BufReader::new(java.stdout.take().unwrap()));
        Self { java, orders, answers }
    }

    /// Does one thing and returns what came of it.
    pub fn order(&mut self, words: &str) -> String {
        writeln!(self.orders, "{words}").unwrap();
        let mut answer = String::new();
        // Kafka's own log goes to stdout, too.
        while !answer.starts_with("ok ") {
            answer.clear();
            assert!(self.answers.read_line(&mut answer).unwrap() > 0, "Java ended at {words:?}");
            assert!(!answer.starts_with("error "), "{words:?}: {answer}");
        }
        answer.trim_start_matches("ok ").trim_end().to_owned()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.java.kill();
        let _ = self.java.wait();
    }
}

/// Makes a broker's key and its own certificate: the files `NAME.p12` (password `changeit`) and `NAME.pem` in `directory`.
pub fn certificate(directory: &Path, name: &str) {
    let keytool = |arguments: &[&str]| {
        let output = Command::new("keytool").current_dir(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        output.stdout
    };
    let store = format!("{name}.p12");
    let common = ["-alias", "broker", "-keystore", store.as_str(), "-storepass", "changeit"];
    let make = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30", "-storetype", "PKCS12"];
    let who = ["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1,dns:localhost"];
    keytool(&[&make[..], &who[..], &common[..]].concat());
    let pem = keytool(&[&["-exportcert", "-rfc"][..], &common[..]].concat());
    std::fs::write(directory.join(format!("{name}.pem")), pem).unwrap();
}
