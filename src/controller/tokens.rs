//! The controller of ApiTokens: gather, decide, execute, one status write.

use std::{sync::Arc, time::Duration};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::time::Instant;
use tracing::{Instrument, error, info, info_span, warn};

use super::{
    calls::CallError,
    context::{Context, ScopedContext},
    execute::execute,
    gather::gather,
    recent::{Key, key},
    stores::{Guarded, ScopedStores},
    watches::Queue,
    worker::{self, Again, Term, Work, keys},
    writes,
};
use crate::{
    api::{ApiToken, ApiTokenStatus},
    issuers::IssuedToken,
    lifecycle::{self, Observed, Plan, Rest, schedule},
    operations::{metrics::Outcome, traces},
};

/// More steps than any pass needs: a pass that takes as many does not get anywhere.
const MOST_STEPS: usize = 64;
/// The longest time until a token is looked at again; a look at a token that is as declared costs nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Why a pass could not end as decided. Failures of steps are no errors: they stand in the status.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The object can't be read.
    #[error("ApiToken can't be read: {0}")]
    Unreadable(String),
    /// Somebody else wrote the object in the meantime: look again.
    #[error("the ApiToken changed in the meantime")]
    Conflict,
    /// The object is gone: nothing is left to do.
    #[error("the ApiToken is gone")]
    Gone,
    /// The object was not written or read.
    #[error("could not {verb} the ApiToken: {cause}")]
    Call {
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        #[source]
        cause: CallError,
    },
    /// Steps led to steps without end.
    #[error("the pass took {MOST_STEPS} steps and came to no end")]
    Endless,
}

/// Runs the controller.
pub async fn run(queue: Queue<ApiToken>, context: Arc<Context>, term: Term) {
    let stores = &context.stores.scopes;
    let work = Work {
        first: keys(&stores.iter().map(|scope| &scope.tokens).collect::<Vec<_>>()),
        queue,
        slots: context.settings.concurrency,
    };
    let scoped = |stores: &Arc<ScopedStores>| {
        Arc::new(ScopedContext {
            shared: context.clone(),
            stores: stores.clone(),
        })
    };
    let scopes: Vec<Arc<ScopedContext>> = stores.iter().map(scoped).collect();
    let pass = |key: Key| {
        let scope = scopes.iter().find(|scope| scope.stores.scope.covers(&key.0)).cloned();
        async move { reconcile(&key, &*scope?).await }
    };
    worker::run(work, term, pass).await;
}

async fn reconcile(key: &Key, context: &ScopedContext) -> Again {
    let object = context.stores.tokens.get(&ObjectRef::new(&key.1).within(&key.0))?;
    let started = Instant::now();
    let _running = context.shared.metrics.pass_begins();
    let span = info_span!(target: traces::TARGET, "reconcile", namespace = object.namespace(), name = object.name_any());
    let result = pass(&object, context).instrument(span).await;
    let outcome = match &result {
        Ok(_) => Outcome::Success,
        Err(PassError::Conflict) => Outcome::Conflict,
        Err(_) => Outcome::Failure,
    };
    context.shared.metrics.reconciliation(outcome, started.elapsed());
    match result {
        Ok(again) => {
            context.stores.retries.succeeded(key);
            again
        }
        Err(error) => after_error(key, &error, context),
    }
}

