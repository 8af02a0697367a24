//! The decision as a specification: situation, question, answer.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    decision::{Bearer, Denial, IssuerRules},
    index::Index,
    presented::TokenHash,
    question::Question,
    record::Record,
};
use crate::{
    api::{ApiToken, IssuerId},
    token_value,
};

const NOW: &str = "2030-01-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn hash(value: &str) -> TokenHash {
    TokenHash::of_presented(value.as_bytes()).unwrap()
}

/// `current` is the value of an Active ApiToken `shop/ci` of the issuer `ClusterTokenIssuer/builtin`, changed as said.
fn token(change: Value) -> ApiToken {
    let mut token = json!({
        "apiVersion": "apitoken.dev/v1alpha1",
        "kind": "ApiToken",
        "metadata": { "name": "ci", "namespace": "shop", "uid": "11111111-2222", "creationTimestamp": "2030-01-01T00:00:00Z" },
        "spec": { "scopes": ["orders:read", "orders:write"] },
        "status": {
            "state": "Active",
            "issuerRef": { "kind": "ClusterTokenIssuer", "name": "builtin" },
            "token": {
                "id": "1111111122-1", "hash": token_value::hash(b"current"), "account": "shop.ci", "issuedAt": "2030-01-01T00:00:00Z",
            },
        },
    });
    merge(&mut token, change);
    serde_json::from_value(token).unwrap()
}

/// RFC 7396.
fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (name, value) in change {
                if value.is_null() {
                    into.remove(&name);
                } else {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change,
    }
}

fn cluster_issuer(name: &str) -> IssuerId {
    format!("ClusterTokenIssuer/{name}").parse().unwrap()
}

fn index(tokens: impl IntoIterator<Item = ApiToken>, rules: IssuerRules) -> Index {
    let mut index = Index::default();
    let builtin = cluster_issuer("builtin");
    let own: IssuerId = "TokenIssuer/shop/own".parse().unwrap();
    index.set_issuers([(builtin.clone(), rules), (own, IssuerRules::default())].into(), Some(builtin));
    for token in tokens {
        index.put(Record::of(&token).unwrap(), now());
    }
    index
}

fn ask(index: &Index, query: &str, value: &str) -> Result<Bearer, Denial> {
    index.decide(&Question::from_query(query).unwrap(), &hash(value), now())
}

fn denial(index: &Index, query: &str, value: &str) -> Option<Denial> {
    ask(index, query, value).err()
}

