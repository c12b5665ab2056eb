//! The committed code is what `model.proto` gives; `VATIC_REGENERATE=1` writes it anew instead.

use std::path::Path;

const HEADER: &str = "//! Generated from `model.proto`; do not edit (see `lib.rs`).\n\n";

#[test]
fn the_committed_code_is_what_the_proto_generates() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile([crate_dir.join("model.proto")], [crate_dir]).unwrap();
    let module = prost_build::Module::from_protobuf_package_name("vatic.model");
    let generated =
        prost_build::Config::new().bytes(["."]).generate(vec![(module.clone(), descriptors.file[0].clone())]).unwrap();
    let fresh = format!("{HEADER}{}", generated[&module]);
    let path = crate_dir.join("src/generated.rs");
    if std::env::var_os("VATIC_REGENERATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == fresh,
        "src/generated.rs is not what model.proto gives: VATIC_REGENERATE=1 cargo test -p vatic-proto"
    );
}
