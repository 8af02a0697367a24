//! What strangers can send: whatever it is, there is an answer in time, nobody gets through, and nothing grows.

use std::time::Duration;

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
    time::timeout,
};

use super::Gate;

/// No answer takes longer.
const IN_TIME: Duration = Duration::from_secs(10);

/// Sends bytes on a connection of their own: all that comes back.
async fn send(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other end may have had enough before all of it is sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(IN_TIME, stream.read_to_end(&mut answer)).await.expect("an end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(line: &str, headers: &[(&str, Vec<u8>)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for (name, value) in headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend([b"\r\n", body].concat());
    bytes
}

/// Bytes that often look like what belongs there.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        3 => "[ -~]{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(b"Bearer ".to_vec()),
        1 => Just(b"apt_".to_vec()),
        1 => Just(b"issuer=ClusterTokenIssuer/builtin&scope=".to_vec()),
        1 => Just("ä%00%zz&&==;,".as_bytes().to_vec()),
        1 => Just(vec![b'a'; 5000]),
    ];
    prop::collection::vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_nobody_gets_through_and_the_verifier_goes_on() {
    let gate = Gate::new("strangers").await;
    let value = gate.issued("ci", json!({})).await;
    let (address, handle) = (gate.verifier.http.clone(), Handle::current());
    let tried = move || {
        let paths = prop_oneof![Just("/authorize"), Just("/introspect"), Just("/authorize/p/"), Just("/")];
        let methods = prop_oneof![Just("GET"), Just("POST"), Just("OPTIONS"), Just("X")];
        let names = prop_oneof![Just("authorization"), Just("x-api-key"), Just("content-type"), Just("x-other")];
        let strategy = (methods, paths, text(), prop::collection::vec((names, text()), 0..4), text());
        let config = ProptestConfig {
            cases: 300,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let run = TestRunner::new(config).run(&strategy, |(method, path, query, headers, body)| {
            let query: String = query.iter().map(|byte| format!("%{byte:02x}")).collect();
            let bytes = request(&format!("{method} {path}?{query}"), &headers, &body);
            let answer = handle.block_on(send(&address, &bytes));
            let passed = answer.starts_with("HTTP/1.1 200") && !answer.contains("{\"active\":false}");
            prop_assert!(!passed, "{answer}");
            prop_assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
            let raw = handle.block_on(send(&address, &body));
            prop_assert!(!raw.starts_with("HTTP/1.1 200"), "{raw}");
            Ok(())
        });
        run.map_err(|failure| failure.to_string())
    };
    tokio::task::spawn_blocking(tried).await.unwrap().unwrap();
    assert!(gate.verifier.accepts(&gate.question, &value).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_too_long_are_refused() {
    let gate = Gate::new("strangers-long").await;
    let long = request("GET /authorize", &[("x-other", vec![b'a'; 100 * 1024])], b"");
    let answer = send(&gate.verifier.http, &long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_tokens_leaves_the_index_and_the_metrics_as_they_were() {
    let gate = Gate::new("strangers-flood").await;
    let value = gate.issued("ci", json!({})).await;
    let series = |metrics: String| metrics.lines().filter(|line| !line.starts_with('#')).count();
    let before = series(gate.verifier.metrics());
    for number in 0..2000 {
        assert!(!gate.verifier.accepts(&gate.question, &format!("apt_{number}")).await);
    }
    assert_eq!(series(gate.verifier.metrics()), before);
    assert!(gate.verifier.metrics().contains("apitoken_verifier_index_tokens 1\n"));
    assert!(gate.verifier.accepts(&gate.question, &value).await);
}
