//! Renders the templates of `spec.secret.template`.
//!
//! Templates are tenants' code that runs inside the operator, so they get expressions and nothing
//! else: no statements, no functions, two filters, bounded fuel and bounded output. What could make
//! a small template large in memory (`{% set %}`, string repetition) is refused before it runs.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, context, syntax::SyntaxConfig};
use zeroize::Zeroizing;

/// Instructions that one template may run.
const FUEL: u64 = 10_000;
/// Bytes that one rendered key may have, and that a filter takes.
pub const MAX_OUTPUT: usize = 64 * 1024;
/// Bytes that all rendered keys of one Secret may have together.
pub const MAX_TOTAL_OUTPUT: usize = 512 * 1024;

/// What a template can name.
pub struct Variables<'a> {
    /// The current value.
    pub token: &'a str,
    /// The value before it, while an overlap runs; else empty.
    pub previous_token: &'a str,
    /// Owning account at the issuer.
    pub account: &'a str,
    /// The token's id at the issuer.
    pub id: &'a str,
    /// Name of the ApiToken.
    pub name: &'a str,
    /// Namespace of the ApiToken.
    pub namespace: &'a str,
    /// The declared scopes.
    pub scopes: &'a [String],
}

/// Why a template can't be rendered. Shows the key, the line and the kind; never what was rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template is wrong, or asks for what there is not.
    #[error("secret.template[{key}], line {line}: {kind}")]
    Invalid {
        /// Key of the template.
        key: String,
        /// Line in the template, from 1.
        line: usize,
        /// What is wrong, in the words of the template engine.
        kind: String,
    },
    /// The template uses what templates here don't have.
    #[error(
        "secret.template[{key}]: {what}; templates here have expressions only, such as {{{{ token }}}} and {{{{ token | b64encode }}}}"
    )]
    NotAvailable {
        /// Key of the template.
        key: String,
        /// What is not available.
        what: &'static str,
    },
    /// One key, or all together, came out too long.
    #[error("secret.template[{key}]: the rendered text is too long; at most 64 KiB a key and 512 KiB together")]
    TooLong {
        /// Key of the template.
        key: String,
    },
}

/// Renders every template with the same variables.
///
/// # Errors
/// The first template, in the order of keys, that can't be rendered.
pub fn render(
    templates: &BTreeMap<String, String>,
    variables: &Variables<'_>,
) -> Result<BTreeMap<String, Zeroizing<String>>, TemplateError> {
    let environment = environment();
    let mut rendered = BTreeMap::new();
    let mut total = 0;
    for (key, source) in templates {
        let text = render_one(&environment, key, source, variables)?;
        total += text.len();
        if text.len() > MAX_OUTPUT || total > MAX_TOTAL_OUTPUT {
            return Err(TemplateError::TooLong { key: key.clone() });
        }
        rendered.insert(key.clone(), text);
    }
    Ok(rendered)
}

fn render_one(
    environment: &Environment<'_>,
    key: &str,
    source: &str,
    variables: &Variables<'_>,
) -> Result<Zeroizing<String>, TemplateError> {
    refuse_what_can_grow(key, source)?;
    let values = context! {
        token => variables.token,
        previousToken => variables.previous_token,
        account => variables.account,
        id => variables.id,
        name => variables.name,
        namespace => variables.namespace,
        scopes => variables.scopes.to_vec(),
    };
    environment
        .render_str(source, values)
        .map(Zeroizing::new)
        .map_err(|error| TemplateError::Invalid {
            key: key.to_owned(),
            line: error.line().unwrap_or(1),
            kind: error.kind().to_string(),
        })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // What a user wrote comes out as written, the last line's end included.
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default());
    environment.set_fuel(Some(FUEL));
    environment.add_filter("b64encode", b64encode);
    environment.add_filter("tojson", tojson);
    environment
}

/// A variable that is set twice as long a hundred times, or a string repeated a hundred million
/// times, costs little fuel and all memory.
fn refuse_what_can_grow(key: &str, source: &str) -> Result<(), TemplateError> {
    let expressions = match (source.find("{{"), source.rfind("}}")) {
        (Some(start), Some(end)) => source.get(start..end).unwrap_or_default(),
        _ => "",
    };
    let what = if source.contains("{%") {
        "there are no statements ({% ... %})"
    } else if expressions.contains('*') {
        "the character * can't stand in or between expressions"
    } else {
        return Ok(());
    };
    Err(TemplateError::NotAvailable { key: key.to_owned(), what })
}

fn b64encode(text: &str) -> Result<String, Error> {
    bounded(text.len())?;
    Ok(BASE64_STANDARD.encode(text))
}

