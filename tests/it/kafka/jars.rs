//! Kafka's jars.   a pom ─► Maven, once ─► the cache, outside the checkout

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The Kafka that is tested against.
const VERSION: &str = "4.1.1";
const LOG4J: &str = "2.24.3";
const HOW_TO_LEAVE_OUT: &str = "VATIC_TEST_KAFKA=off leaves out the tests that need Kafka";

/// Where jars and logs are.
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("vatic-kafka")
}

/// Kafka's jars, resolved once.
pub fn jars() -> PathBuf {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    JARS.get_or_init(|| {
        for (program, argument) in [("java", "-version"), ("javac", "-version"), ("mvn", "-version")] {
            let works = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
            assert!(works, "{program} is needed for the tests with Kafka (a JDK 17 or later, Maven); {HOW_TO_LEAVE_OUT}");
        }
        let home = cache().join(VERSION);
        fs::create_dir_all(&home).unwrap();
        // One process resolves, others wait.
        let mut held = File::create(home.join("lock")).unwrap();
        held.lock().unwrap();
        held.write_all(b"held while jars are resolved\n").unwrap();
        let (jars, done) = (home.join("libs"), home.join("done"));
        if !done.exists() {
            fs::write(home.join("pom.xml"), pom()).unwrap();
            let log4j = "status=warn\nappender.console.type=Console\nappender.console.name=console\n\
                         appender.console.layout.type=PatternLayout\nappender.console.layout.pattern=%d %p %c %m%n\n\
                         rootLogger.level=warn\nrootLogger.appenderRef.console.ref=console\n";
            fs::write(home.join("log4j2.properties"), log4j).unwrap();
            let output = Command::new("mvn")
                .current_dir(&home)
                .args(["-B", "-q", "-f", "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime"])
                .arg(format!("-DoutputDirectory={}", jars.display()))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "Maven could not get Kafka ({HOW_TO_LEAVE_OUT}):\n{said}");
            fs::write(done, VERSION).unwrap();
        }
        jars
    })
    .clone()
}

fn pom() -> String {
    let dependency = |group: &str, name: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        // Kafka speaks slf4j 1.7: not `log4j-slf4j2-impl`.
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J),
        dependency("org.apache.logging.log4j", "log4j-core", LOG4J),
        dependency("org.apache.logging.log4j", "log4j-api", LOG4J),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
         <groupId>vatic</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{}</dependencies></project>\n",
        dependencies.concat()
    )
}
