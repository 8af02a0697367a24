//! What is known after a call without an answer, and what is sent again.

use std::time::{Duration, Instant};

use apitoken_operator::issuers::{
    IssuerError,
    http::{Effect, Http},
};

use futures::future::join_all;

use super::server::{Reply, Server, answer, ok, settings};

const EFFECTS: [Effect; 3] = [Effect::Read, Effect::Change, Effect::Make];
const LIMIT: Duration = Duration::from_millis(800);

fn lost(effect: Effect, text: &str) -> IssuerError {
    match effect {
        Effect::Make => IssuerError::OutcomeUnknown(text.to_owned()),
        Effect::Read | Effect::Change => IssuerError::Unavailable(text.to_owned()),
    }
}

#[tokio::test]
async fn a_call_that_may_have_arrived_and_may_make_a_token_has_an_unknown_outcome() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    let (cut, late) = ("the connection broke off before the whole answer was there", "no answer in time");
    let rows = [
        (Reply::Bytes(vec![]), cut),
        (Reply::Bytes(b"HTTP/1.1 200".to_vec()), cut),
        (Reply::Bytes(b"no HTTP at all\r\n\r\n".to_vec()), cut),
        (Reply::Bytes(format!("{head}half").into()), cut),
        (Reply::Silence, late),
        (Reply::Stuck(head.into()), late),
        (Reply::Stuck(format!("{head}half").into()), late),
    ];
    join_all(rows.map(|(reply, text)| async move {
        for effect in EFFECTS {
            let server = Server::new([reply.clone()]).await;
            // A read that is cut is sent again, which takes its time.
            let timeout = if text == cut { Duration::from_secs(20) } else { LIMIT };
            let http = server.http_with(|settings| settings.timeout = timeout);
            let error = http.post(&["a"]).send(effect).await.err();
            assert_eq!(error, Some(lost(effect, text)));
        }
    }))
    .await;
}

#[tokio::test]
async fn a_call_that_was_never_sent_did_nothing() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for effect in EFFECTS {
        let http = Http::new(&settings(&format!("http://127.0.0.1:{port}"))).unwrap();
        let error = http.post(&["a"]).send(effect).await.err();
        assert_eq!(error, Some(IssuerError::Unreachable("there is no connection".to_owned())));
    }
}

#[tokio::test]
async fn a_call_ends_with_its_time_limit() {
    let server = Server::new([Reply::Silence]).await;
    let http = server.http_with(|settings| settings.timeout = LIMIT);
    for effect in EFFECTS {
        let began = Instant::now();
        assert!(http.get(&["a"]).send(effect).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_read_is_sent_up_to_twice_more() {
    let rows = ["502 X", "503 X", "504 X"].map(|status| answer(status, "", ""));
    join_all(rows.into_iter().chain([Reply::Bytes(vec![])]).map(|passing| async {
        let server = Server::new([passing.clone(), passing.clone(), ok("{}")]).await;
        let answer = server.http().get(&["a"]).send(Effect::Read).await.unwrap();
        assert_eq!((answer.status(), server.requests().len()), (200, 3));

        let server = Server::new([passing]).await;
        let answer = server.http().get(&["a"]).send(Effect::Read).await;
        assert!(!answer.is_ok_and(|answer| answer.is_success()));
        assert_eq!(server.requests().len(), 3);
    }))
    .await;
}

#[tokio::test]
async fn nothing_else_is_sent_again() {
    for reply in [Reply::Bytes(vec![]), answer("503 X", "", "")] {
        for effect in [Effect::Change, Effect::Make] {
            let server = Server::new([reply.clone(), ok("{}")]).await;
            let answer = server.http().delete(&["a"]).send(effect).await;
            assert!(!answer.is_ok_and(|answer| answer.is_success()));
            assert_eq!(server.requests().len(), 1, "{effect:?}");
        }
    }
    for status in ["400 X", "404 X", "500 X", "501 X", "302 X"] {
        let server = Server::new([answer(status, "", ""), ok("{}")]).await;
        let answer = server.http().get(&["a"]).send(Effect::Read).await;
        assert!(!answer.is_ok_and(|answer| answer.is_success()));
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_connection_that_the_vendor_closed_meanwhile_costs_no_answer() {
    let closing = answer("200 OK", "connection: close\r\n", "{}");
    let server = Server::new([closing]).await;
    let http = server.http();
    for _ in 0..3 {
        http.post(&["a"]).send(Effect::Make).await.unwrap();
    }
    assert_eq!((server.requests().len(), server.connections()), (3, 3));
}
