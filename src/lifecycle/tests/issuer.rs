//! What happens to an issuer: situation, plan, why.

use super::*;
use crate::{
    api::issuer::{OrphanPolicy, SecretKeyRef},
    issuers::NameCharacters,
};

const NOW: &str = "2030-01-01T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn later(minutes: i64) -> Timestamp {
    schedule::later(at(NOW), SignedDuration::from_mins(minutes))
}

/// An issuer that others run, in use and ready unless a test says otherwise.
struct Issuer {
    metadata: ObjectMeta,
    spec: IssuerSpec,
    status: Option<IssuerStatus>,
    facts: Facts,
}

const VENDOR: Capabilities = Capabilities {
    local: false,
    suspend: false,
    reset: None,
    readable_value: false,
    expiry: false,
    names: true,
    name_characters: NameCharacters::Any,
    update: false,
    revoke_before_delete: false,
    last_used: true,
};

fn spec(secret: &str) -> IssuerSpec {
    let credentials_ref = SecretKeyRef {
        name: secret.into(),
        key: "token".into(),
    };
    IssuerSpec {
        mailtrap: Some(issuer::MailtrapIssuer {
            credentials_ref,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn terms() -> Terms {
    Terms {
        cluster: "0123abcd".into(),
        former_clusters: Vec::new(),
        propagation_delay: SignedDuration::ZERO,
        poll_interval: SignedDuration::from_mins(10),
        revoke_deadline: SignedDuration::from_mins(15),
        observe_only: false,
        started_at: at("2030-01-01T11:00:00Z"),
    }
}

fn vendor() -> Issuer {
    let mut issuer = Issuer {
        metadata: ObjectMeta {
            generation: Some(1),
            uid: Some("uid".into()),
            finalizers: Some(vec!["example.com/other".into(), names::FINALIZER.into()]),
            ..Default::default()
        },
        spec: spec("credential"),
        status: None,
        facts: Facts {
            capabilities: Some(VENDOR),
            in_use: true,
            credential: Credential::Present {
                held: true,
                going_since: None,
            },
            version: "1.7".into(),
            needed_elsewhere: BTreeSet::new(),
            released: BTreeSet::new(),
            holdings: Holdings::default(),
            last_look: Some(Look::followed_by(None, "1.7".into(), None, at(NOW))),
            view: None,
            unseen: BTreeSet::new(),
            book: Vec::new(),
            confirmed: None,
            resisting: BTreeSet::new(),
            terms: terms(),
            now: at(NOW),
        },
    };
    issuer.status = Some(IssuerStatus {
        credential_secret: Some("credential".into()),
        ..issuer.rests()
    });
    issuer
}

impl Issuer {
    fn observed(&self) -> ObservedIssuerObject<'_> {
        ObservedIssuerObject {
            metadata: &self.metadata,
            spec: &self.spec,
            status: self.status.as_ref(),
            facts: &self.facts,
        }
    }

    fn plan(&self) -> IssuerPlan {
        decide(&self.observed())
    }

    fn step(&self) -> Option<IssuerStep> {
        match self.plan() {
            IssuerPlan::Step(step) => Some(step),
            IssuerPlan::Rest { .. } => None,
        }
    }

    /// The status at rest.
    fn rests(&self) -> IssuerStatus {
        super::status(&self.observed())
    }

    fn ready(&self) -> (String, String) {
        let status = self.rests();
        let ready = conditions::find(&status.conditions, ConditionType::Ready).unwrap();
        (ready.reason.clone(), ready.message.clone())
    }

    fn deleted(mut self) -> Self {
        self.metadata.deletion_timestamp = Some(Time(at(NOW)));
        self
    }

    fn unused(mut self) -> Self {
        self.facts.in_use = false;
        self
    }

    fn without_finalizer(mut self) -> Self {
        self.metadata.finalizers = Some(vec!["example.com/other".into()]);
        self
    }

    fn credential(mut self, credential: Credential) -> Self {
        self.facts.credential = credential;
        self
    }

    fn ledger(mut self, entries: Vec<issuer::Orphan>) -> Self {
        self.status.as_mut().unwrap().orphans = entries;
        self
    }

    fn sees(mut self, view: Vec<ListedToken>) -> Self {
        self.facts.view = Some(view);
        self
    }
}

const NOT_HELD: Credential = Credential::Present {
    held: false,
    going_since: None,
};

fn going(since: Timestamp) -> Credential {
    Credential::Present {
        held: true,
        going_since: Some(since),
    }
}

fn token(id: &str, name: &str) -> ListedToken {
    ListedToken {
        id: id.into(),
        account: None,
        name: Some(name.into()),
        value: None,
        hint: None,
        state: ListedState::Active,
        created_at: Some(at(NOW)),
        shown_at: None,
        expires_at: None,
        last_used_at: None,
        fits: true,
        details: Default::default(),
    }
}

fn orphan(id: &str, reason: &str) -> issuer::Orphan {
    issuer::Orphan {
        id: id.into(),
        name: None,
        account: None,
        api_token: None,
        reason: reason.into(),
        since: Time(at(NOW)),
    }
}

fn finalizers(step: &str) -> IssuerStep {
    IssuerStep::WriteFinalizers(step.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn an_issuer_is_held_while_it_is_used_and_let_go_when_it_is_not() {
    let released = || {
        let mut issuer = vendor().unused().deleted();
        issuer.facts.released = ["credential".to_owned()].into();
        issuer
    };
    for (issuer, expected, why) in [
        (vendor().unused().without_finalizer(), None, "nobody uses it"),
        (
            vendor().without_finalizer(),
            Some(finalizers("example.com/other apitoken.dev/finalizer")),
            "it is used from now on",
        ),
        (vendor(), None, "it is held"),
        (vendor().unused(), None, "it was used once; taking the finalizer away can wait"),
        (vendor().deleted(), None, "its tokens still stand on it"),
        (
            vendor().unused().deleted(),
            Some(IssuerStep::ReleaseCredential("credential".into())),
            "the credential goes before it",
        ),
        (released(), Some(finalizers("example.com/other")), "nothing stands on it any more"),
        (vendor().without_finalizer().deleted(), None, "too late to hold it"),
    ] {
        assert_eq!(issuer.step(), expected, "{why}");
    }
}

#[test]
fn the_credential_is_written_down_then_held_and_then_the_issuer() {
    let mut issuer = vendor().without_finalizer().credential(NOT_HELD);
    issuer.status.as_mut().unwrap().credential_secret = None;
    let Some(IssuerStep::WriteStatus(status)) = issuer.step() else {
        panic!("it is written down first");
    };
    assert_eq!(status.credential_secret.as_deref(), Some("credential"));
    issuer.status = Some(*status);
    assert_eq!(issuer.step(), Some(IssuerStep::HoldCredential));
    issuer.facts.credential = Credential::Present {
        held: true,
        going_since: None,
    };
    assert_eq!(issuer.step(), Some(finalizers("example.com/other apitoken.dev/finalizer")));
}

#[test]
fn a_credential_is_let_go_when_nobody_needs_it_or_it_was_held_for_long_enough() {
    let release = |name: &str| Some(IssuerStep::ReleaseCredential(name.into()));
    let elsewhere = |mut issuer: Issuer| {
        issuer.facts.needed_elsewhere = ["credential".to_owned()].into();
        issuer
    };
    let restarted = |mut issuer: Issuer| {
        issuer.facts.terms.started_at = at(NOW);
        issuer
    };
    for (issuer, expected, why) in [
        (vendor().unused(), None, "it stays for the next token"),
        (vendor().unused().credential(NOT_HELD), None, "it is held only for a token"),
        (
            vendor().unused().credential(going(at(NOW))),
            release("credential"),
            "it goes and nobody needs it",
        ),
        (
            elsewhere(vendor().unused().credential(going(at(NOW)))),
            None,
            "another issuer needs it",
        ),
        (vendor().credential(going(later(-14))), None, "tokens need it"),
        (
            vendor().credential(going(later(-15))),
            release("credential"),
            "it was held for the revoke deadline",
        ),
        (
            restarted(vendor().credential(going(later(-60)))),
            None,
            "the deadline counts from the start",
        ),
        (
            vendor().credential(Credential::Present {
                held: false,
                going_since: Some(at(NOW)),
            }),
            None,
            "the API server takes no new finalizer on what is being deleted",
        ),
    ] {
        assert_eq!(issuer.step(), expected, "{why}");
    }
    let plan = vendor().credential(going(later(-14))).plan();
    let IssuerPlan::Rest { look_again_at, .. } = plan else {
        panic!("it rests");
    };
    assert_eq!(look_again_at, Some(later(1)), "the end of the hold is not missed");
}

#[test]
fn a_former_credential_is_let_go_unless_another_issuer_needs_it() {
    let mut issuer = vendor();
    issuer.spec = spec("new");
    assert_eq!(issuer.step(), Some(IssuerStep::ReleaseCredential("credential".into())));
    issuer.facts.needed_elsewhere = ["credential".to_owned()].into();
    let Some(IssuerStep::WriteStatus(status)) = issuer.step() else {
        panic!("only the record changes");
    };
    assert_eq!(status.credential_secret.as_deref(), Some("new"));
}

#[test]
fn the_built_in_issuer_is_asked_nothing() {
    let mut issuer = vendor();
    issuer.spec = IssuerSpec {
        builtin: Some(Default::default()),
        ..Default::default()
    };
    issuer.status = None;
    issuer.facts.capabilities = Some(Capabilities::BUILTIN);
    issuer.facts.credential = Credential::Absent;
    issuer.facts.last_look = None;
    let IssuerPlan::Rest {
        status: Some(status),
        look_again_at: None,
    } = issuer.plan()
    else {
        panic!("it rests for good");
    };
    assert!(conditions::is_true(&status.conditions, ConditionType::Ready));
    assert_eq!((status.tokens.clone(), status.observed_generation), (None, Some(1)));
    issuer.status = Some(*status);
    let IssuerPlan::Rest { status: None, .. } = issuer.plan() else {
        panic!("a status is written once");
    };
}

#[test]
fn an_issuer_is_asked_at_each_poll_after_a_change_and_sooner_after_a_failure() {
    let look = |minutes_ago: i64, version: &str, failures: i32, error: Option<IssuerError>| {
        Some(Look {
            at: later(-minutes_ago),
            version: version.into(),
            failures,
            error,
        })
    };
    let down = || Some(IssuerError::Unavailable("it is down".into()));
    let busy = |seconds: i64| {
        Some(IssuerError::RateLimited {
            retry_after: Some(SignedDuration::from_secs(seconds)),
        })
    };
    for (last, due, why) in [
        (None, true, "never asked since the start"),
        (look(0, "1.7", 0, None), false, "just asked"),
        (look(8, "1.7", 0, None), false, "not yet"),
        (look(10, "1.7", 0, None), true, "the interval is over"),
        (look(0, "1.8", 0, None), true, "spec or credential changed"),
        (look(0, "1.7", 1, down()), false, "just failed"),
        (look(1, "1.7", 1, down()), true, "tried again soon"),
        (look(1, "1.7", 20, down()), false, "later and later"),
        (look(6, "1.7", 20, down()), true, "and never much later"),
        (look(1, "1.7", 1, busy(120)), false, "it asked to wait"),
        (look(2, "1.7", 1, busy(120)), true, "as long as it asked for"),
        (look(10, "1.7", 1, busy(7200)), true, "but not for ever"),
    ] {
        let mut issuer = vendor();
        issuer.facts.last_look = last;
        assert_eq!(issuer.step() == Some(IssuerStep::Look), due, "{why}");
    }
    let mut going = vendor().deleted();
    going.facts.last_look = None;
    assert_eq!(going.step(), None, "one that goes is not asked any more");
}

#[test]
fn an_issuer_that_goes_says_so_while_its_tokens_stand_on_it_and_is_polled_no_more() {
    let rests = |issuer: Issuer| match issuer.plan() {
        IssuerPlan::Rest { status, look_again_at } => (status.is_some(), look_again_at.is_some()),
        IssuerPlan::Step(step) => panic!("{step:?}"),
    };
    let gone = vendor().unused().deleted().without_finalizer().credential(Credential::Absent);
    for (issuer, told_and_polled, why) in [
        (vendor(), (false, true), "all is as recorded"),
        (vendor().unused(), (false, true), "one that nobody uses is polled too"),
        (vendor().deleted(), (true, false), "it waits for its tokens"),
        (gone, (false, false), "it is gone in a moment"),
    ] {
        assert_eq!(rests(issuer), told_and_polled, "{why}");
    }
}

#[test]
fn an_orphan_is_revoked_first_where_it_must_be_whatever_becomes_of_others() {
    let revoked = |id: &str| ListedToken {
        state: ListedState::Revoked,
        ..token(id, "ci")
    };
    for (revoke_first, view, expected) in [
        (false, vec![token("orphan", "ci")], Verb::Delete),
        (true, vec![token("orphan", "ci"), revoked("another")], Verb::Revoke),
        (true, vec![revoked("orphan"), token("another", "ci")], Verb::Delete),
    ] {
        let mut issuer = vendor();
        issuer.facts.capabilities.as_mut().unwrap().revoke_before_delete = revoke_first;
        assert_eq!(super::verb(&issuer.observed(), &view, &orphan("orphan", "Found")), expected);
    }
}

#[test]
fn failures_in_a_row_are_counted() {
    let down = Some(IssuerError::Unavailable("it is down".into()));
    let first = Look::followed_by(None, "1".into(), down.clone(), at(NOW));
    let second = Look::followed_by(Some(&first), "1".into(), down, at(NOW));
    let healed = Look::followed_by(Some(&second), "1".into(), None, at(NOW));
    assert_eq!((first.failures, second.failures, healed.failures), (1, 2, 0));
}

#[test]
fn what_is_wrong_stands_in_the_condition() {
    use IssuerError::*;
    let text = || "why".to_owned();
    for (error, reason, stalled) in [
        (CredentialMissing(text()), "CredentialNotFound", false),
        (CredentialRefused, "CredentialRefused", false),
        (NotPermitted(text()), "CredentialNotPermitted", false),
        (AccountNotFound, "AccountNotFound", false),
        (Unreachable(text()), "VendorUnavailable", false),
        (CertificateRefused(text()), "CertificateRefused", false),
        (AddressRefused, "AddressRefused", false),
        (Unavailable(text()), "VendorUnavailable", false),
        (Refused(text()), "VendorRefused", true),
    ] {
        let mut issuer = vendor();
        let message = error.to_string();
        issuer.facts.last_look = Some(Look::followed_by(None, "1.7".into(), Some(error), at(NOW)));
        assert_eq!(issuer.ready(), (reason.to_owned(), message));
        let conditions = issuer.rests().conditions;
        let is = |type_| conditions::is_true(&conditions, type_);
        assert_eq!(
            (is(ConditionType::Stalled), is(ConditionType::Reconciling)),
            (stalled, !stalled),
            "{reason}"
        );
    }
    let at_rest = vendor().rests().conditions;
    assert!(!conditions::is_true(&at_rest, ConditionType::Reconciling));
    let mut busy = vendor();
    busy.facts.last_look = Some(Look::followed_by(
        None,
        "1.7".into(),
        Some(RateLimited { retry_after: None }),
        at(NOW),
    ));
    assert_eq!(busy.ready().0, "Ready", "that it is busy says nothing against it");
    busy.metadata.generation = Some(2);
    assert_eq!(busy.ready().0, "RateLimited", "nobody knows yet whether the new spec is right");
    let mut unknown = vendor();
    unknown.facts.capabilities = None;
    assert_eq!(unknown.ready().0, "NotSupported");
    assert_eq!(vendor().deleted().ready().0, "Deleting");
    assert_eq!(vendor().ready(), ("Ready".to_owned(), "tokens can be made".to_owned()));
}

#[test]
fn a_status_says_what_the_issuer_can_do_and_what_it_has() {
    let mut issuer = vendor();
    issuer.facts.holdings.ids = ["ours".to_owned()].into();
    let ninety_days_ago = at(NOW) - SignedDuration::from_hours(90 * 24);
    let unused = ListedToken {
        created_at: Some(ninety_days_ago),
        ..token("unused", "a colleague's")
    };
    let used = ListedToken {
        last_used_at: Some(ninety_days_ago + SignedDuration::from_secs(1)),
        ..unused.clone()
    };
    let ended = ListedToken {
        state: ListedState::Revoked,
        ..unused.clone()
    };
    issuer.facts.view = Some(vec![token("ours", "ci"), used, unused, ended]);
    let status = issuer.rests();
    let expected = TokenCounts {
        managed: 1,
        unmanaged: 2,
        inactive: 1,
    };
    assert_eq!(status.tokens, Some(expected.clone()));
    assert!(status.capabilities.unwrap().last_used);
    issuer.facts.view = None;
    issuer.status.as_mut().unwrap().tokens = Some(expected.clone());
    assert_eq!(issuer.rests().tokens, Some(expected.clone()), "kept until the next look");
    issuer.facts.view = Some(Vec::new());
    issuer.facts.capabilities.as_mut().unwrap().last_used = false;
    assert_eq!(issuer.rests().tokens.unwrap().inactive, 0);
}

const STRAY: &str = "ci k8s-0123abcd-bbbbbbbbbb-1";

#[test]
fn a_stray_is_asked_about_then_written_down_and_ended_where_that_is_declared() {
    let mut issuer = vendor().sees(vec![token("stray", STRAY)]);
    let Some(IssuerStep::Confirm(strays)) = issuer.step() else {
        panic!("the stores may lag: the API server is asked");
    };
    issuer.facts.confirmed = Some(strays);
    assert_eq!(issuer.step(), None);
    let status = issuer.rests();
    assert_eq!(
        (status.orphans[0].id.as_str(), status.orphans[0].reason.as_str()),
        ("stray", "Found")
    );

    issuer.spec.orphan_policy = OrphanPolicy::Revoke;
    let Some(IssuerStep::End {
        orphan,
        verb: Verb::Delete,
    }) = issuer.step()
    else {
        panic!("it is ended");
    };
    assert_eq!(orphan.id, "stray");
    issuer.facts.resisting = ["stray".to_owned()].into();
    assert_eq!(issuer.step(), None, "once in a pass");
    assert_eq!(issuer.rests().orphans.len(), 1);
    issuer.facts.view = Some(Vec::new());
    assert!(issuer.rests().orphans.is_empty(), "it is ended");

    let mut disproved = vendor().sees(vec![token("stray", STRAY)]);
    disproved.facts.confirmed = Some(Vec::new());
    assert!(disproved.rests().orphans.is_empty(), "somebody accounts for it");
}

#[test]
fn what_could_not_be_ended_is_tried_again_and_leaves_when_it_is_gone() {
    let mut issuer = vendor()
        .ledger(vec![
            orphan("kept", "Retained"),
            orphan("left", "NotRevoked"),
            orphan("gone", "NotRevoked"),
        ])
        .sees(vec![token("kept", "a"), token("left", "b")]);
    let end = |verb| {
        Some(IssuerStep::End {
            orphan: orphan("left", "NotRevoked"),
            verb,
        })
    };
    assert_eq!(issuer.step(), end(Verb::Delete));
    issuer.facts.capabilities.as_mut().unwrap().revoke_before_delete = true;
    assert_eq!(issuer.step(), end(Verb::Revoke));
    issuer.facts.view = Some(vec![token("kept", "a")]);
    assert_eq!(issuer.step(), None);
    assert_eq!(issuer.rests().orphans, [orphan("kept", "Retained")]);
    let elsewhere = issuer::Orphan {
        account: Some("sa::gone".into()),
        ..orphan("elsewhere", "NotRevoked")
    };
    issuer.status.as_mut().unwrap().orphans.push(elsewhere);
    issuer.facts.unseen = ["sa::gone".to_owned()].into();
    assert_eq!(issuer.step(), None);
    assert_eq!(issuer.rests().orphans.len(), 2, "of an account that can't be seen nothing is known");
    issuer.status.as_mut().unwrap().orphans.pop();
    issuer.facts.view = None;
    assert_eq!(issuer.rests().orphans.len(), 3, "nothing leaves while nobody has looked");
}

#[test]
fn what_finds_no_room_in_the_status_is_kept_and_forgotten_when_it_is_gone() {
    let full: Vec<_> = (0..100).map(|number| orphan(&format!("kept-{number}"), "Retained")).collect();
    let view: Vec<_> = full
        .iter()
        .map(|entry| token(&entry.id, "a"))
        .chain([token("stray", STRAY)])
        .collect();
    let mut issuer = vendor().ledger(full).sees(view);
    issuer.facts.confirmed = Some(sweep::strays(issuer.facts.view.as_deref().unwrap(), &Holdings::default(), &terms()));
    let Some(IssuerStep::Keep(overflow)) = issuer.step() else {
        panic!("no id is dropped");
    };
    assert_eq!(overflow.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["stray"]);
    issuer.facts.book = overflow;
    assert_eq!(issuer.step(), None);
    assert_eq!(issuer.rests().orphans.len(), 100);
    issuer.spec.orphan_policy = OrphanPolicy::Revoke;
    let Some(IssuerStep::End { orphan, .. }) = issuer.step() else {
        panic!("it is ended as one in the status is");
    };
    assert_eq!(orphan.id, "stray");
    issuer.facts.view.as_mut().unwrap().pop();
    assert_eq!(issuer.step(), Some(IssuerStep::Forget(vec!["stray".into()])));
}

#[test]
fn the_ledger_of_an_issuer_that_goes_is_kept_first() {
    let mut issuer = vendor().unused().deleted().ledger(vec![orphan("kept", "Retained")]);
    assert_eq!(issuer.step(), Some(IssuerStep::Keep(vec![orphan("kept", "Retained")])));
    issuer.facts.book = vec![orphan("kept", "Retained")];
    assert_eq!(issuer.step(), Some(IssuerStep::ReleaseCredential("credential".into())));
}
