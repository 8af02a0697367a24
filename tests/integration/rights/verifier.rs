//! The rights of the verifier.

use apitoken_operator::{api::ApiToken, verifier::Settings};
use serde_json::json;

use super::{Account, Right, Tried, rights, silent, unused};
use crate::support::{
    clock::TestClock,
    control_plane::{OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, shared},
    eventually,
    replicas::{TOKEN, VALUE, present},
    tokens::{Team, status},
    verifier::{InProcess, settings},
};

const AUDIENCE: &str = "apitoken.dev";

#[test]
fn it_says_which_right_is_missing_and_uses_every_one() {
    let rights = rights::<InProcess>(shared());
    assert!(rights.len() > 10, "{rights:?}");
    assert_eq!(unused::<InProcess>(shared(), &rights), Vec::<&Right>::new(), "nobody needs these");
    assert_eq!(
        silent::<InProcess>(shared(), &rights),
        Vec::<&Right>::new(),
        "nobody is told that these are missing"
    );
}

impl Tried for InProcess {
    const ACCOUNT: &str = VERIFIER_ACCOUNT;

    /// Lets a token through, answers a caller who proves itself, and writes when the token was used.
    async fn use_everything(account: &Account<'_>, team: &Team) -> Self {
        present(team).await;
        account
            .plane
            .kubectl(&["create", "serviceaccount", "caller", "-n", &team.namespace]);
        let audience = format!("--audience={AUDIENCE}");
        let caller = account
            .plane
            .kubectl(&["create", "token", "caller", "-n", &team.namespace, &audience]);

        let client = account.plane.account(OPERATOR_NAMESPACE, &account.name).await;
        let everything = Settings {
            introspection_audience: Some(AUDIENCE.to_owned()),
            records_uses: true,
            ..settings(&team.namespace)
        };
        let verifier = InProcess::start(client, &TestClock::default(), everything).await;
        let issuer = format!("TokenIssuer/{}/own", team.namespace);
        verifier.until_accepts(&format!("issuer={issuer}"), VALUE, true).await;
        let form = [("token", VALUE), ("issuer", issuer.as_str())];
        eventually("the API server says that the caller is genuine, and may not", || async {
            (verifier.introspect(Some(caller.trim()), &form).await.0 == 403).then_some(())
        })
        .await;
        let used = |token: &ApiToken| json!(status(token).token)["lastUsedAt"].is_string();
        team.until(TOKEN, "it was used", used).await;
        verifier
    }

    async fn stop(self) {
        InProcess::stop(self).await;
    }

    fn complaints(missing: &Right) -> Vec<String> {
        let writes_uses = missing.to_string() == "patch apitokens/status";
        let words = "not allowed to write when tokens were last used".to_owned();
        writes_uses.then_some(words).into_iter().collect()
    }
}