#[test]
fn spec_and_status_must_both_want_it_to_work() {
    let previous = |revoke_at: &str| json!([{ "id": "1111111122-0", "hash": token_value::hash(b"previous"), "revokeAt": revoke_at }]);
    let pending = json!({ "attempt": 2, "verb": "create", "hash": token_value::hash(b"coming"), "startedAt": NOW, "reason": "Interval" });
    let status = |status: Value| json!({ "status": status });
    for (change, value, expected, why) in [
        (json!({}), "current", None, "it is active"),
        (json!({}), "other", Some(Denial::Unknown), "nobody has it"),
        (
            json!({ "spec": { "state": "Suspended" } }),
            "current",
            Some(Denial::Suspended),
            "the spec comes first",
        ),
        (
            json!({ "spec": { "state": "Revoked" } }),
            "current",
            Some(Denial::Revoked),
            "the spec comes first",
        ),
        (
            status(json!({ "state": "Suspended" })),
            "current",
            Some(Denial::Suspended),
            "not activated yet",
        ),
        (
            status(json!({ "state": "Revoked" })),
            "current",
            Some(Denial::Revoked),
            "that is final",
        ),
        (
            status(json!({ "state": "Expired" })),
            "current",
            Some(Denial::Expired),
            "its time was over",
        ),
        (
            status(json!({ "state": "Pending" })),
            "current",
            Some(Denial::NotIssued),
            "not issued",
        ),
        (status(json!({ "state": null })), "current", Some(Denial::NotIssued), "not issued"),
        (
            json!({ "metadata": { "deletionTimestamp": NOW } }),
            "current",
            Some(Denial::Deleted),
            "it is being deleted",
        ),
        (
            json!({ "metadata": { "annotations": { "apitoken.dev/paused": "true" } }, "spec": { "state": "Suspended" } }),
            "current",
            Some(Denial::Suspended),
            "a pause holds back the operator, not the verifier",
        ),
        (
            status(json!({ "token": { "expiresAt": NOW } })),
            "current",
            Some(Denial::Expired),
            "at its end it is over",
        ),
        (
            status(json!({ "token": { "expiresAt": "2030-01-01T12:00:01Z" } })),
            "current",
            None,
            "a second before its end",
        ),
        (
            json!({ "spec": { "lifetime": "12h" } }),
            "current",
            Some(Denial::Expired),
            "shortened, and not noted in the status yet",
        ),
        (
            json!({ "spec": { "expiresAt": NOW } }),
            "current",
            Some(Denial::Expired),
            "shortened, and not noted in the status yet",
        ),
        (
            json!({ "spec": { "lifetime": "48h" }, "status": { "token": { "expiresAt": NOW } } }),
            "current",
            Some(Denial::Expired),
            "prolonged, and not granted yet",
        ),
        (
            status(json!({ "previous": previous("2030-01-01T12:00:01Z") })),
            "previous",
            None,
            "an overlap",
        ),
        (
            status(json!({ "previous": previous(NOW) })),
            "previous",
            Some(Denial::Expired),
            "the overlap is over",
        ),
        (
            json!({ "spec": { "state": "Suspended" }, "status": { "previous": previous("2031-01-01T00:00:00Z") } }),
            "previous",
            Some(Denial::Suspended),
            "all of its tokens",
        ),
        (
            json!({ "spec": { "expiresAt": NOW }, "status": { "previous": previous("2031-01-01T00:00:00Z") } }),
            "previous",
            Some(Denial::Expired),
            "no overlap is longer than the token may live",
        ),
        (
            status(json!({ "pending": pending })),
            "coming",
            None,
            "known before consumers see it",
        ),
        (
            status(json!({ "pending": pending })),
            "current",
            None,
            "and the one that they see works on",
        ),
        (
            json!({ "spec": { "state": "Revoked" }, "status": { "pending": pending } }),
            "coming",
            Some(Denial::Revoked),
            "none that is on its way",
        ),
    ] {
        let index = index([token(change)], IssuerRules::default());
        assert_eq!(denial(&index, "", value), expected, "{why}");
    }
}

#[test]
fn a_token_counts_for_its_own_issuer_only() {
    let of_tenant = json!({
        "metadata": { "uid": "3333" },
        "status": { "issuerRef": { "kind": "TokenIssuer", "name": "own" }, "token": { "hash": token_value::hash(b"tenant") } },
    });
    let elsewhere = json!({
        "metadata": { "uid": "4444", "namespace": "other" },
        "status": { "issuerRef": { "kind": "TokenIssuer", "name": "own" }, "token": { "hash": token_value::hash(b"elsewhere") } },
    });
    let index = index([token(json!({})), token(of_tenant), token(elsewhere)], IssuerRules::default());
    for (query, value, expected) in [
        ("", "current", None),
        ("issuer=ClusterTokenIssuer/builtin", "current", None),
        ("issuer=TokenIssuer/shop/own", "current", Some(Denial::Unknown)),
        ("", "tenant", Some(Denial::Unknown)),
        ("issuer=ClusterTokenIssuer/builtin", "tenant", Some(Denial::Unknown)),
        ("issuer=TokenIssuer/shop/own", "tenant", None),
        ("issuer=TokenIssuer/shop/own", "elsewhere", Some(Denial::Unknown)),
        ("issuer=TokenIssuer/other/own", "elsewhere", Some(Denial::IssuerNotFound)),
        ("issuer=ClusterTokenIssuer/gone", "current", Some(Denial::IssuerNotFound)),
    ] {
        assert_eq!(denial(&index, query, value), expected, "{query} {value}");
    }
}

#[test]
fn without_one_default_issuer_nobody_is_let_through_who_names_none() {
    let mut index = index([token(json!({}))], IssuerRules::default());
    index.set_issuers([(cluster_issuer("builtin"), IssuerRules::default())].into(), None);
    assert_eq!(denial(&index, "", "current"), Some(Denial::IssuerNotFound));
    assert_eq!(denial(&index, "issuer=ClusterTokenIssuer/builtin", "current"), None);
}

