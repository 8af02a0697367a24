//! `TokenIssuer` and `ClusterTokenIssuer`: who makes tokens.

#![allow(clippy::duplicated_attributes, reason = "each print column has a type of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, bounds, rules, schema};

/// The two kinds of issuers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// An issuer for its own namespace.
    TokenIssuer,
    /// An issuer for all namespaces that it allows.
    ClusterTokenIssuer,
}

/// Which issuer makes the token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
pub struct IssuerRef {
    /// TokenIssuer (of the ApiToken's namespace) or ClusterTokenIssuer.
    pub kind: IssuerKind,
    /// Name of the issuer.
    #[schemars(length(max = bounds::SUBDOMAIN))]
    #[x_kube(validation = rules::SUBDOMAIN)]
    pub name: String,
}

/// How tokens are made and what ApiTokens of this namespace may ask for. Exactly one of builtin, mailtrap, prefactor, softwareone and wavefront.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "apitoken.dev",
    version = "v1alpha1",
    kind = "TokenIssuer",
    plural = "tokenissuers",
    shortname = "ti",
    category = "apitoken-operator",
    doc = "Who makes tokens for the ApiTokens of its own namespace: the built-in issuer or a vendor's token API."
)]
#[kube(namespaced, status = "IssuerStatus", derive = "PartialEq")]
#[kube(
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TokenIssuerSpec {
    /// What both kinds have in common.
    #[serde(flatten)]
    pub common: IssuerSpec,
}

/// How tokens are made and what ApiTokens may ask for. Exactly one of builtin, mailtrap, prefactor, softwareone and wavefront.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "apitoken.dev",
    version = "v1alpha1",
    kind = "ClusterTokenIssuer",
    plural = "clustertokenissuers",
    shortname = "cti",
    category = "apitoken-operator",
    doc = "Who makes tokens for the ApiTokens of all namespaces that it allows: the built-in issuer or a vendor's token API."
)]
#[kube(status = "IssuerStatus", derive = "PartialEq")]
#[kube(
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTokenIssuerSpec {
    /// What both kinds have in common.
    #[serde(flatten)]
    pub common: IssuerSpec,
    /// The namespaces whose ApiTokens may use this issuer: by name, by label, or both. Default: all namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// What both kinds of issuers have in common. Exactly one of the issuer types is set.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = rules::one_issuer_type(),
    validation = rules::issuer_type_stays(),
    validation = rules::ca_bundle()
)]
#[serde(rename_all = "camelCase")]
pub struct IssuerSpec {
    /// The built-in issuer: random tokens, verified inside the cluster by the operator's verifier. `builtin: {}` is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinIssuer>,
    /// Tokens from Mailtrap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailtrap: Option<MailtrapIssuer>,
    /// Tokens from Prefactor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefactor: Option<PrefactorIssuer>,
    /// Tokens from the SoftwareOne Marketplace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softwareone: Option<SoftwareoneIssuer>,
    /// Tokens from Wavefront.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wavefront: Option<WavefrontIssuer>,
    /// Certificates in PEM to trust for this vendor beside the system's, at most 65536 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::CA_BUNDLE))]
    pub ca_bundle: Option<String>,
    /// How long one call to the vendor may take, such as `10s`, at most 5m. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::at_most("5m"))]
    pub timeout: Option<Duration>,
    /// How many calls the vendor gets at most, such as 150 in 10s. Default: no limit but the vendor's own answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// What happens to an orphan, a token at the vendor that no ApiToken accounts for any more.
    /// Report: status.orphans lists it. Revoke: it is revoked too; never one that was retained.
    #[serde(default)]
    pub orphan_policy: OrphanPolicy,
    /// What ApiTokens may ask of this issuer. One that asks for more is not issued and says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<IssuerPolicy>,
}

/// The built-in issuer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltinIssuer {
    /// What every value begins with, before the first `_`: 1 to 16 lower-case letters and digits, a letter first. Default: apt.
    /// It lets secret scanners know the values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::PREFIX)]
    pub prefix: Option<String>,
    /// Scopes that tokens may have, at most 100 entries: exact ones, with `*` at the end, with `{namespace}` for the ApiToken's namespace,
    /// such as `{namespace}:*`. Default: any, so that a scope proves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LIST), inner(length(min = 1, max = bounds::SCOPE)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::ALLOWED)]
    pub allowed_scopes: Option<Vec<String>>,
    /// Audiences that tokens may have, at most 100 entries in the form of allowedScopes. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LIST), inner(length(min = 1, max = bounds::SCOPE)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::ALLOWED)]
    pub allowed_audiences: Option<Vec<String>>,
}

