//! Which issuer, seen from the whole cluster.

use std::{fmt, str::FromStr};

use super::{IssuerKind, IssuerRef};

/// One issuer of the cluster. Written `ClusterTokenIssuer/<name>` or `TokenIssuer/<namespace>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerId {
    /// Kind and name.
    pub reference: IssuerRef,
    /// Its namespace; empty for a ClusterTokenIssuer.
    pub namespace: String,
}

/// The text names no issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an issuer as ClusterTokenIssuer/<name> or TokenIssuer/<namespace>/<name>")]
pub struct IssuerIdError;

impl IssuerId {
    /// The issuer of that reference, seen from a namespace.
    pub fn new(reference: &IssuerRef, namespace: &str) -> Self {
        let namespace = match reference.kind {
            IssuerKind::TokenIssuer => namespace,
            IssuerKind::ClusterTokenIssuer => "",
        };
        Self {
            reference: reference.clone(),
            namespace: namespace.to_owned(),
        }
    }

    fn named(kind: IssuerKind, namespace: &str, name: &str) -> Self {
        let name = name.to_owned();
        Self::new(&IssuerRef { kind, name }, namespace)
    }
}

impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.reference.name;
        match self.reference.kind {
            IssuerKind::ClusterTokenIssuer => write!(f, "ClusterTokenIssuer/{name}"),
            IssuerKind::TokenIssuer => write!(f, "TokenIssuer/{}/{name}", self.namespace),
        }
    }
}

impl FromStr for IssuerId {
    type Err = IssuerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(IssuerIdError);
        }
        match parts.as_slice() {
            ["ClusterTokenIssuer", name] => Ok(Self::named(IssuerKind::ClusterTokenIssuer, "", name)),
            ["TokenIssuer", namespace, name] => Ok(Self::named(IssuerKind::TokenIssuer, namespace, name)),
            _ => Err(IssuerIdError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["ClusterTokenIssuer/builtin", "TokenIssuer/shop/own"] {
            assert_eq!(text.parse::<IssuerId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_issuer_is_refused() {
        for text in [
            "",
            "builtin",
            "ClusterTokenIssuer",
            "ClusterTokenIssuer/",
            "ClusterTokenIssuer/a/b",
            "TokenIssuer/own",
            "TokenIssuer//own",
            "TokenIssuer/shop/own/more",
            "clustertokenissuer/builtin",
            "Secret/builtin",
        ] {
            assert_eq!(text.parse::<IssuerId>(), Err(IssuerIdError), "{text}");
        }
    }
}
