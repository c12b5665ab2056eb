//! `vatic inspect MODEL_FILE [--json]`: what a model file is, what it takes and gives, how it is run and how fast; or why
//! it cannot be used. The field names of `--json` are a promise (docs/reference/cli.md).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::args::InspectArgs;
use super::output::Output;
use super::{Context, read_model};
use crate::error::{Error, ErrorKind, Explain, Result};
use crate::model::descriptor::{hex, sha256};
use crate::model::inspect::rows_per_second;
use crate::model::table::{input_text, output_text, type_name};
use crate::model::{Facts, Kind, Loaded, Loader, ModelError, Signature, sniff};

/// How long each size of batches is measured.
const TIME: Duration = Duration::from_millis(200);

/// Prints what there is to know.
///
/// # Errors
/// `Data` if the file cannot be used, behind what is known of it; `User` if there is no such file.
pub(crate) async fn inspect(cx: &Context, args: &InspectArgs) -> Result<()> {
    let bytes = read_model(&args.model).await?;
    let file = args.model.display().to_string();
    let (batches, loader) = (args.batch.clone(), cx.loader());
    let work = tokio::task::spawn_blocking(move || Report::new(file, &bytes, &batches, &loader));
    let report = work.await.map_err(|e| Error::internal(format!("inspecting broke off: {e}")))?;
    let mut out = Output::stdout();
    out.write(if args.json { format!("{}\n", report.json()) } else { report.text() }.as_bytes())?;
    out.flush()?;
    match report.model {
        Ok(_) => Ok(()),
        Err(error) => {
            let told = Error::new(ErrorKind::Data, format!("model file \"{}\" cannot be used: {error}", report.file));
            Err(told
                .hint(error.hint().unwrap_or_else(|| "Export the model again, in ONNX, from what trained it.".to_owned())))
        }
    }
}

/// All that is known.
struct Report {
    file: String,
    format: Option<&'static str>,
    size: usize,
    sha256: String,
    facts: Facts,
    model: std::result::Result<Model, ModelError>,
}

/// What is known of a model that can be used.
struct Model {
    signature: Signature,
    kernels: Vec<String>,
    /// Batch size and rows per second.
    speeds: Vec<(usize, f64)>,
}

impl Report {
    fn new(file: String, bytes: &[u8], batches: &[u32], loader: &Loader) -> Self {
        let format = sniff(bytes);
        let model = loader(bytes).and_then(|(_, loaded)| Model::new(&loaded, batches));
        Self {
            file,
            format: format.map(|f| f.name()),
            size: bytes.len(),
            sha256: hex(&sha256(bytes)),
            facts: format.map(|f| f.facts(bytes)).unwrap_or_default(),
            model,
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![("file", self.file.clone())];
        let version = self.facts.format_version.as_ref().map(|v| format!(", {v}")).unwrap_or_default();
        lines.push(("format", self.format.map_or("unknown".to_owned(), |f| format!("{f}{version}"))));
        if let Some(producer) = &self.facts.producer {
            let version = self.facts.producer_version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
            lines.push(("producer", format!("{producer}{version}")));
        }
        if !self.facts.opsets.is_empty() {
            let opsets: Vec<String> =
                self.facts.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
            lines.push(("opsets", opsets.join(", ")));
        }
        lines.push(("size", format!("{} bytes", self.size)));
        lines.push(("sha256", self.sha256.clone()));
        match &self.model {
            Ok(model) => {
                lines.push(("kind", kind(&model.signature).to_owned()));
                if !model.signature.classes.is_empty() {
                    lines.push(("classes", model.signature.classes.join(", ")));
                }
                lines.extend(model.signature.inputs.iter().map(|i| {
                    let missing = if i.takes_null { ", treats missing values" } else { "" };
                    ("input", format!("{}{missing}", input_text(i)))
                }));
                lines.extend(model.signature.outputs.iter().map(|o| ("output", output_text(o))));
                lines.extend(model.kernels.iter().map(|k| ("kernel", k.clone())));
                lines.extend(model.speeds.iter().map(|(rows, speed)| {
                    let rows = if *rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
                    ("speed", format!("{} rows/s in batches of {rows}", thousands(*speed)))
                }));
            }
            Err(error) => lines.push(("unusable", error.to_string())),
        }
        let mut text = String::new();
        let mut before = "";
        for (name, value) in lines {
            let shown = if name == before { "" } else { name };
            text.push_str(&format!("{shown:<8} {}\n", super::errors::printable(&value)));
            before = name;
        }
        text
    }

    fn json(&self) -> Value {
        let model = self.model.as_ref().ok();
        let opsets: Map<String, Value> = self.facts.opsets.iter().map(|(d, v)| (d.clone(), json!(v))).collect();
        let input = |i: &crate::model::Input| {
            let mut shape = vec![Value::Null];
            shape.extend(match i.shape.as_slice() {
                [] if i.width == 1 => vec![],
                [] => vec![json!(i.width)],
                shape => shape.iter().map(|n| json!(n)).collect(),
            });
            json!({"name": i.name, "type": type_name(&i.data_type), "shape": shape, "width": i.width,
                   "takes_null": i.takes_null})
        };
        let output = |o: &crate::model::Output| {
            let (element, width) = match &o.data_type {
                arrow::datatypes::DataType::FixedSizeList(field, width) => (field.data_type(), Some(*width)),
                scalar => (scalar, None),
            };
            let shape: Vec<Value> = std::iter::once(Value::Null).chain(width.map(|w| json!(w))).collect();
            json!({"name": o.name, "type": type_name(element), "shape": shape, "width": width.unwrap_or(1)})
        };
        let speeds = |m: &Model| m.speeds.iter().map(|(rows, speed)| (rows.to_string(), json!(speed.round()))).collect();
        json!({
            "file": self.file,
            "usable": model.is_some(),
            "error": self.model.as_ref().err().map(ToString::to_string),
            "format": self.format,
            "format_version": self.facts.format_version,
            "producer": self.facts.producer,
            "producer_version": self.facts.producer_version,
            "opsets": opsets,
            "size": self.size,
            "sha256": self.sha256,
            "kind": model.map(|m| kind(&m.signature)),
            "classes": model.map(|m| m.signature.classes.clone()),
            "inputs": model.map(|m| m.signature.inputs.iter().map(input).collect::<Vec<_>>()),
            "outputs": model.map(|m| m.signature.outputs.iter().map(output).collect::<Vec<_>>()),
            "kernels": model.map(|m| m.kernels.clone()),
            "rows_per_s": model.map(|m| Value::Object(speeds(m))),
        })
    }
}

impl Model {
    fn new(loaded: &Loaded, batches: &[u32]) -> std::result::Result<Self, ModelError> {
        // A made-up string may be none of the categories that the model knows, or a batch too large: then it is not measured.
        let speed = |rows: &u32| {
            let rows = usize::try_from(*rows).ok()?;
            Some((rows, rows_per_second(loaded, rows, TIME).ok()?))
        };
        Ok(Self {
            signature: loaded.signature.clone(),
            kernels: loaded.scorer.kernels(),
            speeds: batches.iter().filter_map(speed).collect(),
        })
    }
}

/// What a model is for, in one word.
fn kind(signature: &Signature) -> &'static str {
    match signature.kind {
        Kind::Regression { .. } => "regression",
        Kind::Classification { .. } => "classification",
        Kind::Anomaly { .. } => "anomaly",
        Kind::Clustering { .. } => "clustering",
    }
}

/// `1,204,001`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_groups() {
        assert_eq!([7.0, 999.6, 1_204_001.0].map(thousands), ["7", "1,000", "1,204,001"]);
    }
}
