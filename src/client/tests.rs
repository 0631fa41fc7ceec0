//! The client against small servers on port 0.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

/// Long enough for a busy machine; only the test of the timeout waits for one.
const PATIENCE: Duration = Duration::from_secs(10);
static REDIRECTED: AtomicUsize = AtomicUsize::new(0);

async fn answer(request: Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let agent = request.headers().get(USER_AGENT).cloned();
    let body = read(request.into_body(), 1 << 20).await.unwrap();
    let mut response = hyper::Response::new(Full::new(body));
    match path.as_str() {
        "/echo" => {
            response.headers_mut().insert("x-agent", agent.unwrap());
        }
        "/moved" => {
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().insert("location", HeaderValue::from_static("/target"));
        }
        "/target" => {
            REDIRECTED.fetch_add(1, Ordering::SeqCst);
        }
        "/long" => *response.body_mut() = Full::new(Bytes::from(vec![b'x'; 100_000])),
        "/never" => tokio::time::sleep(Duration::from_secs(60)).await,
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

/// A server, and how many connections it has taken.
async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    (address, taken)
}

async fn post(url: &str, timeout: Duration, max: usize) -> Result<Response, ClientError> {
    let client = Client::new(&Options::default()).unwrap();
    client.send(Method::POST, url, HeaderMap::new(), Bytes::from_static(b"hello"), timeout, max).await
}

#[tokio::test]
async fn sends_and_receives_on_one_connection() {
    let (address, connections) = server().await;
    let client = Client::new(&Options::default()).unwrap();
    for _ in 0..3 {
        let url = format!("http://{address}/echo");
        let response = client.send(Method::POST, &url, HeaderMap::new(), Bytes::from_static(b"hello"), PATIENCE, 5).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"hello"[..]));
        assert_eq!(response.headers["x-agent"], AGENT);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_a_response_and_is_not_followed() {
    let (address, _) = server().await;
    let response = post(&format!("http://{address}/moved"), PATIENCE, 100).await.unwrap();
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(REDIRECTED.load(Ordering::SeqCst), 0);
    assert_eq!(post(&format!("http://{address}/else"), PATIENCE, 100).await.unwrap().status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_response_over_the_limit_is_refused() {
    let (address, _) = server().await;
    let url = format!("http://{address}/long");
    assert_eq!(post(&url, PATIENCE, 100_000).await.unwrap().body.len(), 100_000);
    let error = post(&url, PATIENCE, 99_999).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { status: StatusCode::OK, limit: 99_999, .. }), "{error}");
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let (address, _) = server().await;
    let error = post(&format!("http://{address}/never"), Duration::from_millis(50), 100).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`http://{address}` did not answer within 0.05 s: it is overloaded, or a firewall drops the packets")
    );
}

#[tokio::test]
async fn a_closed_port_says_that_nothing_listens() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = post(&format!("http://{address}/hook?token=secret"), PATIENCE, 100).await.unwrap_err();
    assert_eq!(error.to_string(), format!("nothing listens at `http://{address}`: is the daemon running there, and is the port right?"));
}

#[tokio::test]
async fn a_server_that_hangs_up_is_a_broken_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let error = post(&format!("http://{address}/"), PATIENCE, 100).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn https_to_a_server_without_it() {
    let (address, _) = server().await;
    let error = post(&format!("https://{address}/echo"), PATIENCE, 100).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
}

/// One connection over TLS, answered with 204, with the certificate of tests/data/tls.
fn tls_server() -> SocketAddr {
    use std::io::{Read, Write};

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(session, socket);
        // Fails when the client does not trust us, which is what one test wants.
        if stream.read(&mut [0; 4096]).is_ok() {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_given() {
    let url = |address: SocketAddr| format!("https://localhost:{}/", address.port());
    let error = post(&url(tls_server()), PATIENCE, 100).await.unwrap_err();
    assert!(matches!(error, ClientError::Certificate { .. }), "{error:?}");
    assert!(error.to_string().contains("its issuer is unknown") && error.to_string().contains("--ca FILE"), "{error}");

    let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/ca.pem");
    let client = Client::new(&Options { ca: Some(ca) }).unwrap();
    let send = |url: String| {
        let client = client.clone();
        async move { client.send(Method::POST, &url, HeaderMap::new(), Bytes::new(), PATIENCE, 100).await }
    };
    assert_eq!(send(url(tls_server())).await.unwrap().status, StatusCode::NO_CONTENT);
    let error = send(format!("https://{}/", tls_server())).await.unwrap_err();
    assert!(error.to_string().contains("it is for another name"), "{error}");
}

#[test]
fn urls_that_cannot_be_used() {
    for (url, says) in [
        ("", "must begin with http"),
        ("example.com/hook", "must begin with http"),
        ("ftp://example.com/hook", "`ftp://example.com` cannot be used: it must begin with http"),
        ("http://user:secret@example.com/", "`http://example.com` cannot be used: user name"),
        ("http://", "cannot be used"),
        ("http:///path", "cannot be used"),
        ("http://exa mple.com/?secret", "`http://exa mple.com` cannot be used"),
        ("http://:80/", "cannot be used"),
    ] {
        let error = check_url(url).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{url}: {error}");
    }
    check_url("https://example.com:8443/hook?x=1").unwrap();
    check_url("http://[::1]:80/").unwrap();
}

#[test]
fn ca_files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let error = |path: &Path| Client::new(&Options { ca: Some(path.to_owned()) }).err().unwrap().to_string();
    assert!(error(&path).contains("No such file"), "{}", error(&path));
    std::fs::write(&path, "nothing").unwrap();
    assert!(error(&path).contains("it holds no certificate"), "{}", error(&path));
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(error(&path).contains("certificate 1 in it"), "{}", error(&path));
}
