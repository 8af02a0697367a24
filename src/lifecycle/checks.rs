//! What may stand in the way of a token: an ordered chain of small checks on what was observed.
//!
//! A check never stands in the way of ending a token: suspension, revocation and expiry are decided
//! before and beside it.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    ceilings,
    observed::{IssuerProblem, IssuerReadiness, Observed, ObservedIssuer},
    secret, template,
};
use crate::api::{
    IssuerKind, IssuerRef,
    api_token::{DesiredState, SuspendPolicy},
    conditions::{self, ConditionType, Reason},
    issuer::{Adoption, BuiltinIssuer},
    names,
};

/// What stands in the way, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reason of the condition Ready.
    pub reason: Reason,
    /// What is wrong, where, and what to do next.
    pub message: String,
    /// Whether it passes by itself within moments, so that it is not worth a write yet.
    pub passing: bool,
}

impl Refusal {
    /// A refusal that lasts until something is changed.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            passing: false,
        }
    }
}

/// The first thing that stands in the way.
pub fn first(observed: &Observed) -> Option<Refusal> {
    let issuer = match &observed.issuer {
        Ok(issuer) => issuer,
        Err(problem) => return Some(no_issuer(problem)),
    };
    unreadable(issuer)
        .or_else(|| namespace(issuer))
        .or_else(|| issuer_type(issuer))
        .or_else(|| ceilings::first(observed.token.spec.parameters.as_ref(), issuer))
        .or_else(|| account(observed, issuer))
        .or_else(|| scopes(observed, issuer))
        .or_else(|| policy(observed, issuer))
        .or_else(|| suspension(observed, issuer))
        .or_else(|| templates(observed))
        .or_else(|| issuer_not_usable(observed, issuer))
}

/// There must be one issuer.
fn no_issuer(problem: &IssuerProblem) -> Refusal {
    match problem {
        IssuerProblem::NotFound(IssuerRef { kind, name }) => Refusal::new(
            Reason::IssuerNotFound,
            format!("{kind:?} {name:?} does not exist: create it, or correct spec.issuerRef"),
        ),
        IssuerProblem::NoDefault => Refusal::new(
            Reason::NoDefaultIssuer,
            format!(
                "no ClusterTokenIssuer is the default one: set spec.issuerRef, or annotate one ClusterTokenIssuer with {}=true",
                names::DEFAULT_ISSUER_ANNOTATION
            ),
        ),
        IssuerProblem::OutOfReach(None) => Refusal::new(
            Reason::NoDefaultIssuer,
            "the operator works in this namespace only, without a default issuer: set spec.issuerRef to a TokenIssuer of this namespace"
                .to_owned(),
        ),
        IssuerProblem::OutOfReach(Some(name)) => Refusal::new(
            Reason::IssuerNotFound,
            format!(
                "the operator works in this namespace only and can't use ClusterTokenIssuer {name:?}: set spec.issuerRef to a TokenIssuer of this namespace"
            ),
        ),
        IssuerProblem::SeveralDefaults(issuers) => Refusal::new(
            Reason::SeveralDefaultIssuers,
            format!(
                "several ClusterTokenIssuers are the default one ({}): set spec.issuerRef, or keep the annotation {} on one of them only",
                listed(issuers),
                names::DEFAULT_ISSUER_ANNOTATION
            ),
        ),
    }
}

/// An object from another version may be one that this version can't read.
fn unreadable(issuer: &ObservedIssuer) -> Option<Refusal> {
    let IssuerReadiness::Unreadable(why) = &issuer.readiness else {
        return None;
    };
    let message = format!("issuer {:?} can't be read ({why}): correct it", issuer.reference.name);
    Some(Refusal::new(Reason::IssuerNotReady, message))
}

/// The issuer must allow the namespace.
fn namespace(issuer: &ObservedIssuer) -> Option<Refusal> {
    (!issuer.namespace_allowed).then(|| {
        Refusal::new(
            Reason::NamespaceNotAllowed,
            format!(
                "ClusterTokenIssuer {:?} does not allow this namespace: add it to spec.allowedNamespaces there, or use another issuer",
                issuer.reference.name
            ),
        )
    })
}

/// This version must know the type.
fn issuer_type(issuer: &ObservedIssuer) -> Option<Refusal> {
    issuer.capabilities.is_none().then(|| {
        Refusal::new(
            Reason::NotSupported,
            format!(
                "issuer {:?} is of a type that this version does not support yet: use an issuer with spec.builtin",
                issuer.reference.name
            ),
        )
    })
}

