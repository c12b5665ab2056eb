//! What the demo found: the swap, rows lost and doubled, the registry; and what to try next.
//!
//! All counts are answers to SELECTs over the demo's topics, so they hold for what is in the broker and not for what the jobs
//! believe to have done. Only the gap between epochs is heard from the running job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::query;
use crate::cli::args::{ColorChoice, OutputFormat};
use crate::cli::output::Output;
use crate::cli::render;
use crate::cli::ui::Ui;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Epochs this long before and after the swap are looked at.
const AROUND: Duration = Duration::from_secs(1);

const TABLES: &str = r#"
    CREATE TABLE payments (id BIGINT) WITH (connector = 'kafka', topic = 'payments', format = 'json');
    CREATE TABLE scored (id BIGINT, version BIGINT, source_partition INT, source_offset BIGINT)
    WITH (connector = 'kafka', topic = 'scored', format = 'json');
    CREATE TABLE alerts (id BIGINT) WITH (connector = 'kafka', topic = 'alerts', format = 'json');"#;

const COUNTS: &str = "
    SELECT (SELECT count(*) FROM payments),
           (SELECT count(*) FROM scored),
           (SELECT count(*) FROM payments p LEFT ANTI JOIN scored s ON p.id = s.id),
           (SELECT count(*) - count(DISTINCT id) FROM scored),
           (SELECT count(*) FROM alerts),
           (SELECT count(*) - count(DISTINCT id) FROM alerts),
           (SELECT count(*) FROM scored s JOIN (SELECT source_partition, min(source_offset) AS first FROM scored
                WHERE version = 2 GROUP BY source_partition) f USING (source_partition)
            WHERE s.version = 1 AND s.source_offset > f.first);";

const SWAP: &str = "
    SELECT source_partition AS partition,
           count(*) FILTER (WHERE version = 1) AS \"rows by v1\",
           max(source_offset) FILTER (WHERE version = 1) AS \"last offset by v1\",
           min(source_offset) FILTER (WHERE version = 2) AS \"first offset by v2\",
           count(*) FILTER (WHERE version = 2) AS \"rows by v2\"
    FROM scored GROUP BY source_partition ORDER BY source_partition;";

const MODELS: &str = "
    SELECT name, version, status, size, rows, errors, CAST(p50_us AS BIGINT) AS p50_us, CAST(p99_us AS BIGINT) AS p99_us
    FROM models ORDER BY version;";

/// An epoch of the job that scores.
#[derive(Debug, Clone, Copy)]
pub struct Epoch {
    /// When it ended.
    pub ended: Instant,
    /// The version that scored it.
    pub version: Option<u64>,
}

/// What is in the topics.
struct Counts {
    payments: i64,
    scored: i64,
    /// Payments that were not scored.
    lost: i64,
    /// Scored rows beyond one per payment.
    doubled: i64,
    alerts: i64,
    alerts_doubled: i64,
    /// Rows scored by the first version behind one that was scored by the second, along a partition.
    back: i64,
}

impl Counts {
    async fn read(engine: &Arc<Engine>) -> Result<Self> {
        let batches = query(engine, &format!("{TABLES}{COUNTS}")).await?.collect().await?;
        let row = batches.first().filter(|batch| batch.num_rows() == 1);
        let count = |i: usize| row.map_or(-1, |batch| batch.column(i).as_primitive::<Int64Type>().value(0));
        Ok(Self {
            payments: count(0),
            scored: count(1),
            lost: count(2),
            doubled: count(3),
            alerts: count(4),
            alerts_doubled: count(5),
            back: count(6),
        })
    }
}

/// Prints what happened.
///
/// # Errors
/// Those of the queries, and of stdout.
pub async fn report(engine: &Arc<Engine>, epochs: &[Epoch], out: &mut Output) -> Result<()> {
    out.line("\nThe swap, along each partition of topic payments:\n")?;
    table(engine, &format!("{TABLES}{SWAP}"), out).await?;
    if let Some((longest, median)) = gaps(epochs) {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        out.line(&format!(
            "\nLongest gap between epoch ends, 1 s around the swap: {:.1} ms (median {:.1} ms)",
            ms(longest),
            ms(median)
        ))?;
    }
    let counts = Counts::read(engine).await?;
    out.line(&format!(
        "\n{} payments in, {} scored: {} lost, {} doubled. {} alerts, {} doubled.\n",
        grouped(counts.payments),
        grouped(counts.scored),
        grouped(counts.lost),
        grouped(counts.doubled),
        grouped(counts.alerts),
        grouped(counts.alerts_doubled)
    ))?;
    out.line("The registry is a table: SELECT ... FROM models\n")?;
    table(engine, MODELS, out).await
}

