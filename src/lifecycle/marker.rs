//! How a token at a vendor is known as ours: by the end of its name.

use crate::api::ApiToken;

/// What a token's name says of its origin: `k8s-<8 hex of the cluster's id>-<10 hex of the
/// ApiToken's uid>-<attempt>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The first 8 hex digits of the cluster's id.
    pub cluster: String,
    /// The first 10 hex digits of the ApiToken's uid.
    pub uid: String,
    /// Number of the try that made the token.
    pub attempt: i64,
}

impl Marker {
    /// The marker in a name. Vendors may append to a name, so that it need not stand at the end.
    pub fn in_name(name: &str) -> Option<Self> {
        name.split_ascii_whitespace().rev().find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.strip_prefix("k8s-")?.split('-');
        let (cluster, uid, attempt) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts.next().is_some()
            || !is_hex(cluster, CLUSTER_LENGTH)
            || !is_hex(uid, UID_LENGTH)
            || !attempt.bytes().all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        Some(Self {
            cluster: cluster.to_owned(),
            uid: uid.to_owned(),
            attempt: attempt.parse().ok()?,
        })
    }

    /// The name of a token: as much of the display name as fits, a space, the marker.
    pub fn name(&self, display_name: &str, longest: usize) -> String {
        let marker = format!("k8s-{}-{}-{}", self.cluster, self.uid, self.attempt);
        let room = longest.saturating_sub(marker.len() + 1);
        let cut: String = display_name.chars().take(room).collect();
        format!("{} {marker}", cut.trim_end()).trim_start().to_owned()
    }
}

/// How many hex digits of an ApiToken's uid stand in ids and markers.
pub const UID_LENGTH: usize = 10;
/// How many hex digits of a cluster's id stand in markers.
pub const CLUSTER_LENGTH: usize = 8;

/// The first `length` hex digits of an id.
pub fn hex(id: &str, length: usize) -> String {
    id.chars().filter(char::is_ascii_hexdigit).take(length).collect()
}

/// The part of an ApiToken's uid that stands in ids and markers.
pub fn short_uid(token: &ApiToken) -> String {
    hex(token.metadata.uid.as_deref().unwrap_or_default(), UID_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            cluster: "0123abcd".into(),
            uid: "0123456789".into(),
            attempt: 17,
        }
    }

    #[test]
    fn a_name_ends_in_the_marker_and_keeps_it_when_it_is_long() {
        let name = marker().name("CI pipeline", 200);
        assert_eq!(name, "CI pipeline k8s-0123abcd-0123456789-17");
        let long = marker().name(&"ä ".repeat(300), 200);
        assert!(long.chars().count() <= 200);
        assert_eq!(Marker::in_name(&long), Some(marker()));
        let full = marker().name(&"x".repeat(300), 200);
        assert_eq!(full.len(), 200, "as much of the display name as fits");
        assert_eq!(marker().name("   ", 200), "k8s-0123abcd-0123456789-17");
    }

    #[test]
    fn a_marker_is_found_behind_a_display_name_and_before_what_a_vendor_appends() {
        for (name, expected) in [
            ("x k8s-0123abcd-0123456789-17", Some(marker())),
            ("x k8s-0123abcd-0123456789-17 4711 4712", Some(marker())),
            ("k8s-99999999-0123456789-1 k8s-0123abcd-0123456789-17", Some(marker())),
            ("x k8s-0123abcd-0123456789-", None),
            ("x k8s-0123abcd-0123456789-17-1", None),
            ("x k8s-0123abcd-012345678-17", None),
            ("x k8s-0123abcg-0123456789-17", None),
            ("x k8s-0123abcd-0123456789-+17", None),
            ("x", None),
        ] {
            assert_eq!(Marker::in_name(name), expected, "{name}");
        }
    }
}
