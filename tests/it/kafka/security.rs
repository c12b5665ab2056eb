//! TLS, SASL and rights, on a broker that insists on them.
//!
//! ```text
//! SASL_SSL listener: admin, alice (SCRAM-SHA-512), bob (PLAIN) ─► vatic
//! PLAINTEXT listener: the test itself and Outside.java, who may do anything
//! ```
//!
//! Minimal rights are proven by leaving out one after the other: with all of them a command succeeds, without any one it does not,
//! and says which is missing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use super::SOON;
use super::cluster::{self, Cluster};
use super::outside::{Outside, certificate};
use crate::conformance::name;
use crate::harness::{Ended, Place, model};

struct Secured {
    cluster: Cluster,
    /// Java's clients; also who holds this changes rights.
    outside: Mutex<Outside>,
    /// The SASL_SSL listener.
    listener: String,
    /// Holds `broker.pem` and `other.pem`.
    certificates: PathBuf,
}

/// One such broker for all tests here; `None` if they are to be left out.
fn secured() -> Option<&'static Secured> {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    cluster::wanted().then(|| SECURED.get_or_init(start))
}

fn start() -> Secured {
    let certificates = tempfile::Builder::new().prefix("vatic-kafka-test-").tempdir().unwrap().keep();
    certificate(&certificates, "broker");
    certificate(&certificates, "other");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let security = "org.apache.kafka.common.security";
    let settings = format!(
        "listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},SASL_SSL://127.0.0.1:{port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_SSL://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL\n\
         ssl.keystore.location={store}\nssl.keystore.password=changeit\nssl.keystore.type=PKCS12\n\
         sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.plain.sasl.jaas.config={security}.plain.PlainLoginModule required user_bob=\"bobs-secret\";\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS;User:admin;User:bob",
        store = certificates.join("broker.p12").display(),
    );
    let user = |name: &str| format!("SCRAM-SHA-512=[name={name},password={name}s-secret]");
    let cluster = Cluster::start_as(1, &settings, &["--add-scram", &user("admin"), "--add-scram", &user("alice")]);
    let outside = Mutex::new(Outside::start(&cluster.address()));
    Secured { cluster, outside, listener: format!("127.0.0.1:{port}"), certificates }
}

impl Secured {
    fn certificate(&self, name: &str) -> String {
        format!("ssl.ca.location={}", self.certificates.join(name).display())
    }

    /// `vatic args...` with these properties, to its end.
    fn vatic(&self, place: &Place, address: &str, properties: &[&str], args: &[&str]) -> Ended {
        let mut all = vec!["--broker", address];
        properties.iter().for_each(|property| all.extend(["-X", property]));
        all.extend(args);
        let ended = place.vatic(&all);
        for word in ["s-secret", "a-wrong-one"] {
            assert!(!ended.err.contains(word) && !ended.out.contains(word), "a password is shown: {ended:#?}");
        }
        ended
    }

    /// The same as a user with SCRAM-SHA-512, whose password stands in a file.
    fn as_user(&self, place: &Place, user: &str, args: &[&str]) -> Ended {
        let ca = self.certificate("broker.pem");
        place.file(
            "client.properties",
            format!(
                "# as Kafka's own tools take it\nsecurity.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n{ca}\n\
                 sasl.username = {user}\nsasl.password={user}s-secret\n"
            ),
        );
        self.vatic(place, &self.listener, &[], &[&["--properties", "client.properties"], args].concat())
    }
}

