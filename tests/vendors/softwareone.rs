//! The SoftwareOne Marketplace: how the suite reaches it, and what is its own.

use std::slice;

use apitoken_operator::issuers::{Capabilities, IssuerError, ListedState, ListedToken, NameCharacters, TokenRequest, Verb};
use serde_json::{Value, json};

use crate::{
    contract::{Bench, Vendor, open},
    fakes::{
        Fault, Now, Shown,
        softwareone::{ACCOUNT, CREDENTIAL, MODULE, OTHER_ACCOUNT, OTHER_MODULE, READER, Softwareone, Style, Token},
    },
};

/// The one kind of it.
pub struct Marketplace;

impl Vendor for Marketplace {
    type Fake = Softwareone;
    const CAPABILITIES: Capabilities = Capabilities {
        local: false,
        suspend: true,
        reset: None,
        readable_value: true,
        expiry: false,
        names: true,
        name_characters: NameCharacters::Plain,
        update: true,
        revoke_before_delete: false,
        last_used: true,
    };
    const CREDENTIAL: &'static str = CREDENTIAL;
    const READER: Option<&'static str> = Some(READER);

    fn fake(now: Now) -> Softwareone {
        Softwareone::new(now)
    }

    fn spec(url: &str) -> Value {
        spec_of(url, ACCOUNT)
    }

    /// Lists are of all accounts.
    fn spec_of_another_account(_: &str) -> Option<Value> {
        None
    }

    fn parameters() -> Value {
        json!({ "softwareone": { "modules": [MODULE], "icon": "key" } })
    }

    fn accepts(fake: &Softwareone, value: &str) -> bool {
        fake.present().any(|token| token.value == value && token.status == "Active")
    }

    fn count(fake: &Softwareone) -> usize {
        fake.present().count()
    }

    fn plant(fake: &mut Softwareone) -> String {
        fake.plant("somebody else's").id.clone()
    }

    fn state_of(fake: &Softwareone, id: &str) -> Option<String> {
        let found = fake.present().find(|token| token.id == id);
        found.map(|token| format!("{token:?}"))
    }

    fn use_up_quota(_: &mut Softwareone) -> bool {
        false
    }
}

fn spec_of(url: &str, account: &str) -> Value {
    let credentials = json!({ "name": "softwareone", "key": "token" });
    json!({ "softwareone": { "url": format!("{url}/public"), "account": account, "credentialsRef": credentials } })
}

type Market = Bench<Marketplace>;

impl Market {
    /// With so many tokens of somebody else.
    async fn with(planted: usize) -> Self {
        let bench = Self::new().await;
        bench.fake.with(|fake| {
            for number in 0..planted {
                fake.plant(&format!("token {number}"));
            }
        });
        bench
    }

    async fn ids(&self) -> Result<Vec<String>, IssuerError> {
        let tokens = self.issuer().inventory().await?;
        Ok(tokens.into_iter().map(|token| token.id).collect())
    }

    fn token<R>(&self, id: &str, look: impl FnOnce(&mut Token) -> R) -> R {
        self.fake.with(|fake| look(fake.named(id)))
    }

    fn request_with(&self, parameters: Value) -> TokenRequest {
        TokenRequest {
            parameters: Some(serde_json::from_value(parameters).unwrap()),
            ..self.request(1)
        }
    }
}

fn modules(modules: &[&str]) -> Value {
    json!({ "softwareone": { "modules": modules } })
}

#[tokio::test]
async fn a_token_is_made_of_what_is_asked_for() {
    let bench = Market::new().await;
    let made = bench.made(1).await;
    bench.token(&made.id, |token| {
        assert_eq!(
            (token.account.as_str(), token.modules.as_slice()),
            (ACCOUNT, &[MODULE.to_owned()][..])
        );
        assert_eq!(token.description.as_deref(), Some("deploys the shop"));
        assert_eq!(token.icon.as_deref(), Some("key"));
    });
    let bare = TokenRequest {
        description: None,
        ..bench.request_with(modules(&[]))
    };
    let made = bench.issuer().create(&bare).await.unwrap();
    bench.token(&made.id, |token| {
        assert_eq!(
            (token.description.as_ref(), token.icon.as_ref(), token.modules.len()),
            (None, None, 0)
        );
    });
}

