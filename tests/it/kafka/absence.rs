//! What those who only read say while the broker is away: nothing comes from a quiet topic either.

use nix::sys::signal::Signal;

use super::cluster::{self, Cluster};
use super::{ok, start};
use crate::harness::Place;

#[test]
fn followers_say_that_the_broker_is_away_and_go_on_when_it_is_back() {
    if !cluster::wanted() {
        return;
    }
    let mut cluster = Cluster::start(1);
    let (place, address) = (Place::new(), cluster.address());
    let produce = |id: u32| {
        place.file("line.jsonl", format!("{{\"id\":{id}}}\n"));
        ok(&place, &address, &["produce", "t", "line.jsonl"]);
    };
    ok(&place, &address, &["topic", "create", "t"]);
    produce(1);
    let mut rows = start(&place, &address, &["sql", "--format", "json", "SELECT id FROM topic('t') EMIT CHANGES"]);
    let mut records = start(&place, &address, &["consume", "t", "--follow"]);
    rows.says("following t from 0=1");
    records.prints(1);
    produce(2);
    rows.prints(1);
    records.prints(2);
    cluster.kill(0);
    for follower in [&mut rows, &mut records] {
        follower.says(&format!("broker \"{address}\" has not answered for "));
        follower.says("waiting for topic \"t\"");
        follower.says("It goes on by itself once the broker is back; Ctrl-C ends it.");
        assert!(!follower.err().contains("answers again"), "{}", follower.err());
    }
    cluster.run(0);
    cluster.wait();
    for follower in [&mut rows, &mut records] {
        follower.says(&format!("broker \"{address}\" answers again, after "));
    }
    produce(3);
    rows.prints(2);
    records.prints(3);
    for (follower, expected) in [(rows, "{\"id\":2}\n{\"id\":3}\n"), (records, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n")] {
        let ended = follower.stop(Signal::SIGINT);
        assert_eq!((ended.code, ended.out.as_str()), (130, expected), "{}", ended.err);
    }
}
