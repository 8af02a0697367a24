//! Clients that try to write the question, the answer, or to the verifier itself.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{Gate, LESS, NAMES, QUESTION, Stage, asked_by, identity, issued, passed, refused};
use crate::support::{
    front::{Front, Kind},
    tap::Tap,
};

/// Who a client says that it is.
const SOMEBODY: &str = "somebody-else";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_writes_the_question() {
    let stage = Stage::new("proxies-question").await;
    let right = format!("Bearer {}", stage.token("ci", &["orders:read"]).await);
    let weak = format!("Bearer {}", stage.token("weak", &["orders:write"]).await);
    let expected = stage.identity("ci").await;
    let (easier, absolute) = (URL_SAFE_NO_PAD.encode(LESS), format!("http://other.example.com/authorize?{LESS}"));
    let with = |before: &str| format!("{before}{easier}/");
    // Where all pass the right token on, they all have to ask. Else some refuse or rewrite what is malformed.
    for (target, all_pass) in [
        ("/orders", true),
        ("/authorize", true),
        ("/authorize?scope=", true),
        (&format!("/authorize?{LESS}"), true),
        (&format!("/?{LESS}"), true),
        (&format!("/?scope=&{LESS}&x=/"), true),
        (&format!("/%3f{LESS}"), true),
        (&format!("//authorize?{LESS}"), true),
        (&format!("/..%2fauthorize?{LESS}"), false),
        (&format!("/..%2f..%2f..%2f..%2fauthorize?{LESS}"), false),
        (&format!("/../authorize?{LESS}"), false),
        (&format!("/../../../../authorize?{LESS}"), false),
        (&format!("/%2e%2e/%2e%2e/%2e%2e/authorize?{LESS}"), false),
        (&format!("/..\\..\\authorize?{LESS}"), false),
        (&format!("/..;/..;/authorize?{LESS}"), true),
        (&format!("/_authorize?{LESS}"), false),
        (&with("/p/"), true),
        (&with("/authorize/p/"), true),
        (&with("//authorize/p/"), true),
        (&with("/../p/"), false),
        (&with("/../../../p/"), false),
        (&with("/..%2fp%2f"), false),
        (&with("/..%2f..%2f..%2fauthorize%2fp%2f"), false),
        (&format!("{}..", with("/authorize/p/")), true),
        ("//", true),
        ("/introspect", true),
        ("/%0d%0aX-Auth-Subject:%20x", true),
        ("/%00", false),
        ("/a b", false),
        (&absolute, false),
        (&format!("?{LESS}"), false),
        ("*", false),
        (&easier, false),
    ] {
        for front in &stage.fronts {
            let why = format!("{:?}: {target}", front.kind);
            let line = format!("GET {target}");
            let outcome = front.send(&line, &[("Authorization", &right)], b"").await;
            let asks = !outcome.arrived.is_empty();
            assert!(asks || !all_pass, "{why}: {}", outcome.answer.status);
            if asks {
                passed(&outcome, &expected, &why);
            }
            for (headers, status) in [(&[("Authorization", weak.as_str())][..], 403), (&[], 401)] {
                let outcome = front.send(&line, headers, b"").await;
                assert!(outcome.arrived.is_empty(), "{why}");
                if asks {
                    refused(&outcome, status, &why);
                }
            }
        }
    }
    let question = format!("/authorize?{LESS}");
    for name in [
        "X-Forwarded-Uri",
        "X-Original-URI",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Envoy-Original-Path",
        "X-Accel-Redirect",
    ] {
        for front in &stage.fronts {
            let why = format!("{:?}: {name}", front.kind);
            let outcome = front.send("GET /", &[("Authorization", &weak), (name, &question)], b"").await;
            refused(&outcome, 403, &why);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_says_who_it_is() {
    let stage = Stage::new("proxies-answer").await;
    let value = stage.token("ci", &["orders:read"]).await;
    let bearer = format!("Bearer {value}");
    let right = ("Authorization", bearer.as_str());
    let expected = stage.identity("ci").await;
    let spelled = |name: &str| {
        let upper = name.to_uppercase();
        let words: Vec<&str> = name.splitn(3, '-').collect();
        let mixed = format!("{}_{}-{}", words[0], words[1], words[2]);
        [
            name.to_owned(),
            name.replace('-', "_"),
            name.replace('-', "."),
            upper.replace('-', "_"),
            upper,
            mixed,
        ]
    };
    let spellings: Vec<String> = NAMES.into_iter().flat_map(spelled).collect();
    let mut rows: Vec<Vec<(&str, &str)>> = spellings.iter().map(|name| vec![(name.as_str(), SOMEBODY)]).collect();
    let once: Vec<_> = rows.concat();
    rows.push([once.clone(), once].concat());
    for connection in [
        "close, X-Auth-Subject",
        "close, x-auth-subject, x-auth-account, x-auth-scopes, x-auth-token-id",
    ] {
        rows.push(vec![("Connection", connection)]);
        rows.push(vec![("Connection", connection), ("X-Auth-Subject", SOMEBODY)]);
    }
    for headers in rows {
        for front in &stage.fronts {
            let why = format!("{:?}: {headers:?}", front.kind);
            let outcome = front.send("GET /", &[&[right][..], &headers].concat(), b"").await;
            passed(&outcome, &expected, &why);
            refused(&front.send("GET /", &headers, b"").await, 401, &why);
        }
    }
    // What is malformed may be refused.
    for headers in [
        [("X-Auth-Subject ", SOMEBODY)],
        [("X-Auth-Subject\t", SOMEBODY)],
        [(" X-Auth-Subject", SOMEBODY)],
        [("X-Other: x\r\n\tX-Auth-Subject", SOMEBODY)],
        [("X-Other: x\nX-Auth-Subject", SOMEBODY)],
        [("X-Other: x\rX-Auth-Subject", SOMEBODY)],
        [("Connection", "close, Authorization")],
    ] {
        for front in &stage.fronts {
            let why = format!("{:?}: {headers:?}", front.kind);
            let outcome = front.send("GET /", &[right, headers[0]], b"").await;
            for arrived in &outcome.arrived {
                assert_eq!(identity(arrived), expected, "{why}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_reaches_the_application_whole_and_never_the_verifier() {
    let gate = Gate::new("proxies-body").await;
    let right = issued(&gate, "ci", json!({ "scopes": ["orders:read"], "audiences": ["shop"] })).await;
    let weak = issued(&gate, "weak", json!({ "audiences": ["shop"] })).await;
    let [right, weak] = [right, weak].map(|token| format!("Bearer {token}"));
    let marker = "body-of-the-client ";
    let body = marker.repeat(100 * 1024 / marker.len());
    let chunks = body.as_bytes().chunks(7000);
    let mut chunked: Vec<u8> = chunks
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect();
    chunked.extend(b"0\r\n\r\n");
    let length = body.len().to_string();
    for kind in Kind::ALL {
        let tap = Tap::to(asked_by(kind, &gate.verifier)).await;
        let front = Front::start(kind, &tap.address).await;
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for (framing, sent) in [
                (("Content-Length", length.as_str()), body.as_bytes()),
                (("Transfer-Encoding", "chunked"), &chunked),
            ] {
                let why = format!("{kind:?}: {method} {framing:?}");
                let line = format!("{method} /orders");
                let outcome = front.send(&line, &[("Authorization", &right), framing], sent).await;
                assert_eq!((outcome.answer.status, outcome.arrived.len()), (200, 1), "{why}");
                let arrived = &outcome.arrived[0];
                assert_eq!(arrived.line, line, "{why}");
                assert!(arrived.body == body.as_bytes(), "{why}: {} bytes arrived", arrived.body.len());
                let outcome = front.send(&line, &[("Authorization", &weak), framing], sent).await;
                refused(&outcome, 403, &why);
            }
        }
        assert!(!tap.heard(marker.trim()), "{kind:?} sends bodies to the verifier");
        let question = if kind == Kind::EnvoyHttp {
            &URL_SAFE_NO_PAD.encode(QUESTION)
        } else {
            "orders:read"
        };
        assert!(tap.heard(question), "{kind:?} asks by the tap");
    }
}
