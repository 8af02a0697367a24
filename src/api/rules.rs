//! Validation rules in CEL that the API server checks, each with the message that a user gets.
//!
//! What only one field needs stands beside that field. Here is what several share, and what looks
//! at several fields at once. Optionals (`?.`, `optionalOldSelf`) are left out: they cost more than
//! the API server's budget for rules.

use kube::core::Rule;

use super::names::PREVIOUS_TOKEN_KEY;

/// A rule for one field, and its message.
pub type FieldRule = (&'static str, &'static str);

/// Name of a Kubernetes object.
pub const SUBDOMAIN: FieldRule = (
    "!format.dns1123Subdomain().validate(self).hasValue()",
    "write a name of lower-case letters, digits, - and . that begins and ends with a letter or digit",
);
/// Names of namespaces.
pub const NAMESPACES: FieldRule = (
    "self.all(n, !format.dns1123Label().validate(n).hasValue())",
    "write each namespace by its name: at most 63 lower-case letters, digits and -; for several at once use selector",
);
/// Key of a Secret.
pub const SECRET_KEY: FieldRule = (
    "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",
    "write a key of letters, digits, -, _ and . that is not . and does not begin with two dots",
);
/// What stands in an HTTP header and a log line without harm.
pub const VISIBLE_ASCII: FieldRule = ("self.matches('^[!-~]+$')", "write visible ASCII characters without white space");
/// Scopes: RFC 6749 section 3.3.
pub const SCOPES: FieldRule = (
    r"self.all(s, s.matches(r'^[!#-\[\]-~]+$'))",
    "write each scope in visible ASCII characters without white space, quotes and backslashes (RFC 6749 section 3.3), one scope an entry",
);
/// Audiences.
pub const AUDIENCES: FieldRule = (
    "self.all(a, a.matches('^[!-~]+$'))",
    "write each audience in visible ASCII characters without white space, one audience an entry",
);
/// What an issuer allows: exact, with `*` at the end, with `{namespace}`.
pub const ALLOWED: FieldRule = (
    r"self.all(a, a.matches(r'^([!-)+-z|~]|\{namespace\})*\*?$'))",
    "write exact entries in visible ASCII characters; * only at the end, for any ending; braces only as {namespace}",
);
/// A number as a vendor shows it.
pub const NUMBER: FieldRule = (
    "self.matches('^[0-9]{1,18}$')",
    "write the number that the vendor shows, digits only",
);
/// An id as a vendor shows it, safe in a path.
pub const VENDOR_ID: FieldRule = (
    "self.matches('^[-_0-9A-Za-z]+$')",
    "write the id that the vendor shows: letters, digits, - and _ only",
);
/// SoftwareOne's ids of modules.
pub const MODULES: FieldRule = (
    "self.all(m, m.matches('^MOD(-[0-9]+)+$'))",
    "write each module by its id, such as MOD-1234",
);

/// A text that is no duration is refused by the rule of its own field; other rules then keep silent.
const DURATION: &str = "^([0-9]{1,6}[hms]){1,6}$";

/// A duration of the API: more than 0s.
pub fn duration() -> Rule {
    duration_in("> duration('0s')", "more than 0s")
}

/// A duration of the API, or 0s.
pub fn duration_or_zero() -> Rule {
    duration_in(">= duration('0s')", "0s or more")
}

fn duration_in(least: &str, least_in_words: &str) -> Rule {
    Rule::new(format!(
        "self.size() <= 12 && self.matches('{DURATION}') && duration(self) {least} && duration(self) <= duration('87600h')"
    ))
    .message(&*format!(
        "write hours, minutes and seconds such as 720h, 1h30m or 90s: {least_in_words}, at most 87600h, at most 12 characters"
    ))
}

/// A duration of at most `longest`, for spans that are no lifetimes.
pub fn at_most(longest: &str) -> Rule {
    Rule::new(format!("!self.matches('{DURATION}') || duration(self) <= duration('{longest}')"))
        .message(&*format!("write at most {longest}"))
}

/// Where `present` holds, the duration at `short` is less than the one at `long`.
fn shorter(present: &str, short: &str, long: &str) -> Rule {
    Rule::new(format!(
        "!({present}) || !{short}.matches('{DURATION}') || !{long}.matches('{DURATION}') || duration({short}) < duration({long})"
    ))
}

/// Exactly one of `fields` is set.
fn exactly_one(fields: &[&str]) -> Rule {
    let present: Vec<_> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    Rule::new(format!("[{}].exists_one(present, present)", present.join(", ")))
}

// --- ApiToken: spec ---

pub fn one_end() -> Rule {
    Rule::new("!(has(self.lifetime) && has(self.expiresAt))")
        .message("set lifetime or expiresAt, not both")
        .field_path(".expiresAt")
}

