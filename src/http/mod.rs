//! The API: `request -> who -> handler -> answer`. The table below is all of it.
//!
//! Handlers live in [`api`], one file a resource; they give a value or a [`Problem`]. Bodies are read in [`body`] only.

pub mod api;
pub mod body;
pub mod listen;
pub mod problem;
pub mod query;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::access::{self, Access, Need, Who};
use crate::compute::compute;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::notify::dispatch::Dispatch;
use crate::shard::Shard;
use crate::state::Reader;
use crate::subscription::keeper::Keeper;
use api::{
    endpoint_patches, endpoints, events, exemptions, feeds, patch_lists, patches, questions, reports, rules, sinks, system, tasks, uploads,
};
use problem::{Kind, Problem};
use query::Query;

pub type Answer = Result<Response<Full<Bytes>>, Problem>;
type Handling = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Who may call a route. `{id}` is its first parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    Anyone,
    Admin,
    /// The endpoint `{id}`.
    Own,
    OwnOrAdmin,
    AnyEndpoint,
    AnyEndpointOrAdmin,
}

pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub guard: Guard,
    handler: fn(Call) -> Handling,
}

macro_rules! routes {
    ($($method:ident $path:literal $guard:ident $handler:path;)*) => {
        /// Every route: method, path, who may, what answers.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            guard: Guard::$guard,
            handler: |call| Box::pin($handler(call)),
        }),*];
    };
}

routes! {
    // Endpoints and what they send.
    POST   "/v1/enroll"                                  Anyone             uploads::enroll;
    PUT    "/v1/endpoints/{id}/scan"                     Own                uploads::scan;
    POST   "/v1/endpoints/{id}/checkin"                  Own                uploads::check_in;
    GET    "/v1/dictionary"                              AnyEndpoint        uploads::dictionary;
    GET    "/v1/collect"                                 AnyEndpointOrAdmin uploads::collect;
    // The fleet.
    GET    "/v1/endpoints"                               Admin              endpoints::list;
    GET    "/v1/endpoints/{id}"                          OwnOrAdmin         endpoints::one;
    DELETE "/v1/endpoints/{id}"                          Admin              endpoints::remove;
    GET    "/v1/endpoints/{id}/scan"                     Admin              endpoints::scan;
    GET    "/v1/endpoints/{id}/verdicts"                 Admin              endpoints::verdicts;
    GET    "/v1/endpoints/{id}/verdicts/{rule}/explain"  Admin              endpoints::explain;
    GET    "/v1/endpoints/{id}/episodes"                 Admin              endpoints::episodes;
    // Rules.
    GET    "/v1/rules"                                   Admin              rules::list;
    GET    "/v1/rules/{rule}"                            Admin              rules::one;
    GET    "/v1/rules/{rule}/endpoints"                  Admin              rules::endpoints;
    GET    "/v1/packs"                                   Admin              rules::packs;
    // Questions to the fleet.
    POST   "/v1/query"                                   Admin              questions::ask;
    POST   "/v1/whatif"                                  Admin              questions::what_if;
    // What was, and how it came along.
    GET    "/v1/asof"                                    Admin              reports::as_of;
    GET    "/v1/trends"                                  Admin              reports::over_time;
    // Patches, and what people decide about them.
    GET    "/v1/patches"                                 Admin              patches::list;
    GET    "/v1/patches/{patch}"                         Admin              patches::one;
    GET    "/v1/patches/{patch}/endpoints"               Admin              patches::endpoints;
    GET    "/v1/endpoints/{id}/patches"                  Admin              endpoint_patches::list;
    GET    "/v1/endpoints/{id}/patches/{patch}"          Admin              endpoint_patches::why;
    GET    "/v1/endpoints/{id}/plan"                     Admin              endpoint_patches::steps;
    GET    "/v1/patch-lists"                             Admin              patch_lists::list;
    GET    "/v1/patch-lists/{name}"                      Admin              patch_lists::one;
    PUT    "/v1/patch-lists/{name}"                      Admin              patch_lists::keep;
    GET    "/v1/patch-lists/{name}/versions"             Admin              patch_lists::versions;
    GET    "/v1/exemptions"                              Admin              exemptions::list;
    POST   "/v1/exemptions"                              Admin              exemptions::add;
    DELETE "/v1/exemptions/{exemption}"                  Admin              exemptions::end;
    // What vendors publish.
    GET    "/v1/feeds"                                   Admin              feeds::list;
    GET    "/v1/feeds/{feed}"                            Admin              feeds::one;
    POST   "/v1/feeds/{feed}/sync"                       Admin              feeds::sync;
    PUT    "/v1/feeds/{feed}/content"                    Admin              feeds::content;
    // What happened, and who is told.
    GET    "/v1/events"                                  Admin              events::list;
    GET    "/v1/sinks"                                   Admin              sinks::list;
    GET    "/v1/deliveries"                              Admin              sinks::deliveries;
    POST   "/v1/sinks/{sink}/redeliver"                  Admin              sinks::redeliver;
    POST   "/v1/sinks/{sink}/test"                       Admin              sinks::test;
    // What is to be deployed.
    GET    "/v1/tasks"                                   Admin              tasks::list;
    GET    "/v1/endpoints/{id}/tasks"                    OwnOrAdmin         tasks::of_endpoint;
    POST   "/v1/tasks/{task}/result"                     AnyEndpoint        tasks::result;
    // The daemon itself.
    GET    "/v1/status"                                  Admin              system::status;
    POST   "/-/reload"                                   Admin              system::reload;
    GET    "/-/healthy"                                  Anyone             system::healthy;
    GET    "/-/ready"                                    Anyone             system::ready;
    GET    "/livez"                                      Anyone             system::healthy;
    GET    "/healthz"                                    Anyone             system::healthy;
    GET    "/readyz"                                     Anyone             system::ready;
    GET    "/metrics"                                    Anyone             system::metrics;
    GET    "/openapi.json"                               Anyone             system::openapi;
    GET    "/"                                           Anyone             system::index;
}

