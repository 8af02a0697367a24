//! The borders inside the source: what is pure stays pure.

use std::{fs, path::Path};

use crate::support::control_plane::source;

/// What must not be named in a folder of `src/`, and why not.
const BORDERS: [(&str, &[&str], &str); 4] = [
    (
        "lifecycle",
        &[
            "kube::",
            "reqwest",
            "hyper",
            "axum",
            "tokio",
            "Timestamp::now",
            "SystemTime",
            "Instant",
            "rand::",
            "std::fs",
            "std::net",
            "std::env",
        ],
        "decisions are pure: no client, no HTTP, no clock, no randomness",
    ),
    (
        "verifier/lookup",
        &[
            "kube::",
            "reqwest",
            "hyper",
            "axum",
            "tokio",
            "tonic",
            "Timestamp::now",
            "SystemTime",
            "Instant",
            "std::fs",
            "std::net",
            "std::env",
            "crate::controller",
        ],
        "the lookup is pure: no client, no HTTP, no clock",
    ),
    (
        "issuers",
        &["kube::", "k8s_openapi", "crate::controller", "crate::api::ApiToken"],
        "an issuer knows nothing of Kubernetes",
    ),
    (
        "api",
        &[
            "kube::Client",
            "kube::Api",
            "kube::runtime",
            "reqwest",
            "hyper",
            "axum",
            "tokio",
            "std::fs",
            "std::net",
            "std::env",
            "Timestamp::now",
            "SystemTime",
        ],
        "the API does no I/O",
    ),
];

#[test]
fn no_border_is_crossed() {
    let crossings: Vec<String> = BORDERS
        .iter()
        .flat_map(|(folder, forbidden, why)| crossings(folder, forbidden, why))
        .collect();
    assert_eq!(crossings, Vec::<String>::new());
}

#[test]
fn a_crossing_is_seen() {
    for (_, forbidden, _) in BORDERS {
        let text = format!("use {}Something;", forbidden[0]);
        assert_eq!(named_in(&text, forbidden), [forbidden[0]]);
    }
    assert!(named_in("// kube::Client in a comment", &["kube::Client"]).is_empty());
    assert!(named_in("let a = 1;\n#[cfg(test)]\nmod tests { use rand::rng; }", &["rand::"]).is_empty());
}

fn crossings(folder: &str, forbidden: &[&str], why: &str) -> Vec<String> {
    let mut found = Vec::new();
    visit(&source().join("src").join(folder), &mut |path, text| {
        for name in named_in(text, forbidden) {
            found.push(format!("{} names {name}: {why}", path.display()));
        }
    });
    found
}

/// The forbidden names in code, comments and tests left out.
fn named_in<'a>(text: &str, forbidden: &[&'a str]) -> Vec<&'a str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    forbidden
        .iter()
        .filter(|name| lines.iter().any(|line| line.contains(**name)))
        .copied()
        .collect()
}

fn visit(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!entries.is_empty());
    for path in entries {
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            visit(&path, look);
        } else {
            look(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
