//! `ApiToken`: one declared token.

#![allow(clippy::duplicated_attributes, reason = "each print column has a type of its own")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Duration, bounds,
    issuer::{IssuerRef, SecretKeyRef},
    names, rules, schema,
};

/// What the token is to be. All fields are optional: `spec: {}` is a token of the default issuer in a Secret named like the ApiToken.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "apitoken.dev",
    version = "v1alpha1",
    kind = "ApiToken",
    plural = "apitokens",
    shortname = "atok",
    category = "apitoken-operator",
    doc = "An API token: an issuer makes it, its value is written to a Secret, and it is kept active, suspended, rotated or revoked as declared."
)]
#[kube(namespaced, status = "ApiTokenStatus", derive = "PartialEq")]
#[kube(
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".status.issuerRef.name"),
    printcolumn(name = "Hint", type_ = "string", json_path = ".status.token.hint"),
    // Not of type date: Kubernetes shows a date as its age, and one that is still to come as <invalid>.
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.token.expiresAt"),
    printcolumn(name = "Next rotation", type_ = "string", json_path = ".status.nextRotationAt"),
    printcolumn(name = "Last used", type_ = "date", json_path = ".status.token.lastUsedAt", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[kube(
    validation = rules::revoked_is_final(),
    validation = rules::issuer_stays(),
    validation = rules::adopt_stays(),
    validation = rules::secret_type_stays()
)]
#[x_kube(
    validation = rules::one_end(),
    validation = rules::rotation_is_due(),
    validation = rules::before_needs_lifetime(),
    validation = rules::before_is_shorter(),
    validation = rules::interval_is_shorter()
)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenSpec {
    /// The issuer that makes the token. Default: the ClusterTokenIssuer annotated `apitoken.dev/is-default-issuer: "true"`.
    /// It can't be changed once a token is issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// The token's name at the issuer, 1 to 200 characters on one line. Default: `<namespace>.<name>` of the ApiToken.
    /// A vendor's token gets a marker of the operator behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::DISPLAY_NAME))]
    #[x_kube(validation = (r"!self.matches(r'\p{Cc}')", "write one line without control characters"))]
    pub display_name: Option<String>,
    /// What the token is for, for people, at most 1024 characters. Issuers that keep descriptions get it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DESCRIPTION))]
    pub description: Option<String>,
    /// The account at the issuer that the token belongs to, in visible ASCII characters, such as `sa::ci`.
    /// Default: the issuer's own account; for the built-in issuer `<namespace>.<name>`. Others need the issuer's `policy.allowedAccounts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::ACCOUNT))]
    #[x_kube(validation = rules::VISIBLE_ASCII)]
    pub account: Option<String>,
    /// What the bearer may do, such as `orders:read`; for the built-in issuer, whose verifier reports and enforces it.
    /// At most 100 entries in the characters of RFC 6749 section 3.3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::LIST), inner(length(min = 1, max = bounds::SCOPE)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::SCOPES)]
    pub scopes: Vec<String>,
    /// The services that the token is for, such as `shop`; for the built-in issuer, whose verifier refuses it elsewhere. Default: no restriction.
    /// At most 100 entries in visible ASCII characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::LIST), inner(length(min = 1, max = bounds::SCOPE)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::AUDIENCES)]
    pub audiences: Vec<String>,
    /// What only one vendor knows. Exactly one key, the type of the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Active: the token works. Suspended: it does not work for now. Revoked: it never works again, and this can't be taken back.
    #[serde(default)]
    pub state: DesiredState,
    /// How long the token lives from its issue, such as `720h`. Hours, minutes and seconds, more than 0s, at most 87600h.
    /// Default: no end. Excludes expiresAt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Duration>,
    /// When the token ends, RFC 3339, such as `2030-01-31T12:00:00Z`. Default: never. Excludes lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"))]
    #[x_kube(validation = (
        "timestamp('2000-01-01T00:00:00Z') <= self && self < timestamp('9999-01-01T00:00:00Z')",
        "write a time from the year 2000 to 9998, such as 2030-01-31T12:00:00Z",
    ))]
    pub expires_at: Option<Time>,
    /// When the token is replaced by a new one. Default: never, it simply expires. It needs interval or the token's lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Box<Rotation>>,
    /// How a token is suspended. Disable: by the issuer's own verb, where it has one.
    /// Withdraw: by deleting the token at the issuer; activating issues a new value.
    #[serde(default)]
    pub suspend_policy: SuspendPolicy,
    /// What happens to the token at the issuer when the ApiToken is deleted; default Revoke, for an adopted token Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// An existing token to take over instead of creating one. It is set once, at the creation, and needs the issuer's `policy.adoption`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopt>,
    /// The Secret in the ApiToken's namespace that gets the value.
    #[serde(default)]
    pub secret: SecretSpec,
}

