//! When nothing is sent: a rate that is used up, and a vendor that asks for fewer calls.

use std::time::{Duration, Instant};

use apitoken_operator::issuers::{
    IssuerError,
    http::{Effect, Http, Rate},
};
use jiff::SignedDuration;

use super::server::{Reply, Server, answer, ok};

async fn ask(http: &Http, effect: Effect) -> Result<u16, IssuerError> {
    http.get(&["a"]).send(effect).await.map(|answer| answer.status())
}

/// The time that calls are held back for.
fn held_back(result: Result<u16, IssuerError>) -> SignedDuration {
    match result {
        Err(IssuerError::RateLimited {
            retry_after: Some(retry_after),
        }) => retry_after,
        other => panic!("it is held back: {other:?}"),
    }
}

fn limits(headers: &str) -> Reply {
    answer("429 Too Many Requests", headers, "{}")
}

#[tokio::test]
async fn after_a_429_the_next_call_is_not_sent() {
    for (headers, seconds) in [
        ("", 5),
        ("retry-after: 30\r\n", 30),
        ("retry-after: 0\r\n", 1),
        ("retry-after: 86400\r\n", 3600),
        ("retry-after: 99999999999999999999999\r\n", 3600),
        ("retry-after: soon\r\n", 5),
        ("retry-after: -1\r\n", 5),
        (
            "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:07 GMT\r\n",
            30,
        ),
        (
            "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:00:00 GMT\r\n",
            1,
        ),
        ("retry-after: Sun, 06 Nov 1994 08:50:07 GMT\r\n", 1),
        ("retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n", 3600),
    ] {
        let server = Server::new([limits(headers), ok("{}")]).await;
        let http = server.http();
        let first = http.get(&["a"]).send(Effect::Read).await.unwrap().refusal(None);
        let seconds = SignedDuration::from_secs(seconds);
        assert_eq!(
            first,
            IssuerError::RateLimited {
                retry_after: Some(seconds)
            },
            "{headers}"
        );
        for effect in [Effect::Read, Effect::Change, Effect::Make] {
            let left = held_back(ask(&http, effect).await);
            // The test itself takes its time.
            assert!(left <= seconds && left > seconds - SignedDuration::from_millis(900), "{left}");
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_503_holds_back_only_where_it_says_for_how_long() {
    let busy = |headers| answer("503 X", headers, "");
    let server = Server::new([busy("retry-after: 30\r\n"), ok("{}")]).await;
    let http = server.http();
    assert_eq!(ask(&http, Effect::Read).await, Ok(503), "it is not asked again");
    assert!(held_back(ask(&http, Effect::Read).await) > SignedDuration::from_secs(20));
    assert_eq!(server.requests().len(), 1);

    let server = Server::new([busy(""), ok("{}")]).await;
    let http = server.http();
    assert_eq!(ask(&http, Effect::Make).await, Ok(503));
    assert_eq!(ask(&http, Effect::Make).await, Ok(200));
}

#[tokio::test]
async fn calls_are_sent_again_when_the_time_is_over() {
    let server = Server::new([limits("retry-after: 1\r\n"), ok("{}")]).await;
    let http = server.http();
    assert_eq!(ask(&http, Effect::Read).await, Ok(429));
    let left = held_back(ask(&http, Effect::Read).await);
    tokio::time::sleep(left.unsigned_abs()).await;
    assert_eq!(ask(&http, Effect::Read).await, Ok(200));
}

#[tokio::test]
async fn a_vendor_can_ask_in_its_own_way() {
    let server = Server::new([ok("{}")]).await;
    let http = server.http();
    let asked = http.hold_back(Duration::from_millis(2500));
    let expected = SignedDuration::from_millis(2500);
    assert_eq!(
        asked,
        IssuerError::RateLimited {
            retry_after: Some(expected)
        }
    );
    assert!(held_back(ask(&http, Effect::Read).await) <= expected);
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_call_waits_for_its_place_and_no_longer_than_is_worth_it() {
    let server = Server::new([ok("{}")]).await;
    let rate = |per| Rate { requests: 2, per };
    let per = Duration::from_millis(600);
    let http = server.http_with(|settings| settings.rate = Some(rate(per)));
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(ask(&http, Effect::Make).await, Ok(200));
    }
    assert!(began.elapsed() >= per, "the third one waited");

    let http = server.http_with(|settings| settings.rate = Some(rate(Duration::from_secs(600))));
    let before = server.requests().len();
    for _ in 0..2 {
        assert_eq!(ask(&http, Effect::Make).await, Ok(200));
    }
    assert!(held_back(ask(&http, Effect::Make).await) > SignedDuration::from_secs(500));
    assert_eq!(server.requests().len(), before + 2);
}

#[tokio::test]
async fn what_is_sent_again_counts_as_a_call() {
    let server = Server::new([answer("502 X", "", ""), ok("{}")]).await;
    let rate = Rate {
        requests: 1,
        per: Duration::from_secs(600),
    };
    let http = server.http_with(|settings| settings.rate = Some(rate));
    held_back(ask(&http, Effect::Read).await);
    assert_eq!(server.requests().len(), 1);
}
