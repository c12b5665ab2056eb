//! Something to play with, for a broker with nothing on it.   `\demo` ─► topic "payments" (the demo's), model "fraud"
//!
//! The data are those of `vatic demo`: the saved query `queries/payments.sql`, as fast as it goes, and its first model.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Engine, Notices, Outcome, PublishOptions, Session, UntilEnd};
use crate::error::{Error, Result};

const PAYMENTS: &str = include_str!("../../../queries/payments.sql");
const FRAUD: &[u8] = include_bytes!("../../../queries/models/fraud_v1.onnx");
const TOPIC: &str = "payments";

/// What there is now, and three things to do with it.
const NEXT: &str = "\
There are 16,000 payments on topic \"payments\" now, table payments reads them,
and model \"fraud\" has a version. Try:

  SELECT * FROM payments LIMIT 5;
  SELECT id, amount, score('fraud', amount, hour, distance_km, tx_last_hour)
         AS risk FROM payments ORDER BY risk DESC LIMIT 5;
  CREATE TABLE alerts WITH (topic = 'alerts') AS
         SELECT id, card, amount FROM payments WHERE amount > 1000;";

/// Fills the topic, publishes the model, declares the table in `session`; gives what to say.
///
/// # Errors
/// `User` if the topic exists already; whatever the broker says.
pub(super) async fn make(engine: &Arc<Engine>, session: &mut Session) -> Result<&'static str> {
    if engine.broker().topic(TOPIC).await?.is_some() {
        let error = Error::user(format!("topic \"{TOPIC}\" exists already, and \\demo would add to it"));
        return Err(error.hint("Look at it: SELECT * FROM topic('payments') LIMIT 5;"));
    }
    // What its job has to say is said below.
    let mut own = Engine::over(Arc::clone(engine.broker()), Notices::none()).session();
    own.set_base(".", Some("demo".to_owned()));
    own.set_until_end(UntilEnd::Leave);
    // The saved query takes eight seconds, for the demo's sake. If the topic was deleted, the job's offsets were not.
    let fast = PAYMENTS.replace(", rate = 2000", "");
    for statement in own.parse(&format!("RESET JOB 'demo.payments';\n{fast}"), None)? {
        if let Outcome::Job(job) = own.execute(&statement).await? {
            let _stop = StopOnDrop(&job);
            job.wait().await?;
        }
    }
    let models_topic = session.settings().models_topic.clone();
    engine.publish(&models_topic, "fraud", Bytes::from_static(FRAUD), &PublishOptions::default()).await?;
    for statement in session.parse(PAYMENTS, None)? {
        if statement.text.starts_with("CREATE TABLE payments") {
            let text = statement.text.replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1);
            for statement in session.parse(&text, None)? {
                session.execute(&statement).await?;
            }
        }
    }
    Ok(NEXT)
}

/// A job that nobody waits for any more is stopped.
struct StopOnDrop<'a>(&'a crate::engine::Job);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
