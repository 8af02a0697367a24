//! Whatever a vendor answers, the adapter ends with a result, and no error shows a secret.

use apitoken_operator::issuers::{Issuer, IssuerError, ListedToken, TokenRequest, Verb};
use proptest::{
    collection::vec,
    prelude::{Strategy, any},
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::{Bench, Vendor};
use crate::fakes::{ANY, Fault, Shown};

/// Rounds: each asks all that can be asked.
const ROUNDS: u32 = 60;

pub async fn no_answer_is_too_odd<V: Vendor>() {
    let bench = Bench::<V>::new().await;
    let made = bench.made(1).await;
    let secrets = [V::CREDENTIAL, made.value.expose()];
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..ROUNDS {
        let fault = fault(secrets).new_tree(&mut runner).unwrap().current();
        let (issuer, request) = (bench.issuer(), bench.request(2));
        bench.fake.always(ANY, fault.clone());
        for error in errors(issuer.as_ref(), &made.id, &request).await {
            for secret in secrets {
                assert!(!error.contains(secret), "{secret} in {error}, after {fault:?}");
            }
        }
        bench.fake.heal();
    }
}

/// Bytes, JSON texts full of secrets, and answers changed here and there. Nothing is done, or the next round would find nothing.
fn fault(secrets: [&str; 2]) -> impl Strategy<Value = Fault> + use<> {
    let [credential, value] = secrets;
    let texts = [
        format!("\"{value} {credential}\""),
        format!("[{{\"id\": \"{value}\", \"name\": {{\"{credential}\": 1}}}}]"),
        format!("{{\"error\": \"{credential}\", \"errors\": {{\"base\": [\"{value}\"]}}, \"message\": \"{value}\"}}"),
        format!("{{\"status\": {{\"result\": \"ERROR\", \"message\": \"{credential} {value}\", \"code\": 400}}}}"),
        format!("{{\"code\": \"{value}\", \"status\": \"error\", \"title\": \"{credential}\", \"detail\": \"{value}\"}}"),
        format!("{credential}{value}"),
    ];
    let bytes = vec(any::<u8>(), 0..200).prop_map(|bytes| Fault::not_done(Shown::Bytes(bytes)));
    let text = proptest::sample::select(texts.to_vec()).prop_map(|text| Fault::not_done(Shown::Bytes(text.into_bytes())));
    let mutated = any::<u64>().prop_map(|seed| Fault::done(Shown::Mutated(seed)));
    proptest::prop_oneof![bytes, text, mutated.clone(), mutated]
}

async fn errors(issuer: &dyn Issuer, id: &str, request: &TokenRequest) -> Vec<String> {
    let mut errors = vec![
        said(issuer.inventory().await.map(|tokens| tokens.len())),
        said(issuer.list(request).await.map(|tokens: Vec<ListedToken>| tokens.len())),
        said(issuer.create(request).await.map(|made| made.attempt)),
        said(issuer.reset(id, request).await.map(|made| made.attempt)),
        said(issuer.update(id, request).await),
    ];
    for verb in [Verb::Suspend, Verb::Activate, Verb::Revoke, Verb::Delete] {
        errors.push(said(issuer.change(id, verb, request).await));
    }
    errors
}

fn said<T>(result: Result<T, IssuerError>) -> String {
    result.err().map(|error| format!("{error} {error:?}")).unwrap_or_default()
}