#[test]
fn every_command_works_over_tls_with_a_password() {
    let Some(secured) = secured() else { return };
    let (place, input, target) = (Place::new(), name("in"), name("out"));
    let models = name("models");
    let ok = |args: &[&str]| {
        let ended = secured.as_user(&place, "admin", args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:#?}");
        ended.out
    };
    ok(&["topic", "create", &input, "--partitions", "2"]);
    place.file("lines", "{\"x\":[5.1,3.5,1.4,0.2]}\n{\"x\":[6.3,3.3,6.0,2.5]}\n");
    ok(&["produce", &input, "lines"]);
    ok(&["publish", "iris", &model("iris_species.onnx"), "--topic", &models]);
    place.file(
        "job.sql",
        format!(
            "SET models.topic = '{models}';
             CREATE TABLE i (x DOUBLE[]) WITH (topic = '{input}');
             CREATE TABLE o WITH (topic = '{target}') AS SELECT classify('iris', x) AS species FROM i;"
        ),
    );
    ok(&["run", "job.sql", "--until-end"]);
    let out = ok(&["consume", &target]);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.contains("setosa") && out.contains("virginica"), "{out}");
    // PLAIN, and a table whose clients are somebody else than the process.
    let ca = secured.certificate("broker.pem");
    let bob = ["security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", &ca, "sasl.username=bob", "sasl.password=bobs-secret"];
    let as_bob = |sql: &str| secured.vatic(&place, &secured.listener, &bob, &["sql", "--format", "json", sql]);
    let ended = as_bob(&format!("SELECT count(*) AS n FROM topic('{target}')"));
    assert_eq!((ended.code, ended.out.trim()), (0, "{\"n\":2}"), "{ended:#?}");
    let as_admin = "kafka.sasl.mechanism = 'SCRAM-SHA-512', kafka.sasl.username = 'admin'";
    let table = |password: &str| {
        format!(
            "CREATE TABLE t (species VARCHAR) WITH (topic = '{target}', {as_admin}, kafka.sasl.password = '{password}');
             SELECT count(*) AS n FROM t; INSERT INTO t VALUES ('more');"
        )
    };
    let ended = as_bob(&table("admins-secret"));
    assert_eq!((ended.code, ended.out.trim()), (0, "{\"n\":2}"), "{ended:#?}");
    let ended = as_bob(&table("a-wrong-one"));
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(ended.err.contains("refuses the credentials") && ended.err.contains("SCRAM-SHA-512"), "{}", ended.err);
}

#[test]
fn what_keeps_us_out_is_named_within_ten_seconds() {
    let Some(secured) = secured() else { return };
    let (place, listener) = (Place::new(), secured.listener.as_str());
    let plaintext = secured.cluster.address();
    let (ca, other) = (secured.certificate("broker.pem"), secured.certificate("other.pem"));
    let (tls, scram) = ("security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512");
    let (admin, wrong) = ("sasl.username=admin", "sasl.password=a-wrong-one");
    let right = "sasl.password=admins-secret";
    let refuses = format!("the Kafka broker at \"{listener}\" refuses the credentials: ");
    let hangs_up =
        |address: &str, how: &str| format!("the Kafka broker at \"{address}\" hangs up on a client that speaks {how}TLS");
    let cases: [(&str, &[&str], i32, String, &str); 9] = [
        (listener, &[tls, scram, &ca, admin, wrong], 3, refuses.clone(), "sasl.password"),
        (listener, &[tls, scram, &ca, "sasl.username=nobody", wrong], 3, refuses.clone(), "sasl.username"),
        (listener, &[tls, "sasl.mechanism=PLAIN", &ca, "sasl.username=bob", wrong], 3, refuses.clone(), "sasl.password"),
        (listener, &[tls, "sasl.mechanism=SCRAM-SHA-256", &ca, admin, right], 3, refuses.clone(), "sasl.mechanism"),
        (
            listener,
            &[tls, scram, &other, admin, right],
            3,
            format!("TLS with the Kafka broker at \"{listener}\" fails: "),
            "-X ssl.ca.location=",
        ),
        (listener, &[], 3, hangs_up(listener, "no "), "security.protocol=SSL"),
        (&plaintext, &["security.protocol=SSL", &ca], 3, hangs_up(&plaintext, ""), "leave out -X security.protocol"),
        (listener, &[tls, scram, &ca], 1, "needs the Kafka property \"sasl.username\"".to_owned(), "-X sasl.username="),
        (listener, &[tls, &ca, admin, right], 1, "needs the Kafka property \"sasl.mechanism\"".to_owned(), "SCRAM-SHA-512"),
    ];
    for (address, properties, code, message, hint) in cases {
        let begun = Instant::now();
        let ended = secured.vatic(&place, address, properties, &["topic", "list"]);
        assert!(begun.elapsed() < SOON, "{properties:?} took {:?}", begun.elapsed());
        assert_eq!(ended.code, code, "{properties:?}: {ended:#?}");
        let (told, way_out) = ended.err.split_once("hint: ").unwrap_or_default();
        assert!(told.contains(&message) && way_out.contains(hint), "{properties:?}: {}", ended.err);
    }
}

