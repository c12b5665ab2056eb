//! Real Apache Kafka for tests.   Maven ─► jars in a cache ─► brokers on free loopback ports ─► gone with this process
//!
//! ```text
//! test process ─pipe─► sh (waits for the pipe's end) ─► java kafka.Kafka
//! ```
//!
//! However this process ends, the pipe closes, and the shell kills its broker by process id and removes its directory. Logs stay
//! in the cache, under `logs/`.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vatic::config::Options;
use vatic::connector::{Broker, kafka::Kafka};

use super::jars::{cache, jars};

/// Whether tests with Kafka run; says so if they do not.
pub fn wanted() -> bool {
    match std::env::var("VATIC_TEST_KAFKA").as_deref() {
        Ok("off") => {
            eprintln!("left out: VATIC_TEST_KAFKA is \"off\"");
            false
        }
        Ok("on") | Err(_) => true,
        Ok(other) => panic!("VATIC_TEST_KAFKA is \"on\" (the default) or \"off\", not \"{other}\""),
    }
}

/// One broker for all tests of this process that do no harm to it; `None` if they are to be left out.
pub fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    wanted().then(|| SHARED.get_or_init(|| Cluster::start(1)))
}

/// Brokers of our own.
pub struct Cluster {
    nodes: Vec<Node>,
    directory: PathBuf,
}

struct Node {
    directory: PathBuf,
    port: u16,
    log: PathBuf,
    guard: Option<Guard>,
}

/// The shell that kills its broker when this is dropped.
struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.shell.wait();
    }
}

