//! What stands in the Secret, and whose it is.

use super::*;
use crate::api::api_token::Rotation;

#[test]
fn drift_in_the_secret_is_put_right_and_foreign_keys_survive() {
    let cases: [(&str, fn(&mut k8s_openapi::api::core::v1::Secret), &[&str]); 6] = [
        (
            "a foreign key is none of our business",
            |secret| {
                secret
                    .data
                    .get_or_insert_default()
                    .insert("theirs".into(), ByteString(b"x".to_vec()));
            },
            &[],
        ),
        (
            "a foreign label neither",
            |secret| {
                secret.metadata.labels.get_or_insert_default().insert("theirs".into(), "x".into());
            },
            &[],
        ),
        (
            "our label is gone",
            |secret| {
                secret.metadata.labels = None;
            },
            &["update_secret", "SecretUpdated"],
        ),
        (
            "an annotation of ours is wrong",
            |secret| {
                secret
                    .metadata
                    .annotations
                    .get_or_insert_default()
                    .insert(names::UID_ANNOTATION.into(), "x".into());
            },
            &["update_secret", "SecretUpdated"],
        ),
        (
            "a rendered key is wrong",
            |secret| {
                secret.data.get_or_insert_default().insert("URL".into(), ByteString(b"x".to_vec()));
            },
            &["update_secret", "SecretUpdated"],
        ),
        (
            "a rendered key is gone",
            |secret| {
                secret.data.get_or_insert_default().remove("URL");
            },
            &["update_secret", "SecretUpdated"],
        ),
    ];
    for (why, change, expected) in cases {
        let mut observed = situation();
        observed.edit(|token| token.spec.secret.template = [("URL".to_owned(), "https://x:{{ token }}@example.com".to_owned())].into());
        run(&mut observed);
        let hash = observed.recorded().token.clone().unwrap().hash;
        observed.secret = changed(&observed, change);
        let theirs = found_mut(&mut observed).bytes("theirs").map(<[u8]>::to_vec);
        assert_eq!(run(&mut observed), expected, "{why}");
        assert_eq!(found_mut(&mut observed).bytes("theirs").map(<[u8]>::to_vec), theirs, "{why}");
        assert_eq!(observed.recorded().token.clone().unwrap().hash, hash, "{why}: the value stays");
    }
}

#[test]
fn a_foreign_change_alone_causes_no_write() {
    let mut observed = issued();
    let before = observed.recorded().clone();
    observed.secret = changed(&observed, |secret| secret.metadata.resource_version = Some("999".into()));
    assert!(same_but_for_foreign_changes(&before, &rest(&observed).status));
}

#[test]
fn a_key_that_is_declared_no_more_goes_with_its_value() {
    let mut observed = issued();
    observed.secret = changed(&observed, |secret| {
        secret.metadata.managed_fields = Some(vec![
            serde_json::from_value(serde_json::json!({
                "manager": "apitoken-operator", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {".": {}, "f:token": {}}},
            }))
            .unwrap(),
        ]);
    });
    observed.respec(|spec| spec.secret.key = "password".into());
    assert_eq!(run(&mut observed), ["update_secret", "SecretUpdated"]);
    let secret = found_mut(&mut observed);
    assert_eq!(
        secret.bytes("password"),
        Some(value(1).expose().as_bytes()),
        "the value moves, it is not issued anew"
    );
    assert_eq!(secret.bytes("token"), None);
}