#[test]
fn passwords_are_not_shown() {
    // No broker is asked.
    let place = Place::new();
    let table =
        "CREATE TABLE t (a BIGINT) WITH (topic = 't', kafka.sasl.username = 'me', kafka.sasl.password = 'hush-hush')";
    let say = |sql: &str| {
        let ended = place.vatic(&["sql", sql]);
        assert!(!ended.err.contains("hush") && !ended.out.contains("hush"), "{ended:#?}");
        ended
    };
    place.ok(&["topic", "create", "t"]);
    let shown = say(&format!("{table}; SHOW CREATE TABLE t;"));
    assert!(shown.out.contains("kafka.sasl.password = '***'") && shown.out.contains("'me'"), "{}", shown.out);
    assert_eq!(say(&format!("{table}; EXPLAIN VERBOSE SELECT a FROM t;")).code, 0);
    // Errors about the very line.
    for wrong in [
        table.replace("topic = 't'", "topc = 't'"),
        table.replace("password = 'hush-hush'", "password 'hush-hush'"),
        table.replace("'hush-hush')", "'hush-hush' oops)"),
        table.replace("'hush-hush')", "'hush-hush"),
        table.replace("BIGINT", "BIGNIT"),
    ] {
        let ended = say(&wrong);
        assert_eq!(ended.code, 1, "{wrong}: {ended:#?}");
    }
    // Columns that are found are printed, with the rest of the table.
    place.produce("t", &["{\"a\":1}"]);
    let ended = say("CREATE TABLE t WITH (topic = 't', kafka.sasl.password = 'hush-hush'); SELECT a FROM t");
    assert!(ended.code == 0 && ended.err.contains("kafka.sasl.password = '***'"), "{ended:#?}");
}

/// `OPERATION TYPE PATTERN NAME`, as Outside.java takes it.
type Grant = (String, String);

fn grant(operation: &str, kind: &str, name: &str) -> Grant {
    let pattern = if name.ends_with('-') { "PREFIXED" } else { "LITERAL" };
    (format!("{operation} {kind} {pattern} {name}"), name.trim_end_matches('-').to_owned())
}

/// With all of `grants` the command succeeds; without any one of them it ends with 3 and names what it may not touch.
fn needs_each(outside: &mut Outside, grants: &[Grant], vatic: impl FnMut() -> Ended) {
    needs_each_beside(outside, &[], grants, vatic);
}

/// The same where `known` are needed too, which is shown elsewhere.
fn needs_each_beside(outside: &mut Outside, known: &[Grant], grants: &[Grant], mut vatic: impl FnMut() -> Ended) {
    let mut allow = |left_out: Option<usize>| {
        outside.order("forget alice");
        known.iter().for_each(|(grant, _)| drop(outside.order(&format!("grant alice {grant}"))));
        for (grant, _) in grants.iter().enumerate().filter(|(i, _)| Some(*i) != left_out).map(|(_, grant)| grant) {
            outside.order(&format!("grant alice {grant}"));
        }
    };
    allow(None);
    let ended = vatic();
    assert_eq!(ended.code, 0, "with all of {grants:?}: {ended:#?}");
    for (index, (right, name)) in grants.iter().enumerate() {
        allow(Some(index));
        let ended = vatic();
        assert_eq!(ended.code, 3, "without {right}: {ended:#?}");
        let message = ended.err.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(message.contains("not allow vatic to") && message.contains(name), "without {right}: {}", ended.err);
        let hint = ended.err.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(hint.contains("kafka-acls --add") && hint.contains(name), "without {right}: {}", ended.err);
    }
}