#[tokio::test]
async fn a_change_leaves_alone_what_is_not_asked_for() {
    let bench = Market::new().await;
    let made = bench.made(1).await;
    let issuer = bench.issuer();
    issuer
        .update(&made.id, &bench.request_with(modules(&[MODULE, OTHER_MODULE])))
        .await
        .unwrap();
    bench.token(&made.id, |token| {
        assert_eq!((token.modules.len(), token.icon.as_deref()), (2, Some("key")));
    });
    let bare = TokenRequest {
        name: Some("another k8s-0123abcd-0123456789-1".to_owned()),
        description: None,
        parameters: None,
        ..bench.request(1)
    };
    issuer.update(&made.id, &bare).await.unwrap();
    bench.token(&made.id, |token| {
        assert_eq!((token.modules.len(), token.icon.as_deref()), (2, Some("key")));
        assert_eq!(token.description.as_deref(), Some("deploys the shop"));
        assert_eq!(Some(&token.name), bare.name.as_ref());
    });
}

#[tokio::test]
async fn a_token_tells_who_made_it_and_when_it_was_used() {
    let bench = Market::new().await;
    let made = bench.made(1).await;
    let listed = bench.listed(&made.id).await.unwrap();
    assert_eq!((listed.created_at, listed.last_used_at), (Some(made.issued_at), None));
    assert_eq!(listed.details.created_by.as_deref(), Some("Ops"));
    assert_eq!(listed.details.account_type.as_deref(), Some("Vendor"));
    bench.token(&made.id, |token| token.last_access_at = Some(made.issued_at));
    assert_eq!(bench.listed(&made.id).await.unwrap().last_used_at, Some(made.issued_at));
}

#[tokio::test]
async fn each_account_has_its_own_tokens() {
    let bench = Market::new().await;
    let (issuer, own) = (bench.issuer(), bench.made(1).await);
    let elsewhere = TokenRequest {
        account: Some(OTHER_ACCOUNT.to_owned()),
        ..bench.request(2)
    };
    let other = issuer.create(&elsewhere).await.unwrap();
    let seen = |tokens: Vec<ListedToken>| -> Vec<_> { tokens.into_iter().map(|token| (token.id, token.account)).collect() };
    let (own, other) = ((own.id, None), (other.id, Some(OTHER_ACCOUNT.to_owned())));
    assert_eq!(seen(issuer.list(&elsewhere).await.unwrap()), slice::from_ref(&other));
    assert_eq!(seen(issuer.list(&bench.request(1)).await.unwrap()), slice::from_ref(&own));
    let named = TokenRequest {
        account: Some(ACCOUNT.to_owned()),
        ..bench.request(1)
    };
    assert_eq!(seen(issuer.list(&named).await.unwrap()), slice::from_ref(&own));
    let all = seen(issuer.inventory().await.unwrap());
    assert!(all.len() == 2 && all.contains(&own) && all.contains(&other), "{all:?}");
}

#[tokio::test]
async fn a_token_that_may_be_anybodys_does_not_seem_gone() {
    let bench = Market::new().await;
    bench.fake.with(|fake| fake.hides_account = true);
    let made = bench.made(1).await;
    for account in [None, Some(ACCOUNT.to_owned()), Some(OTHER_ACCOUNT.to_owned())] {
        let request = TokenRequest {
            account,
            ..bench.request(1)
        };
        let listed = bench.issuer().list(&request).await.unwrap();
        assert_eq!(listed.iter().map(|token| &token.id).collect::<Vec<_>>(), [&made.id]);
    }
}

#[tokio::test]
async fn an_account_that_is_not_there_is_told() {
    for (status, told) in [
        (404, IssuerError::AccountNotFound),
        (400, IssuerError::Refused("account: is not there".to_owned())),
    ] {
        let bench = Market::new().await;
        bench.fake.with(|fake| fake.no_account = status);
        let issuer = open(spec_of(bench.fake.url(), "ACC-4040-4040"), CREDENTIAL, "30s");
        assert_eq!(issuer.create(&bench.request(1)).await.err(), Some(told));
    }
}

#[tokio::test]
async fn a_wrong_address_is_told() {
    let bench = Market::new().await;
    bench.fake.next("list", Fault::not_done(Shown::Status(404)));
    let told = bench.ids().await.err();
    assert!(
        matches!(&told, Some(IssuerError::Unavailable(why)) if why.contains("url")),
        "{told:?}"
    );
}

#[tokio::test]
async fn all_pages_are_read_whatever_their_size() {
    for (tokens, page, counts) in [
        (0, 100, true),
        (0, 100, false),
        (1, 100, true),
        (1, 100, false),
        (50, 100, true),
        (51, 100, true),
        (99, 100, false),
        (100, 100, true),
        (123, 100, true),
        (123, 7, true),
        (123, 7, false),
        (21, 2, false),
    ] {
        let bench = Market::with(tokens).await;
        bench.fake.with(|fake| (fake.page, fake.counts) = (page, counts));
        let mut ids = bench.ids().await.unwrap();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), tokens, "{tokens} tokens in pages of {page}, counted: {counts}");
    }
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again() {
    for counts in [true, false] {
        let bench = Market::with(60).await;
        let removed = bench.ids().await.unwrap()[0].clone();
        bench.fake.with(|fake| {
            fake.counts = counts;
            fake.after_a_page.push(removed.clone());
        });
        let ids = bench.ids().await.unwrap();
        assert_eq!(ids.len(), 59, "none of them is missed");
        assert!(!ids.contains(&removed));
    }
}