/// A token that is to be held back needs an issuer that can, or to be withdrawn.
fn suspension(observed: &Observed, issuer: &ObservedIssuer) -> Option<Refusal> {
    let spec = &observed.token.spec;
    let can = issuer.capabilities.is_some_and(|can| can.suspend);
    let wanted = spec.state == DesiredState::Suspended && spec.suspend_policy == SuspendPolicy::Disable;
    (wanted && !can).then(|| {
        Refusal::new(
            Reason::SuspendNotSupported,
            format!(
                "issuer {:?} can't suspend a token: set spec.suspendPolicy to Withdraw, which ends it and issues another on activation",
                issuer.reference.name
            ),
        )
    })
}

/// Whether ApiTokens may take over tokens that exist: denied by default where several tenants share the issuer.
pub fn adoption_is_allowed(observed: &Observed) -> bool {
    let Ok(issuer) = &observed.issuer else {
        return false;
    };
    let declared = issuer.spec.policy.as_ref().and_then(|policy| policy.adoption);
    match declared {
        Some(adoption) => adoption == Adoption::Allow,
        None => issuer.reference.kind == IssuerKind::TokenIssuer,
    }
}

/// An account that is not the token's own must be allowed by the issuer.
fn account(observed: &Observed, issuer: &ObservedIssuer) -> Option<Refusal> {
    let account = observed.token.spec.account.as_deref()?;
    let allowed = issuer
        .spec
        .policy
        .as_ref()
        .and_then(|policy| policy.allowed_accounts.as_deref())
        .unwrap_or_default();
    let namespace = secret::namespace(&observed.token);
    let own = match issuer.spec.own_account() {
        Some(own) => account == own,
        None => issuer.capabilities.is_some_and(|can| can.local) && account == secret::default_account(&observed.token),
    };
    if own || is_allowed(account, allowed, namespace) {
        return None;
    }
    Some(Refusal::new(
        Reason::AccountNotAllowed,
        format!(
            "issuer {:?} does not allow the account {account:?}: remove spec.account, or have it added to spec.policy.allowedAccounts there",
            issuer.reference.name
        ),
    ))
}

/// Scopes and audiences must be among those that the issuer allows.
fn scopes(observed: &Observed, issuer: &ObservedIssuer) -> Option<Refusal> {
    let BuiltinIssuer {
        allowed_scopes,
        allowed_audiences,
        ..
    } = issuer.spec.builtin.as_ref()?;
    let namespace = secret::namespace(&observed.token);
    let refused = |what: &str, wanted: &[String], allowed: Option<&[String]>| {
        let item = wanted
            .iter()
            .find(|item| allowed.is_some_and(|allowed| !is_allowed(item, allowed, namespace)))?;
        Some(Refusal::new(
            Reason::ScopeNotAllowed,
            format!(
                "issuer {:?} does not allow the {what} {item:?}: remove it, or use another issuer",
                issuer.reference.name
            ),
        ))
    };
    refused("scope", &observed.token.spec.scopes, allowed_scopes.as_deref())
        .or_else(|| refused("audience", &observed.token.spec.audiences, allowed_audiences.as_deref()))
}

/// The issuer's policy on lifetimes and rotation.
fn policy(observed: &Observed, issuer: &ObservedIssuer) -> Option<Refusal> {
    let policy = issuer.spec.policy.as_ref()?;
    let spec = &observed.token.spec;
    if let Some(longest) = &policy.max_lifetime {
        match planned_lifetime(observed) {
            Some(lifetime) if lifetime <= longest.as_signed() => {}
            Some(_) => {
                return Some(violation(
                    issuer,
                    format!("tokens live at most {longest}: shorten spec.lifetime or spec.expiresAt"),
                ));
            }
            None => return Some(violation(issuer, format!("tokens live at most {longest}: set spec.lifetime"))),
        }
    }
    (policy.require_rotation && spec.rotation.is_none()).then(|| violation(issuer, "tokens must rotate: set spec.rotation".to_owned()))
}

/// How long the token lives from its issue, or from now where it was not issued yet.
fn planned_lifetime(observed: &Observed) -> Option<SignedDuration> {
    let spec = &observed.token.spec;
    if let Some(lifetime) = &spec.lifetime {
        return Some(lifetime.as_signed());
    }
    let issued_at = observed
        .token
        .status
        .as_ref()
        .and_then(|status| status.token.as_ref())
        .and_then(|token| token.issued_at.as_ref());
    let from = issued_at.map_or(observed.now, |Time(at)| *at);
    spec.expires_at.as_ref().map(|Time(end)| end.duration_since(from))
}