impl ApiToken {
    /// Whether its annotation says that nothing is to be done but deletion.
    pub fn is_paused(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        let paused = annotations.and_then(|annotations| annotations.get(names::PAUSED_ANNOTATION));
        paused.is_some_and(|value| value == "true")
    }
}

/// The state that a token is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    /// It works.
    #[default]
    Active,
    /// It does not work for now.
    Suspended,
    /// It never works again.
    Revoked,
}

/// How a token is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SuspendPolicy {
    /// By the issuer's own verb.
    #[default]
    Disable,
    /// By deleting it at the issuer; activating issues a new one.
    Withdraw,
}

/// What happens to the token at the issuer when the ApiToken is deleted. Revoke: it ends. Retain: it stays and keeps working.
/// Default: Revoke, for an adopted token Retain. A token of the built-in issuer always ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is revoked.
    Revoke,
    /// It stays.
    Retain,
}

/// What only one vendor knows; exactly one is set.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::one_vendor())]
pub struct Parameters {
    /// What the token may reach, for an issuer of type mailtrap; needed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailtrap: Option<MailtrapParameters>,
    /// What the token may reach, for an issuer of type prefactor. Default: the whole account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefactor: Option<PrefactorParameters>,
    /// What the token may reach, for an issuer of type softwareone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softwareone: Option<SoftwareoneParameters>,
}

impl Parameters {
    /// Whether they don't say what a token may reach, so that the vendor decides when it makes one. A vendor that changes tokens can't
    /// be told so about one that exists.
    pub fn leave_reach_open(&self) -> bool {
        self.softwareone.as_ref().is_some_and(|softwareone| softwareone.modules.is_empty())
    }
}

/// What a Mailtrap token may reach.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct MailtrapParameters {
    /// What the token may reach, each with its access level. 1 to 100 entries, each resource once.
    #[schemars(length(min = 1, max = bounds::LIST))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceType".into(), "resourceID".into()]))]
    pub resources: Vec<MailtrapResource>,
}

/// One resource at Mailtrap, and what a token may do there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailtrapResource {
    /// Kind of the resource: account, project, sandbox (inbox in older texts of Mailtrap) or domain (sending domain).
    pub resource_type: MailtrapResourceType,
    /// Id of the resource as Mailtrap shows it: a number, written in quotes, such as `"3281"`.
    #[serde(rename = "resourceID")]
    #[schemars(length(max = bounds::VENDOR_ID))]
    #[x_kube(validation = rules::NUMBER)]
    pub resource_id: String,
    /// viewer: may read. admin: may read and write.
    pub access_level: MailtrapAccessLevel,
}

/// Kinds of resources at Mailtrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailtrapResourceType {
    /// The account.
    Account,
    /// A project.
    Project,
    /// A sandbox.
    Sandbox,
    /// A domain.
    Domain,
}

/// Access levels at Mailtrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailtrapAccessLevel {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Admin,
}

/// What a Prefactor token may reach.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = rules::environment_is_named(),
    validation = rules::agent_is_named(),
    validation = rules::account_is_whole()
)]
#[serde(rename_all = "camelCase")]
pub struct PrefactorParameters {
    /// How far the token reaches. account: everything in the account. environment: one environment, see environmentID.
    /// agent_deployment: one agent's deployment, see agentID.
    #[serde(default)]
    pub token_scope: PrefactorTokenScope,
    /// Id of the environment as Prefactor shows it; needed for tokenScope environment.
    #[serde(rename = "environmentID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VENDOR_ID))]
    #[x_kube(validation = rules::VENDOR_ID)]
    pub environment_id: Option<String>,
    /// Id of the agent as Prefactor shows it; needed for tokenScope agent_deployment.
    #[serde(rename = "agentID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VENDOR_ID))]
    #[x_kube(validation = rules::VENDOR_ID)]
    pub agent_id: Option<String>,
}

