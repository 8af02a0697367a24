//! Mailtrap: how the suite reaches it, and what is its own.

use apitoken_operator::{
    api::{IssuerSpec, api_token::Parameters},
    issuers::{
        Access, Capabilities, IssuerError, ListedState, NameCharacters, Reach, TokenRequest, Verb,
        http::{CredentialHeader, Effect, Http, Settings},
    },
    token_value::TokenValue,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    contract::{Bench, Vendor},
    fakes::{
        Fault, Now, Shown,
        mailtrap::{ACCOUNT, CREDENTIAL, Mailtrap, READER},
    },
};

/// By the paths without an account.
pub struct ShortPaths;
/// By the paths with one.
pub struct LongPaths;

const CAPABILITIES: Capabilities = Capabilities {
    local: false,
    suspend: false,
    reset: Some(SignedDuration::from_hours(12)),
    readable_value: false,
    expiry: true,
    names: true,
    name_characters: NameCharacters::Any,
    update: false,
    revoke_before_delete: false,
    last_used: false,
};

fn spec_of(url: &str, account: Option<&str>) -> Value {
    json!({ "mailtrap": { "url": url, "accountID": account, "credentialsRef": { "name": "mailtrap", "key": "token" } } })
}

fn some_parameters() -> Value {
    json!({ "mailtrap": { "resources": [
        { "resourceType": "account", "resourceID": "3229", "accessLevel": "viewer" },
        { "resourceType": "project", "resourceID": "77", "accessLevel": "admin" },
        { "resourceType": "sandbox", "resourceID": "4015", "accessLevel": "admin" },
        { "resourceType": "domain", "resourceID": "12", "accessLevel": "viewer" },
    ] } })
}

macro_rules! paths {
    ($paths:ty, $account:expr, $another:expr) => {
        impl Vendor for $paths {
            type Fake = Mailtrap;
            const CAPABILITIES: Capabilities = CAPABILITIES;
            const CREDENTIAL: &'static str = CREDENTIAL;
            const READER: Option<&'static str> = Some(READER);

            fn fake(now: Now) -> Mailtrap {
                Mailtrap::new(now)
            }

            fn spec(url: &str) -> Value {
                spec_of(url, $account)
            }

            fn spec_of_another_account(url: &str) -> Option<Value> {
                $another.map(|another| spec_of(url, Some(another)))
            }

            fn parameters() -> Value {
                some_parameters()
            }

            fn accepts(fake: &Mailtrap, value: &str) -> bool {
                fake.live().iter().any(|token| token.value == value)
            }

            fn count(fake: &Mailtrap) -> usize {
                fake.live().len()
            }

            fn plant(fake: &mut Mailtrap) -> String {
                fake.plant("somebody else's").to_string()
            }

            fn state_of(fake: &Mailtrap, id: &str) -> Option<String> {
                let token = fake.tokens().iter().find(|token| token.id.to_string() == id)?;
                Some(format!(
                    "{} {} {:?} {:?}",
                    token.name, token.value, token.resources, token.expires_at
                ))
            }

            fn use_up_quota(_: &mut Mailtrap) -> bool {
                false
            }
        }
    };
}

paths!(ShortPaths, None, None::<&str>);
paths!(LongPaths, Some(ACCOUNT), Some("404404"));

/// A resource, as an ApiToken names it.
fn one_resource(id: &str) -> Option<Parameters> {
    let resource = json!({ "resourceType": "sandbox", "resourceID": id, "accessLevel": "viewer" });
    Some(serde_json::from_value(json!({ "mailtrap": { "resources": [resource] } })).unwrap())
}

fn refused(text: &str) -> Option<IssuerError> {
    Some(IssuerError::Refused(text.to_owned()))
}

#[tokio::test]
async fn a_token_may_do_what_it_was_asked_for() {
    let short = ["domain", "sandbox"];
    let long = ["sending_domain", "inbox"];
    is_asked_for(&Bench::<ShortPaths>::new().await, short).await;
    is_asked_for(&Bench::<LongPaths>::new().await, long).await;
}