#[test]
fn a_secret_that_the_status_names_stays_ours_whoever_gives_it_an_owner() {
    let owner = |kind: &str, group: &str, name: &str| OwnerReference {
        api_version: format!("{group}/v1"),
        kind: kind.into(),
        name: name.into(),
        uid: "other".into(),
        ..Default::default()
    };
    let somebody = || vec![owner("Release", "example.com", "shop")];
    let another = || vec![owner("Release", "example.com", "shop"), owner("ApiToken", "apitoken.dev", "x")];
    for (why, recorded, label, name, owners, expected) in [
        ("recorded and marked", Some("ci"), names::MANAGER, "ci", somebody(), Ownership::Ours),
        ("nothing is recorded", None, names::MANAGER, "ci", somebody(), Ownership::Foreign),
        (
            "another Secret is recorded",
            Some("former"),
            names::MANAGER,
            "ci",
            somebody(),
            Ownership::Foreign,
        ),
        ("the label is another", Some("ci"), "Helm", "ci", somebody(), Ownership::Foreign),
        (
            "the name is another's",
            Some("ci"),
            names::MANAGER,
            "x",
            somebody(),
            Ownership::Foreign,
        ),
        (
            "another ApiToken owns it",
            Some("ci"),
            names::MANAGER,
            "ci",
            another(),
            Ownership::Foreign,
        ),
    ] {
        let mut observed = situation();
        observed.edit(|token| {
            token.status.get_or_insert_default().secret_ref = recorded.map(|name| crate::api::api_token::SecretStatus {
                name: name.into(),
                resource_version: None,
            });
        });
        let mut secret = k8s_openapi::api::core::v1::Secret::default();
        secret.metadata.name = Some("ci".into());
        secret.metadata.labels = Some([(names::MANAGED_BY_LABEL.to_owned(), label.to_owned())].into());
        secret.metadata.annotations = Some([(names::API_TOKEN_ANNOTATION.to_owned(), name.to_owned())].into());
        secret.metadata.owner_references = Some(owners);
        assert_eq!(FoundSecret::new(secret).ownership(&observed.token), expected, "{why}");
    }
}

/// The guard against foreign Secrets.
#[test]
fn a_secret_is_ours_by_uid_by_name_or_by_our_marks_and_never_else() {
    let observed = situation();
    let owner = |kind: &str, group: &str, name: &str, uid: &str| OwnerReference {
        api_version: format!("{group}/v1alpha1"),
        kind: kind.into(),
        name: name.into(),
        uid: uid.into(),
        ..Default::default()
    };
    let marks = |label: &str, name: &str| {
        let mut secret = k8s_openapi::api::core::v1::Secret::default();
        secret.metadata.labels = Some([(names::MANAGED_BY_LABEL.to_owned(), label.to_owned())].into());
        secret.metadata.annotations = Some([(names::API_TOKEN_ANNOTATION.to_owned(), name.to_owned())].into());
        secret
    };
    for (why, owners, label, name, expected) in [
        (
            "owned by our uid",
            vec![owner("ApiToken", "apitoken.dev", "ci", UID)],
            "",
            "",
            Ownership::Ours,
        ),
        (
            "owned by a former object of our name",
            vec![owner("ApiToken", "apitoken.dev", "ci", "old")],
            "",
            "",
            Ownership::Ours,
        ),
        (
            "owned by another ApiToken",
            vec![owner("ApiToken", "apitoken.dev", "x", "other")],
            names::MANAGER,
            "ci",
            Ownership::Foreign,
        ),
        (
            "owned by another kind of our name",
            vec![owner("ApiToken", "example.com", "ci", "other")],
            names::MANAGER,
            "ci",
            Ownership::Foreign,
        ),
        (
            "owned by a kind whose group begins like ours",
            vec![owner("ApiToken", "apitoken.dev.example.com", "ci", "x")],
            "",
            "",
            Ownership::Foreign,
        ),
        ("unowned, with our marks", vec![], names::MANAGER, "ci", Ownership::Ours),
        (
            "unowned, with our label and another's name",
            vec![],
            names::MANAGER,
            "x",
            Ownership::Foreign,
        ),
        ("unowned, with our name and another label", vec![], "Helm", "ci", Ownership::Foreign),
        ("unowned and unmarked", vec![], "", "", Ownership::Foreign),
    ] {
        let mut secret = marks(label, name);
        secret.metadata.owner_references = Some(owners);
        assert_eq!(FoundSecret::new(secret).ownership(&observed.token), expected, "{why}");
    }
}

#[test]
fn a_secret_of_another_type_is_left_alone() {
    let mut observed = issued();
    observed.secret = changed(&observed, |secret| secret.type_ = Some("kubernetes.io/basic-auth".into()));
    assert_eq!(run(&mut observed), ["SecretConflict"]);
}

