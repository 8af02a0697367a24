//! What a token may ask of a vendor: parameters of the issuer's own type, and within the ceilings of the
//! issuer. Where several tenants share an issuer, what no ceiling names is refused.

use super::{checks::Refusal, observed::ObservedIssuer};
use crate::api::{
    IssuerKind,
    api_token::{MailtrapAccessLevel, MailtrapResource, Parameters, PrefactorTokenScope},
    conditions::Reason,
    issuer::{IssuerType, MailtrapIssuer, PrefactorIssuer, SoftwareoneIssuer},
};

/// What stands in the way of the declared parameters.
pub fn first(declared: Option<&Parameters>, issuer: &ObservedIssuer) -> Option<Refusal> {
    let type_ = issuer.spec.issuer_type()?;
    let none = Parameters::default();
    mismatch(type_, declared).or_else(|| {
        let parameters = declared.unwrap_or(&none);
        match type_ {
            IssuerType::Builtin(_) | IssuerType::Wavefront(_) => None,
            IssuerType::Mailtrap(spec) => mailtrap(issuer, spec, parameters),
            IssuerType::Prefactor(spec) => prefactor(issuer, spec, parameters),
            IssuerType::Softwareone(spec) => softwareone(issuer, spec, parameters),
        }
    })
}

fn mismatch(type_: IssuerType<'_>, declared: Option<&Parameters>) -> Option<Refusal> {
    let refused = |message| Some(Refusal::new(Reason::ParametersMismatch, message));
    let declared = match (type_, declared) {
        (IssuerType::Mailtrap(_), None) => {
            return refused("Mailtrap needs to know what the token may reach: set spec.parameters.mailtrap.resources");
        }
        (_, None) => return None,
        (_, Some(declared)) => declared,
    };
    let fits = match type_ {
        IssuerType::Builtin(_) => {
            return refused("spec.parameters are for a vendor's issuer: remove them, or refer to an issuer of that vendor");
        }
        IssuerType::Wavefront(_) => return refused("Wavefront has no parameters: remove spec.parameters"),
        IssuerType::Mailtrap(_) => declared.mailtrap.is_some(),
        IssuerType::Prefactor(_) => declared.prefactor.is_some(),
        IssuerType::Softwareone(_) => declared.softwareone.is_some(),
    };
    (!fits).then(|| {
        Refusal::new(
            Reason::ParametersMismatch,
            "spec.parameters are for another type of issuer: use the key of this issuer's type",
        )
    })
}

fn is_shared(issuer: &ObservedIssuer) -> bool {
    issuer.reference.kind == IssuerKind::ClusterTokenIssuer
}

fn beyond(issuer: &ObservedIssuer, what: &str, field: &str) -> Refusal {
    let name = &issuer.reference.name;
    let message = format!("issuer {name:?} does not allow {what}: ask for less, or have it added to {field} there");
    Refusal::new(Reason::PolicyViolation, message)
}

fn mailtrap(issuer: &ObservedIssuer, spec: &MailtrapIssuer, parameters: &Parameters) -> Option<Refusal> {
    let ceiling = ceiling(issuer, spec.allowed_resources.as_deref())?;
    let wanted = parameters.mailtrap.iter().flat_map(|mailtrap| &mailtrap.resources);
    let refused = wanted
        .into_iter()
        .find(|wanted| !ceiling.iter().any(|allowed| covers(allowed, wanted)))?;
    let what = format!("{:?} on {:?} {}", refused.access_level, refused.resource_type, refused.resource_id).to_lowercase();
    Some(beyond(issuer, &what, "allowedResources"))
}

fn covers(allowed: &MailtrapResource, wanted: &MailtrapResource) -> bool {
    allowed.resource_type == wanted.resource_type
        && allowed.resource_id == wanted.resource_id
        && (allowed.access_level == MailtrapAccessLevel::Admin || wanted.access_level == MailtrapAccessLevel::Viewer)
}