#[tokio::test]
async fn a_list_that_never_stands_still_is_no_list() {
    let bench = Market::with(60).await;
    let ids = bench.ids().await.unwrap();
    bench.fake.with(|fake| fake.after_a_page = ids[..10].to_vec());
    let told = bench.ids().await;
    assert!(matches!(told, Err(IssuerError::Unavailable(_))), "{told:?}");
}

#[tokio::test]
async fn a_list_that_can_not_be_had_whole_is_no_list() {
    let bench = Market::with(3).await;
    bench.fake.with(|fake| fake.page = 1);
    let told = bench.ids().await;
    assert!(
        matches!(told, Err(IssuerError::Unavailable(_))),
        "pages of one lead nowhere: {told:?}"
    );
}

#[tokio::test]
async fn a_deleted_token_is_gone_however_it_is_shown() {
    let bench = Market::new().await;
    bench.fake.with(|fake| fake.shows_deleted = true);
    let (made, issuer) = (bench.made(1).await, bench.issuer());
    bench.token(&made.id, |token| token.status = "Deleted".to_owned());
    assert!(bench.listed(&made.id).await.is_none());
    for verb in [Verb::Suspend, Verb::Activate, Verb::Delete] {
        issuer.change(&made.id, verb, &bench.request(1)).await.unwrap();
    }
    let told = issuer.update(&made.id, &bench.request(1)).await.err();
    assert!(
        matches!(told, Some(IssuerError::Unavailable(_))),
        "it is looked for again: {told:?}"
    );
}

#[tokio::test]
async fn a_state_that_is_not_known_makes_no_token_seem_gone() {
    let bench = Market::new().await;
    let made = bench.made(1).await;
    bench.token(&made.id, |token| token.status = "Frozen".to_owned());
    assert_eq!(bench.listed(&made.id).await.map(|token| token.state), Some(ListedState::Active));
    let request = bench.request(1);
    bench.issuer().change(&made.id, Verb::Suspend, &request).await.unwrap();
    assert_eq!(bench.listed(&made.id).await.map(|token| token.state), Some(ListedState::Suspended));
}

#[tokio::test]
async fn what_is_so_already_is_no_error_however_it_is_refused() {
    for status in [400, 409] {
        let bench = Market::new().await;
        bench.fake.with(|fake| fake.already = status);
        let (made, issuer, request) = (bench.made(1).await, bench.issuer(), bench.request(1));
        for verb in [Verb::Activate, Verb::Suspend, Verb::Suspend, Verb::Activate, Verb::Activate] {
            issuer.change(&made.id, verb, &request).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_not_so_and_is_refused_is_an_error() {
    let bench = Market::new().await;
    let (made, issuer, request) = (bench.made(1).await, bench.issuer(), bench.request(1));
    bench.fake.with(|fake| fake.stubborn = true);
    for verb in [Verb::Suspend, Verb::Delete] {
        let told = issuer.change(&made.id, verb, &request).await.err();
        assert_eq!(told, Some(IssuerError::Refused("the token stays as it is".to_owned())), "{verb:?}");
    }
    assert!(bench.accepts(&made.value));
}

#[tokio::test]
async fn a_refusal_says_why_in_whatever_way_it_is_written() {
    for (style, told) in [
        (Style::Problem, "modules: are empty or unknown"),
        (Style::Message, "are empty or unknown"),
        (Style::Text, "status 400, without a reason"),
    ] {
        let bench = Market::new().await;
        bench.fake.with(|fake| fake.style = style);
        let request = bench.request_with(modules(&["MOD-0000"]));
        let error = bench.issuer().create(&request).await.err();
        assert_eq!(error, Some(IssuerError::Refused(told.to_owned())), "{style:?}");
    }
}

#[tokio::test]
async fn ids_stay_one_part_of_a_path() {
    let bench = Market::new().await;
    let made = bench.made(1).await;
    for id in ["../api-tokens", "a/disable", "x?limit=1", "TKN-1%2F.."] {
        bench.issuer().change(id, Verb::Delete, &bench.request(1)).await.unwrap();
    }
    assert!(bench.accepts(&made.value));
    assert!(bench.issuer().change("..", Verb::Delete, &bench.request(1)).await.is_err());
}
