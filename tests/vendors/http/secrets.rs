//! What never shows in an error or a log: the credential, a value, an address.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use apitoken_operator::{
    issuers::http::{Effect, Http},
    token_value::TokenValue,
};
use futures::future::join_all;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::server::{Reply, Server, answer, ok};

const SECRETS: [&str; 5] = ["crede-ntial", "in-the-path", "in-the-query", "in-the-body", "in-the-answer"];

/// All that is logged in this process, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test]
async fn no_error_and_no_log_shows_a_secret() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .init();
    tracing::trace!("this is seen");
    let secret = "\"in-the-answer\"";
    let half = format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{secret}");
    let replies = [
        ok(&format!("[{secret}]")),
        ok(&format!("<{secret}")),
        answer("302 Found", "location: https://in-the-answer.example.com/in-the-path\r\n", ""),
        answer("400 Bad", "x: in-the-answer\r\n", secret),
        answer("429 Many", "", secret),
        answer("500 Error", "", secret),
        Reply::Bytes(vec![]),
        Reply::Bytes(half.clone().into()),
        Reply::Bytes(b"in-the-answer\r\n\r\n".to_vec()),
        Reply::Silence,
        Reply::Stuck(half.into()),
    ];
    join_all(replies.map(|reply| async move {
        for effect in [Effect::Read, Effect::Make] {
            let server = Server::new([reply.clone()]).await;
            let credential = TokenValue::new(SECRETS[0]);
            let http = server.http_with(|settings| (settings.credential, settings.timeout) = (&credential, Duration::from_secs(3)));
            let error = error_of(&http, effect).await;
            is_clean(&error);
            assert!(!error.contains(&server.address.port().to_string()), "{error}");
        }
    }))
    .await;
    let logged = log.text();
    assert!(logged.contains("this is seen"));
    assert!(
        logged.contains("hyper_util") || logged.contains("reqwest"),
        "libraries log too: {logged}"
    );
    is_clean(&logged);
}

async fn error_of(http: &Http, effect: Effect) -> String {
    let call = http.post(&["a", "in-the-path"]).query("q", "in-the-query");
    let call = call
        .json(&json!({"value": "in-the-body"}))
        .carrying(&TokenValue::new("in-the-answer"));
    match call.send(effect).await {
        Ok(answer) if answer.is_success() => format!("{:?}", answer.json::<Vec<u64>>().unwrap_err()),
        Ok(answer) => format!("{:?}", answer.refusal(answer.json::<Value>().unwrap().as_str())),
        Err(error) => format!("{error} {error:?}"),
    }
}

fn is_clean(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