async fn is_asked_for<V: Vendor<Fake = Mailtrap>>(bench: &Bench<V>, [domain, sandbox]: [&str; 2]) {
    bench.made(1).await;
    let resources = bench.fake.with(|fake| fake.tokens()[0].resources.clone());
    let expected = [("account", 3229, 10), ("project", 77, 100), (sandbox, 4015, 100), (domain, 12, 10)];
    let expected = expected.map(|(kind, id, level)| json!({ "resource_type": kind, "resource_id": id, "access_level": level }));
    assert_eq!(resources, expected);
}

#[tokio::test]
async fn what_the_vendor_refuses_is_told_in_its_words() {
    let bench = Bench::<ShortPaths>::new().await;
    let request = |change: &dyn Fn(&mut TokenRequest)| {
        let mut request = bench.request(1);
        change(&mut request);
        request
    };
    for (request, text) in [
        (
            request(&|request| request.parameters = None),
            "You must select at least one permission",
        ),
        (request(&|request| request.name = Some("x".repeat(256))), "name can't be blank"),
        (
            request(&|request| request.expires_at = Some(bench.clock.now() + SignedDuration::from_hours(6 * 366 * 24))),
            "expires_at is invalid",
        ),
    ] {
        assert_eq!(bench.issuer().create(&request).await.err(), refused(text));
    }
    let calls = bench.fake.calls().len();
    let request = request(&|request| request.parameters = one_resource("99999999999999999999"));
    let told = bench.issuer().create(&request).await.err();
    assert_eq!(told, refused("there is no resource 99999999999999999999"));
    assert_eq!((bench.fake.calls().len(), bench.count()), (calls, 0));
}

#[tokio::test]
async fn a_token_is_reset_once_and_only_while_it_has_no_end() {
    let bench = Bench::<ShortPaths>::new().await;
    let (issuer, request, old) = (bench.issuer(), bench.request(2), bench.made(1).await);
    let new = issuer.reset(&old.id, &request).await.unwrap();
    let again = refused("Token has already been reset");
    assert_eq!(issuer.reset(&old.id, &request).await.err(), again);

    let ending = TokenRequest {
        expires_at: Some(bench.clock.now() + SignedDuration::from_hours(24)),
        ..bench.request(3)
    };
    let made = issuer.create(&ending).await.unwrap();
    assert_eq!(issuer.reset(&made.id, &ending).await.err(), again);
    assert_eq!(bench.count(), 3);

    bench.fake.with(|fake| fake.resets_what_expires = true);
    let reset = issuer.reset(&made.id, &ending).await.unwrap();
    assert_eq!(reset.expires_at, ending.expires_at);
    assert!(bench.accepts(&new.value) && bench.accepts(&reset.value));
}

#[tokio::test]
async fn names_grow_by_the_ids_of_what_was_made_by_resets() {
    let bench = Bench::<ShortPaths>::new().await;
    let (issuer, mut last) = (bench.issuer(), bench.made(1).await);
    let mut expected = bench.request(1).name.unwrap();
    for attempt in 2..5 {
        last = issuer.reset(&last.id, &bench.request(attempt)).await.unwrap();
        expected = format!("{expected} {}", last.id);
        assert_eq!(last.name, Some(expected.clone()));
    }
}

#[tokio::test]
async fn the_last_token_of_a_domain_stays_and_it_is_said_why() {
    let hint = "(Mailtrap keeps the last token of a domain: if it is that one, make another there first)";
    for (status, expected) in [
        (403, IssuerError::NotPermitted(format!("Access forbidden {hint}"))),
        (422, IssuerError::Refused(format!("Token can't be deleted {hint}"))),
    ] {
        let bench = Bench::<LongPaths>::new().await;
        let made = bench.made(1).await;
        bench.fake.with(|fake| fake.keeps_last = Some(status));
        assert_eq!(bench.end(&made.id).await.err(), Some(expected));
        assert!(bench.accepts(&made.value));
    }
}

