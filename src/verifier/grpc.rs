//! The verifier for Envoy: `envoy.service.auth.v3.Authorization/Check`. The question comes from the route's
//! `context_extensions` alone, which no client can write.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue as EnvoyHeader, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{
            CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::HttpRequest,
            authorization_server::{Authorization, AuthorizationServer},
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::rpc,
};
use tonic::{Code, Request, Response, Status, service::Routes};

use super::{
    Verifier,
    bearer::{API_KEY, Challenge},
    forward_auth,
    lookup::question::Question,
};

/// The longest request that is read: a whole set of headers, and what Envoy tells beside.
const LONGEST: usize = 128 * 1024;

/// Answers Envoy.
pub fn router(verifier: Arc<Verifier>) -> axum::Router {
    let service = AuthorizationServer::new(Checks { verifier }).max_decoding_message_size(LONGEST);
    Routes::new(service).prepare().into_axum_router()
}

struct Checks {
    verifier: Arc<Verifier>,
}

#[tonic::async_trait]
impl Authorization for Checks {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let question = Question::from_pairs(&attributes.context_extensions);
        let headers = attributes
            .request
            .and_then(|request| request.http)
            .map(credentials)
            .unwrap_or_default();
        let answer = match forward_auth::authorize(&self.verifier, question, &headers) {
            Ok(bearer) => passed(forward_auth::identity(&bearer)),
            Err(challenge) => refused(&challenge),
        };
        Ok(Response::new(answer))
    }
}

/// The headers that may carry a token. Envoy joins lines of one name with a comma, which no token has.
fn credentials(request: HttpRequest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [AUTHORIZATION, API_KEY] {
        let value = request.headers.get(name.as_str()).map(|value| HeaderValue::from_str(value));
        if let Some(value) = value {
            // What can't be a header can't be a token: it is turned away as one.
            headers.insert(name, value.unwrap_or_else(|_| HeaderValue::from_static("Bearer ?")));
        }
    }
    headers
}

fn passed(identity: [(&'static str, String); 4]) -> CheckResponse {
    let headers = identity.into_iter().map(|(name, value)| header(name, value));
    CheckResponse {
        status: Some(status(Code::Ok)),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: headers.collect(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn refused(challenge: &Challenge) -> CheckResponse {
    let authenticate = Some(challenge.authenticate.clone()).filter(|value| !value.is_empty());
    let name = HeaderName::from_static("www-authenticate");
    let headers = authenticate.into_iter().map(|value| header(name.as_str(), value)).collect();
    CheckResponse {
        status: Some(status(Code::PermissionDenied)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: i32::from(challenge.status.as_u16()),
            }),
            headers,
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// In place of what the client sent, also where it is empty.
fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(EnvoyHeader {
            key: name.to_owned(),
            value,
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        keep_empty_value: true,
        ..Default::default()
    }
}

fn status(code: Code) -> rpc::Status {
    rpc::Status {
        code: code.into(),
        ..Default::default()
    }
}
