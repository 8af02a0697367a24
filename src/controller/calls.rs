//! How this program calls the API server: in whose name, how long, and what a failure says.

use std::time::Duration;

use futures::future::BoxFuture;
use kube::api::{ListParams, ObjectList, PostParams};
use tokio::time::timeout;

use crate::api::names;

/// How long one call to the API server may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It answered with an error, or the connection failed: the innermost cause says which.
    #[error("{}", innermost(.0.as_ref()))]
    Refused(#[from] Box<kube::Error>),
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// A call to the API server, bounded in time.
///
/// # Errors
/// The server's error, or no answer in time.
pub async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    call_within(CALL_TIMEOUT, call).await
}

/// A call to the API server that has so much time.
///
/// # Errors
/// The server's error, or no answer in time.
pub async fn call_within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    let answer = timeout(limit, call).await.map_err(|_| CallError::Timeout)?;
    answer.map_err(|error| CallError::Refused(Box::new(error)))
}

/// Parameters of a create or a replacement: what was written is known to be ours.
pub fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..Default::default()
    }
}

/// Shows each object of a list, page by page. Gives the version that the list is of.
///
/// # Errors
/// Where the API server refuses a page or does not answer.
pub async fn each_in_pages<'a, K: Clone>(
    mut list: ListParams,
    page: impl Fn(ListParams) -> BoxFuture<'a, kube::Result<ObjectList<K>>>,
    mut see: impl FnMut(K),
) -> Result<String, CallError> {
    loop {
        let found = call(page(list.clone())).await?;
        found.items.into_iter().for_each(&mut see);
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => list = list.continue_token(&token),
            None => return Ok(found.metadata.resource_version.unwrap_or_default()),
        }
    }
}

/// The cause that the errors around it only repeat.
fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}
