//! Issuers and namespaces, and what follows from them: whose tokens count, for which namespaces, with which scopes.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::{
    ResourceExt,
    core::{PartialObjectMeta, Selector, SelectorExt},
};

use super::lookup::decision::IssuerRules;
use crate::{
    api::{ClusterTokenIssuer, IssuerId, IssuerKind, IssuerSpec, TokenIssuer, issuer::AllowedNamespaces},
    controller::stores::{id_of, is_default},
};

/// What is known of issuers and namespaces.
#[derive(Default)]
pub struct Catalogue {
    issuers: HashMap<IssuerId, Known>,
    /// Labels of each namespace.
    namespaces: HashMap<String, BTreeMap<String, String>>,
}

/// What is kept of an issuer.
struct Known {
    /// Without namespaces, which depend on their labels too.
    rules: IssuerRules,
    allowed: Option<AllowedNamespaces>,
    is_default: bool,
}

impl Catalogue {
    /// A ClusterTokenIssuer as it is now.
    pub fn put_cluster_issuer(&mut self, issuer: &ClusterTokenIssuer) {
        let id = id_of(IssuerKind::ClusterTokenIssuer, issuer);
        let known = rules(&issuer.spec.common).map(|rules| Known {
            rules,
            allowed: issuer.spec.allowed_namespaces.clone(),
            is_default: is_default(issuer),
        });
        self.set(id, known);
    }

    /// A TokenIssuer as it is now.
    pub fn put_issuer(&mut self, issuer: &TokenIssuer) {
        let id = id_of(IssuerKind::TokenIssuer, issuer);
        let known = rules(&issuer.spec.common).map(|rules| Known {
            rules,
            allowed: None,
            is_default: false,
        });
        self.set(id, known);
    }

    fn set(&mut self, id: IssuerId, known: Option<Known>) {
        match known {
            Some(known) => self.issuers.insert(id, known),
            None => self.issuers.remove(&id),
        };
    }

    /// An issuer is gone, or can't be read.
    pub fn remove_issuer(&mut self, id: &IssuerId) {
        self.issuers.remove(id);
    }

    /// Forgets the issuers of a kind but for these.
    pub fn keep_issuers(&mut self, kind: IssuerKind, keep: impl Fn(&IssuerId) -> bool) {
        self.issuers.retain(|id, _| id.reference.kind != kind || keep(id));
    }

    /// A namespace as it is now. Tells whether that can matter.
    pub fn put_namespace(&mut self, namespace: PartialObjectMeta<Namespace>) -> bool {
        let name = namespace.name_any();
        let labels = namespace.metadata.labels.unwrap_or_default();
        let former = self.namespaces.insert(name, labels.clone());
        former.as_ref() != Some(&labels) && self.selects()
    }

    /// A namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        self.namespaces.remove(name).is_some() && self.selects()
    }

    /// Forgets the namespaces but for these.
    pub fn keep_namespaces(&mut self, keep: impl Fn(&str) -> bool) {
        self.namespaces.retain(|name, _| keep(name));
    }

    fn selects(&self) -> bool {
        let selecting = |known: &Known| known.allowed.as_ref().is_some_and(|allowed| allowed.selector.is_some());
        self.issuers.values().any(selecting)
    }

    /// The rules of each issuer, and which one is the default; none where several are annotated.
    pub fn rules(&self) -> (HashMap<IssuerId, IssuerRules>, Option<IssuerId>) {
        let rules = self.issuers.iter().map(|(id, known)| {
            let namespaces = known.allowed.as_ref().map(|allowed| self.allowed(allowed));
            (
                id.clone(),
                IssuerRules {
                    namespaces,
                    ..known.rules.clone()
                },
            )
        });
        let mut defaults = self.issuers.iter().filter(|(_, known)| known.is_default).map(|(id, _)| id);
        let default = defaults.next().cloned().filter(|_| defaults.next().is_none());
        (rules.collect(), default)
    }

    fn allowed(&self, allowed: &AllowedNamespaces) -> HashSet<String> {
        let selected = allowed.selector.iter().flat_map(|selector| self.selected(selector));
        allowed.names.iter().cloned().chain(selected).collect()
    }

    /// A selector that can't be read selects nothing.
    fn selected(&self, selector: &LabelSelector) -> Vec<String> {
        let Ok(selector) = Selector::try_from(selector.clone()) else {
            return Vec::new();
        };
        let matching = self.namespaces.iter().filter(|(_, labels)| selector.matches(*labels));
        matching.map(|(name, _)| name.clone()).collect()
    }
}

/// The rules of a built-in issuer; nothing for a vendor's, whose tokens nobody verifies here.
fn rules(spec: &IssuerSpec) -> Option<IssuerRules> {
    let builtin = spec.builtin.as_ref()?;
    Some(IssuerRules {
        scopes: builtin.allowed_scopes.clone(),
        audiences: builtin.allowed_audiences.clone(),
        namespaces: None,
    })
}