fn prefactor(issuer: &ObservedIssuer, spec: &PrefactorIssuer, parameters: &Parameters) -> Option<Refusal> {
    let ceiling = ceiling(issuer, spec.allowed_token_scopes.as_deref())?;
    let declared = parameters.prefactor.as_ref();
    let wanted = declared.map_or_else(PrefactorTokenScope::default, |prefactor| prefactor.token_scope);
    let what = format!("tokenScope {wanted:?}").to_lowercase();
    (!ceiling.contains(&wanted)).then(|| beyond(issuer, &what, "allowedTokenScopes"))
}

/// A vendor may take no modules for all modules, so under a ceiling they must be named.
fn softwareone(issuer: &ObservedIssuer, spec: &SoftwareoneIssuer, parameters: &Parameters) -> Option<Refusal> {
    let ceiling = ceiling(issuer, spec.allowed_modules.as_deref())?;
    let wanted = parameters.softwareone.iter().flat_map(|softwareone| &softwareone.modules);
    let mut wanted = wanted.peekable();
    if wanted.peek().is_none() {
        return Some(beyond(
            issuer,
            "a token without spec.parameters.softwareone.modules",
            "allowedModules",
        ));
    }
    let refused = wanted.find(|module| !ceiling.contains(module))?;
    Some(beyond(issuer, &format!("the module {refused}"), "allowedModules"))
}

