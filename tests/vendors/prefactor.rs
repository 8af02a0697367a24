//! Prefactor: how the suite reaches it, and what is its own.

use std::sync::Arc;

use apitoken_operator::issuers::{Capabilities, Issuer, IssuerError, ListedState, NameCharacters, TokenRequest, Verb};
use jiff::{SignedDuration, ToSpan as _};
use serde_json::{Value, json};

use crate::{
    contract::{Bench, Vendor, open},
    fakes::{
        Fault, Now, Shown,
        prefactor::{ACCOUNT, AGENT, CREDENTIAL, ENVIRONMENT, OTHER_ACCOUNT, Prefactor, READER},
    },
};

/// In the account of the credential.
pub struct OwnAccount;
/// In the account that the spec names.
pub struct NamedAccount;

const CAPABILITIES: Capabilities = Capabilities {
    local: false,
    suspend: true,
    reset: None,
    readable_value: false,
    expiry: true,
    names: false,
    name_characters: NameCharacters::Any,
    update: false,
    revoke_before_delete: true,
    last_used: true,
};
/// Statuses that errors may come with, whatever they are.
const STATUSES: [u16; 5] = [200, 400, 409, 422, 500];
const VERBS: [Verb; 4] = [Verb::Suspend, Verb::Activate, Verb::Revoke, Verb::Delete];

fn spec_of(url: &str, account: Option<&str>) -> Value {
    json!({ "prefactor": { "url": url, "accountID": account, "credentialsRef": { "name": "prefactor", "key": "token" } } })
}

macro_rules! account {
    ($name:ty, $account:expr, $parameters:expr, $another:expr) => {
        impl Vendor for $name {
            type Fake = Prefactor;
            const CAPABILITIES: Capabilities = CAPABILITIES;
            const CREDENTIAL: &'static str = CREDENTIAL;
            const READER: Option<&'static str> = Some(READER);
            const GIVES_ENDS: bool = true;

            fn fake(now: Now) -> Prefactor {
                Prefactor::new(now)
            }

            fn spec(url: &str) -> Value {
                spec_of(url, $account)
            }

            fn spec_of_another_account(url: &str) -> Option<Value> {
                $another.map(|another| spec_of(url, Some(another)))
            }

            fn parameters() -> Value {
                json!({ "prefactor": $parameters })
            }

            fn accepts(fake: &Prefactor, value: &str) -> bool {
                fake.live().iter().any(|token| token.value == value && token.status == "active")
            }

            fn count(fake: &Prefactor) -> usize {
                fake.live().len()
            }

            fn plant(fake: &mut Prefactor) -> String {
                fake.plant()
            }

            fn state_of(fake: &Prefactor, id: &str) -> Option<String> {
                let token = fake.tokens().iter().find(|token| token.id == id)?;
                Some(format!("{} {} {}", token.value, token.status, token.expires_at))
            }

            fn use_up_quota(_: &mut Prefactor) -> bool {
                false
            }
        }
    };
}

account!(
    OwnAccount,
    None,
    json!({ "tokenScope": "environment", "environmentID": ENVIRONMENT }),
    None::<&str>
);
account!(NamedAccount, Some(ACCOUNT), json!({}), Some("4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f"));

type Own = Bench<OwnAccount>;

/// What is asked with these parameters.
fn asking(bench: &Own, parameters: Value) -> TokenRequest {
    TokenRequest {
        parameters: serde_json::from_value(json!({ "prefactor": parameters })).unwrap(),
        ..bench.request(1)
    }
}

fn status_of(bench: &Own, id: &str) -> String {
    bench.fake.with(|fake| fake.token(id).status.clone())
}

fn ids(tokens: Vec<apitoken_operator::issuers::ListedToken>) -> Vec<String> {
    tokens.into_iter().map(|token| token.id).collect()
}

/// With so many tokens of others; gives their ids, the newest first.
async fn with_tokens(count: usize) -> (Own, Vec<String>) {
    let bench = Own::new().await;
    let mut ids: Vec<String> = bench.fake.with(|fake| (0..count).map(|_| fake.plant()).collect());
    ids.reverse();
    (bench, ids)
}