/// The one type that a spec has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IssuerType<'a> {
    /// Values are made by the operator itself.
    Builtin(&'a BuiltinIssuer),
    /// Mailtrap.
    Mailtrap(&'a MailtrapIssuer),
    /// Prefactor.
    Prefactor(&'a PrefactorIssuer),
    /// SoftwareOne Marketplace.
    Softwareone(&'a SoftwareoneIssuer),
    /// Wavefront.
    Wavefront(&'a WavefrontIssuer),
}

impl IssuerSpec {
    /// The type; nothing where the spec has none, which the API server refuses.
    pub fn issuer_type(&self) -> Option<IssuerType<'_>> {
        let builtin = self.builtin.as_ref().map(IssuerType::Builtin);
        let mailtrap = self.mailtrap.as_ref().map(IssuerType::Mailtrap);
        let prefactor = self.prefactor.as_ref().map(IssuerType::Prefactor);
        let softwareone = self.softwareone.as_ref().map(IssuerType::Softwareone);
        let wavefront = self.wavefront.as_ref().map(IssuerType::Wavefront);
        builtin.or(mailtrap).or(prefactor).or(softwareone).or(wavefront)
    }

    /// The account at a vendor in which tokens are made unless an ApiToken says otherwise, where the spec names it.
    pub fn own_account(&self) -> Option<&str> {
        match self.issuer_type()? {
            IssuerType::Builtin(_) => None,
            IssuerType::Mailtrap(issuer) => issuer.account_id.as_deref(),
            IssuerType::Prefactor(issuer) => issuer.account_id.as_deref(),
            IssuerType::Softwareone(issuer) => Some(&issuer.account),
            IssuerType::Wavefront(issuer) => issuer.service_account.as_deref(),
        }
    }

    /// Where the credential is by which a vendor is asked.
    pub fn credentials_ref(&self) -> Option<&SecretKeyRef> {
        match self.issuer_type()? {
            IssuerType::Builtin(_) => None,
            IssuerType::Mailtrap(issuer) => Some(&issuer.credentials_ref),
            IssuerType::Prefactor(issuer) => Some(&issuer.credentials_ref),
            IssuerType::Softwareone(issuer) => Some(&issuer.credentials_ref),
            IssuerType::Wavefront(issuer) => Some(&issuer.credentials_ref),
        }
    }
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(max = bounds::SUBDOMAIN))]
    #[x_kube(validation = rules::SUBDOMAIN)]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(max = bounds::SUBDOMAIN))]
    #[x_kube(validation = rules::SECRET_KEY)]
    pub key: String,
}

/// Tokens from Mailtrap.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::url())]
#[serde(rename_all = "camelCase")]
pub struct MailtrapIssuer {
    /// What stands before the vendor's documented paths. https; http only for loopback hosts; no user name. Default: https://mailtrap.io.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::URL))]
    pub url: Option<String>,
    /// Id of the Mailtrap account, a number in quotes, such as `"3229"`. Default: the account of the credential.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VENDOR_ID))]
    #[x_kube(validation = rules::NUMBER)]
    pub account_id: Option<String>,
    /// The key of a Secret that holds the API token by which the operator makes tokens. The Secret is in the issuer's namespace;
    /// for a ClusterTokenIssuer in the operator's.
    pub credentials_ref: SecretKeyRef,
    /// What tokens may reach at most, up to 100 entries; access level admin includes viewer. Default: anything on a TokenIssuer,
    /// nothing on a ClusterTokenIssuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LIST))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceType".into(), "resourceID".into()]))]
    pub allowed_resources: Option<Vec<super::api_token::MailtrapResource>>,
}

/// Tokens from Prefactor.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::url())]
#[serde(rename_all = "camelCase")]
pub struct PrefactorIssuer {
    /// What stands before the vendor's documented paths. https; http only for loopback hosts; no user name. Default: https://app.prefactorai.com.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::URL))]
    pub url: Option<String>,
    /// Id of the Prefactor account as Prefactor shows it. Default: the account of the credential.
    #[serde(rename = "accountID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VENDOR_ID))]
    #[x_kube(validation = rules::VENDOR_ID)]
    pub account_id: Option<String>,
    /// The key of a Secret that holds the API token by which the operator makes tokens. The Secret is in the issuer's namespace;
    /// for a ClusterTokenIssuer in the operator's.
    pub credentials_ref: SecretKeyRef,
    /// Values of tokenScope that tokens may have: account, environment, agent_deployment. Default: any on a TokenIssuer,
    /// none on a ClusterTokenIssuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_token_scopes: Option<Vec<super::api_token::PrefactorTokenScope>>,
}

/// Tokens from the SoftwareOne Marketplace.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::url())]
#[serde(rename_all = "camelCase")]
pub struct SoftwareoneIssuer {
    /// What stands before the vendor's documented paths. https; http only for loopback hosts; no user name. Default: https://api.platform.softwareone.com/public.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::URL))]
    pub url: Option<String>,
    /// Id of the Marketplace account that the tokens belong to, such as `ACC-1234-5678`.
    #[schemars(length(max = bounds::VENDOR_ID))]
    #[x_kube(validation = rules::SOFTWAREONE_ACCOUNT)]
    pub account: String,
    /// The key of a Secret that holds the API token by which the operator makes tokens. The Secret is in the issuer's namespace;
    /// for a ClusterTokenIssuer in the operator's.
    pub credentials_ref: SecretKeyRef,
    /// Ids of the modules that tokens may use, such as `MOD-1234`, at most 100. Default: any on a TokenIssuer, none on a ClusterTokenIssuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LIST), inner(length(max = bounds::VENDOR_ID)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::MODULES)]
    pub allowed_modules: Option<Vec<String>>,
}

/// Tokens from Wavefront.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::url())]
#[serde(rename_all = "camelCase")]
pub struct WavefrontIssuer {
    /// Address of the instance, such as `https://example.wavefront.com`. https; http only for loopback hosts; no user name.
    #[schemars(length(max = bounds::URL))]
    pub url: String,
    /// The service account that owns the tokens, such as `sa::ci`, in lower case. Default: the user of the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ACCOUNT))]
    #[x_kube(validation = rules::SERVICE_ACCOUNT)]
    pub service_account: Option<String>,
    /// The key of a Secret that holds the API token by which the operator makes tokens. The Secret is in the issuer's namespace;
    /// for a ClusterTokenIssuer in the operator's.
    pub credentials_ref: SecretKeyRef,
}

/// At most `requests` calls in each `per`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct RateLimit {
    /// Calls in each span of `per`, 1 to 100000.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests: i32,
    /// The span in which they are counted, such as `10s`, at most 24h.
    #[x_kube(validation = rules::at_most("24h"))]
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

/// Whether ApiTokens may take over existing tokens by adopt: Allow or Deny. Default: Deny on a ClusterTokenIssuer, Allow on a TokenIssuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// What ApiTokens may ask of an issuer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerPolicy {
    /// The longest lifetime that an ApiToken may ask for, such as `720h`. One without an end is refused too. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Duration>,
    /// Whether ApiTokens without rotation are refused.
    #[serde(default)]
    pub require_rotation: bool,
    /// Whether ApiTokens may take over existing tokens; default Deny on a ClusterTokenIssuer, Allow on a TokenIssuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// Accounts that tokens may be made for beside the issuer's own, at most 100 entries: exact ones, with `*` at the end,
    /// with `{namespace}` for the ApiToken's namespace, such as `sa::{namespace}-*`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LIST), inner(length(min = 1, max = bounds::ACCOUNT)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::ALLOWED)]
    pub allowed_accounts: Option<Vec<String>>,
}