/// As it stands in an unchanged Secret: nothing is read, and nothing written.
#[test]
fn a_secret_that_did_not_change_is_read_only_where_something_in_it_is_to_change() {
    let overlap = |observed: &mut Observed, revoke_at: &str, shown: bool| {
        let revoke_at = Time(at(revoke_at));
        observed.edit(|token| {
            token.spec.secret.include_previous = shown;
            token.status.as_mut().unwrap().previous = vec![replaced("0123456789-0", revoke_at)];
        });
    };
    let cases: [(&str, Box<dyn Fn(&mut Observed)>, bool); 11] = [
        ("all is as recorded", Box::new(|_| {}), false),
        (
            "the spec changed",
            Box::new(|o| o.respec(|spec| spec.description = Some("x".into()))),
            true,
        ),
        (
            "another Secret is declared",
            Box::new(|o| o.edit(|token| token.spec.secret.name = Some("moved".into()))),
            true,
        ),
        ("a rotation is due", Box::new(rotates), true),
        (
            "a rotation is due, of a suspended token",
            Box::new(|o| {
                rotates(o);
                o.edit(|token| token.spec.state = DesiredState::Suspended);
            }),
            false,
        ),
        (
            "a value is announced",
            Box::new(|o| {
                let mut other = issued();
                rotates(&mut other);
                other.secret = ObservedSecret::Found(secret_of(&other, 1));
                run(&mut other);
                let pending = other.recorded().pending.clone();
                assert!(pending.is_some());
                o.edit(|token| token.status.as_mut().unwrap().pending = pending);
            }),
            true,
        ),
        (
            "an overlap runs, and is shown",
            Box::new(move |o| overlap(o, "2030-01-01T00:00:01Z", true)),
            false,
        ),
        ("an overlap is over, and was shown", Box::new(move |o| overlap(o, NOW, true)), true),
        ("an overlap is over, and was not", Box::new(move |o| overlap(o, NOW, false)), false),
        (
            "the value had its time",
            Box::new(|o| o.edit(|token| token.status.as_mut().unwrap().state = Some(ObservedState::Expired))),
            true,
        ),
        (
            "it was not found as declared",
            Box::new(|o| o.edit(|token| token.status.as_mut().unwrap().conditions.clear())),
            true,
        ),
    ];
    for (why, change, read) in cases {
        let mut observed = issued();
        change(&mut observed);
        assert_eq!(next_step(&observed), read.then_some("read_secret"), "{why}");
    }
}

/// An hour passes, and a rotation is due.
fn rotates(observed: &mut Observed) {
    observed.now = at("2030-01-01T01:00:00Z");
    observed.edit(|token| {
        token.spec.rotation = Some(Box::new(Rotation {
            interval: hours("1h"),
            ..Default::default()
        }));
    });
}

#[test]
fn a_new_secret_says_whose_it_is_and_what_it_holds() {
    let mut observed = situation();
    observed.edit(|token| {
        token.spec.lifetime = hours("1h");
        token.spec.secret.type_ = "example.com/token".into();
        token.spec.secret.labels = [("team".to_owned(), "shop".to_owned())].into();
        token.spec.secret.annotations = [("example.com/note".to_owned(), "x".to_owned())].into();
        let all = "{{ token }} {{ previousToken }} {{ account }} {{ id }} {{ name }} {{ namespace }}";
        token.spec.secret.template = [("all".to_owned(), all.to_owned())].into();
    });
    run(&mut observed);
    let secret = found_mut(&mut observed).object().clone();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        (secret.metadata.name, secret.metadata.namespace),
        (Some(text("ci")), Some(text("shop")))
    );
    assert_eq!(secret.type_, Some(text("example.com/token")));
    assert_eq!(
        secret.metadata.labels,
        Some(
            [
                (text("team"), text("shop")),
                (names::MANAGED_BY_LABEL.into(), names::MANAGER.into())
            ]
            .into()
        )
    );
    assert_eq!(
        secret.metadata.annotations,
        Some(
            [
                ("example.com/note", "x"),
                (names::API_TOKEN_ANNOTATION, "ci"),
                (names::UID_ANNOTATION, UID),
                (names::TOKEN_ID_ANNOTATION, "0123456789-1"),
                (names::HASH_ANNOTATION, &value(1).hash()),
                (names::ISSUED_AT_ANNOTATION, NOW),
                (names::EXPIRES_AT_ANNOTATION, "2030-01-01T01:00:00Z"),
            ]
            .map(|(name, value)| (text(name), text(value)))
            .into()
        )
    );
    let all = format!("{}  shop.ci 0123456789-1 ci shop", value(1).expose());
    assert!(
        secret.data
            == Some(
                [(text("token"), value(1).expose()), (text("all"), &all)]
                    .map(|(key, text)| (key, ByteString(text.into())))
                    .into()
            )
    );
    let owner = OwnerReference {
        api_version: text("apitoken.dev/v1alpha1"),
        kind: text("ApiToken"),
        name: text("ci"),
        uid: text(UID),
        controller: Some(true),
        block_owner_deletion: None,
    };
    assert_eq!(secret.metadata.owner_references, Some(vec![owner]));
}