#[tokio::test]
async fn an_expired_token_counts_as_ended_and_can_be_deleted() {
    let bench = Bench::<ShortPaths>::new().await;
    let request = TokenRequest {
        expires_at: Some(bench.clock.now() + SignedDuration::from_secs(60)),
        ..bench.request(1)
    };
    let made = bench.issuer().create(&request).await.unwrap();
    assert_eq!(bench.listed(&made.id).await.unwrap().state, ListedState::Active);
    bench.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(bench.listed(&made.id).await.unwrap().state, ListedState::Revoked);
    bench.end(&made.id).await.unwrap();
    assert!(bench.listed(&made.id).await.is_none());
}

#[tokio::test]
async fn another_account_than_the_issuers_can_be_asked_for() {
    let bench = Bench::<ShortPaths>::new().await;
    let of_the_account = TokenRequest {
        account: Some(ACCOUNT.to_owned()),
        ..bench.request(1)
    };
    let issuer = bench.issuer();
    let made = issuer.create(&of_the_account).await.unwrap();
    let listed = issuer.list(&of_the_account).await.unwrap();
    assert_eq!(listed[0].account, of_the_account.account);
    issuer.change(&made.id, Verb::Delete, &of_the_account).await.unwrap();
    let path = format!("/api/accounts/{ACCOUNT}/api_tokens");
    let expected = [format!("POST {path}"), format!("GET {path}"), format!("DELETE {path}/{}", made.id)];
    assert_eq!(bench.fake.calls(), expected);
}

#[tokio::test]
async fn a_made_token_without_its_value_or_id_is_one_that_nobody_knows() {
    for answer in [
        json!({ "id": 1, "name": "x" }),
        json!({ "id": 1, "name": "x", "token": null }),
        json!({ "id": 1, "name": "x", "token": "" }),
        json!({ "id": "1", "name": "x", "token": "abc" }),
        json!({ "name": "x", "token": "abc" }),
    ] {
        let bench = Bench::<ShortPaths>::new().await;
        bench
            .fake
            .next("create", Fault::done(Shown::Bytes(answer.to_string().into_bytes())));
        let error = bench.issuer().create(&bench.request(1)).await.err();
        assert!(matches!(error, Some(IssuerError::OutcomeUnknown(_))), "{error:?}");
    }
    let bench = Bench::<ShortPaths>::new().await;
    let odd_time = json!({ "id": 1, "token": "abc", "expires_at": "next year" });
    bench
        .fake
        .next("create", Fault::done(Shown::Bytes(odd_time.to_string().into_bytes())));
    let made = bench.issuer().create(&bench.request(1)).await.unwrap();
    assert_eq!((made.value.expose(), made.expires_at), ("abc", None));
}

#[tokio::test]
async fn the_fake_takes_no_more_than_the_vendor_does() {
    let bench = Bench::<ShortPaths>::new().await;
    let credential = TokenValue::new(CREDENTIAL);
    let spec: IssuerSpec = serde_json::from_value(ShortPaths::spec(bench.fake.url())).unwrap();
    let access = Access {
        spec: &spec,
        credential: credential.clone(),
        reach: Reach::Anywhere,
        waited: Default::default(),
    };
    let http = Http::new(&Settings::of(&access, bench.fake.url(), CredentialHeader::Bearer)).unwrap();
    let resources = json!([{ "resource_type": "account", "resource_id": 1, "access_level": 10 }]);
    for (body, status) in [
        (json!({ "name": "x", "resources": resources }), 200),
        (json!({ "name": "x", "resources": resources, "color": "red" }), 422),
        (json!({ "name": "", "resources": resources }), 422),
        (json!({ "resources": resources }), 422),
        (json!({ "name": "x" }), 422),
        (json!({ "name": "x", "resources": [] }), 422),
        (
            json!({ "name": "x", "resources": [{ "resource_type": "inbox", "resource_id": 1, "access_level": 10 }] }),
            422,
        ),
        (
            json!({ "name": "x", "resources": [{ "resource_type": "account", "resource_id": 1, "access_level": 50 }] }),
            422,
        ),
        (
            json!({ "name": "x", "resources": resources, "expires_at": "2001-01-01T00:00:00Z" }),
            422,
        ),
        (json!([]), 422),
    ] {
        let answer = http.post(&["api", "api_tokens"]).json(&body).send(Effect::Make).await.unwrap();
        assert_eq!(answer.status(), status, "{body}");
    }
}