impl Cluster {
    /// Starts `count` brokers and waits until they answer.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, "")
    }

    /// The same with further settings (lines of `server.properties`).
    pub fn start_with(count: usize, settings: &str) -> Self {
        Self::start_as(count, settings, &[])
    }

    /// The same with arguments for Kafka's `format` tool. In settings, `{port}` and `{controller}` are the node's ports.
    pub fn start_as(count: usize, settings: &str, format: &[&str]) -> Self {
        let jars = jars();
        let cache = cache();
        let directory = tempfile::Builder::new().prefix("vatic-kafka-test-").tempdir().unwrap().keep();
        // All ports are held until all are found.
        let sockets: Vec<TcpListener> = (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = sockets.iter().map(|s| s.local_addr().unwrap().port()).collect();
        drop(sockets);
        let voters: Vec<String> = (0..count).map(|n| format!("{}@127.0.0.1:{}", n + 1, ports[2 * n + 1])).collect();
        fs::create_dir_all(cache.join("logs")).unwrap();
        let mut cluster = Self { nodes: Vec::new(), directory: directory.clone() };
        for n in 0..count {
            let (port, controller) = (ports[2 * n], ports[2 * n + 1]);
            let home = directory.join(format!("node{}", n + 1));
            fs::create_dir_all(&home).unwrap();
            let data = home.join("data");
            let copies = count.min(3);
            let insync = if count > 2 { 2 } else { 1 };
            let text = format!(
                "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
                 inter.broker.listener.name=PLAINTEXT\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={data}\n\
                 auto.create.topics.enable=false\ndefault.replication.factor={copies}\nmin.insync.replicas={insync}\n\
                 offsets.topic.replication.factor={copies}\noffsets.topic.num.partitions=4\n\
                 transaction.state.log.replication.factor={copies}\ntransaction.state.log.min.isr={insync}\n\
                 transaction.state.log.num.partitions=4\nshare.coordinator.state.topic.replication.factor={copies}\n\
                 share.coordinator.state.topic.min.isr={insync}\ngroup.initial.rebalance.delay.ms=0\n\
                 group.min.session.timeout.ms=1000\nnum.network.threads=2\nnum.io.threads=2\nbackground.threads=2\n\
                 log.cleaner.threads=1\nlog.cleaner.dedupe.buffer.size=16777216\nlog.initial.task.delay.ms=500\n\
                 transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\nlog.segment.bytes=67108864\n{settings}\n",
                id = n + 1,
                voters = voters.join(","),
                data = data.display(),
            );
            let text = text.replace("{port}", &port.to_string()).replace("{controller}", &controller.to_string());
            let config = home.join("server.properties");
            fs::write(&config, text).unwrap();
            let formatted = Command::new("java")
                .args(["-Xmx128m", "-cp"])
                .arg(format!("{}/*", jars.display()))
                .args(["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
                .arg(&config)
                .arg("-g")
                .args(format)
                .output()
                .unwrap();
            assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
            let log = cache.join("logs").join(format!("{}-{}-{}.log", std::process::id(), port, n + 1));
            cluster.nodes.push(Node { directory: home, port, log, guard: None });
        }
        for n in 0..count {
            cluster.run(n);
        }
        cluster.wait();
        cluster
    }

    /// `host:port,...`
    pub fn address(&self) -> String {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",")
    }

    /// Starts a broker, which is not running.
    pub fn run(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let jars = jars();
        // `$1` class path, `$2` log4j's settings, `$3` the broker's, `$4` where its process id goes; once process `$6` is gone,
        // directory `$5` goes too.
        let script = "java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=\"file:$2\" \
                      -cp \"$1\" kafka.Kafka \"$3\" </dev/null & pid=$!; echo $pid >\"$4\"; cat >/dev/null; \
                      kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null; \
                      (sleep 2; [ -d \"/proc/$6\" ] || rm -rf \"$5\") >/dev/null 2>&1 &";
        let log = File::options().create(true).append(true).open(&node.log).unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(format!("{}/*", jars.display()))
            .arg(jars.parent().unwrap().join("log4j2.properties"))
            .arg(node.directory.join("server.properties"))
            .arg(node.directory.join("pid"))
            .arg(&self.directory)
            .arg(std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pipe = shell.stdin.take();
        node.guard = Some(Guard { shell, pipe });
    }

    /// kill -9 of a broker.
    pub fn kill(&mut self, n: usize) {
        self.nodes[n].guard = None;
        let _ = fs::remove_file(self.nodes[n].directory.join("pid"));
    }

    /// Whether a broker that was started has ended by itself.
    pub fn has_ended(&self, n: usize) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.pid(n))).unwrap_or_default();
        // Its shell waits for our pipe first and for it afterwards.
        state.is_empty() || state.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z'))
    }

    /// The process id of a running broker.
    pub fn pid(&self, n: usize) -> i32 {
        let path = self.nodes[n].directory.join("pid");
        let begun = Instant::now();
        loop {
            if let Some(pid) = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
                return pid;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "broker {n} did not write {}", path.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A signal to a running broker: `SIGSTOP` and `SIGCONT` make and end a pause.
    pub fn signal(&self, n: usize, signal: Signal) {
        kill(Pid::from_raw(self.pid(n)), signal).unwrap();
    }

    /// How many brokers there are, running or not.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Runs one of Kafka's own tools (a class with `main`) to its end: an outside witness. What it prints on stdout.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let output = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("{}/*", jars().display()))
            .arg(class)
            .args(["--bootstrap-server", &self.address()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{class} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until all brokers answer.
    pub fn wait(&self) {
        let begun = Instant::now();
        for node in &self.nodes {
            if node.guard.is_none() {
                continue;
            }
            let address = format!("127.0.0.1:{}", node.port);
            while let Err(error) = Kafka::open(&address, &Options::default()) {
                let log = fs::read_to_string(&node.log).unwrap_or_default();
                let late = begun.elapsed() > Duration::from_secs(120);
                assert!(!late, "Kafka does not answer: {error:?}\nits log, {}:\n{log}", node.log.display());
            }
        }
    }

    /// It as a broker of vatic's.
    pub fn open(&self) -> Arc<dyn Broker> {
        Kafka::open(&self.address(), &Options::default()).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
