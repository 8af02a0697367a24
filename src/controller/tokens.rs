//! The controller of ApiTokens: gather, decide, execute, one status write.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use kube::{
    Api, ResourceExt,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::ObjectRef,
    },
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    calls::{CALL_TIMEOUT, post_params},
    context::ScopedContext,
    execute::execute,
    gather::gather,
    recent::key,
    stores::Guarded,
    watches::{Queue, trim_declared},
};
use crate::{
    api::ApiToken,
    lifecycle::{self, Observed, Plan, Rest},
    operations::metrics::Outcome,
};

/// More steps than any pass needs: a pass that takes as many does not get anywhere.
const MOST_STEPS: usize = 8;
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
    /// The status was not written.
    #[error("could not write the status: {0}")]
    Status(#[source] Box<kube::Error>),
    /// The status was not written in time.
    #[error("could not write the status: no answer in time")]
    StatusTimeout,
    /// Steps led to steps without end.
    #[error("the pass took {MOST_STEPS} steps and came to no end")]
    Endless,
}

/// Runs the controller of one scope until `shutdown`.
pub fn run(queue: Queue<ApiToken>, context: Arc<ScopedContext>, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
    let concurrency = context.shared.settings.concurrency;
    Controller::for_stream(stream::pending(), context.stores.tokens.clone())
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(names_in(queue))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, after_error, context)
        .for_each(|_| async {})
        .boxed()
}

/// The queue as a stream.
pub fn names_in<K: kube::Resource<DynamicType = ()> + 'static>(mut queue: Queue<K>) -> impl futures::Stream<Item = ObjectRef<Guarded<K>>> {
    stream::poll_fn(move |task| queue.poll_recv(task))
}

async fn reconcile(object: Arc<Guarded<ApiToken>>, context: Arc<ScopedContext>) -> Result<Action, PassError> {
    let started = Instant::now();
    let result = pass(&object, &context).await;
    let outcome = match &result {
        Ok(_) => Outcome::Success,
        Err(PassError::Conflict) => Outcome::Conflict,
        Err(_) => Outcome::Failure,
    };
    context.shared.metrics.reconciliation(outcome, started.elapsed());
    if result.is_ok() {
        context.stores.retries.succeeded(&key(kube::Resource::meta(object.as_ref())));
    }
    result
}

/// One pass: steps until nothing is left to do, then one status.
async fn pass(object: &Guarded<ApiToken>, context: &ScopedContext) -> Result<Action, PassError> {
    let token = object.0.as_ref().map_err(|error| PassError::Unreadable(error.error.clone()))?;
    let newer = context
        .stores
        .recent_tokens
        .newer_than(&key(&token.metadata), Some(&token.metadata));
    let mut observed = gather(newer.unwrap_or_else(|| Arc::new(token.clone())), context).await;
    for _ in 0..MOST_STEPS {
        match lifecycle::decide(&observed) {
            Plan::Step(step) => execute(step, &mut observed, context).await,
            Plan::Rest(rest) => return finish(observed, *rest, context).await,
        }
    }
    Err(PassError::Endless)
}

/// Writes the status where it changed, then tells the user.
async fn finish(mut observed: Observed, rest: Rest, context: &ScopedContext) -> Result<Action, PassError> {
    keep_fresh(&mut observed, &rest, context);
    let before = observed.token.status.clone().unwrap_or_default();
    let wrote_secret = !observed.repaired.is_empty();
    let unchanged = if wrote_secret {
        before == rest.status
    } else {
        lifecycle::same_but_for_foreign_changes(&before, &rest.status)
    };
    if !unchanged {
        let mut token = observed.token.as_ref().clone();
        token.status = Some(rest.status);
        write_status(token, context).await?;
    }
    for notice in &rest.notices {
        let (namespace, name) = (observed.token.namespace(), observed.token.name_any());
        if notice.warning {
            warn!(namespace, name, reason = notice.reason, "{}", notice.message);
        } else {
            info!(namespace, name, reason = notice.reason, "{}", notice.message);
        }
        context.shared.events.publish(&observed.token, notice).await;
    }
    Ok(match rest.look_again_at {
        Some(at) => Action::requeue(until(at, context)),
        None => Action::await_change(),
    })
}

/// A token that was announced waits in memory for its Secret.
fn keep_fresh(observed: &mut Observed, rest: &Rest, context: &ScopedContext) {
    let announced = rest.status.pending.as_ref().and_then(|pending| pending.hash.as_deref());
    if let Some(fresh) = observed.fresh.take().filter(|fresh| Some(fresh.value.hash().as_str()) == announced) {
        context
            .stores
            .fresh
            .keep(observed.token.metadata.uid.as_deref().unwrap_or_default(), fresh);
    }
}

async fn write_status(token: ApiToken, context: &ScopedContext) -> Result<(), PassError> {
    let api: Api<ApiToken> = Api::namespaced(context.shared.client.clone(), &token.namespace().unwrap_or_default());
    match timeout(CALL_TIMEOUT, api.replace_status(&token.name_any(), &post_params(), &token)).await {
        Ok(Ok(mut written)) => {
            trim_declared(&mut written);
            context.stores.recent_tokens.wrote(&written.metadata.clone(), Arc::new(written));
            Ok(())
        }
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Err(PassError::Conflict),
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        Ok(Err(error)) => Err(PassError::Status(Box::new(error))),
        Err(_) => Err(PassError::StatusTimeout),
    }
}

/// How long until `at`; bounded, so that a clock that jumps does no harm for long.
fn until(at: jiff::Timestamp, context: &ScopedContext) -> Duration {
    let wait = at.duration_since(context.shared.clock.now());
    Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)
}

fn after_error(object: Arc<Guarded<ApiToken>>, error: &PassError, context: Arc<ScopedContext>) -> Action {
    let (namespace, name) = (object.namespace(), object.name_any());
    match error {
        // The watch brings the other version; this is for the case that it brought it already.
        PassError::Conflict => return Action::requeue(Duration::from_millis(500)),
        PassError::Unreadable(_) => {
            error!(namespace, name, %error, "skipped until it changes");
            return Action::await_change();
        }
        PassError::Status(_) | PassError::StatusTimeout | PassError::Endless => {}
    }
    let pause = context.stores.retries.failed(key(kube::Resource::meta(object.as_ref())));
    warn!(namespace, name, %error, retry_in_seconds = pause.as_secs(), "pass failed");
    Action::requeue(pause)
}