#[tokio::test]
async fn a_list_of_several_pages_has_each_token_once() {
    for ends_without_offset in [false, true] {
        let (bench, planted) = with_tokens(250).await;
        bench.fake.with(|fake| fake.ends_without_offset = ends_without_offset);
        assert_eq!(ids(bench.issuer().inventory().await.unwrap()), planted);
        assert_eq!(ids(bench.issuer().list(&bench.request(1)).await.unwrap()), planted);
        assert_eq!(bench.fake.calls().len(), 6);
    }
}

#[tokio::test]
async fn what_is_made_while_a_list_is_read_hides_nothing() {
    let (bench, planted) = with_tokens(250).await;
    bench.fake.with(|fake| fake.appearing = 7);
    assert_eq!(ids(bench.issuer().inventory().await.unwrap()), planted);
}

#[tokio::test]
async fn what_is_removed_while_a_list_is_read_never_makes_another_seem_gone() {
    for removed in [1, 9, 10, 50] {
        let (bench, planted) = with_tokens(250).await;
        bench.fake.with(|fake| fake.vanishing = planted[..removed].to_vec());
        match bench.issuer().inventory().await {
            Ok(tokens) => assert_eq!(ids(tokens), planted, "{removed}"),
            Err(error) => {
                assert!(matches!(error, IssuerError::Unavailable(_)), "{error}");
                assert!(removed >= 10, "a few are no harm: {error}");
            }
        }
        assert!(bench.issuer().inventory().await.is_ok(), "the next look finds it at rest");
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let (bench, _) = with_tokens(230).await;
    bench.fake.with(|fake| fake.longest_page = 2);
    assert!(matches!(bench.issuer().inventory().await, Err(IssuerError::Unavailable(_))));
    assert_eq!(bench.fake.calls().len(), 225);

    bench.fake.with(|fake| fake.longest_page = 1);
    assert!(matches!(bench.issuer().inventory().await, Err(IssuerError::Unavailable(_))));
    assert_eq!(bench.fake.calls().len(), 227, "pages that do not advance end it at once");
}

#[tokio::test]
async fn a_token_fits_where_nothing_that_it_shows_speaks_against_it() {
    let bench = Own::new().await;
    bench.fake.with(|fake| fake.shows_agents = true);
    let agents = json!({ "tokenScope": "agent_deployment", "environmentID": ENVIRONMENT, "agentID": AGENT });
    let end = bench.clock.now() + SignedDuration::from_hours(24);
    let request = TokenRequest {
        expires_at: Some(end),
        ..asking(&bench, agents)
    };
    let made = bench.issuer().create(&request).await.unwrap();
    let fits = async |request: &TokenRequest| {
        let tokens = bench.issuer().list(request).await.unwrap();
        tokens.iter().find(|token| token.id == made.id).unwrap().fits
    };
    let ending = |end| TokenRequest {
        expires_at: end,
        ..request.clone()
    };
    let of = |parameters| TokenRequest {
        expires_at: Some(end),
        ..asking(&bench, parameters)
    };
    for (case, asked, expected) in [
        ("as asked", request.clone(), true),
        ("a fraction of a second", ending(Some(end + 5.milliseconds())), true),
        ("no end", ending(None), true),
        ("a second later", ending(Some(end + 1.second())), false),
        ("a second earlier", ending(Some(end - 1.second())), false),
        ("another scope", of(json!({ "tokenScope": "account" })), false),
        (
            "any environment",
            of(json!({ "tokenScope": "agent_deployment", "agentID": AGENT })),
            true,
        ),
        (
            "another environment",
            of(json!({ "tokenScope": "agent_deployment", "environmentID": "other", "agentID": AGENT })),
            false,
        ),
        (
            "another agent",
            of(json!({ "tokenScope": "agent_deployment", "environmentID": ENVIRONMENT, "agentID": "other" })),
            false,
        ),
    ] {
        assert_eq!(fits(&asked).await, expected, "{case}");
    }

    bench.fake.with(|fake| fake.shows_agents = false);
    assert!(fits(&request).await, "what is not shown speaks against nothing");
    bench.fake.with(|fake| fake.token(&made.id).account_id = OTHER_ACCOUNT.to_owned());
    let elsewhere = TokenRequest {
        account: Some(OTHER_ACCOUNT.to_owned()),
        ..request.clone()
    };
    assert!(fits(&elsewhere).await);
    bench.fake.with(|fake| fake.lists_all_accounts = true);
    let here = TokenRequest {
        account: Some(ACCOUNT.to_owned()),
        ..request.clone()
    };
    assert!(!fits(&here).await, "it is another account's");
    bench.issuer().change(&made.id, Verb::Revoke, &elsewhere).await.unwrap();
    assert!(!fits(&elsewhere).await, "a revoked token is nothing that is asked for");
}

#[tokio::test]
async fn a_token_shows_when_it_was_made_and_used_and_what_can_be_done_with_it() {
    let (bench, planted) = with_tokens(1).await;
    let now = bench.clock.now();
    bench.fake.with(|fake| fake.token(&planted[0]).last_used_at = Some(now));
    let token = bench.listed(&planted[0]).await.unwrap();
    assert_eq!((token.created_at, token.last_used_at), (Some(now), Some(now)));
    assert_eq!(token.details.created_by.as_deref(), Some("90909090909090909090909090909090"));
    let can = token.details.actions.unwrap();
    assert_eq!(
        (can.activate, can.suspend, can.revoke, can.rotate, can.delete),
        (false, true, true, true, false)
    );
    bench.fake.with(|fake| fake.token(&planted[0]).status = "suspended".to_owned());
    let can = bench.listed(&planted[0]).await.unwrap().details.actions.unwrap();
    assert_eq!(
        (can.activate, can.suspend, can.revoke, can.rotate, can.delete),
        (true, false, true, false, false)
    );
}

#[tokio::test]
async fn words_of_newer_versions_hide_no_token() {
    let (bench, planted) = with_tokens(3).await;
    bench.fake.with(|fake| {
        fake.token(&planted[0]).status = "hibernating".to_owned();
        fake.token(&planted[1]).token_scope = "galaxy".to_owned();
    });
    let whole_account = asking(&bench, json!({}));
    let tokens = bench.issuer().list(&whole_account).await.unwrap();
    let shown: Vec<_> = tokens.iter().map(|token| (token.state, token.fits)).collect();
    assert_eq!(
        shown,
        [
            (ListedState::Active, true),
            (ListedState::Active, false),
            (ListedState::Active, true)
        ]
    );
}

#[tokio::test]
async fn a_token_that_can_not_be_read_makes_the_whole_list_unread() {
    let bench = Own::new().await;
    for odd in [json!(null), json!({ "id": "1" }), json!({ "id": 1, "status": "active" })] {
        let page = json!({ "status": "success", "summaries": [odd], "pagination": { "next_page_offset": null } });
        bench.fake.next("list", Fault::not_done(Shown::Bytes(page.to_string().into())));
        assert!(
            matches!(bench.issuer().inventory().await, Err(IssuerError::Unavailable(_))),
            "{odd}"
        );
    }
}

#[tokio::test]
async fn the_word_in_the_body_decides_whatever_the_status() {
    for status in STATUSES {
        let bench = Own::new().await;
        bench.fake.with(|fake| fake.error_status = Some(status));
        let (made, request) = (bench.made(1).await, bench.request(2));
        let opened = |account, credential| open(spec_of(bench.fake.url(), account), credential, "30s");
        let said = async |issuer: Arc<dyn Issuer>| issuer.create(&request).await.err().unwrap();

        assert_eq!(said(opened(None, "nobody's")).await, IssuerError::CredentialRefused, "{status}");
        assert!(matches!(said(opened(None, READER)).await, IssuerError::NotPermitted(_)), "{status}");
        let nowhere = asking(&bench, json!({}));
        let error = opened(Some("404"), CREDENTIAL).create(&nowhere).await.err();
        assert_eq!(error, Some(IssuerError::AccountNotFound), "{status}");
        let error = opened(Some("404"), CREDENTIAL).inventory().await.err();
        assert_eq!(error, Some(IssuerError::AccountNotFound), "{status}");

        let elsewhere = asking(&bench, json!({ "tokenScope": "environment", "environmentID": "elsewhere" }));
        let error = bench.issuer().create(&elsewhere).await.err();
        assert_eq!(
            error,
            Some(IssuerError::Refused("there is no such thing".to_owned())),
            "{status}: the account is there"
        );
        let without = asking(&bench, json!({ "tokenScope": "environment" }));
        let error = bench.issuer().create(&without).await.err();
        let expected = "some fields are not valid; environment_id is invalid".to_owned();
        assert_eq!(error, Some(IssuerError::Refused(expected)), "{status}");

        for verb in [
            Verb::Suspend,
            Verb::Suspend,
            Verb::Activate,
            Verb::Activate,
            Verb::Revoke,
            Verb::Revoke,
            Verb::Delete,
            Verb::Delete,
        ] {
            bench.issuer().change(&made.id, verb, &request).await.unwrap();
        }
        assert_eq!(bench.count(), 0, "{status}");
    }
}

#[tokio::test]
async fn an_error_that_says_nothing_leaves_open_what_a_create_has_made() {
    let bench = Own::new().await;
    for code in [json!("unknown"), json!("unexpected"), json!("brand_new"), json!(null)] {
        let body = json!({ "status": "error", "code": code, "message": "sorry" }).to_string();
        bench.fake.next("create", Fault::done(Shown::Bytes(body.into())));
        let error = bench.issuer().create(&bench.request(1)).await.err().unwrap();
        assert!(matches!(error, IssuerError::OutcomeUnknown(_)), "{code}: {error}");
    }
    let made = bench.fake.with(|fake| fake.tokens()[0].clone());
    let without = json!({ "status": "success", "details": {}, "token": made.value }).to_string();
    bench.fake.next("create", Fault::done(Shown::Bytes(without.into())));
    let error = bench.issuer().create(&bench.request(1)).await.err().unwrap();
    assert!(matches!(error, IssuerError::OutcomeUnknown(_)), "{error}");
    assert!(!error.to_string().contains(&made.value));
}

#[tokio::test]
async fn calls_are_held_back_for_as_long_as_the_body_says() {
    for status in [None, Some(200), Some(400)] {
        let bench = Own::new().await;
        bench
            .fake
            .with(|fake| (fake.asks_for_peace, fake.error_status) = (Some(40_000), status));
        let issuer = bench.issuer();
        for _ in 0..2 {
            let error = issuer.create(&bench.request(1)).await.err().unwrap();
            let IssuerError::RateLimited { retry_after: Some(wait) } = error else {
                panic!("{status:?}: {error}");
            };
            assert!(
                wait <= SignedDuration::from_secs(40) && wait > SignedDuration::from_secs(30),
                "{wait}"
            );
        }
        assert_eq!(bench.fake.calls().len(), 1, "{status:?}");
    }
}

#[tokio::test]
async fn a_token_is_removed_only_once_it_was_revoked() {
    let (bench, planted) = with_tokens(1).await;
    let id = &planted[0];
    for before in ["active", "suspended"] {
        bench.fake.with(|fake| fake.token(id).status = before.to_owned());
        let error = bench.issuer().change(id, Verb::Delete, &bench.request(1)).await;
        assert_eq!(error, Err(IssuerError::Refused("delete is not available".to_owned())));
        assert_eq!(status_of(&bench, id), before);
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_meanwhile_is_looked_at_again() {
    let (bench, planted) = with_tokens(1).await;
    bench.fake.with(|fake| fake.token(&planted[0]).status = "revoked".to_owned());
    for verb in [Verb::Suspend, Verb::Activate] {
        let error = bench.issuer().change(&planted[0], verb, &bench.request(1)).await;
        assert!(matches!(error, Err(IssuerError::Unavailable(_))), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_became_of_the_token_has_it_looked_at() {
    for (done, shown) in [Shown::Page, Shown::Half]
        .into_iter()
        .flat_map(|shown| [(true, shown.clone()), (false, shown)])
    {
        let bench = Own::new().await;
        let made = bench.made(1).await;
        for (verb, operation) in VERBS.into_iter().zip(["suspend", "activate", "revoke", "delete"]) {
            let fault = Fault {
                done,
                shown: shown.clone(),
            };
            bench.fake.next(operation, fault);
            let changed = bench.issuer().change(&made.id, verb, &bench.request(1)).await;
            assert_eq!(changed.is_ok(), done, "{verb:?} {shown:?}: {changed:?}");
            bench.issuer().change(&made.id, verb, &bench.request(1)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_call_that_the_network_delivers_twice_counts_once() {
    let (bench, planted) = with_tokens(1).await;
    bench.fake.with(|fake| fake.delivers_twice = true);
    for (verb, status) in [
        (Verb::Suspend, "suspended"),
        (Verb::Activate, "active"),
        (Verb::Suspend, "suspended"),
    ] {
        bench.issuer().change(&planted[0], verb, &bench.request(1)).await.unwrap();
        assert_eq!(status_of(&bench, &planted[0]), status);
    }
    let keys = bench.fake.with(|fake| fake.keys.len());
    assert_eq!(keys, 3, "each call has one of its own");
}

#[tokio::test]
async fn a_conflict_without_a_word_has_the_token_looked_at() {
    let (bench, planted) = with_tokens(1).await;
    for (verb, operation, is_there) in [(Verb::Activate, "activate", true), (Verb::Suspend, "suspend", false)] {
        bench.fake.next(operation, Fault::not_done(Shown::Status(409)));
        let changed = bench.issuer().change(&planted[0], verb, &bench.request(1)).await;
        assert_eq!(changed.is_ok(), is_there, "{verb:?}: {changed:?}");
    }
}

#[tokio::test]
async fn a_removal_may_be_answered_with_nothing() {
    let bench = Own::new().await;
    bench.fake.with(|fake| fake.removes_silently = true);
    let made = bench.made(1).await;
    bench.end(&made.id).await.unwrap();
    let calls = bench.fake.calls();
    assert!(calls.last().unwrap().starts_with("DELETE "), "{calls:?}");
    assert!(bench.fake.with(|fake| fake.tokens().is_empty()));
}

#[tokio::test]
async fn a_wrong_url_does_not_make_a_token_seem_gone() {
    let bench = Own::new().await;
    let made = bench.made(1).await;
    for (verb, operation) in VERBS.into_iter().zip(["suspend", "activate", "revoke", "delete"]) {
        bench.fake.next(operation, Fault::not_done(Shown::Status(404)));
        let changed = bench.issuer().change(&made.id, verb, &bench.request(1)).await;
        assert!(matches!(changed, Err(IssuerError::Refused(_))), "{verb:?}: {changed:?}");
    }
    assert!(bench.accepts(&made.value));
}

#[tokio::test]
async fn a_token_whose_time_is_over_counts_as_ended_a_while_later_and_can_be_removed() {
    for suspended in [false, true] {
        let bench = Own::new().await;
        let lifetime = SignedDuration::from_hours(24);
        let request = TokenRequest {
            expires_at: Some(bench.clock.now() + lifetime),
            ..bench.request(1)
        };
        let made = bench.issuer().create(&request).await.unwrap();
        let mut state = ListedState::Active;
        if suspended {
            bench.issuer().change(&made.id, Verb::Suspend, &request).await.unwrap();
            state = ListedState::Suspended;
        }
        bench.clock.advance(lifetime + SignedDuration::from_mins(10));
        assert!(!bench.accepts(&made.value));
        assert_eq!(
            bench.listed(&made.id).await.unwrap().state,
            state,
            "the operator's own end comes first"
        );
        bench.clock.advance(SignedDuration::from_secs(1));
        assert_eq!(bench.listed(&made.id).await.unwrap().state, ListedState::Revoked);
        bench.issuer().change(&made.id, Verb::Delete, &request).await.unwrap();
        assert!(bench.listed(&made.id).await.is_none());
    }
}

#[tokio::test]
async fn an_end_that_the_vendor_gives_is_told() {
    let bench = Own::new().await;
    let made = bench.made(1).await;
    assert!(made.expires_at.is_some());
    let listed = bench.listed(&made.id).await.unwrap();
    assert_eq!((listed.expires_at, listed.fits), (made.expires_at, true));
}

#[tokio::test]
async fn a_token_is_made_in_the_account_that_is_asked_for() {
    let bench = Own::new().await;
    let request = TokenRequest {
        account: Some(OTHER_ACCOUNT.to_owned()),
        parameters: None,
        ..bench.request(1)
    };
    let made = bench.issuer().create(&request).await.unwrap();
    bench.fake.with(|fake| {
        let token = fake.token(&made.id);
        assert_eq!((token.account_id.as_str(), token.token_scope.as_str()), (OTHER_ACCOUNT, "account"));
    });
    assert!(bench.listed(&made.id).await.is_none());
    let there = bench.issuer().list(&request).await.unwrap();
    assert_eq!(
        (there[0].id.as_str(), there[0].account.as_deref(), there[0].fits),
        (made.id.as_str(), Some(OTHER_ACCOUNT), true)
    );
}