/// Scopes of a Prefactor token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrefactorTokenScope {
    /// The whole account.
    #[default]
    Account,
    /// One environment.
    Environment,
    /// One agent's deployment.
    AgentDeployment,
}

/// What a SoftwareOne token may reach.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct SoftwareoneParameters {
    /// Ids of the modules that the token may use, such as `MOD-1234`, at most 100. Default: what the Marketplace gives a token without modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::LIST), inner(length(max = bounds::VENDOR_ID)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::MODULES)]
    pub modules: Vec<String>,
    /// The icon that the Marketplace shows beside the token, as its API takes it, at most 1024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::URL))]
    pub icon: Option<String>,
}

/// When a token is replaced. What is due first counts.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::overlap_is_shorter(), validation = rules::retire_needs_overlap())]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// Rotate this long after the issue, again and again, such as `240h`. Shorter than lifetime, at most 87600h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Rotate this long before the token expires, such as `48h`. Default: one third of lifetime, which it needs; shorter than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Duration>,
    /// How long the replaced token keeps working, such as `24h`, so that its users can pick up the new one. Default 0s: it ends at once.
    /// Shorter than interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "Duration::or_zero")]
    pub overlap: Option<Duration>,
    /// End the overlap early once the replaced token was not used for this long, such as `1h`. Needs overlap, and an issuer that tells
    /// when a token was last used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retire_when_unused_for: Option<Duration>,
}

/// An existing token to take over; exactly one is set.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = rules::one_thing_to_adopt(),
    validation = rules::no_value_to_adopt(),
    validation = rules::visible_id_to_adopt()
)]
#[serde(rename_all = "camelCase")]
pub struct Adopt {
    /// The token's id at the issuer, such as `"12345"`. Never its value: use secretRef where the id is the value.
    #[serde(rename = "tokenID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::TOKEN_ID))]
    pub token_id: Option<String>,
    /// The key of a Secret in the ApiToken's namespace that holds the token's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// The Secret that gets the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = rules::key_is_not_previous(),
    validation = rules::template_is_beside_key(),
    validation = rules::basic_auth_has_its_keys(),
    validation = rules::ssh_auth_has_its_key(),
    validation = rules::docker_has_its_template()
)]
#[serde(rename_all = "camelCase")]
pub struct SecretSpec {
    /// Name of the Secret. Default: the ApiToken's name. A Secret that is there already and is not the ApiToken's is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::SUBDOMAIN))]
    #[x_kube(validation = rules::SUBDOMAIN)]
    pub name: Option<String>,
    /// Type of the Secret: Opaque, kubernetes.io/basic-auth, kubernetes.io/ssh-auth, kubernetes.io/dockercfg,
    /// kubernetes.io/dockerconfigjson, or one of your own. Another type needs another name too.
    #[serde(rename = "type", default = "default_secret_type")]
    #[schemars(length(max = bounds::SUBDOMAIN))]
    #[x_kube(validation = rules::SECRET_TYPE_CHARACTERS, validation = rules::SECRET_TYPE)]
    pub type_: String,
    /// The key that holds the bare value. It is always there. Letters, digits, `-`, `_` and `.`; not previousToken.
    #[serde(default = "default_secret_key")]
    #[schemars(length(max = bounds::SUBDOMAIN))]
    #[x_kube(validation = rules::SECRET_KEY)]
    pub key: String,
    /// Labels for the Secret, at most 32. Others on it are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = schema::map(bounds::SECRET_METADATA, bounds::LABEL))]
    #[x_kube(validation = rules::LABEL_KEYS, validation = rules::LABEL_VALUES, validation = rules::RESERVED_KEYS)]
    pub labels: BTreeMap<String, String>,
    /// Annotations for the Secret, at most 32 of 2048 characters. Others on it are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = schema::map(bounds::SECRET_METADATA, bounds::ANNOTATION_VALUE))]
    #[x_kube(validation = rules::ANNOTATION_KEYS, validation = rules::RESERVED_KEYS)]
    pub annotations: BTreeMap<String, String>,
    /// More keys of the Secret, each a template such as `Authorization: Bearer {{ token }}`. Variables: token, previousToken, account, id,
    /// name, namespace, scopes; filters: tojson, b64encode. At most 20 templates of 8192 bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = schema::map(bounds::TEMPLATES, bounds::TEMPLATE))]
    #[x_kube(validation = rules::TEMPLATE_KEYS, validation = rules::TEMPLATE_SIZE, validation = rules::TEMPLATE_EXPRESSIONS)]
    pub template: BTreeMap<String, String>,
    /// Whether the Secret also shows the replaced value, in the key previousToken, while an overlap runs.
    #[serde(default)]
    pub include_previous: bool,
    /// What happens to the Secret when the ApiToken is deleted or revoked. Delete: it goes too. Retain: it stays.
    #[serde(default)]
    pub deletion_policy: SecretDeletionPolicy,
}