/// Namespaces whose ApiTokens may use a ClusterTokenIssuer: named here or selected.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::some_namespaces())]
pub struct AllowedNamespaces {
    /// Names of namespaces, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::NAMESPACES), inner(length(max = bounds::LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = rules::NAMESPACES)]
    pub names: Vec<String>,
    /// Selects namespaces by their labels; `{}` selects all. A namespace is allowed by names or by selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// What was observed of the issuer. The operator writes it; what users write here is undone.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// metadata.generation of the spec that this status speaks of; -1 before the operator first looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = bounds::GENERATION))]
    pub observed_generation: Option<i64>,
    /// What this issuer can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<IssuerCapabilities>,
    /// Name of the Secret with the credential. It does not go while tokens may have to be ended with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::SUBDOMAIN))]
    pub credential_secret: Option<String>,
    /// How many tokens the vendor has; absent for the built-in issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenCounts>,
    /// The ledger: tokens at the vendor that no ApiToken accounts for any more, the first 100. Revoke them there, or set orphanPolicy
    /// to Revoke. Further ones stand in ConfigMaps in the operator's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::ORPHANS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub orphans: Vec<Orphan>,
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
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
    #[schemars(range(min = 0, max = bounds::COUNT))]
    pub managed: i32,
    /// Tokens that are not ours.
    #[schemars(range(min = 0, max = bounds::COUNT))]
    pub unmanaged: i32,
    /// Tokens not used for 90 days.
    #[schemars(range(min = 0, max = bounds::COUNT))]
    pub inactive: i32,
}

/// A token at the vendor that no ApiToken accounts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// Id at the vendor; hashed for Wavefront, where the id is the value.
    #[schemars(length(max = bounds::TOKEN_ID))]
    pub id: String,
    /// Name at the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_NAME))]
    pub name: Option<String>,
    /// Owning account; absent for the issuer's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TOKEN_NAME))]
    pub account: Option<String>,
    /// `<namespace>/<name>` of the ApiToken that it was made for, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LABEL + 1 + bounds::SUBDOMAIN))]
    pub api_token: Option<String>,
    /// Why it is an orphan.
    #[schemars(length(max = bounds::REASON))]
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: Time,
}
