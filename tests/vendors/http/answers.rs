//! What an answer is taken for.

use apitoken_operator::{
    issuers::{
        IssuerError,
        http::{Effect, LONGEST_BODY},
    },
    token_value::TokenValue,
};
use serde_json::{Value, json};

use super::server::{CREDENTIAL, Reply, Server, answer, ok};

const EFFECTS: [Effect; 3] = [Effect::Read, Effect::Change, Effect::Make];

#[tokio::test]
async fn a_call_is_sent_as_it_was_put_together() {
    let server = Server::new([ok("{\"a\": 1}")]).await;
    let http = server.http();
    let call = http
        .post(&["api", "sa::a/b ?#%", "x"])
        .query("limit", "100")
        .query("select", "+a b");
    let answer = call.json(&json!({"name": "ä"})).send(Effect::Make).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().unwrap(), json!({"a": 1}));
    let request = &server.requests()[0];
    assert!(
        request.starts_with("POST /api/sa::a%2Fb%20%3F%23%25/x?limit=100&select=%2Ba+b HTTP/1.1\r\n"),
        "{request}"
    );
    for line in [
        &format!("authorization: Bearer {CREDENTIAL}"),
        concat!("user-agent: apitoken-operator/", env!("CARGO_PKG_VERSION")),
        "accept: application/json",
        "content-type: application/json",
    ] {
        assert!(request.lines().any(|known| known == line), "{line} in {request}");
    }
    assert!(request.ends_with("\r\n\r\n{\"name\":\"ä\"}"), "{request}");
}

#[tokio::test]
async fn what_stands_before_the_path_stays() {
    let server = Server::new([ok("[]")]).await;
    for base in ["/public", "/public/"] {
        let url = format!("{}{base}", server.url());
        let http = server.http_with(|settings| settings.url = &url);
        http.get(&["v1", "tokens"]).send(Effect::Read).await.unwrap();
    }
    for request in server.requests() {
        assert!(request.starts_with("GET /public/v1/tokens HTTP/1.1"), "{request}");
    }
}

