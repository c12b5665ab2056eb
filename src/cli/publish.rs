//! `vatic publish NAME FILE`: a model file becomes a version on the model topic.

use serde_json::json;

use super::args::PublishArgs;
use super::output::Output;
use super::{Context, read_model};
use crate::engine::PublishOptions;
use crate::error::Result;

/// Publishes, and prints what the version is.
///
/// # Errors
/// `Data` if the file cannot be used and `--force` is not given; `User` for a bad name; `External` from the broker.
pub(crate) async fn publish(cx: &Context, args: &PublishArgs) -> Result<()> {
    let bytes = read_model(&args.file).await?;
    let options = PublishOptions { force: args.force, description: args.description.clone() };
    let it = cx.engine().await?.publish(&args.topic, &args.name, bytes.into(), &options).await?;
    let (name, version, format, size, sha256, offset) = (&it.name, it.version, &it.format, it.size, &it.sha256, it.offset);
    if !it.new {
        cx.ui.info(&format!("nothing new: version {version} of model \"{name}\" has these bytes already"));
    }
    let mut out = Output::stdout();
    out.line(&if args.json {
        json!({"name": name, "version": version, "format": format, "size": size, "sha256": sha256, "offset": offset})
            .to_string()
    } else {
        format!("{name}:{version} format={format} size={size} sha256={sha256} offset={offset}")
    })?;
    out.flush()
}
