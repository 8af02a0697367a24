//! `ApiToken`: one declared token.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Duration,
    issuer::{IssuerRef, SecretKeyRef},
};

/// What a token is to be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "apitoken.dev",
    version = "v1alpha1",
    kind = "ApiToken",
    plural = "apitokens",
    shortname = "atok",
    category = "apitoken"
)]
#[kube(namespaced, status = "ApiTokenStatus", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenSpec {
    /// Which issuer makes the token; absent: the default ClusterTokenIssuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// Name at the issuer; default `<namespace>.<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the token is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Owning account at the issuer; default the issuer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Scopes that the verifier reports and enforces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Services that the token is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// What only one vendor knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Active, Suspended or Revoked.
    #[serde(default)]
    pub state: DesiredState,
    /// How long the token lives from its issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Duration>,
    /// When the token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the token is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// How a token is suspended.
    #[serde(default)]
    pub suspend_policy: SuspendPolicy,
    /// What happens to the token at the issuer when the ApiToken is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Take over an existing token instead of creating one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopt>,
    /// The Secret that gets the value.
    #[serde(default)]
    pub secret: SecretSpec,
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

/// What happens to the token at the issuer when the ApiToken is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is revoked.
    Revoke,
    /// It stays.
    Retain,
}

/// What only one vendor knows; exactly one is set.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Parameters {
    /// For a Mailtrap issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailtrap: Option<MailtrapParameters>,
    /// For a Prefactor issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefactor: Option<PrefactorParameters>,
    /// For a SoftwareOne issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softwareone: Option<SoftwareoneParameters>,
}

/// What a Mailtrap token may reach.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MailtrapParameters {
    /// The resources.
    pub resources: Vec<MailtrapResource>,
}

/// One resource of a Mailtrap token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailtrapResource {
    /// account, project, sandbox (or inbox), domain (or sending_domain).
    pub resource_type: MailtrapResourceType,
    /// Id of the resource.
    #[serde(rename = "resourceID")]
    pub resource_id: String,
    /// viewer or admin.
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
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrefactorParameters {
    /// account, environment or agent_deployment.
    #[serde(default)]
    pub token_scope: PrefactorTokenScope,
    /// The environment.
    #[serde(rename = "environmentID", skip_serializing_if = "Option::is_none")]
    pub environment_id: Option<String>,
    /// The agent.
    #[serde(rename = "agentID", skip_serializing_if = "Option::is_none")]
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
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SoftwareoneParameters {
    /// Ids of modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
}

/// When a token is replaced.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// This often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// This long before expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Duration>,
    /// How long the old token keeps working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Duration>,
    /// End the overlap early once the old token was quiet this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retire_when_unused_for: Option<Duration>,
}

/// An existing token to take over; exactly one is set.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adopt {
    /// Its id at the issuer.
    #[serde(rename = "tokenID", skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// A Secret that holds its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// The Secret that gets the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretSpec {
    /// Name of the Secret; default the ApiToken's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Type of the Secret.
    #[serde(rename = "type", default = "default_secret_type")]
    pub type_: String,
    /// Key that holds the bare value.
    #[serde(default = "default_secret_key")]
    pub key: String,
    /// Labels of the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// More keys, rendered from templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, String>,
    /// Show the previous value while an overlap runs.
    #[serde(default)]
    pub include_previous: bool,
    /// Whether the Secret goes with its ApiToken.
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

/// What was observed of a token.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pending, Active, Suspended, Revoked or Expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ObservedState>,
    /// The issuer that was found; stays even if the default changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// The current token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,
    /// Tokens that were replaced and still work, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<PreviousToken>,
    /// Counts up with each create or reset tried; never cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// The record written before a token is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// When the token is replaced next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// When the token was replaced last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rotation_at: Option<Time>,
    /// Value of `apitoken.dev/rotate-requested-at` that was handled last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rotation_request: Option<String>,
    /// How often the token was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    pub conditions: Vec<Condition>,
}

/// The state that a token was seen in.
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
    pub id: Option<String>,
    /// Last 4 characters of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// SHA-256 of the value in lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Name at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Owning account at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Kind of that account, in the issuer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_type: Option<String>,
    /// Who made it, in the issuer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// When it ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When it was last used, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
}

/// A token that was replaced and still works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousToken {
    /// Id at the issuer; hashed where the id is the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Last 4 characters of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// SHA-256 of the value in lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// When it ends.
    pub revoke_at: Time,
    /// When it was last used, where that is known.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// Number of the try.
    pub attempt: i64,
    /// create or reset.
    pub verb: Verb,
    /// Name that the token gets at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id of the token that is reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Hash of the coming value (built-in issuer): accepted already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Hashes of the ids that were there before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// When the coming token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the try began.
    pub started_at: Time,
    /// Why a token is made.
    pub reason: String,
}

/// The Secret as it was last written or checked.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// Name of the Secret.
    pub name: String,
    /// Its version when it was last found as declared.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// It can be replaced.
    pub rotate: bool,
    /// It can be deleted.
    pub delete: bool,
}

/// Tries that failed since the last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// How many.
    pub count: i32,
    /// When the first failed.
    pub first_at: Time,
    /// When the last failed.
    pub last_at: Time,
    /// When the next try is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry_at: Option<Time>,
}