/// What is there once the fleet is loaded.
pub struct Core {
    pub ingest: Arc<Ingest>,
    pub reader: Arc<dyn Reader>,
    pub access: Access,
    pub dispatch: Arc<Dispatch>,
    pub feeds: Arc<Keeper>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Loading = 0,
    Ready = 1,
    Draining = 2,
}

/// What the last attempt to read the configuration came to.
#[derive(Clone, Debug, Default)]
pub struct LastReload {
    pub at: jiff::Timestamp,
    /// Empty: it was taken.
    pub problems: Vec<String>,
}

/// Everything that handlers work with.
pub struct App {
    core: OnceLock<Core>,
    pub config: ArcSwap<Config>,
    pub metrics: Arc<Metrics>,
    phase: AtomicU8,
    pub started: jiff::Timestamp,
    pub last_reload: Mutex<LastReload>,
    /// One reload at a time.
    pub reloading: tokio::sync::Mutex<()>,
    requests: AtomicU64,
}

impl App {
    pub fn new(config: Config, metrics: Arc<Metrics>, now: jiff::Timestamp) -> App {
        // Ids of requests differ between runs without a random source.
        let seed = u64::try_from(now.as_millisecond()).unwrap_or(0) << 20;
        App {
            core: OnceLock::new(),
            config: ArcSwap::from_pointee(config),
            metrics,
            phase: AtomicU8::new(Phase::Loading as u8),
            started: now,
            last_reload: Mutex::new(LastReload { at: now, problems: Vec::new() }),
            reloading: tokio::sync::Mutex::new(()),
            requests: AtomicU64::new(seed),
        }
    }

