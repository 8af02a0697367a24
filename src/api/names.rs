//! Labels, annotations, finalizers and other names that stand in users' objects and never change.

/// What every annotation and finalizer of ours begins with.
pub const PREFIX: &str = "apitoken.dev/";

/// Label on every Secret that the operator writes; its watch selects by it.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`], and the field manager of every write.
pub const MANAGER: &str = "apitoken-operator";

/// Finalizer on issuers that tokens stand on.
pub const FINALIZER: &str = "apitoken.dev/finalizer";
/// Annotation on the ClusterTokenIssuer that serves ApiTokens without an `issuerRef`: `"true"`.
pub const DEFAULT_ISSUER_ANNOTATION: &str = "apitoken.dev/is-default-issuer";

/// Annotation on an ApiToken: any new value asks for a rotation now.
pub const ROTATE_REQUESTED_AT_ANNOTATION: &str = "apitoken.dev/rotate-requested-at";
/// Annotation on an ApiToken, beside the request: `0s` ends the replaced token and all previous ones at once (a leak); another duration
/// is the overlap of the rotation that the request asks for.
pub const ROTATE_OVERLAP_ANNOTATION: &str = "apitoken.dev/rotate-overlap";
/// Annotation on an ApiToken: `"true"` stops everything but deletion.
pub const PAUSED_ANNOTATION: &str = "apitoken.dev/paused";

/// Annotation on a Secret: name of the ApiToken that it belongs to.
pub const API_TOKEN_ANNOTATION: &str = "apitoken.dev/api-token";
/// Annotation on a Secret: uid of the ApiToken that wrote it.
pub const UID_ANNOTATION: &str = "apitoken.dev/uid";
/// Annotation on a Secret: the token's id at its issuer.
pub const TOKEN_ID_ANNOTATION: &str = "apitoken.dev/token-id";
/// Annotation on a Secret: hash of the value that it holds.
pub const HASH_ANNOTATION: &str = "apitoken.dev/hash";
/// Annotation on a Secret: when the value was issued, RFC 3339.
pub const ISSUED_AT_ANNOTATION: &str = "apitoken.dev/issued-at";
/// Annotation on a Secret: when the value ends, RFC 3339; absent where it does not.
pub const EXPIRES_AT_ANNOTATION: &str = "apitoken.dev/expires-at";
/// Annotation on a Secret: hash of a value that was ended and must never be taken up again.
pub const ENDED_ANNOTATION: &str = "apitoken.dev/ended";

/// The key of `secret.data` that shows the previous value during an overlap.
pub const PREVIOUS_TOKEN_KEY: &str = "previousToken";

/// On a ConfigMap: which issuer's orphans it lists.
pub const LEDGER_LABEL: &str = "apitoken.dev/ledger";
/// On such a ConfigMap: kind of the issuer.
pub const LEDGER_KIND_ANNOTATION: &str = "apitoken.dev/issuer-kind";
/// On such a ConfigMap: namespace of the issuer; empty for a ClusterTokenIssuer.
pub const LEDGER_NAMESPACE_ANNOTATION: &str = "apitoken.dev/issuer-namespace";
/// On such a ConfigMap: name of the issuer.
pub const LEDGER_NAME_ANNOTATION: &str = "apitoken.dev/issuer-name";
