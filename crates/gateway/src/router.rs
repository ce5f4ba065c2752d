//! All paths, and what surrounds every request: limits, metrics, errors that are JSON.

use std::{any::Any, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{Method, StatusCode, Uri},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use telemetry::{Health, Metrics};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    ApiError, App, admin,
    limits::in_flight,
    openapi::{self, Document},
    v2, v3,
};

/// The whole REST interface.
pub(crate) fn router(app: Arc<App>, health: Health, metrics: Metrics) -> Router {
    let served = Arc::new(Semaphore::new(app.limits.requests_max));
    // Whether the process lives and is ready can be asked however much it serves.
    let document = Document::default();
    let (routes, described) = OpenApiRouter::with_openapi(openapi::outline())
        .merge(v2::routes())
        .merge(v3::routes())
        .merge(admin::routes())
        .with_state(app)
        .layer(from_fn_with_state(served, in_flight))
        .merge(openapi::health::routes(health, metrics))
        .merge(OpenApiRouter::new().routes(routes!(openapi::serve)).with_state(document.clone()))
        .split_for_parts();
    document.set(&described);
    let routes = routes
        .fallback(async |method: Method, uri: Uri| ApiError::not_found(&method, &uri))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            ApiError::method_not_allowed(&method, &uri)
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(measured));
    // The slash is taken off before a route is looked for, so around all routes.
    let trimmed = ServiceBuilder::new().map_request(without_trailing_slash).service(routes);
    Router::new().fallback_service(trimmed)
}

fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() || trimmed.len() == path.len() {
        return request;
    }
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = path_and_query.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

async fn measured(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::histogram!("anabranch_gateway_request_seconds", "route" => route.clone(), "method" => method)
        .record(start.elapsed().as_secs_f64());
    metrics::counter!("anabranch_gateway_requests_total", "route" => route, "method" => method, "status" => status)
        .increment(1);
    response
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("of unknown kind"), "a request panicked");
    let message = "the gateway failed on this request; whether it was carried out is unknown";
    ApiError::plain(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_not_the_end() {
        let panics = get(async || -> &'static str { panic!("on purpose") });
        let router = Router::new().route("/", panics).layer(CatchPanicLayer::custom(panicked));
        for _ in 0..2 {
            let answer = router.clone().oneshot(Request::new(Body::empty())).await.unwrap();
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
    }

    #[test]
    fn trailing_slashes_are_taken_off_and_queries_kept() {
        let trimmed = |uri: &'static str| {
            let request = Request::get(uri).body(Body::empty()).unwrap();
            without_trailing_slash(request).uri().to_string()
        };
        assert_eq!(trimmed("/topics//?a=/"), "/topics?a=/");
        assert_eq!(trimmed("/topics"), "/topics");
        assert_eq!(trimmed("/"), "/");
        assert_eq!(trimmed("http://h:1/topics/"), "http://h:1/topics");
    }
}
