//! Steps at an issuer that others run.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::time;

use super::{context::ScopedContext, execute::Stopped, tokens::PassError, writes};
use crate::{
    api::{IssuerId, IssuerSpec},
    issuers::{DEFAULT_TIMEOUT, Issuer, IssuerError, ListedToken, TokenRequest, Verb},
    lifecycle::{Failure, Observed, Step, TIME_TO_CALL, accounts, is_only_a_poll, request, schedule, secret, shown_as_recorded},
};

/// Beyond the time limit that an issuer keeps by itself, and after which it says more.
const SLACK: SignedDuration = SignedDuration::from_secs(1);

/// Takes a step at the issuer. Time passes in it, so it is looked at anew.
pub async fn take(step: Step, observed: &mut Observed, context: &ScopedContext) -> Result<(), Stopped> {
    let issuer = open(observed, context).await?;
    if let Ok(of) = &mut observed.issuer {
        let id = IssuerId::new(&of.reference, secret::namespace(&observed.token));
        of.credential = context.shared.connections.credential(&id);
    }
    let request = request(observed);
    let result = match step {
        Step::ListTokens => list(issuer, &request, observed, context).await,
        Step::CreateToken => make(issuer, None, &request, observed, context).await,
        Step::ResetToken { base } => make(issuer, Some(base), &request, observed, context).await,
        Step::UpdateToken { id, name } => update(issuer, &id, name, request, observed).await,
        Step::SuspendToken { id } => change(issuer, &id, Verb::Suspend, &request, observed, context).await,
        Step::ActivateToken { id } => change(issuer, &id, Verb::Activate, &request, observed, context).await,
        Step::RevokeToken { id } => change(issuer, &id, Verb::Revoke, &request, observed, context).await,
        Step::DeleteToken { id } => change(issuer, &id, Verb::Delete, &request, observed, context).await,
        _ => Ok(()),
    };
    observed.now = schedule::to_second(context.shared.clock.now());
    result
}

async fn open(observed: &Observed, context: &ScopedContext) -> Result<Arc<dyn Issuer>, IssuerError> {
    let gone = || IssuerError::Unavailable("it is not there".to_owned());
    let issuer = observed.issuer.as_ref().map_err(|_| gone())?;
    let id = IssuerId::new(&issuer.reference, secret::namespace(&observed.token));
    let shared = &context.shared;
    shared.connections.open(&id, &issuer.spec, issuer.generation, shared).await
}

async fn list(issuer: Arc<dyn Issuer>, request: &TokenRequest, observed: &mut Observed, context: &ScopedContext) -> Result<(), Stopped> {
    if is_only_a_poll(observed) && is_seen_in_a_shared_list(&issuer, request, observed, context).await? {
        return Ok(());
    }
    let mut view: Vec<ListedToken> = Vec::new();
    for account in accounts(observed) {
        let request = TokenRequest {
            account,
            ..request.clone()
        };
        for token in in_time(limit(observed), issuer.list(&request)).await? {
            if !view.iter().any(|known| known.id == token.id) {
                view.push(token);
            }
        }
    }
    observed.sees(view, schedule::to_second(context.shared.clock.now()));
    Ok(())
}

/// Whether a list that many share shows all as recorded: then nothing is to be decided on.
async fn is_seen_in_a_shared_list(
    issuer: &Arc<dyn Issuer>,
    request: &TokenRequest,
    observed: &mut Observed,
    context: &ScopedContext,
) -> Result<bool, Stopped> {
    let (Ok(of), Some(current)) = (&observed.issuer, observed.current()) else {
        return Ok(false);
    };
    let id = IssuerId::new(&of.reference, secret::namespace(&observed.token));
    let request = TokenRequest {
        account: current.account.clone(),
        ..request.clone()
    };
    let ask = in_time(limit(observed), issuer.list(&request));
    let interval = context.shared.settings.poll_interval;
    let account = (id, request.account.clone());
    let shared = context.shared.lists.recent(account, interval, observed.now, ask).await?;
    let Some(listed) = shown_as_recorded(observed, &shared.tokens).cloned() else {
        return Ok(false);
    };
    observed.shown = Some(listed);
    observed.polled_at = Some(shared.at);
    Ok(true)
}

/// Makes a token. The intent must be young: a call that is sent late could come after somebody else
/// has given the attempt up.
async fn make(
    issuer: Arc<dyn Issuer>,
    base: Option<String>,
    request: &TokenRequest,
    observed: &mut Observed,
    context: &ScopedContext,
) -> Result<(), Stopped> {
    let began = observed.pending().map(|pending| pending.started_at.0).unwrap_or_default();
    if schedule::later(began, TIME_TO_CALL) < context.shared.clock.now() {
        return Err(Stopped::Pass(PassError::Conflict));
    }
    let made = match &base {
        // Where a reset is refused, another token is made instead.
        Some(base) => {
            let reset = in_time(limit(observed), issuer.reset(base, request)).await;
            reset.map_err(|error| Failure::from(error).retried())
        }
        None => in_time(limit(observed), issuer.create(request)).await.map_err(Failure::from),
    };
    observed.fresh = Some(made?);
    Ok(())
}

async fn update(issuer: Arc<dyn Issuer>, id: &str, name: String, request: TokenRequest, observed: &mut Observed) -> Result<(), Stopped> {
    let request = TokenRequest {
        name: Some(name),
        ..request
    };
    in_time(limit(observed), issuer.update(id, &request)).await?;
    observed.updated = true;
    Ok(())
}

/// Changes a token that exists, after a last look at the ApiToken: the stores may lag.
async fn change(
    issuer: Arc<dyn Issuer>,
    id: &str,
    verb: Verb,
    request: &TokenRequest,
    observed: &mut Observed,
    context: &ScopedContext,
) -> Result<(), Stopped> {
    writes::still_as_read(&observed.token, context).await.map_err(Stopped::Pass)?;
    let account = observed.listed(id).and_then(|listed| listed.account.clone());
    let request = TokenRequest {
        account,
        ..request.clone()
    };
    let changed = in_time(limit(observed), issuer.change(id, verb, &request))
        .await
        .map_err(Failure::from);
    changed.map_err(|failure| if ends(verb) { failure.retried() } else { failure })?;
    observed.changed(id, verb);
    Ok(())
}

/// A token that is to be ended is never given up on.
fn ends(verb: Verb) -> bool {
    matches!(verb, Verb::Revoke | Verb::Delete)
}

fn limit(observed: &Observed) -> SignedDuration {
    observed.issuer.as_ref().map_or(SignedDuration::ZERO, |issuer| issuer.timeout)
}

/// How long one call may take.
pub fn timeout(spec: &IssuerSpec) -> SignedDuration {
    spec.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |timeout| timeout.as_signed())
}

/// No call lasts longer than its time limit, whatever the issuer does.
pub async fn in_time<T>(limit: SignedDuration, call: impl Future<Output = Result<T, IssuerError>>) -> Result<T, IssuerError> {
    let answer = time::timeout((limit + SLACK).unsigned_abs(), call).await;
    answer.unwrap_or_else(|_| Err(IssuerError::OutcomeUnknown("no answer in time".to_owned())))
}
