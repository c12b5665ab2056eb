//! A score from a model server over HTTP: where a model cannot run in the query, the SQL stays the same.
//!
//! `GET /score?features=1.5,3` answers with a number. Plain HTTP/1.1 over a connection per row, so that the example needs no HTTP crate;
//! with one (reqwest), keep its client in a static.

use arroyo_udf_plugin::udf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The score that the server at `address` (`host:port`) gives for `features` (`1.5,3`). Panics, which makes the row an error, if the
/// server cannot be reached or gives none.
#[udf(unordered, allowed_in_flight = 64, timeout = "2s")]
async fn remote_score(address: &str, features: &str) -> f64 {
    let request = format!("GET /score?features={features} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap_or_else(|e| panic!("cannot reach {address}: {e}"));
    stream.write_all(request.as_bytes()).await.unwrap_or_else(|e| panic!("cannot ask {address}: {e}"));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap_or_else(|e| panic!("no answer from {address}: {e}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        panic!("{address} says {status}");
    }
    body.trim().parse().unwrap_or_else(|_| panic!("{address} gives no number but {body:?}"))
}
