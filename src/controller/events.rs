//! Events about ApiTokens.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::RwLock, time::timeout};
use tracing::warn;

use crate::{
    api::{ApiToken, names},
    lifecycle::Notice,
};

/// How long one Event may take: the work never waits long for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest note that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;
/// After so many Events the recorder forgets them: it keeps each for 6 minutes and looks through
/// all of them with each new one. Repeats within that many are still counted up in one Event.
const REMEMBERED: usize = 256;

/// Publishes Events.
pub struct Events {
    client: Client,
    instance: String,
    recorder: RwLock<(Recorder, usize)>,
}

impl Events {
    /// `instance` tells the replicas apart.
    pub fn new(client: Client, instance: String) -> Self {
        let recorder = recorder(&client, &instance);
        Self {
            client,
            instance,
            recorder: RwLock::new((recorder, 0)),
        }
    }

    /// Publishes a notice about a token. An Event that fails is logged and lost: it is news, not state.
    pub async fn publish(&self, token: &ApiToken, notice: &Notice) {
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.to_owned(),
            note: Some(cut(&notice.message).to_owned()),
            action: action(notice),
            secondary: None,
        };
        let about: ObjectReference = token.object_ref(&());
        match timeout(TIMEOUT, self.recorder().await.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(namespace = about.namespace, name = about.name, reason = notice.reason, %error, "could not publish an Event")
            }
            Err(_) => warn!(
                namespace = about.namespace,
                name = about.name,
                reason = notice.reason,
                "publishing an Event took too long"
            ),
        }
    }

    async fn recorder(&self) -> Recorder {
        let mut current = self.recorder.write().await;
        if current.1 >= REMEMBERED {
            *current = (recorder(&self.client, &self.instance), 0);
        }
        current.1 += 1;
        current.0.clone()
    }
}

fn recorder(client: &Client, instance: &str) -> Recorder {
    let reporter = Reporter {
        controller: names::MANAGER.to_owned(),
        instance: Some(instance.to_owned()),
    };
    Recorder::new(client.clone(), reporter)
}

/// The API server counts an Event of the same reason and action up instead of showing it: other words
/// are other news.
fn action(notice: &Notice) -> String {
    format!("{}-{:08x}", notice.reason, crc32fast::hash(notice.message.as_bytes()))
}

/// `text`, cut at a character so that it fits.
fn cut(text: &str) -> &str {
    let end = (0..=LONGEST_NOTE.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        assert_eq!(cut("short"), "short");
        let long = "ä".repeat(600);
        assert_eq!(cut(&long).len(), 1024);
        assert_eq!(cut(&format!("x{long}")).len(), 1023);
    }
}