    /// The fleet is loaded. Requests are answered from [`App::enter`] with `Ready` on.
    pub fn load(&self, core: Core) {
        // INVARIANT: a server loads once.
        drop(self.core.set(core));
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Loading,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// What was loaded, whether or not it may be answered from yet.
    pub fn loaded(&self) -> Option<&Core> {
        self.core.get()
    }

    /// What requests are answered from.
    pub fn core(&self) -> Result<&Core, Problem> {
        if self.phase() == Phase::Loading {
            return Err(Problem::not_ready());
        }
        self.core.get().ok_or_else(Problem::not_ready)
    }

    async fn authorise(&self, headers: &HeaderMap, need: Need<'_>) -> Result<Who, Problem> {
        if need == Need::Anyone {
            return Ok(Who::Anyone);
        }
        let core = self.core()?;
        let known = match access::claims(headers) {
            Some(id) => core.ingest.look(|shard| shard.fleet.find(&id).and_then(|at| shard.fleet.get(at)).map(|e| e.key_hash)).await,
            None => None,
        };
        Ok(core.access.authorise(headers, need, known)?)
    }
}

/// A body that a handler may take; what nobody takes is dealt with afterwards.
type Body = Arc<Mutex<Option<Incoming>>>;

/// One request on its way to its handler.
pub struct Call {
    pub app: Arc<App>,
    pub params: Vec<String>,
    query: String,
    pub headers: HeaderMap,
    pub who: Who,
    body: Body,
}

/// Bytes of a body that is not a scan.
const CONTROL_BODY: usize = 64 << 10;

impl Call {
    pub fn core(&self) -> Result<&Core, Problem> {
        self.app.core()
    }

    pub fn param(&self, at: usize) -> &str {
        self.params.get(at).map_or("", String::as_str)
    }

    /// The query, which may have these parameters and no others.
    pub fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(&self.query, known)
    }

    /// The whole body, within the limits.
    pub async fn body(&self, limit: usize) -> Result<Bytes, Problem> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body else { return Ok(Bytes::new()) };
        let seconds = self.app.config.load().limits.request_seconds;
        Ok(body::read(body, &self.headers, limit, seconds).await?)
    }

    /// The body as it comes.
    pub fn pieces(&self, limit: usize) -> Result<Option<body::Pieces>, Problem> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body else { return Ok(None) };
        let seconds = self.app.config.load().limits.request_seconds;
        Ok(Some(body::Pieces::new(body, &self.headers, limit, seconds)?))
    }

    /// The whole body into a file, within a limit; it may take as long as it goes on coming.
    pub async fn body_into(&self, file: &mut tokio::fs::File, limit: u64) -> Result<u64, Problem> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body else { return Ok(0) };
        let seconds = self.app.config.load().limits.request_seconds;
        Ok(body::pour(body, &self.headers, file, limit, seconds).await?)
    }

    /// A small JSON body.
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.json_within(CONTROL_BODY).await
    }

    /// The same of one that may be larger.
    pub async fn json_within<T: DeserializeOwned>(&self, limit: usize) -> Result<T, Problem> {
        let body = self.body(limit).await?;
        serde_json::from_slice(&body).map_err(|e| {
            let kind = if e.is_data() { Kind::Invalid } else { Kind::BadRequest };
            Problem::new(kind, format!("the JSON body: {e}"))
        })
    }

    /// Looks something up in the fleet, off the threads that wait. What it gives is serialised after the fleet is let go.
    pub async fn fleet<T: Send + 'static>(&self, work: impl FnOnce(&Shard) -> T + Send + 'static) -> Result<T, Problem> {
        let ingest = self.core()?.ingest.clone();
        Ok(compute(move || work(&ingest.read())).await?)
    }
}

pub fn ok(value: &impl Serialize) -> Answer {
    json(StatusCode::OK, value)
}

pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|e| Problem::new(Kind::Internal, format!("the answer cannot be written: {e}")))?;
    let mut response = bytes(body, "application/json");
    *response.status_mut() = status;
    Ok(response)
}