pub fn rotation_is_due() -> Rule {
    Rule::new("!has(self.rotation) || has(self.rotation.interval) || has(self.lifetime)")
        .message("nothing makes this rotation due: set rotation.interval, or lifetime; expiresAt alone makes none due")
        .field_path(".rotation")
}

pub fn before_needs_lifetime() -> Rule {
    Rule::new("!has(self.rotation) || !has(self.rotation.before) || has(self.lifetime)")
        .message("rotation.before counts back from the end of lifetime: set lifetime, or use rotation.interval instead")
        .field_path(".rotation.before")
}

pub fn before_is_shorter() -> Rule {
    let present = "has(self.rotation) && has(self.rotation.before) && has(self.lifetime)";
    shorter(present, "self.rotation.before", "self.lifetime")
        .message("set rotation.before shorter than lifetime")
        .field_path(".rotation.before")
}

pub fn interval_is_shorter() -> Rule {
    let present = "has(self.rotation) && has(self.rotation.interval) && has(self.lifetime)";
    shorter(present, "self.rotation.interval", "self.lifetime")
        .message("set rotation.interval shorter than lifetime, else the token expires before it is rotated")
        .field_path(".rotation.interval")
}

pub fn overlap_is_shorter() -> Rule {
    shorter("has(self.overlap) && has(self.interval)", "self.overlap", "self.interval")
        .message("set overlap shorter than interval, else replaced tokens pile up")
        .field_path(".overlap")
}

pub fn retire_needs_overlap() -> Rule {
    Rule::new(format!(
        "!has(self.retireWhenUnusedFor) || \
         (has(self.overlap) && (!self.overlap.matches('{DURATION}') || duration(self.overlap) > duration('0s')))"
    ))
    .message("retireWhenUnusedFor ends an overlap early: set overlap too, longer than 0s")
    .field_path(".retireWhenUnusedFor")
}

pub fn one_vendor() -> Rule {
    exactly_one(&["mailtrap", "prefactor", "softwareone"])
        .message("set exactly one of mailtrap, prefactor and softwareone: the type of the issuer")
}

pub fn environment_is_named() -> Rule {
    Rule::new("self.tokenScope != 'environment' || has(self.environmentID)")
        .message("set environmentID: tokenScope environment needs it")
        .field_path(".environmentID")
}

pub fn agent_is_named() -> Rule {
    Rule::new("self.tokenScope != 'agent_deployment' || has(self.agentID)")
        .message("set agentID: tokenScope agent_deployment needs it")
        .field_path(".agentID")
}

pub fn account_is_whole() -> Rule {
    Rule::new("self.tokenScope != 'account' || (!has(self.environmentID) && !has(self.agentID))")
        .message("set tokenScope to environment or agent_deployment, or leave environmentID and agentID out: tokenScope account covers the whole account")
        .field_path(".tokenScope")
}

pub fn one_thing_to_adopt() -> Rule {
    exactly_one(&["tokenID", "secretRef"]).message("set exactly one of tokenID and secretRef")
}

/// At Wavefront the id is the value, and a value has no place in an ApiToken. Like the next one this rule stands on the object:
/// the API server repeats a field's value beside the message of a rule that stands on the field.
pub fn no_value_to_adopt() -> Rule {
    Rule::new("!has(self.tokenID) || !self.tokenID.matches('[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}')")
        .message("use secretRef: it may be a value; put it into a Secret, and treat the one written here as leaked")
        .field_path(".tokenID")
}

pub fn visible_id_to_adopt() -> Rule {
    Rule::new("!has(self.tokenID) || self.tokenID.matches('^[!-~]+$')")
        .message(VISIBLE_ASCII.1)
        .field_path(".tokenID")
}

// --- ApiToken: the Secret ---

/// Kubernetes gives these types a meaning of its own: they would hand out other credentials than ours.
pub const SECRET_TYPE: FieldRule = (
    "self in ['kubernetes.io/basic-auth', 'kubernetes.io/ssh-auth', 'kubernetes.io/dockercfg', 'kubernetes.io/dockerconfigjson'] || \
     !['kubernetes.io/', 'bootstrap.kubernetes.io/', 'helm.sh/'].exists(p, self.lowerAscii().startsWith(p))",
    "write Opaque, kubernetes.io/basic-auth, kubernetes.io/ssh-auth, kubernetes.io/dockercfg, kubernetes.io/dockerconfigjson, \
     or a type of your own such as example.com/token",
);
pub const SECRET_TYPE_CHARACTERS: FieldRule = (
    "self.matches('^[0-9A-Za-z]([-._/0-9A-Za-z]*[0-9A-Za-z])?$')",
    "write the type in ASCII letters, digits, -, _, . and /, such as example.com/token",
);

