//! Models are tried in a child process: whatever their bytes do there, this process and its queries go on.
//!
//! ```text
//! bytes ─► vatic try-model (limits) ─► verdict        bytes of a stand-in program that misbehaves ─► the reason
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use vatic::model::Sandbox;
use vatic::model::sandbox::Limits;

use crate::harness::Place;
use crate::models::constant_model;

fn model(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/models/{name}.onnx"))).unwrap()
}

fn sandbox(limits: Limits) -> Sandbox {
    Sandbox::new(PathBuf::from(env!("CARGO_BIN_EXE_vatic")), limits)
}

fn reason(sandbox: &Sandbox, bytes: &[u8]) -> String {
    sandbox.try_model(bytes).unwrap_err().to_string()
}

#[test]
fn good_models_pass_and_broken_ones_give_the_reason_of_the_loader() {
    let sandbox = sandbox(Limits::default());
    for name in ["fraud_v2", "iris_mlp", "mixed"] {
        sandbox.try_model(&model(name)).unwrap();
    }
    assert_eq!(reason(&sandbox, b"hello"), "not a model: it is text");
    let broken = model("broken");
    assert_eq!(reason(&sandbox, &broken), vatic::model::load_any(&broken).unwrap_err().to_string());
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let place = Place::new();
    let file = std::fs::File::create(place.path("large.onnx")).unwrap();
    file.set_len(1 << 40).unwrap();
    for args in [&["inspect", "large.onnx"][..], &["score", "large.onnx"], &["publish", "large", "large.onnx"]] {
        let ended = place.vatic(args);
        assert_eq!(ended.code, 1, "{ended:#?}");
        assert!(ended.err.contains("is larger than a model may be: 67108864 bytes"), "{}", ended.err);
    }
}

#[test]
fn what_exceeds_a_limit_is_told_as_such() {
    let bytes = model("iris_mlp");
    // The program itself takes more than this.
    let little = Limits { memory: 8 << 20, ..Limits::default() };
    assert_eq!(reason(&sandbox(little), &bytes), "loading it takes more than 8 MB of memory");
    let no_time = Limits { cpu_s: 0, ..Limits::default() };
    assert_eq!(reason(&sandbox(no_time), &bytes), "loading it takes more than 0 seconds of processor time");
    // A program that takes the model and never answers.
    let asleep = stand_in("exec sleep 60");
    let short = Limits { wall: Duration::from_secs(1), ..Limits::default() };
    assert_eq!(reason(&Sandbox::new(asleep.path("vatic"), short), &bytes), "loading it takes more than 1 seconds");
    for (what, told) in [
        ("kill -SEGV $$", "loading it ended a process with signal 11"),
        ("echo 'thread main has overflowed its stack' >&2; kill -ABRT $$", "it is nested too deeply"),
        ("echo 'cannot go on' >&2; exit 7", "loading it ended a process with code 7: cannot go on"),
    ] {
        let place = stand_in(what);
        assert_eq!(reason(&Sandbox::new(place.path("vatic"), Limits::default()), &bytes), told, "{what}");
    }
    let nowhere = Sandbox::new(PathBuf::from("/nowhere/vatic"), Limits::default());
    assert_eq!(reason(&nowhere, &bytes), "the process that tries models could not be started");
}

/// A program in place of the child.
fn stand_in(body: &str) -> Place {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.file("vatic", format!("#!/bin/sh\n{body}\n"));
    std::fs::set_permissions(place.path("vatic"), std::fs::Permissions::from_mode(0o755)).unwrap();
    place
}

#[test]
fn the_child_opens_no_file_and_makes_no_connection() {
    // Seen from outside, by its system calls, would need a tracer; its limit is what forbids them.
    let place = Place::new();
    place.file("m.onnx", constant_model(0.5, 2));
    let out = place.path("limits");
    let script = format!(
        "{} try-model 3221225472 30 < m.pipe & pid=$!; exec 3> m.pipe; \
         for i in $(seq 300); do grep -q 'open files *3 ' /proc/$pid/limits && break; sleep 0.2; done; \
         cp /proc/$pid/limits {}; cat m.onnx >&3; exec 3>&-; wait $pid",
        env!("CARGO_BIN_EXE_vatic"),
        out.display()
    );
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("mkfifo m.pipe; {script}")])
        .current_dir(place.path("."))
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let limits = std::fs::read_to_string(out).unwrap();
    let of = |what: &str| limits.lines().find_map(|line| line.strip_prefix(what)).unwrap().split_whitespace().next();
    assert_eq!((of("Max open files"), of("Max core file size")), (Some("3"), Some("0")), "{limits}");
    assert_eq!((of("Max address space"), of("Max cpu time")), (Some("3221225472"), Some("30")), "{limits}");
}

#[test]
fn a_model_that_would_hurt_is_a_failed_row_while_queries_go_on() {
    let place = Place::new();
    place.file("good.onnx", constant_model(0.5, 1));
    let run = |args: &[&str]| {
        let ended = place.start(args).end();
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    };
    run(&["publish", "m", "good.onnx"]);
    // Thirty doublings: some 4 GB for one row, were anybody to run it.
    place.file("bomb.onnx", bomb());
    let refused = place.start(&["publish", "m", "bomb.onnx"]).end();
    assert_eq!(refused.code, 1, "{refused:?}");
    run(&["publish", "--force", "m", "bomb.onnx"]);
    let rows = run(&["sql", "--format", "json", "SELECT version, status, error FROM models ORDER BY version"]);
    let lines: Vec<&str> = rows.lines().collect();
    assert!(lines[0].contains("\"live\"") && lines[1].contains("\"failed\"") && lines[1].contains("\"error\":\""), "{rows}");
    let scored = run(&["sql", "--format", "json", "SELECT score('m', 1.0) AS s"]);
    assert_eq!(scored.trim(), "{\"s\":0.5}");
}

fn bomb() -> Vec<u8> {
    use tract_onnx::pb::{AttributeProto, NodeProto};
    let node = |from: String, to: String| NodeProto {
        op_type: "Concat".to_owned(),
        input: vec![from.clone(), from],
        output: vec![to],
        attribute: vec![AttributeProto { name: "axis".to_owned(), i: 1, r#type: 2, ..AttributeProto::default() }],
        ..NodeProto::default()
    };
    let name = |n: usize| match n {
        0 => "x".to_owned(),
        30 => "y".to_owned(),
        n => format!("c{n}"),
    };
    crate::models::chain((0..30).map(|n| node(name(n), name(n + 1))).collect())
}