/// Templates must render, before a token is made for them.
fn templates(observed: &Observed) -> Option<Refusal> {
    if observed.token.spec.secret.template.is_empty() || is_synced(observed) {
        return None;
    }
    let account = secret::account(observed).unwrap_or_default();
    let sample = template::Variables {
        token: "apt_0000000000000000000000000000000000000000000000000",
        previous_token: "",
        account: &account,
        id: "0000000000-1",
        name: observed.token.metadata.name.as_deref().unwrap_or_default(),
        namespace: secret::namespace(&observed.token),
        scopes: &observed.token.spec.scopes,
    };
    let error = template::render(&observed.token.spec.secret.template, &sample).err()?;
    Some(Refusal::new(Reason::TemplateInvalid, format!("{error}: correct the template")))
}

/// Whether the Secret was last found as the present spec declares it.
pub fn is_synced(observed: &Observed) -> bool {
    let conditions = observed
        .token
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    conditions::find(conditions, ConditionType::SecretSynced)
        .is_some_and(|synced| synced.status == "True" && synced.observed_generation == observed.token.metadata.generation)
}

/// A first token is only made at an issuer that is ready, stays, and can't go from under it.
fn issuer_not_usable(observed: &Observed, issuer: &ObservedIssuer) -> Option<Refusal> {
    if observed.token.status.as_ref().is_some_and(|status| status.token.is_some()) {
        return None;
    }
    makes_none(issuer)
}

/// Why the issuer makes no token now, whoever asks.
pub fn makes_none(issuer: &ObservedIssuer) -> Option<Refusal> {
    let name = &issuer.reference.name;
    match &issuer.readiness {
        IssuerReadiness::Deleting => Some(Refusal::new(
            Reason::IssuerNotReady,
            format!("issuer {name:?} is being deleted: it makes no new token; use another issuer, or create it again"),
        )),
        IssuerReadiness::NotReady(why) => Some(Refusal::new(Reason::IssuerNotReady, format!("issuer {name:?} is not ready: {why}"))),
        IssuerReadiness::Unreadable(_) => None,
        IssuerReadiness::Ready if issuer.held => None,
        IssuerReadiness::Ready | IssuerReadiness::Unknown => Some(Refusal {
            reason: Reason::IssuerNotReady,
            message: format!("issuer {name:?} was not checked yet: see whether the operator runs and may write to it"),
            passing: true,
        }),
    }
}

/// Whether `item` is among `allowed`: exact entries, `prefix*`, and `{namespace}` for the namespace.
///
/// `{namespace}` never widens what stands before a `*`: namespaces hold no `*`.
pub fn is_allowed(item: &str, allowed: &[String], namespace: &str) -> bool {
    allowed.iter().any(|entry| match entry.strip_suffix('*') {
        Some(prefix) => item.starts_with(&prefix.replace("{namespace}", namespace)),
        None => item == entry.replace("{namespace}", namespace),
    })
}

fn violation(issuer: &ObservedIssuer, what: String) -> Refusal {
    Refusal::new(
        Reason::PolicyViolation,
        format!("spec.policy of issuer {:?}: {what}", issuer.reference.name),
    )
}

/// At most five names, so that a message stays readable and short.
fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    let more = names.len().saturating_sub(shown.len());
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_exact_or_prefixes_and_name_the_namespace() {
        let allowed = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        for (item, entries, expected) in [
            ("orders:read", &["orders:read"][..], true),
            ("orders:write", &["orders:read"], false),
            ("orders:write", &["orders:*"], true),
            ("order", &["orders:*"], false),
            ("shop:read", &["{namespace}:*"], true),
            ("shop2:read", &["{namespace}:*"], false),
            ("other:read", &["{namespace}:*"], false),
            ("shop.ci", &["{namespace}.ci"], true),
            ("anything", &["*"], true),
            ("anything", &[], false),
            ("{namespace}:x", &["{namespace}:x"], false),
        ] {
            assert_eq!(is_allowed(item, &allowed(entries), "shop"), expected, "{item} in {entries:?}");
        }
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<String> = (1..=7).map(|n| format!("i{n}")).collect();
        assert_eq!(listed(&names), "i1, i2, i3, i4, i5 and 2 more");
    }
}