#[test]
fn scopes_audiences_and_namespaces_are_cut_to_what_the_issuer_allows_now() {
    let rules = |scopes: Option<&[&str]>, audiences: Option<&[&str]>, namespaces: Option<&[&str]>| {
        let owned = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        IssuerRules {
            scopes: scopes.map(owned),
            audiences: audiences.map(owned),
            namespaces: namespaces.map(|names| owned(names).into_iter().collect()),
        }
    };
    let any = rules(None, None, None);
    for (audiences, rules, query, expected, why) in [
        (&[][..], any.clone(), "scope=orders:read", None, "it has it"),
        (&[], any.clone(), "scope=orders:read+orders:write", None, "it has both"),
        (
            &[],
            any.clone(),
            "scope=orders:read+admin",
            Some(Denial::InsufficientScope),
            "one is missing",
        ),
        (
            &[],
            rules(Some(&["orders:read"]), None, None),
            "scope=orders:write",
            Some(Denial::InsufficientScope),
            "no longer allowed",
        ),
        (
            &[],
            rules(Some(&["orders:*"]), None, None),
            "scope=orders:write",
            None,
            "allowed by a prefix",
        ),
        (&[], any.clone(), "audience=shop", None, "it is for any"),
        (&["shop"], any.clone(), "audience=shop", None, "it is for that"),
        (
            &["shop"],
            any.clone(),
            "audience=bank",
            Some(Denial::WrongAudience),
            "it is for another",
        ),
        (&["shop"], any.clone(), "", None, "not asked"),
        (
            &["shop"],
            rules(None, Some(&["bank"]), None),
            "audience=shop",
            Some(Denial::WrongAudience),
            "no longer allowed",
        ),
        (
            &["shop"],
            rules(None, Some(&["bank"]), None),
            "audience=bank",
            Some(Denial::WrongAudience),
            "never declared",
        ),
        (
            &[],
            rules(None, Some(&["bank"]), None),
            "audience=shop",
            Some(Denial::WrongAudience),
            "any is any that is allowed",
        ),
        (
            &[],
            rules(None, Some(&["bank"]), None),
            "audience=bank",
            None,
            "any is any that is allowed",
        ),
        (&[], any.clone(), "namespace=shop", None, "it is there"),
        (&[], any.clone(), "namespace=other", Some(Denial::WrongNamespace), "it is not there"),
        (&[], rules(None, None, Some(&["shop"])), "", None, "the namespace is allowed"),
        (
            &[],
            rules(None, None, Some(&["other"])),
            "",
            Some(Denial::NamespaceNotAllowed),
            "no longer allowed",
        ),
        (&[], rules(None, None, Some(&[])), "", Some(Denial::NamespaceNotAllowed), "none is"),
    ] {
        let index = index([token(json!({ "spec": { "audiences": audiences } }))], rules);
        assert_eq!(denial(&index, query, "current"), expected, "{why}");
    }
    let cut = index(
        [token(json!({ "spec": { "audiences": ["shop"] } }))],
        rules(Some(&["orders:read"]), Some(&["bank"]), None),
    );
    let bearer = ask(&cut, "", "current").unwrap();
    assert_eq!(
        (bearer.scopes, bearer.audiences),
        (vec!["orders:read".to_owned()], Some(vec![])),
        "none is not any"
    );
}

#[test]
fn of_two_objects_with_one_value_the_oldest_decides() {
    let later = json!({ "metadata": { "name": "thief", "uid": "9999", "creationTimestamp": "2030-01-01T00:00:01Z" } });
    let suspended = json!({ "spec": { "state": "Suspended" } });
    for order in [[0, 1], [1, 0]] {
        let both = |first: Value| {
            let objects = [token(first), token(later.clone())];
            index(order.map(|at: usize| objects[at].clone()), IssuerRules::default())
        };
        assert_eq!(ask(&both(json!({})), "", "current").unwrap().subject(), "shop/ci");
        assert_eq!(
            denial(&both(suspended.clone()), "", "current"),
            Some(Denial::Suspended),
            "also where it denies"
        );
    }
}