impl Default for SecretSpec {
    fn default() -> Self {
        Self {
            name: None,
            type_: default_secret_type(),
            key: default_secret_key(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            template: BTreeMap::new(),
            include_previous: false,
            deletion_policy: SecretDeletionPolicy::default(),
        }
    }
}

fn default_secret_type() -> String {
    "Opaque".to_owned()
}

fn default_secret_key() -> String {
    "token".to_owned()
}

/// Whether the Secret goes with its ApiToken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SecretDeletionPolicy {
    /// It goes.
    #[default]
    Delete,
    /// It stays.
    Retain,
}

/// What was observed of the token. The operator writes it; what users write here is undone.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenStatus {
    /// metadata.generation of the spec that this status speaks of; -1 before the operator first looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = bounds::GENERATION))]
    pub observed_generation: Option<i64>,
    /// The state that the token was seen in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ObservedState>,
    /// The issuer that was found. It stays even if another issuer becomes the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// The current token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,
    /// Tokens that were replaced and still work, at most 8, the one that ends first at the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::PREVIOUS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub previous: Vec<PreviousToken>,
    /// How often it was tried to create or reset a token. Never counts down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = bounds::COUNT))]
    pub attempts: Option<i64>,
    /// The intent: what is about to be created, written down before the issuer is asked, so that nothing is lost if the operator dies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Box<Pending>>,
    /// When the token is rotated next, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// When the token was rotated last, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rotation_at: Option<Time>,
    /// Value of the annotation `apitoken.dev/rotate-requested-at` that was handled last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ROTATION_REQUEST))]
    pub last_rotation_request: Option<String>,
    /// Why the token was rotated last: Interval, BeforeExpiry, Requested, Changed, SecretMissing, ValueChanged, TokenMissing or LaterEnd.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::REASON))]
    pub last_rotation_reason: Option<String>,
    /// How often the token was rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = bounds::COUNT))]
    pub rotations: Option<i64>,
    /// The Secret that holds the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretStatus>,
    /// What can be done with the token now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_actions: Option<AvailableActions>,
    /// Tries that failed since the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<Failures>,
    /// Ready, Issued, SecretSynced, Active, Reconciling, Stalled, and Paused while it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The state that the token was seen in. Pending: not issued yet. Active: it works. Suspended: it does not work for now.
/// Revoked: it never works again. Expired: its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ObservedState {
    /// Not issued yet.
    Pending,
    /// It works.
    Active,
    /// It does not work for now.
    Suspended,
    /// It never works again.
    Revoked,
    /// Its time is over.
    Expired,
}