#[test]
fn each_command_needs_exactly_these_rights() {
    let Some(secured) = secured() else { return };
    let mut outside = secured.outside.lock().unwrap();
    let (place, input, target, job) = (Place::new(), name("in"), name("out"), name("job"));
    let models = name("models");
    let admin = |args: &[&str]| {
        let ended = secured.as_user(&place, "admin", args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:#?}");
    };
    place.file("lines", "{\"x\":[5.1,3.5,1.4,0.2]}\npoison\n");
    admin(&["topic", "create", &target]);
    admin(&["produce", &input, "lines"]);
    admin(&["publish", "iris", &model("iris_species.onnx"), "--topic", &models]);
    place.file(
        "job.sql",
        format!(
            "SET models.topic = '{models}'; SET job.name = '{job}';
             CREATE TABLE i (x DOUBLE[]) WITH (topic = '{input}');
             CREATE TABLE o WITH (topic = '{target}') AS SELECT score('iris', x) AS s FROM i;"
        ),
    );
    // Its first run creates the topic of dead letters.
    admin(&["run", "job.sql", "--until-end"]);
    let letters = "vatic-dead-letters";
    let of_a_job = [
        grant("READ", "TOPIC", &input),
        grant("WRITE", "TOPIC", &target),
        grant("DESCRIBE_CONFIGS", "TOPIC", &target),
        grant("READ", "TOPIC", &models),
        grant("DESCRIBE_CONFIGS", "TOPIC", &models),
        grant("WRITE", "TOPIC", letters),
        grant("DESCRIBE_CONFIGS", "TOPIC", letters),
        grant("READ", "GROUP", &format!("vatic-{job}")),
        grant("WRITE", "TRANSACTIONAL_ID", &format!("vatic-{job}-")),
    ];
    needs_each(&mut outside, &of_a_job, || {
        // Something to be read and written each time.
        admin(&["produce", &input, "lines"]);
        secured.as_user(&place, "alice", &["run", "job.sql", "--until-end"])
    });
    // A right to look is none to read or write.
    for (name, right) in [(&input, "Read"), (&target, "Write")] {
        outside.order("forget alice");
        let less = |(grant, of): &Grant| {
            if of == name { grant.replace("READ", "DESCRIBE").replace("WRITE", "DESCRIBE") } else { grant.clone() }
        };
        of_a_job.iter().for_each(|grant| drop(outside.order(&format!("grant alice {}", less(grant)))));
        admin(&["produce", &input, "lines"]);
        let ended = secured.as_user(&place, "alice", &["run", "job.sql", "--until-end"]);
        assert_eq!(ended.code, 3, "{ended:#?}");
        assert!(ended.err.contains(&format!("It needs {right} on topic \"{name}\"")), "{}", ended.err);
    }
    // A job without topics keeps its place in a topic of its own; the first one creates it. Each run is another job, or there would
    // be nothing left to read.
    let made = name("made");
    let mut count = 0;
    let mut generator = |user: &str| {
        count += 1;
        place.file(
            "made.sql",
            format!(
                "SET job.name = '{made}-{count}'; CREATE TABLE g WITH (connector = 'generator', rows = 3);
                 CREATE TABLE o WITH (topic = '{target}') AS SELECT n FROM g;"
            ),
        );
        secured.as_user(&place, user, &["run", "made.sql", "--until-end"])
    };
    assert_eq!(generator("admin").code, 0);
    let positions = "vatic-positions";
    let of_a_generator = [
        grant("READ", "GROUP", &format!("vatic-{made}-")),
        grant("READ", "TOPIC", positions),
        grant("WRITE", "TOPIC", positions),
        grant("DESCRIBE_CONFIGS", "TOPIC", positions),
    ];
    let as_before = [
        grant("WRITE", "TOPIC", &target),
        grant("DESCRIBE_CONFIGS", "TOPIC", &target),
        grant("WRITE", "TOPIC", letters),
        grant("DESCRIBE_CONFIGS", "TOPIC", letters),
        grant("WRITE", "TRANSACTIONAL_ID", &format!("vatic-{made}-")),
    ];
    needs_each_beside(&mut outside, &as_before, &of_a_generator, || generator("alice"));
    let publish =
        [grant("READ", "TOPIC", &models), grant("WRITE", "TOPIC", &models), grant("DESCRIBE_CONFIGS", "TOPIC", &models)];
    let mut count = 0;
    needs_each(&mut outside, &publish, || {
        // Other bytes each time, or there would be nothing to publish.
        count += 1;
        let mut bytes = std::fs::read(model("iris_species.onnx")).unwrap();
        let note = format!("number {count}");
        bytes.extend([0x32, u8::try_from(note.len()).unwrap()]); // ModelProto.doc_string
        bytes.extend(note.as_bytes());
        let file = place.file("model.onnx", bytes).display().to_string();
        secured.as_user(&place, "alice", &["publish", "iris", &file, "--topic", &models])
    });
    needs_each(&mut outside, &[grant("READ", "TOPIC", &input)], || {
        let select = format!("CREATE TABLE i (x DOUBLE[]) WITH (topic = '{input}'); SELECT count(*) FROM i");
        secured.as_user(&place, "alice", &["sql", &select])
    });
    needs_each(&mut outside, &[grant("WRITE", "TOPIC", &input), grant("DESCRIBE_CONFIGS", "TOPIC", &input)], || {
        secured.as_user(&place, "alice", &["produce", &input, "lines"])
    });
    needs_each(&mut outside, &[grant("DELETE", "GROUP", &format!("vatic-{job}"))], || {
        secured.as_user(&place, "alice", &["sql", &format!("RESET JOB \"{job}\"")])
    });
    let new = name("new");
    needs_each(&mut outside, &[grant("CREATE", "TOPIC", &new), grant("DELETE", "TOPIC", &new)], || {
        let ended = secured.as_user(&place, "alice", &["topic", "create", &new]);
        if ended.code != 0 {
            return ended;
        }
        let ended = secured.as_user(&place, "alice", &["topic", "delete", &new]);
        if ended.code != 0 {
            admin(&["topic", "delete", &new]);
        }
        ended
    });
    outside.order("forget alice");
}