fn tojson(value: &Value) -> Result<String, Error> {
    let json = serde_json::to_string(value).map_err(|_| Error::from(ErrorKind::BadSerialization))?;
    bounded(json.len())?;
    Ok(json)
}

fn bounded(length: usize) -> Result<(), Error> {
    if length > MAX_OUTPUT {
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(scopes: &[String]) -> Variables<'_> {
        Variables {
            token: "apt_v\"x",
            previous_token: "",
            account: "shop.ci",
            id: "0123456789-1",
            name: "ci",
            namespace: "shop",
            scopes,
        }
    }

    fn render_text(source: &str) -> Result<String, TemplateError> {
        let templates = BTreeMap::from([("K".to_owned(), source.to_owned())]);
        let scopes = ["a:read".to_owned(), "b".to_owned()];
        render(&templates, &variables(&scopes)).map(|mut rendered| rendered.remove("K").unwrap().to_string())
    }

    #[test]
    fn what_users_write_comes_out() {
        for (source, expected) in [
            ("{{ token }}", "apt_v\"x"),
            (
                "machine x login {{ account }} password {{ token }}\n",
                "machine x login shop.ci password apt_v\"x\n",
            ),
            ("{{ ('u:' ~ token) | b64encode }}", "dTphcHRfdiJ4"),
            (r#"{"t":{{ token | tojson }}}"#, r#"{"t":"apt_v\"x"}"#),
            ("{{ scopes | tojson }}", r#"["a:read","b"]"#),
            ("{{ id }} {{ name }} {{ namespace }}", "0123456789-1 ci shop"),
            ("{{ previousToken if previousToken else 'none' }}", "none"),
            ("<{{ token }}> * 5", "<apt_v\"x> * 5"),
        ] {
            assert_eq!(render_text(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_key_line_and_kind_and_without_the_value() {
        for (source, expected) in [
            ("a\n{{ tokn }}", "secret.template[K], line 2: undefined value"),
            ("{{ token", "secret.template[K], line 1: syntax error"),
            ("{{ token | upper }}", "secret.template[K], line 1: unknown filter"),
            ("{{ range(5) }}", "secret.template[K], line 1: unknown function"),
        ] {
            assert_eq!(render_text(source).unwrap_err().to_string(), expected, "{source}");
        }
    }

    #[test]
    fn a_small_template_cannot_grow_large() {
        let chained = format!("{{{{ token{} }}}}", " | b64encode".repeat(600));
        let quoted = format!("{{{{ token{} }}}}", " | tojson".repeat(600));
        let set = "{% set a = 'xxxxxxxx' %}".to_owned() + &"{% set a = a ~ a %}".repeat(60);
        for source in [chained.as_str(), &quoted] {
            assert!(render_text(source).is_err(), "{}", source.get(..40).unwrap_or(source));
        }
        for source in [
            set.as_str(),
            "{{ 'x' * 100000000 }}",
            "{{ '}}' ~ 'x' * 100000000 ~ '}}' }}",
            "{{ [token] * 99999 }}",
        ] {
            let refused = matches!(render_text(source), Err(TemplateError::NotAvailable { .. }));
            assert!(refused, "before it runs: {}", source.get(..40).unwrap_or(source));
        }
    }

    #[test]
    fn each_key_is_bounded() {
        assert_eq!(MAX_OUTPUT, 65_536);
        assert!(render_text(&"x".repeat(65_536)).is_ok());
        assert_eq!(
            render_text(&"x".repeat(65_537)).err(),
            Some(TemplateError::TooLong { key: "K".into() })
        );
    }

    #[test]
    fn all_keys_together_are_bounded() {
        assert_eq!(MAX_TOTAL_OUTPUT, 524_288);
        let long = "x".repeat(MAX_OUTPUT);
        let mut templates: BTreeMap<String, String> = (0..8).map(|n| (format!("k{n}"), long.clone())).collect();
        assert!(render(&templates, &variables(&[])).is_ok(), "just as long as they may be");
        templates.insert("k8".into(), "x".into());
        assert_eq!(
            render(&templates, &variables(&[])).err(),
            Some(TemplateError::TooLong { key: "k8".into() })
        );
    }

    #[test]
    fn what_a_filter_takes_is_bounded() {
        let text = |length: usize| "x".repeat(length);
        assert!(b64encode(&text(65_536)).is_ok());
        assert!(b64encode(&text(65_537)).is_err());
        let quotes = 2;
        assert!(tojson(&Value::from(text(65_536 - quotes))).is_ok());
        assert!(tojson(&Value::from(text(65_537 - quotes))).is_err());
    }
}
