//! Which writes an identity made, and which rights it used, by the API server's audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;

const READS: [&str; 3] = ["get", "list", "watch"];

/// One write that the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// create, update, patch, delete or deletecollection.
    pub verb: String,
    /// Plural of the kind, with the subresource: `apitokens/status`.
    pub resource: String,
    /// Namespace, empty for what has none.
    pub namespace: String,
    /// Name, empty where the server chose it.
    pub name: String,
    /// Status code of the answer.
    pub code: u16,
}

/// The audit log of one control plane.
pub struct AuditLog {
    path: PathBuf,
}

/// A moment in the log; the default is its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment(u64);

impl AuditLog {
    /// The log in that file.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment(std::fs::metadata(&self.path).map_or(0, |file| file.len()))
    }

    /// The writes of `user` after `since`, in their order. The API server writes the line before it
    /// answers, so what was answered is in it.
    pub fn writes(&self, user: &str, since: Moment) -> Vec<Write> {
        let mut writes = self.requests(user, since);
        writes.retain(|request| !READS.contains(&request.verb.as_str()));
        writes
    }

    /// Each verb and resource that `user` was allowed, as in `list secrets`. A watch counts once it has ended.
    pub fn used(&self, user: &str, since: Moment) -> BTreeSet<String> {
        let requests = self.requests(user, since).into_iter();
        let allowed = requests.filter(|request| request.code != 403);
        allowed.map(|request| format!("{} {}", request.verb, request.resource)).collect()
    }

    fn requests(&self, user: &str, since: Moment) -> Vec<Write> {
        let mut file = std::fs::File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(since.0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // The line of somebody else's write may be half there.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines = text[..whole].lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
        lines.filter(|line| line.user.username == user).filter_map(Line::write).collect()
    }

    /// How often each verb hit each resource: `create secrets` → 3. Leases are left out.
    pub fn counts(&self, user: &str, since: Moment) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for write in self.writes(user, since).iter().filter(|write| write.resource != "leases") {
            *counts.entry(format!("{} {}", write.verb, write.resource)).or_default() += 1;
        }
        counts
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

impl Line {
    fn write(self) -> Option<Write> {
        let object = self.object_ref?;
        let subresource = if object.subresource.is_empty() {
            String::new()
        } else {
            format!("/{}", object.subresource)
        };
        Some(Write {
            verb: self.verb,
            resource: object.resource + &subresource,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status?.code,
        })
    }
}
