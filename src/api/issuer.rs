//! `TokenIssuer` and `ClusterTokenIssuer`: who makes tokens.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// The two kinds of issuers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// An issuer for its own namespace.
    TokenIssuer,
    /// An issuer for all namespaces that it allows.
    ClusterTokenIssuer,
}

/// Which issuer makes the token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct IssuerRef {
    /// TokenIssuer (of the ApiToken's namespace) or ClusterTokenIssuer.
    pub kind: IssuerKind,
    /// Name of the issuer.
    pub name: String,
}

/// Spec of a `TokenIssuer`: an issuer for the ApiTokens of its own namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "apitoken.dev",
    version = "v1alpha1",
    kind = "TokenIssuer",
    plural = "tokenissuers",
    shortname = "ti",
    category = "apitoken"
)]
#[kube(namespaced, status = "IssuerStatus", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct TokenIssuerSpec {
    /// What both kinds have in common.
    #[serde(flatten)]
    pub common: IssuerSpec,
}

/// Spec of a `ClusterTokenIssuer`: an issuer for the ApiTokens of all namespaces that it allows.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "apitoken.dev",
    version = "v1alpha1",
    kind = "ClusterTokenIssuer",
    plural = "clustertokenissuers",
    shortname = "cti",
    category = "apitoken"
)]
#[kube(status = "IssuerStatus", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct ClusterTokenIssuerSpec {
    /// What both kinds have in common.
    #[serde(flatten)]
    pub common: IssuerSpec,
    /// Namespaces whose ApiTokens may use this issuer; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// What both kinds of issuers have in common. Exactly one of the issuer types is set.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerSpec {
    /// The built-in issuer: random tokens, verified inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinIssuer>,
    /// Mailtrap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailtrap: Option<MailtrapIssuer>,
    /// Prefactor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefactor: Option<PrefactorIssuer>,
    /// SoftwareOne Marketplace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softwareone: Option<SoftwareoneIssuer>,
    /// Wavefront.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wavefront: Option<WavefrontIssuer>,
    /// PEM certificates to trust for this vendor beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// How long one call to the vendor may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How many calls the vendor gets at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// What happens to an orphan.
    #[serde(default)]
    pub orphan_policy: OrphanPolicy,
    /// What ApiTokens may ask of this issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<IssuerPolicy>,
}

/// The built-in issuer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltinIssuer {
    /// What every value begins with; default `apt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Scopes that tokens may have: exact, `prefix*`, with `{namespace}`; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_scopes: Option<Vec<String>>,
    /// Audiences that tokens may have, in the same form; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_audiences: Option<Vec<String>>,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in the Secret.
    pub key: String,
}

/// Tokens from Mailtrap.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailtrapIssuer {
    /// What stands before the documented paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Mailtrap account; absent: the credential's own, by the short paths.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The API token that may make tokens.
    pub credentials_ref: SecretKeyRef,
    /// Ceiling of what tokens may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_resources: Option<Vec<super::api_token::MailtrapResource>>,
}

/// Tokens from Prefactor.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrefactorIssuer {
    /// What stands before the documented paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Prefactor account.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The API token that may make tokens.
    pub credentials_ref: SecretKeyRef,
    /// Ceiling of the scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_token_scopes: Option<Vec<super::api_token::PrefactorTokenScope>>,
}

/// Tokens from the SoftwareOne Marketplace.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoftwareoneIssuer {
    /// What stands before the documented paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Marketplace account.
    pub account: String,
    /// The API token that may make tokens.
    pub credentials_ref: SecretKeyRef,
    /// Ceiling of the modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_modules: Option<Vec<String>>,
}

/// Tokens from Wavefront.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WavefrontIssuer {
    /// Address of the instance.
    pub url: String,
    /// Service account that owns the tokens; absent: the credential's own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The API token that may make tokens.
    pub credentials_ref: SecretKeyRef,
}

/// At most `requests` calls in each `per`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RateLimit {
    /// Calls in each `per`.
    pub requests: i32,
    /// The span in which they are counted.
    pub per: Duration,
}

/// What happens to a token at the vendor that no ApiToken accounts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OrphanPolicy {
    /// It is listed in `status.orphans`.
    #[default]
    Report,
    /// It is revoked.
    Revoke,
}

/// Whether existing tokens may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// What ApiTokens may ask of an issuer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerPolicy {
    /// Longest lifetime; a token without one is refused too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Duration>,
    /// Refuse tokens without `rotation`.
    #[serde(default)]
    pub require_rotation: bool,
    /// Whether `adopt` may be used; default Deny on a ClusterTokenIssuer, Allow on a TokenIssuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// Accounts that tokens may be made for beside the issuer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_accounts: Option<Vec<String>>,
}

/// Namespaces whose ApiTokens may use a ClusterTokenIssuer: named here or selected.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AllowedNamespaces {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Labels of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What was observed of an issuer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What this issuer can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<IssuerCapabilities>,
    /// Counts of tokens at the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenCounts>,
    /// Tokens at the vendor that no ApiToken accounts for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What an issuer can do.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerCapabilities {
    /// A token can be suspended and activated again by the issuer itself.
    pub suspend: bool,
    /// A token can be replaced in place.
    pub reset: bool,
    /// The value can be read again later.
    pub readable_value: bool,
    /// The issuer itself ends a token at its time.
    pub expiry: bool,
    /// A token has a name that we choose.
    pub names: bool,
    /// Name and description can be changed later.
    pub update: bool,
    /// The issuer tells when a token was last used.
    pub last_used: bool,
}

/// Tokens at the vendor, as last counted.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TokenCounts {
    /// Tokens that an ApiToken accounts for.
    pub managed: i32,
    /// Tokens that are not ours.
    pub unmanaged: i32,
    /// Tokens not used for 90 days.
    pub inactive: i32,
}

/// A token at the vendor that no ApiToken accounts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// Id at the vendor; hashed for Wavefront.
    pub id: String,
    /// Name at the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `<namespace>/<name>` of the ApiToken that it was made for, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_token: Option<String>,
    /// Why it is an orphan.
    pub reason: String,
    /// Since when.
    pub since: Time,
}