#[tokio::test]
async fn an_id_that_would_lead_to_another_path_is_not_sent() {
    let server = Server::new([ok("{}")]).await;
    for id in ["", ".", ".."] {
        let refused = server
            .http()
            .delete(&["api", "tokens", id])
            .send(Effect::Change)
            .await
            .err()
            .unwrap();
        assert!(matches!(refused, IssuerError::Refused(_)), "{refused}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::new([ok("{}")]).await;
    let http = server.http();
    for _ in 0..3 {
        http.get(&["a"]).send(Effect::Read).await.unwrap();
    }
    assert_eq!((server.requests().len(), server.connections()), (3, 1));
}

#[tokio::test]
async fn a_status_says_what_became_of_a_call() {
    let why = || "it says why".to_owned();
    let limited = IssuerError::RateLimited {
        retry_after: Some(jiff::SignedDuration::from_secs(5)),
    };
    let uncertain = |effect, status| {
        let text = format!("it answers with status {status}");
        match effect {
            Effect::Make => IssuerError::OutcomeUnknown(text),
            Effect::Read | Effect::Change => IssuerError::Unavailable(text),
        }
    };
    for effect in EFFECTS {
        for (status, expected) in [
            (400, IssuerError::Refused(why())),
            (401, IssuerError::CredentialRefused),
            (403, IssuerError::NotPermitted(why())),
            (404, IssuerError::Refused(why())),
            (408, uncertain(effect, 408)),
            (422, IssuerError::Refused(why())),
            (429, limited.clone()),
            (500, uncertain(effect, 500)),
            (501, uncertain(effect, 501)),
        ] {
            let server = Server::new([answer(&format!("{status} X"), "", "{}")]).await;
            let answer = server.http().get(&["a"]).send(effect).await.unwrap();
            assert!(!answer.is_success());
            assert_eq!(answer.refusal(Some("it\nsays why")), expected, "{status} to {effect:?}");
        }
    }
}

#[tokio::test]
async fn what_a_vendor_writes_is_shown_without_secrets() {
    let server = Server::new([answer("422 X", "", "{}")]).await;
    let http = server.http();
    let call = http.put(&["a", "value-1"]).carrying(&TokenValue::new("value-1"));
    let answer = call.send(Effect::Change).await.unwrap();
    let written = format!("no token value-1 for {CREDENTIAL}");
    assert_eq!(
        answer.refusal(Some(&written)),
        IssuerError::Refused("no token [secret] for [secret]".to_owned())
    );
    for empty in [None, Some(""), Some("\n")] {
        let expected = IssuerError::Refused("status 422, without a reason".to_owned());
        assert_eq!(answer.refusal(empty), expected);
    }
}

#[tokio::test]
async fn the_vendors_time_is_read() {
    let server = Server::new([answer("200 OK", "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "{}"), ok("{}")]).await;
    let dates = [(); 2].map(|()| async { server.http().get(&["a"]).send(Effect::Read).await.unwrap().date() });
    let [with, without] = dates;
    assert_eq!(with.await, Some("1994-11-06T08:49:37Z".parse().unwrap()));
    assert_eq!(without.await, None);
}

#[tokio::test]
async fn an_answer_of_another_shape_is_an_error_that_repeats_nothing_of_it() {
    for (body, expected) in [
        (
            "<html>secret</html>",
            "the answer is not as documented: no JSON at line 1, column 1",
        ),
        ("[1, ", "the answer is not as documented: an early end at line 1, column 4"),
        ("", "the answer is not as documented: an early end at line 1, column 0"),
        (
            "\n[\"secret\"]",
            "the answer is not as documented: another shape at line 2, column 9",
        ),
        ("[\u{1}]", "the answer is not as documented: no JSON at line 1, column 2"),
    ] {
        let server = Server::new([ok(body)]).await;
        let read = server.http().get(&["a"]).send(Effect::Read).await.unwrap();
        let made = server.http().post(&["a"]).send(Effect::Make).await.unwrap();
        let expected = expected.to_owned();
        assert_eq!(read.json::<Vec<u32>>(), Err(IssuerError::Unavailable(expected.clone())));
        assert_eq!(made.json::<Vec<u32>>(), Err(IssuerError::OutcomeUnknown(expected)));
    }
}

#[tokio::test]
async fn a_redirect_is_an_error_and_nobody_follows() {
    let elsewhere = Server::new([ok("{}")]).await;
    for status in [301, 302, 303, 307, 308] {
        let headers = format!("location: {}/a\r\n", elsewhere.url());
        let server = Server::new([answer(&format!("{status} X"), &headers, "")]).await;
        let text = format!("it answers with a redirect (status {status}): correct the url in its spec");
        for (effect, expected) in [
            (Effect::Read, IssuerError::Unavailable(text.clone())),
            (Effect::Change, IssuerError::Unavailable(text.clone())),
            (Effect::Make, IssuerError::OutcomeUnknown(text)),
        ] {
            assert_eq!(server.http().post(&["a"]).send(effect).await.err(), Some(expected));
        }
        assert_eq!(server.requests().len(), EFFECTS.len());
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_cut_off() {
    let whole = "x".repeat(LONGEST_BODY);
    let chunk = format!("{:x}\r\n{whole}\r\n", whole.len());
    // Both never end.
    let announced = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{whole}x", LONGEST_BODY * 2);
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}");
    for endless in [announced, chunked] {
        let server = Server::new([Reply::Stuck(endless.into())]).await;
        let expected = IssuerError::Unavailable("the answer is too long".to_owned());
        assert_eq!(server.http().get(&["a"]).send(Effect::Read).await.err(), Some(expected));
    }
    let server = Server::new([ok(&whole)]).await;
    assert!(
        server.http().get(&["a"]).send(Effect::Read).await.is_ok(),
        "the longest one is taken"
    );
}
