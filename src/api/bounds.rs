//! How long and how many: the bounds that the schemas put on strings, lists and maps.
//!
//! Every string, list and map of the API has one, for the API server's cost budget for validation
//! rules and so that no object outgrows etcd. Lengths are in characters. Whoever writes a status
//! cuts what comes from outside to these.

/// A name of a Kubernetes object or a key of a Secret (RFC 1123 subdomain).
pub const SUBDOMAIN: usize = 253;
/// A name of a namespace, a label's value or the last part of a label's key (RFC 1123 label).
pub const LABEL: usize = 63;
/// A label's key: subdomain, slash, name.
pub const LABEL_KEY: usize = SUBDOMAIN + 1 + LABEL;
/// Labels, and annotations, that an ApiToken declares for its Secret.
pub const SECRET_METADATA: usize = 32;
/// The value of an annotation that an ApiToken declares for its Secret.
pub const ANNOTATION_VALUE: usize = 2048;

/// A display name that a user asks for.
pub const DISPLAY_NAME: usize = 200;
/// A description that a user writes.
pub const DESCRIPTION: usize = 1024;
/// An account at an issuer.
pub const ACCOUNT: usize = 256;
/// One scope or one audience.
pub const SCOPE: usize = 256;
/// Scopes, audiences, resources, modules, and each list of what an issuer allows.
pub const LIST: usize = 100;
/// Namespaces that a ClusterTokenIssuer names.
pub const NAMESPACES: usize = 256;
/// Keys of a Secret that are rendered from templates.
pub const TEMPLATES: usize = 20;
/// One template; in bytes too.
pub const TEMPLATE: usize = 8192;
/// Labels, and conditions on labels, of a selector of namespaces.
pub const SELECTOR: usize = 32;
/// An address of a vendor.
pub const URL: usize = 1024;
/// Trusted certificates in PEM.
pub const CA_BUNDLE: usize = 65_536;

/// An id of a token at its issuer.
pub const TOKEN_ID: usize = 256;
/// An id of something else at a vendor: an account, an environment, a module.
pub const VENDOR_ID: usize = 128;
/// A token's name or account as a status shows it. Longer than what users may ask for: a reset may
/// append to a name, and the default `<namespace>.<name>` has up to 317 characters.
pub const TOKEN_NAME: usize = 1024;
/// A word or two in the issuer's own language, such as the kind of an account.
pub const VENDOR_WORD: usize = 256;
/// A sentence in a status that says why.
pub const REASON: usize = 1024;
/// A value of `apitoken.dev/rotate-requested-at` that is kept.
pub const ROTATION_REQUEST: usize = 256;
/// A resourceVersion.
pub const RESOURCE_VERSION: usize = 128;
/// The last characters of a value.
pub const HINT: usize = 4;
/// SHA-256 in hex.
pub const HASH: usize = 64;
/// Replaced tokens that still work.
pub const PREVIOUS: usize = 8;
/// Hashes of ids that were there before a try.
pub const BEFORE: usize = 4096;
/// Orphans that an issuer's status lists.
pub const ORPHANS: usize = 100;
/// Conditions of one object.
pub const CONDITIONS: usize = 8;
/// The largest count of the API.
pub const COUNT: i64 = i32::MAX as i64;
/// The largest generation: the largest whole number that every JSON reader holds exactly (RFC 8259 section 6).
pub const GENERATION: i64 = (1 << 53) - 1;