/// One pass: steps until nothing is left to do, then one status.
async fn pass(object: &Guarded<ApiToken>, context: &ScopedContext) -> Result<Again, PassError> {
    let token = object.0.as_ref().map_err(|error| PassError::Unreadable(error.error.clone()))?;
    let newer = context
        .stores
        .recent_tokens
        .newer_than(&key(&token.metadata), token.metadata.resource_version.as_deref());
    let mut observed = gather(newer.unwrap_or_else(|| Arc::new(token.clone())), context).await;
    let result = steps(&mut observed, context).await;
    keep_fresh(&mut observed, result.as_ref().ok().map(|rest| &rest.status), context);
    match result {
        Ok(rest) => {
            let open = rest.status.pending.is_some();
            let finished = finish(&observed, rest, context).await;
            // Another may have its intent once the status without this one is written.
            if finished.is_ok() && !open {
                let uid = observed.token.metadata.uid.as_deref().unwrap_or_default();
                context.shared.stores.intents.forget(uid);
            }
            finished
        }
        Err(PassError::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Steps until nothing is left to do.
async fn steps(observed: &mut Observed, context: &ScopedContext) -> Result<Rest, PassError> {
    for _ in 0..MOST_STEPS {
        match lifecycle::decide(observed) {
            Plan::Step(step) => execute(step, observed, context).await?,
            Plan::Rest(rest) => return Ok(*rest),
        }
    }
    Err(PassError::Endless)
}

/// Writes the status where it changed, then tells the user.
async fn finish(observed: &Observed, rest: Rest, context: &ScopedContext) -> Result<Again, PassError> {
    let before = observed.token.status.clone().unwrap_or_default();
    let wrote_secret = !observed.repaired.is_empty();
    let unchanged = if wrote_secret {
        before == rest.status
    } else {
        lifecycle::same_but_for_foreign_changes(&before, &rest.status)
    };
    // Without a finalizer the object is gone already.
    let is_there = observed.token.metadata.deletion_timestamp.is_none() || !observed.token.finalizers().is_empty();
    if !unchanged && is_there {
        let written = writes::status(&observed.token, rest.status, context).await;
        announced(observed, context);
        written?;
    }
    // A look at the issuer counts once all that follows from it is done.
    if let Some(at) = observed.polled_at.filter(|_| observed.view.is_some() || observed.shown.is_some()) {
        let uid = observed.token.metadata.uid.as_deref().unwrap_or_default();
        context.stores.polls.keep(uid, at);
    }
    for notice in &rest.notices {
        let (namespace, name) = (observed.token.namespace(), observed.token.name_any());
        if notice.warning {
            warn!(namespace, name, reason = notice.reason, "{}", notice.message);
        } else {
            info!(namespace, name, reason = notice.reason, "{}", notice.message);
        }
        context.shared.metrics.event(notice.reason);
        context.shared.events.publish(&observed.token, notice).await;
    }
    Ok(rest.look_again_at.map(|at| until(at, context)))
}

/// The time that verifiers get begins when the API server has taken the announcement, however long
/// that took; where its answer got lost, not before that is known.
fn announced(observed: &Observed, context: &ScopedContext) {
    let uid = observed.token.metadata.uid.as_deref().unwrap_or_default();
    if let Some(fresh) = context.stores.fresh.take(uid) {
        let before = observed.pending().and_then(|pending| pending.hash.as_deref());
        let is_new = before != Some(fresh.value.hash().as_str());
        let now = schedule::next_second(context.shared.clock.now());
        let announced = IssuedToken {
            announced_at: fresh.announced_at.filter(|_| !is_new).or(Some(now)),
            ..fresh
        };
        context.stores.fresh.keep(uid, announced);
    }
}

/// Keeps a token that was made, and that no status names yet, for the next pass.
fn keep_fresh(observed: &mut Observed, rest: Option<&ApiTokenStatus>, context: &ScopedContext) {
    if let Some(fresh) = lifecycle::take_waiting(observed, rest) {
        let uid = observed.token.metadata.uid.as_deref().unwrap_or_default();
        context.stores.fresh.keep(uid, fresh);
    }
}

/// How long until `at`; bounded, so that a clock that jumps does no harm for long.
fn until(at: jiff::Timestamp, context: &ScopedContext) -> Duration {
    let wait = at.duration_since(context.shared.clock.now());
    Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)
}

fn after_error(key: &Key, error: &PassError, context: &ScopedContext) -> Again {
    let (namespace, name) = key;
    match error {
        // The watch brings the other version; this is for the case that it brought it already.
        PassError::Conflict => return Some(Duration::from_millis(500)),
        PassError::Unreadable(_) => {
            error!(namespace, name, %error, "skipped until it changes");
            return None;
        }
        PassError::Gone => return None,
        PassError::Call { .. } | PassError::Endless => {}
    }
    let pause = context.stores.retries.failed(key.clone());
    warn!(namespace, name, %error, retry_in_seconds = pause.as_secs(), "pass failed");
    Some(pause)
}