#[test]
fn what_changed_counts_at_once_and_what_is_gone_is_unknown() {
    let mut index = index([token(json!({}))], IssuerRules::default());
    let put = |index: &mut Index, change: Value| index.put(Record::of(&token(change)).unwrap(), now());
    assert!(!put(&mut index, json!({ "spec": { "scopes": [] } })), "it works as before");
    let rotated = json!({ "status": { "token": { "id": "1111111122-2", "hash": token_value::hash(b"new") } } });
    assert!(put(&mut index, rotated.clone()), "the old value is taken away");
    assert_eq!(denial(&index, "", "current"), Some(Denial::Unknown));
    assert_eq!(
        ask(&index, "", "new").unwrap().token().map(|token| token.id.to_string()).as_deref(),
        Some("1111111122-2")
    );
    assert!(!put(&mut index, rotated), "nothing changed");
    index.keep(|record| &*record.uid != "11111111-2222");
    assert_eq!(denial(&index, "", "new"), Some(Denial::Unknown));
    assert!(index.is_empty());
}

#[test]
fn a_token_that_is_not_issued_yet_leaves_no_record() {
    assert!(Record::of(&token(json!({ "status": null }))).is_none());
    assert!(Record::of(&token(json!({ "status": { "token": null } }))).is_none());
    assert!(Record::of(&token(json!({ "status": { "token": { "hash": null } } }))).is_none());
}

#[test]
fn who_presents_a_token_is_told_with_its_own_id() {
    let previous = json!([{ "id": "1111111122-0", "hash": token_value::hash(b"previous"), "revokeAt": "2031-01-01T00:00:00Z" }]);
    let index = index([token(json!({ "status": { "previous": previous } }))], IssuerRules::default());
    for (value, id) in [("current", "1111111122-1"), ("previous", "1111111122-0")] {
        let bearer = ask(&index, "", value).unwrap();
        let token = bearer.token().unwrap();
        assert_eq!((bearer.subject().as_str(), &*token.id, &*token.account), ("shop/ci", id, "shop.ci"));
    }
}

#[test]
fn what_was_seen_of_a_token_stays_with_it_when_its_object_changes() {
    let mut index = index([token(json!({}))], IssuerRules::default());
    ask(&index, "", "current").unwrap().token().unwrap().uses.see(now());
    let previous = json!([{ "id": "1111111122-1", "hash": token_value::hash(b"current"), "revokeAt": "2031-01-01T00:00:00Z" }]);
    let rotated = json!({ "status": { "token": { "hash": token_value::hash(b"new") }, "previous": previous } });
    index.put(Record::of(&token(rotated)).unwrap(), now());
    let due = super::uses::due(&index, 10);
    let due: Vec<_> = due.iter().map(|due| (due.token().unwrap().role, due.used_at)).collect();
    assert_eq!(
        due,
        [(super::record::Role::Previous(0), now())],
        "as a use of the one that was replaced"
    );
}

#[test]
fn at_most_so_many_uses_are_written_at_once_those_first_that_were_told_longest_ago() {
    let used = |uid: &str, value: &str, known: Option<&str>| {
        let status = json!({ "token": { "hash": token_value::hash(value.as_bytes()), "lastUsedAt": known } });
        token(json!({ "metadata": { "uid": uid, "name": uid }, "status": status }))
    };
    let tokens = [
        used("a", "va", Some("2030-01-01T11:00:00Z")),
        used("b", "vb", None),
        used("c", "vc", Some("2030-01-01T10:00:00Z")),
        used("d", "vd", Some("2030-01-01T11:59:30Z")),
    ];
    let previous = json!([{ "hash": token_value::hash(b"ve"), "revokeAt": "2031-01-01T00:00:00Z", "lastUsedAt": "2030-01-01T11:50:00Z" }]);
    let replaced = token(json!({ "metadata": { "uid": "e", "name": "e" }, "status": { "previous": previous } }));
    let index = index(tokens.into_iter().chain([replaced]), IssuerRules::default());
    for value in ["va", "vb", "vc", "vd", "ve"] {
        ask(&index, "", value).unwrap().token().unwrap().uses.see(now());
    }
    let names = |most| {
        super::uses::due(&index, most)
            .iter()
            .map(|due| due.record.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(10), ["e", "b", "c", "a"], "a replaced one first; one is known to the minute");
    assert_eq!(names(2), ["e", "b"]);
    assert_eq!(names(1), ["e"], "whatever comes before it");
}
