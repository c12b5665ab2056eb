//! When a library is built again.

use serde_json::json;

use super::{create, rows, source};
use crate::harness::Place;

#[test]
fn a_change_in_a_crate_beside_it_is_a_change_of_the_function() {
    let place = Place::new();
    let near = |add: i64| {
        place.file("near/src/lib.rs", format!("pub fn add(x: i64) -> i64 {{ x + {add} }}\n"));
    };
    place.file("near/Cargo.toml", "[package]\nname = \"near\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n");
    place.file(
        "adds/Cargo.toml",
        "[package]\nname = \"adds\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\narroyo-udf-plugin = \"0.2\"\n\
         near = { path = \"../near\" }\n\n[workspace]\n",
    );
    place.file("adds/src/lib.rs", "use arroyo_udf_plugin::udf;\n#[udf]\nfn adds(x: i64) -> i64 { near::add(x) }\n");
    for add in [1, 20] {
        near(add);
        let sql = create("adds", &place.path("adds")) + "SELECT adds(300) AS x";
        assert_eq!(rows(&place, &sql), [json!({"x": 300 + add})]);
    }
}

#[test]
fn a_library_that_was_changed_in_the_cache_is_not_loaded() {
    let place = Place::new();
    // Its own, so that nobody else has the library in use.
    let path = source("intact.rs", "use arroyo_udf_plugin::udf;\n#[udf]\nfn intact(x: i64) -> i64 { x * 11 }\n");
    let sql = create("intact", &path) + "SELECT intact(3) AS x";
    assert_eq!(rows(&place, &sql), [json!({"x": 33})]);
    let library = vatic::udf::build(&path, false).unwrap().library;
    let broken = place.file("broken.so", &std::fs::read(&library).unwrap()[..1000]);
    std::fs::copy(&broken, library.with_extension("new")).unwrap();
    std::fs::rename(library.with_extension("new"), &library).unwrap();
    let sql = format!("CREATE FUNCTION intact FROM '{}'; SELECT intact(3) AS x", path.display());
    assert_eq!(rows(&place, &sql), [json!({"x": 33})]);
    let library = vatic::udf::build(&path, false).unwrap().library;
    assert!(std::fs::metadata(&library).unwrap().len() > 1000, "it was built again");
}