const LABEL_KEY: &str = "write a label's key as name or example.com/name: at most 63 letters, digits, -, _ and . after the slash";
const LABEL_VALUE: &str =
    "write a label's value in at most 63 letters, digits, -, _ and . that begin and end with a letter or digit; or leave it empty";

pub const LABEL_KEYS: FieldRule = ("self.all(k, !format.qualifiedName().validate(k).hasValue())", LABEL_KEY);
pub const LABEL_VALUES: FieldRule = ("self.all(k, !format.labelValue().validate(self[k]).hasValue())", LABEL_VALUE);
pub const ANNOTATION_KEYS: FieldRule = (
    "self.all(k, !format.qualifiedName().validate(k.lowerAscii()).hasValue())",
    "write each annotation's key as name or example.com/name: at most 63 letters, digits, -, _ and . after the slash",
);
pub const RESERVED_KEYS: FieldRule = (
    "self.all(k, !['apitoken.dev/', 'kubernetes.io/service-account.'].exists(p, k.lowerAscii().startsWith(p)) && \
     k != 'app.kubernetes.io/managed-by')",
    "leave out apitoken.dev/*, app.kubernetes.io/managed-by and kubernetes.io/service-account.*: they are not for users to set",
);
pub const TEMPLATE_KEYS: FieldRule = (
    "self.all(k, k.size() <= 253 && k.matches('^[-._a-zA-Z0-9]+$') && k != '.' && !k.startsWith('..'))",
    "write each template's key in at most 253 letters, digits, -, _ and .; it is not . and does not begin with two dots",
);
/// Statements could make a small template large in memory; see `lifecycle::template`.
pub const TEMPLATE_EXPRESSIONS: FieldRule = (
    "self.all(k, !self[k].contains('{%'))",
    "write expressions only, such as {{ token }} and {{ token | b64encode }}: templates have no statements ({% ... %})",
);
pub const TEMPLATE_SIZE: FieldRule = (
    "self.all(k, bytes(self[k]).size() <= 8192)",
    "write each template in at most 8192 bytes",
);

pub fn key_is_not_previous() -> Rule {
    Rule::new(format!("self.key != '{PREVIOUS_TOKEN_KEY}'"))
        .message(&*format!(
            "choose another key: {PREVIOUS_TOKEN_KEY} is where includePrevious puts the old value"
        ))
        .field_path(".key")
}

pub fn template_is_beside_key() -> Rule {
    Rule::new(format!(
        "!has(self.template) || !(self.key in self.template || '{PREVIOUS_TOKEN_KEY}' in self.template)"
    ))
    .message(&*format!(
        "choose other keys for templates: secret.key holds the bare value, {PREVIOUS_TOKEN_KEY} the old one"
    ))
    .field_path(".template")
}

pub fn basic_auth_has_its_keys() -> Rule {
    Rule::new(
        "self.type != 'kubernetes.io/basic-auth' || self.key in ['username', 'password'] || \
         (has(self.template) && ('username' in self.template || 'password' in self.template))",
    )
    .message("set key to password, or add username or password to template: a kubernetes.io/basic-auth Secret needs one of them")
    .field_path(".key")
}

pub fn ssh_auth_has_its_key() -> Rule {
    Rule::new(
        "self.type != 'kubernetes.io/ssh-auth' || self.key == 'ssh-privatekey' || (has(self.template) && 'ssh-privatekey' in self.template)",
    )
    .message("set key to ssh-privatekey, or add it to template: a kubernetes.io/ssh-auth Secret needs it")
    .field_path(".key")
}

/// A bare value is no JSON, so only a template can fill what Kubernetes reads as JSON.
pub fn docker_has_its_template() -> Rule {
    let missing = |kind: &str| format!("(self.type != 'kubernetes.io/{kind}' || (has(self.template) && '.{kind}' in self.template))");
    Rule::new(format!("{} && {}", missing("dockercfg"), missing("dockerconfigjson")))
        .message(
            "add .dockercfg (type kubernetes.io/dockercfg) or .dockerconfigjson (type kubernetes.io/dockerconfigjson) to template: \
                  the Secret needs JSON there",
        )
        .field_path(".template")
}

// --- ApiToken: changes, at the root ---

pub fn revoked_is_final() -> Rule {
    Rule::new("oldSelf.spec.state != 'Revoked' || self.spec.state == 'Revoked'")
        .message("a revoked token never works again: leave state Revoked and make another ApiToken")
        .field_path(".spec.state")
}