#[test]
fn a_secret_that_is_to_stay_has_no_owner_of_ours() {
    let mut observed = issued().respecced(|spec| spec.secret.deletion_policy = SecretDeletionPolicy::Retain);
    observed.secret = changed(&issued(), |_| {});
    assert_eq!(run(&mut observed), ["update_secret", "SecretUpdated"]);
    assert_eq!(found_mut(&mut observed).object().metadata.owner_references, None);
}

#[test]
fn a_former_object_of_our_name_owns_nothing_any_more_and_foreign_owners_remain() {
    let owner = |api_version: &str, kind: &str, name: &str| OwnerReference {
        api_version: api_version.into(),
        kind: kind.into(),
        name: name.into(),
        uid: "x".into(),
        ..Default::default()
    };
    let foreign = [
        owner("example.com/v1", "ApiToken", "ci"),
        owner("apitoken.dev/v1alpha1", "Other", "ci"),
        owner("apitoken.dev/v1alpha1", "ApiToken", "other"),
    ];
    let mut observed = issued();
    observed.secret = changed(&observed, |secret| {
        let mut owners = foreign.to_vec();
        owners.push(owner("apitoken.dev/v1alpha1", "ApiToken", "ci"));
        secret.metadata.owner_references = Some(owners);
    });
    assert_eq!(run(&mut observed), ["update_secret", "SecretUpdated"]);
    let owners = found_mut(&mut observed).object().metadata.owner_references.clone().unwrap();
    assert_eq!((&owners[..3], owners.len(), owners[3].uid.as_str()), (&foreign[..], 4, UID));
}

#[test]
fn what_we_declared_once_goes_and_what_others_wrote_stays() {
    for (manager, stays) in [("apitoken-operator", false), ("kubectl", true)] {
        let mut observed = issued();
        observed.secret = changed(&observed, |secret| {
            secret.metadata.managed_fields = Some(vec![
                serde_json::from_value(serde_json::json!({
                    "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:data": {"f:old": {}},
                        "f:metadata": {"f:labels": {"f:old": {}}, "f:annotations": {"f:old": {}}},
                    },
                }))
                .unwrap(),
            ]);
            secret.data.get_or_insert_default().insert("old".into(), ByteString(b"x".to_vec()));
            secret.metadata.labels.get_or_insert_default().insert("old".into(), "x".into());
            secret.metadata.annotations.get_or_insert_default().insert("old".into(), "x".into());
        });
        run(&mut observed);
        let found = found_mut(&mut observed);
        let label = found.object().metadata.labels.as_ref().unwrap().contains_key("old");
        assert_eq!(
            (found.bytes("old").is_some(), label, found.annotation("old").is_some()),
            (stays, stays, stays),
            "{manager}"
        );
    }
}

#[test]
fn credentials_of_the_cluster_itself_are_nobodys_to_take_over() {
    for (type_, of_the_cluster) in [
        ("Opaque", false),
        ("kubernetes.io/basic-auth", false),
        ("kubernetes.io/ssh-auth", false),
        ("kubernetes.io/dockercfg", false),
        ("kubernetes.io/dockerconfigjson", false),
        ("kubernetes.io/tls", true),
        ("kubernetes.io/service-account-token", true),
        ("bootstrap.kubernetes.io/token", true),
        ("helm.sh/release.v1", true),
        ("example.com/token", false),
    ] {
        let secret = k8s_openapi::api::core::v1::Secret {
            type_: Some(type_.into()),
            ..Default::default()
        };
        let found = FoundSecret::new(secret);
        assert_eq!(crate::lifecycle::secret::is_of_the_cluster(&found), of_the_cluster, "{type_}");
    }
}

#[test]
fn a_value_that_ends_is_marked_though_it_is_not_under_its_key() {
    for (why, change) in [("it is there", None), ("the key is gone", Some("token"))] {
        let mut observed = issued().respecced(|spec| {
            spec.state = DesiredState::Revoked;
            spec.secret.deletion_policy = SecretDeletionPolicy::Retain;
        });
        observed.secret = changed(&observed, |secret| {
            secret.data.get_or_insert_default().retain(|key, _| Some(key.as_str()) != change);
        });
        assert_eq!(run(&mut observed), ["update_secret", "Revoked"], "{why}");
        let hash = value(1).hash();
        assert_eq!(
            found_mut(&mut observed).annotation(names::ENDED_ANNOTATION),
            Some(hash.as_str()),
            "{why}"
        );
    }
}
