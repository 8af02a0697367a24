//! Writes to ApiTokens: their status and our finalizer, always under the version that was read.

use std::sync::Arc;

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    calls::{CallError, call, post_params},
    context::ScopedContext,
    tokens::PassError,
    watches::trim_declared,
};
use crate::{
    api::{ApiToken, ApiTokenStatus, names},
    lifecycle::secret,
};

/// Writes the status. Nothing where the object is gone.
///
/// # Errors
/// Where somebody else wrote the object in the meantime, or the API server does not do it.
pub async fn status(token: &ApiToken, status: ApiTokenStatus, context: &ScopedContext) -> Result<Option<Arc<ApiToken>>, PassError> {
    let mut token = token.clone();
    token.status = Some(status);
    let answer = call(api(&token, context).replace_status(&token.name_any(), &post_params(), &token)).await;
    written("write the status of", answer, context)
}

/// Adds or removes our finalizer; those of others stay. Nothing where the object is gone.
///
/// # Errors
/// Where somebody else wrote the object in the meantime, or the API server does not do it.
pub async fn finalizer(token: &ApiToken, held: bool, context: &ScopedContext) -> Result<Option<Arc<ApiToken>>, PassError> {
    let others = token
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != names::FINALIZER)
        .cloned();
    let finalizers: Vec<String> = others.chain(held.then(|| names::FINALIZER.to_owned())).collect();
    let patch = json!({ "metadata": { "resourceVersion": token.resource_version(), "finalizers": finalizers } });
    let parameters = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..Default::default()
    };
    let answer = call(api(token, context).patch(&token.name_any(), &parameters, &Patch::Merge(patch))).await;
    written("write the finalizer of", answer, context)
}

/// A look past all caches: whether the object is still the one that was read.
///
/// # Errors
/// Where it is another one by now, or gone, or the API server does not answer.
pub async fn still_as_read(token: &ApiToken, context: &ScopedContext) -> Result<(), PassError> {
    let answer = call(api(token, context).get_opt(&token.name_any())).await;
    let live = answer.map_err(|cause| PassError::Call { verb: "read", cause })?;
    match live.and_then(|live| live.resource_version()) {
        Some(version) if Some(&version) == token.metadata.resource_version.as_ref() => Ok(()),
        _ => Err(PassError::Conflict),
    }
}

fn api(token: &ApiToken, context: &ScopedContext) -> Api<ApiToken> {
    Api::namespaced(context.shared.client.clone(), secret::namespace(token))
}

fn written(verb: &'static str, answer: Result<ApiToken, CallError>, context: &ScopedContext) -> Result<Option<Arc<ApiToken>>, PassError> {
    match answer {
        Ok(mut token) => {
            trim_declared(&mut token);
            let token = Arc::new(token);
            context.stores.recent_tokens.wrote(&token.metadata, token.clone());
            Ok(Some(token))
        }
        Err(CallError::Refused(error)) => match *error {
            kube::Error::Api(status) if status.is_conflict() => Err(PassError::Conflict),
            kube::Error::Api(status) if status.is_not_found() => Ok(None),
            error => Err(PassError::Call {
                verb,
                cause: CallError::Refused(Box::new(error)),
            }),
        },
        Err(cause) => Err(PassError::Call { verb, cause }),
    }
}