/// Three commands that work as they stand here.
///
/// # Errors
/// Those of stdout.
pub fn next_steps(out: &mut Output, broker: &str) -> Result<()> {
    let vatic = std::env::args().next().unwrap_or_else(|| "vatic".to_owned());
    let command = format!("{} --broker {}", quoted(&vatic), quoted(broker));
    out.line(&format!(
        "\nThe topics are still there. Try:\n
{command} sql \\
  \"SELECT version, count(*) AS payments, max(risk) FROM topic('scored') GROUP BY version\"\n
{command} sql \\
  \"SELECT id, amount, hour, distance_km, tx_last_hour AS recent,
          score('fraud:1', amount, hour, distance_km, tx_last_hour) AS v1,
          score('fraud:2', amount, hour, distance_km, tx_last_hour) AS v2
   FROM topic('payments') ORDER BY v2 - v1 DESC LIMIT 5\"\n
{command} consume alerts --json | head -3"
    ))?;
    out.flush()
}

/// The demo's promise.
///
/// # Errors
/// `Data` if a row was lost or doubled, or a version went back.
pub async fn verdict(engine: &Arc<Engine>) -> Result<()> {
    let counts = Counts::read(engine).await?;
    let wrong = counts.lost + counts.doubled + counts.alerts_doubled + counts.back;
    if wrong == 0 && counts.scored == counts.payments && counts.payments == super::ROWS as i64 {
        return Ok(());
    }
    Err(Error::data(format!(
        "the demo did not keep its promise: {} payments of {}, {} lost, {} doubled, {} alerts doubled, {} scored by v1 after v2",
        counts.payments,
        super::ROWS,
        counts.lost,
        counts.doubled,
        counts.alerts_doubled,
        counts.back
    ))
    .hint("Please report this, with what the demo printed."))
}

async fn table(engine: &Arc<Engine>, text: &str, out: &mut Output) -> Result<()> {
    let rows = query(engine, text).await?;
    let ui = Ui::new(true, ColorChoice::Never);
    render::print(rows, OutputFormat::Table, render::Layout::Aligned, out, &ui).await.map(|_| ())
}

/// The longest and the median gap between epoch ends around the swap.
fn gaps(epochs: &[Epoch]) -> Option<(Duration, Duration)> {
    let swap = epochs.iter().find(|epoch| epoch.version == Some(2))?.ended;
    let near: Vec<Instant> = epochs
        .iter()
        .map(|epoch| epoch.ended)
        .filter(|ended| ended.saturating_duration_since(swap).max(swap.saturating_duration_since(*ended)) <= AROUND)
        .collect();
    let mut gaps: Vec<Duration> = near.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).collect();
    gaps.sort_unstable();
    Some((*gaps.last()?, gaps[gaps.len() / 2]))
}

/// A number with its thousands apart.
pub fn grouped(number: impl TryInto<i64>) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A word as a POSIX shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_that_around_the_swap() {
        let start = Instant::now();
        let at = |ms: u64, version| Epoch { ended: start + Duration::from_millis(ms), version: Some(version) };
        // The gap of 3 s lies before; the one of 40 ms is that of the swap.
        let epochs = [at(0, 1), at(3_000, 1), at(3_010, 1), at(3_050, 2), at(3_060, 2), at(9_000, 2)];
        let ms = Duration::from_millis;
        assert_eq!(gaps(&epochs), Some((ms(40), ms(10))));
        assert_eq!(gaps(&epochs[..3]), None);
    }

    #[test]
    fn numbers_are_grouped_and_words_are_quoted() {
        assert_eq!([grouped(0), grouped(999), grouped(16_000), grouped(-1_234_567)], ["0", "999", "16,000", "-1,234,567"]);
        assert_eq!(quoted("embedded:/tmp/vatic-demo-a1"), "embedded:/tmp/vatic-demo-a1");
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
    }
}
