//! The check against OpenAPI documents finds what it is there for.

use hyper::HeaderMap;
use serde_json::{Value, json};

use crate::fakes::{Reply, Request, amendments::Amendment, openapi::Document};

const DOCUMENT: &str = r##"
openapi: 3.0.1
paths:
  /things:
    post:
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/NewThing'}}}
      responses:
        '200': {content: {application/json: {schema: {type: array, items: {$ref: '#/components/schemas/Thing'}}}}}
        '204': {description: nothing}
        '404': {$ref: '#/components/responses/Lost'}
    get:
      responses:
        '200': {content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}
components:
  responses:
    Lost: {content: {application/json: {schema: {type: object, properties: {error: {type: string}}}}}}
  schemas:
    NewThing: {type: object, required: [name], properties: {name: {type: string}, at: {type: string, format: date-time, nullable: true}}}
    Base: {type: object, properties: {id: {type: integer}}, additionalProperties: false}
    Thing: {allOf: [{$ref: '#/components/schemas/Base'}], properties: {inner: {$ref: '#/components/schemas/NewThing'}, free: {type: object}}}
"##;

fn check(method: &str, asked: Option<Value>, status: u16, answered: Option<Value>) -> Vec<String> {
    check_with(&[], method, asked, status, answered)
}

fn check_with(amendments: &[Amendment], method: &str, asked: Option<Value>, status: u16, answered: Option<Value>) -> Vec<String> {
    let body = asked.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::new(method, &"/things".parse().unwrap(), HeaderMap::new(), body.into());
    let reply = answered.map_or_else(|| Reply::empty(status), |body| Reply::json(status, &body));
    Document::new(DOCUMENT, amendments).check("/things", &request, &reply)
}

#[test]
fn what_is_as_documented_passes() {
    let new = Some(json!({ "name": "a", "at": null }));
    for (status, body) in [
        (200, Some(json!([]))),
        (200, Some(json!([{ "id": 1, "inner": { "name": "x" }, "free": { "any": 1 } }]))),
        (204, None),
        (404, Some(json!({ "error": "Not Found" }))),
        (429, Some(json!("whatever"))),
        (503, None),
    ] {
        assert_eq!(check("POST", new.clone(), status, body), Vec::<String>::new());
    }
    let timed = json!({ "name": "a", "at": "2026-01-02T03:04:05Z" });
    assert!(check("POST", Some(timed), 204, None).is_empty());
    assert!(check("GET", None, 200, Some(json!({ "id": 1 }))).is_empty());
}

#[test]
fn what_is_not_is_found() {
    let new = || Some(json!({ "name": "a" }));
    for (what, method, asked, status, answered) in [
        ("a missing body", "POST", None, 204, None),
        ("a missing property", "POST", Some(json!({})), 204, None),
        ("an unknown property", "POST", Some(json!({ "name": "a", "secret": 1 })), 204, None),
        ("a wrong type", "POST", Some(json!({ "name": 1 })), 204, None),
        ("no time", "POST", Some(json!({ "name": "a", "at": "soon" })), 204, None),
        ("a null", "POST", Some(json!({ "name": null })), 204, None),
        ("a body where there is none", "GET", new(), 200, Some(json!({ "id": 1 }))),
        ("an answer where there is none", "POST", new(), 204, Some(json!({}))),
        ("an answer without its body", "POST", new(), 200, None),
        ("an answer of another type", "POST", new(), 200, Some(json!({}))),
        ("a wrong entry", "POST", new(), 200, Some(json!([{ "id": "1" }]))),
        (
            "an unknown property of an entry",
            "POST",
            new(),
            200,
            Some(json!([{ "id": 1, "secret": 1 }])),
        ),
        (
            "an unknown property further in",
            "GET",
            None,
            200,
            Some(json!({ "inner": { "name": "x", "secret": 1 } })),
        ),
        ("another status", "POST", new(), 201, None),
        ("a refusal of another shape", "POST", new(), 404, Some(json!({ "errors": "x" }))),
        ("another method", "PUT", None, 200, None),
    ] {
        let found = check(method, asked, status, answered);
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        assert!(!found[0].contains("\"a\""), "values stay out of it: {found:?}");
    }
}

#[test]
fn an_amendment_stands_instead_of_the_document() {
    let amendment = Amendment {
        documents: &[],
        pointer: "/components/schemas/NewThing/properties/color",
        value: || json!({ "type": "string" }),
        why: "things have colors",
    };
    let amendments = [amendment];
    let colored = |color: Value| check_with(&amendments, "POST", Some(json!({ "name": "a", "color": color })), 204, None);
    assert!(colored(json!("red")).is_empty());
    assert_eq!(colored(json!(1)).len(), 1);
}

#[test]
#[should_panic(expected = "needs no amendment")]
fn an_amendment_that_changes_nothing_is_noticed() {
    let amendment = Amendment {
        documents: &[],
        pointer: "/components/schemas/Base/type",
        value: || json!("object"),
        why: "it was otherwise once",
    };
    Document::new(DOCUMENT, &[amendment]);
}