/// The current token.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// Id at the issuer; hashed where the id is the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_ID))]
    pub id: Option<String>,
    /// The last 4 characters of the value, to tell values apart. Absent for adopted tokens of the built-in issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HINT))]
    pub hint: Option<String>,
    /// SHA-256 of the value in lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HASH), regex(pattern = "^[0-9a-f]{64}$"))]
    pub hash: Option<String>,
    /// Name at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_NAME))]
    pub name: Option<String>,
    /// Owning account at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_NAME))]
    pub account: Option<String>,
    /// Kind of that account, in the issuer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VENDOR_WORD))]
    pub account_type: Option<String>,
    /// Who made it, in the issuer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VENDOR_WORD))]
    pub created_by: Option<String>,
    /// Fingerprint of the vendor's parameters that it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HASH))]
    pub parameters_hash: Option<String>,
    /// The end that the issuer was asked for, RFC 3339; absent: none. The issuer may give another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_end: Option<Time>,
    /// Whether it was tried to replace it in place; a vendor may refuse that a second time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset_tried: bool,
    /// When it was issued, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// When it ends, RFC 3339; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When it was last used, RFC 3339, where the issuer tells; to the minute for the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
}

/// A token that was replaced and still works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousToken {
    /// Id at the issuer; hashed where the id is the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_ID))]
    pub id: Option<String>,
    /// The last 4 characters of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HINT))]
    pub hint: Option<String>,
    /// SHA-256 of the value in lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HASH), regex(pattern = "^[0-9a-f]{64}$"))]
    pub hash: Option<String>,
    /// Owning account at the issuer; absent for the issuer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_NAME))]
    pub account: Option<String>,
    /// When it ends, RFC 3339.
    pub revoke_at: Time,
    /// When it was last used, RFC 3339, where the issuer tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
}

/// How a token is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// A new one.
    Create,
    /// In place of an old one.
    Reset,
}

/// The record written before a token is created (an intent).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// Number of the try, from 1.
    #[schemars(range(min = 0, max = bounds::COUNT))]
    pub attempt: i64,
    /// create: a new token. reset: the vendor replaces the token base in place.
    pub verb: Verb,
    /// Name that the token gets at the issuer; it ends in the operator's marker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_NAME))]
    pub name: Option<String>,
    /// Owning account that the token is asked for; absent for the issuer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_NAME))]
    pub account: Option<String>,
    /// Fingerprint of the vendor's parameters that the token is asked for with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HASH))]
    pub parameters_hash: Option<String>,
    /// What the token is asked for with, where tokens have no name by which it could be found again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Id of the token that is reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_ID))]
    pub base: Option<String>,
    /// Hash of the coming value, for the built-in issuer: its verifier accepts it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HASH), regex(pattern = "^[0-9a-f]{64}$"))]
    pub hash: Option<String>,
    /// Hashes of the ids that were at the vendor before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::BEFORE), inner(length(max = bounds::HASH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub before: Vec<String>,
    /// When the coming token ends, RFC 3339; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the try began, RFC 3339.
    pub started_at: Time,
    /// Why a token is made.
    #[schemars(length(max = bounds::REASON))]
    pub reason: String,
    /// The request for a rotation that this try answers: value of the annotation `apitoken.dev/rotate-requested-at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ROTATION_REQUEST))]
    pub request: Option<String>,
}

/// The Secret as it was last written or checked.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// Name of the Secret.
    #[schemars(length(max = bounds::SUBDOMAIN))]
    pub name: String,
    /// Its resourceVersion when it was last found as declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::RESOURCE_VERSION))]
    pub resource_version: Option<String>,
}

/// What can be done with the token now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AvailableActions {
    /// It can be activated.
    pub activate: bool,
    /// It can be suspended.
    pub suspend: bool,
    /// It can be revoked.
    pub revoke: bool,
    /// It can be rotated.
    pub rotate: bool,
    /// It can be deleted.
    pub delete: bool,
}

/// Tries that failed since the last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// How many tries failed.
    #[schemars(range(min = 0, max = bounds::COUNT))]
    pub count: i32,
    /// When the first one failed, RFC 3339.
    pub first_at: Time,
    /// When the last one failed, RFC 3339.
    pub last_at: Time,
    /// When it is tried again, RFC 3339; absent: after a change of spec, issuer or credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry_at: Option<Time>,
    /// Fingerprint of issuer, credential and rotation request as they were then: where it differs now, it is tried at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HASH))]
    pub situation: Option<String>,
}