pub fn issuer_stays() -> Rule {
    let begun = "has(oldSelf.status) && (has(oldSelf.status.token) || has(oldSelf.status.pending))";
    let same = "has(self.spec.issuerRef) == has(oldSelf.spec.issuerRef) && \
                (!has(self.spec.issuerRef) || self.spec.issuerRef == oldSelf.spec.issuerRef)";
    // Two places of a schema are two types to CEL, so the whole can't be compared.
    let written_out = "has(self.spec.issuerRef) && has(oldSelf.status.issuerRef) && \
                       self.spec.issuerRef.kind == oldSelf.status.issuerRef.kind && \
                       self.spec.issuerRef.name == oldSelf.status.issuerRef.name";
    Rule::new(format!("!({begun}) || ({same}) || ({written_out})"))
        .message("a token is issued already: keep issuerRef, or make another ApiToken for the other issuer")
        .field_path(".spec.issuerRef")
}

pub fn adopt_stays() -> Rule {
    Rule::new("has(self.spec.adopt) == has(oldSelf.spec.adopt) && (!has(self.spec.adopt) || self.spec.adopt == oldSelf.spec.adopt)")
        .message("adopt is set once, at the creation: make another ApiToken to take over another token")
        .field_path(".spec.adopt")
}

/// Kubernetes never changes the type of a Secret.
pub fn secret_type_stays() -> Rule {
    let name = |of: &str| format!("(has({of}.spec.secret.name) ? {of}.spec.secret.name : {of}.metadata.name)");
    Rule::new(format!(
        "self.spec.secret.type == oldSelf.spec.secret.type || {} != {}",
        name("self"),
        name("oldSelf")
    ))
    .message("a Secret's type can't be changed: set another secret.name together with the new type")
    .field_path(".spec.secret.type")
}

// --- Issuers ---

const ISSUER_TYPES: [&str; 5] = ["builtin", "mailtrap", "prefactor", "softwareone", "wavefront"];

pub fn one_issuer_type() -> Rule {
    exactly_one(&ISSUER_TYPES).message("set exactly one of builtin, mailtrap, prefactor, softwareone and wavefront")
}

pub fn issuer_type_stays() -> Rule {
    let same: Vec<_> = ISSUER_TYPES
        .iter()
        .map(|name| format!("has(self.{name}) == has(oldSelf.{name})"))
        .collect();
    Rule::new(same.join(" && ")).message("the type of an issuer can't be changed: make another issuer")
}

pub const PREFIX: FieldRule = (
    "self.matches('^[a-z][a-z0-9]{0,15}$')",
    "write 1 to 16 lower-case letters and digits that begin with a letter",
);
pub const SERVICE_ACCOUNT: FieldRule = (
    r"self.matches(r'^sa::[!-@\[-~]+$')",
    "write sa:: and the account's name, in lower-case visible ASCII characters, such as sa::ci",
);
pub const SOFTWAREONE_ACCOUNT: FieldRule = ("self.matches('^ACC(-[0-9]+)+$')", "write the account's id, such as ACC-1234-5678");

/// On the object and not on the field, so that a password in it is not repeated beside the message.
/// Userinfo, query and fragment of RFC 3986 section 3 have no place in it.
pub fn url() -> Rule {
    let https = r"https://([0-9A-Za-z]([-.0-9A-Za-z]*[0-9A-Za-z])?|\[[0-9A-Fa-f:.]+\])";
    let loopback = r"http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])";
    Rule::new(format!(
        "!has(self.url) || (self.url.matches(r'^({https}|{loopback})(:[0-9]{{1,5}})?(/[-._~%0-9A-Za-z]*)*$') && \
         (url(self.url).getPort() == '' || int(url(self.url).getPort()) <= 65535))"
    ))
    .message(
        "write an address such as https://api.example.com/path: https (http only for localhost, 127.0.0.0/8 and [::1]), \
         without user name, password, query and fragment",
    )
    .field_path(".url")
}

/// On the object and not on the field, so that a private key in it is not repeated beside the message.
pub fn ca_bundle() -> Rule {
    Rule::new(
        "!has(self.caBundle) || (self.caBundle.contains('-----BEGIN CERTIFICATE-----') && !self.caBundle.contains('PRIVATE KEY-----'))",
    )
    .message("write certificates in PEM, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, and no private key")
    .field_path(".caBundle")
}

pub fn some_namespaces() -> Rule {
    Rule::new("has(self.names) || has(self.selector)")
        .message("set names, selector or both; leave allowedNamespaces out to allow all namespaces")
}

/// Of one entry of `matchExpressions`.
pub const SELECTOR_OPERATOR: FieldRule = (
    "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
    "set values for the operators In and NotIn, and leave them out for Exists and DoesNotExist",
);
/// The key of one entry of `matchExpressions`.
pub const SELECTOR_KEY: FieldRule = ("!format.qualifiedName().validate(self).hasValue()", LABEL_KEY);
/// The values of one entry of `matchExpressions`.
pub const SELECTOR_VALUES: FieldRule = ("self.all(v, !format.labelValue().validate(v).hasValue())", LABEL_VALUE);