pub fn bytes(body: impl Into<Bytes>, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The values of a pattern's parameters, if a path fits it.
fn fit(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let mut given = path.split('/');
    for wanted in pattern.split('/') {
        let segment = given.next()?;
        if wanted.starts_with('{') {
            params.push(query::decode(segment, false).filter(|s| !s.is_empty())?);
        } else if wanted != segment {
            return None;
        }
    }
    given.next().is_none().then_some(params)
}

/// The route of a request, or the problem that it has none.
fn find(method: &Method, path: &str) -> Result<(&'static Route, Vec<String>), Problem> {
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    let mut allowed: Vec<&str> = Vec::new();
    for route in ROUTES {
        if let Some(params) = fit(route.path, path) {
            if route.method == *wanted {
                return Ok((route, params));
            }
            allowed.push(route.method.as_str());
            if route.method == Method::GET {
                allowed.push("HEAD");
            }
        }
    }
    if allowed.is_empty() {
        return Err(Problem::new(Kind::NotFound, format!("nothing is at `{path}`; `/` names what there is")));
    }
    Err(Problem::method_not_allowed(method.as_str(), &allowed.join(", ")))
}

/// Answers one request.
pub async fn answer(app: Arc<App>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let id = format!("{:016x}", app.requests.fetch_add(1, Ordering::Relaxed));
    let (head, body) = request.into_parts();
    let expects = head.headers.contains_key(hyper::header::EXPECT);
    let body: Body = Arc::new(Mutex::new(Some(body)));
    let found = find(&head.method, head.uri.path());
    let label = found.as_ref().map_or_else(|_| "other".to_owned(), |(route, _)| format!("{} {}", route.method, route.path));
    let span = tracing::info_span!("request", id, method = %head.method, path = head.uri.path());
    let query = head.uri.query().unwrap_or_default().to_owned();
    let handling = handle(app.clone(), found, query, head.headers, body.clone());
    let result = handling.instrument(span.clone()).await;
    let _entered = span.enter();
    let mut response = result.unwrap_or_else(|problem| {
        tracing::info!(status = problem.kind().status().as_u16(), problem = problem.kind().slug(), detail = problem.detail(), "refused");
        problem.into_response()
    });
    let status = response.status();
    tracing::debug!(status = status.as_u16(), "answered");
    app.metrics.http.with_label_values(&[label.as_str(), class(status)]).inc();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    let unread = body.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Who waits for `100 Continue` sends nothing now.
    if let Some(unread) = unread.filter(|_| !expects) {
        body::linger(unread);
    }
    if head.method == Method::HEAD {
        let length = hyper::body::Body::size_hint(response.body()).exact().unwrap_or(0);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        *response.body_mut() = Full::default();
    }
    response
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        0..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

async fn handle(
    app: Arc<App>,
    found: Result<(&'static Route, Vec<String>), Problem>,
    query: String,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (route, params) = found?;
    let id = params.first().map_or("", String::as_str);
    let need = match route.guard {
        Guard::Anyone => Need::Anyone,
        Guard::Admin => Need::Admin,
        Guard::Own => Need::Endpoint(id),
        Guard::OwnOrAdmin => Need::EndpointOrAdmin(id),
        Guard::AnyEndpoint => Need::AnyEndpoint,
        Guard::AnyEndpointOrAdmin => Need::AnyEndpointOrAdmin,
    };
    let who = app.authorise(&headers, need).await?;
    (route.handler)(Call { app, params, query, headers, who, body }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_patterns() {
        assert_eq!(fit("/v1/endpoints/{id}/scan", "/v1/endpoints/web%3A1/scan"), Some(vec!["web:1".to_owned()]));
        for other in ["/v1/endpoints//scan", "/v1/endpoints/a/scan/", "/v1/endpoints/a", "/v1/endpoints/%ff/scan"] {
            assert_eq!(fit("/v1/endpoints/{id}/scan", other), None, "{other}");
        }
        assert!(find(&Method::HEAD, "/").is_ok());
        assert_eq!(find(&Method::POST, "/v1/status").err().map(|p| p.kind()), Some(Kind::MethodNotAllowed));
        assert_eq!(find(&Method::GET, "/v2").err().map(|p| p.kind()), Some(Kind::NotFound));
    }

    #[test]
    fn the_description_has_every_route_and_nothing_else() {
        let text: serde_json::Value = serde_json::from_str(system::OPENAPI).expect("JSON");
        let mut described = Vec::new();
        for (path, item) in text["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("methods").keys().filter(|m| *m != "parameters") {
                described.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut there: Vec<String> = ROUTES.iter().map(|r| format!("{} {}", r.method, r.path)).collect();
        described.sort();
        there.sort();
        assert_eq!(described, there);
        let api = include_str!("../../docs/API.md");
        for route in ROUTES {
            assert!(api.contains(&format!("{} {}", route.method, route.path)), "docs/API.md lacks {} {}", route.method, route.path);
        }
    }
}