/// The ceiling; nothing where anything may be asked for.
fn ceiling<'a, T>(issuer: &ObservedIssuer, declared: Option<&'a [T]>) -> Option<&'a [T]> {
    match declared {
        None if is_shared(issuer) => Some(&[]),
        declared => declared,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{IssuerRef, IssuerSpec},
        lifecycle::IssuerReadiness,
    };

    fn issuer(kind: IssuerKind, spec: Value) -> ObservedIssuer {
        let spec: IssuerSpec = serde_json::from_value(spec).unwrap();
        ObservedIssuer {
            reference: IssuerRef {
                kind,
                name: "vendor".into(),
            },
            spec,
            capabilities: None,
            generation: Some(1),
            credential: None,
            version: "1".into(),
            timeout: SignedDuration::ZERO,
            readiness: IssuerReadiness::Ready,
            held: true,
            namespace_allowed: true,
            busy: false,
        }
    }

    fn spec(type_: &str, ceiling: Value) -> Value {
        let mut fields = json!({ "url": "https://example.com", "credentialsRef": { "name": "credential", "key": "token" } });
        if type_ == "softwareone" {
            fields["account"] = json!("ACC-1234-5678");
        }
        fields.as_object_mut().unwrap().extend(ceiling.as_object().unwrap().clone());
        json!({ type_: fields })
    }

    fn refused(kind: IssuerKind, spec: Value, parameters: Option<Value>) -> Option<&'static str> {
        let parameters: Option<Parameters> = parameters.map(|parameters| serde_json::from_value(parameters).unwrap());
        first(parameters.as_ref(), &issuer(kind, spec)).map(|refusal| refusal.reason.as_str())
    }

    #[test]
    fn parameters_are_of_the_issuers_type() {
        let mailtrap = || json!({ "mailtrap": { "resources": [] } });
        let prefactor = || json!({ "prefactor": {} });
        let softwareone = || json!({ "softwareone": {} });
        let mismatch = Some("ParametersMismatch");
        for (type_, parameters, expected, why) in [
            ("wavefront", None, None, "it has none"),
            ("wavefront", Some(prefactor()), mismatch, "it has none"),
            ("mailtrap", None, mismatch, "a token that reaches nothing is refused by the vendor"),
            ("mailtrap", Some(mailtrap()), None, "its own"),
            ("mailtrap", Some(softwareone()), mismatch, "another's"),
            ("prefactor", None, None, "it has a default"),
            ("prefactor", Some(prefactor()), None, "its own"),
            ("prefactor", Some(mailtrap()), mismatch, "another's"),
            ("softwareone", None, None, "it has a default"),
            ("softwareone", Some(softwareone()), None, "its own"),
            ("softwareone", Some(prefactor()), mismatch, "another's"),
        ] {
            let spec = spec(type_, json!({}));
            assert_eq!(refused(IssuerKind::TokenIssuer, spec, parameters), expected, "{type_}: {why}");
        }
        let builtin = || json!({ "builtin": {} });
        assert_eq!(refused(IssuerKind::TokenIssuer, builtin(), None), None);
        assert_eq!(refused(IssuerKind::TokenIssuer, builtin(), Some(prefactor())), mismatch);
    }

    #[test]
    fn nothing_is_asked_for_beyond_a_ceiling() {
        use IssuerKind::{ClusterTokenIssuer as Shared, TokenIssuer as Own};
        let resource = |type_: &str, id: &str, level: &str| json!({ "resourceType": type_, "resourceID": id, "accessLevel": level });
        let mailtrap = |resource: Value| Some(json!({ "mailtrap": { "resources": [resource] } }));
        let resources = || json!({ "allowedResources": [resource("domain", "1", "viewer"), resource("project", "2", "admin")] });
        let prefactor = |scope: &str| Some(json!({ "prefactor": { "tokenScope": scope } }));
        let scopes = || json!({ "allowedTokenScopes": ["environment"] });
        let softwareone = |modules: &[&str]| Some(json!({ "softwareone": { "modules": modules } }));
        let modules = || json!({ "allowedModules": ["MOD-1"] });
        let none = || json!({});
        let beyond = Some("PolicyViolation");
        for (kind, type_, ceiling, parameters, expected, why) in [
            (
                Own,
                "mailtrap",
                none(),
                mailtrap(resource("account", "1", "admin")),
                None,
                "a tenant's own issuer",
            ),
            (
                Shared,
                "mailtrap",
                none(),
                mailtrap(resource("domain", "1", "viewer")),
                beyond,
                "what nobody allowed",
            ),
            (
                Shared,
                "mailtrap",
                resources(),
                mailtrap(resource("domain", "1", "viewer")),
                None,
                "allowed",
            ),
            (
                Shared,
                "mailtrap",
                resources(),
                mailtrap(resource("domain", "1", "admin")),
                beyond,
                "a higher level",
            ),
            (
                Shared,
                "mailtrap",
                resources(),
                mailtrap(resource("project", "2", "viewer")),
                None,
                "a lower level",
            ),
            (
                Shared,
                "mailtrap",
                resources(),
                mailtrap(resource("domain", "2", "viewer")),
                beyond,
                "another domain",
            ),
            (
                Shared,
                "mailtrap",
                resources(),
                mailtrap(resource("account", "1", "viewer")),
                beyond,
                "another type",
            ),
            (
                Own,
                "mailtrap",
                resources(),
                mailtrap(resource("domain", "1", "admin")),
                beyond,
                "its own ceiling holds too",
            ),
            (Own, "prefactor", none(), None, None, "a tenant's own issuer"),
            (Shared, "prefactor", none(), None, beyond, "the default reaches the whole account"),
            (Shared, "prefactor", scopes(), None, beyond, "the default is not allowed"),
            (Shared, "prefactor", scopes(), prefactor("environment"), None, "allowed"),
            (Shared, "prefactor", scopes(), prefactor("account"), beyond, "a wider scope"),
            (Own, "softwareone", none(), None, None, "a tenant's own issuer"),
            (
                Shared,
                "softwareone",
                none(),
                softwareone(&["MOD-1"]),
                beyond,
                "what nobody allowed",
            ),
            (Shared, "softwareone", modules(), softwareone(&["MOD-1"]), None, "allowed"),
            (
                Shared,
                "softwareone",
                modules(),
                softwareone(&["MOD-1", "MOD-2"]),
                beyond,
                "one more",
            ),
            (Shared, "softwareone", modules(), softwareone(&[]), beyond, "none may mean all"),
            (Shared, "softwareone", modules(), None, beyond, "none may mean all"),
            (Shared, "wavefront", none(), None, None, "it has no parameters"),
        ] {
            assert_eq!(refused(kind, spec(type_, ceiling), parameters), expected, "{type_}: {why}");
        }
    }
}
