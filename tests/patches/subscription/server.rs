//! A web server that does what a test tells it to, byte by byte: cuts connections, changes files between two requests, drips, lies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    cut: Option<usize>,
    /// Between two bytes of the body.
    drip: Option<Duration>,
    /// Says nothing of its length: the end of the connection is the end.
    endless: bool,
}

impl Reply {
    pub(super) fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: 200, body: body.into(), ..Reply::default() }
    }

    pub(super) fn status(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    pub(super) fn redirect(to: &str) -> Reply {
        Reply::status(302).header("Location", to)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn cut(self, after: usize) -> Reply {
        Reply { cut: Some(after), ..self }
    }

    pub(super) fn drip(self, every: Duration) -> Reply {
        Reply { drip: Some(every), ..self }
    }

    pub(super) fn partial(self) -> Reply {
        Reply { status: 206, ..self }
    }

    pub(super) fn endless(self) -> Reply {
        Reply { endless: true, ..self }
    }
}

/// A file as a good server gives it: conditional and in parts.
pub(super) fn file(request: &Request, etag: &str, body: &[u8]) -> Reply {
    if request.header("if-none-match") == etag {
        return Reply::status(304).header("ETag", etag);
    }
    let from = request.header("range").strip_prefix("bytes=").and_then(|r| r.strip_suffix('-')).and_then(|r| r.parse::<usize>().ok());
    match from {
        Some(from) if request.header("if-range") == etag && from < body.len() => {
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            Reply::ok(&body[from..]).header("ETag", etag).header("Content-Range", &range).partial()
        }
        _ => Reply::ok(body).header("ETag", etag),
    }
}

type Handler = Box<dyn Fn(&Request, usize) -> Reply + Send + Sync>;

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    inside: Arc<Inside>,
}

struct Inside {
    handler: Mutex<Handler>,
    asked: Mutex<Vec<Request>>,
}

impl Server {
    /// The handler is given the request, and how many there were before of its path.
    pub(super) fn start(handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Inside { handler: Mutex::new(Box::new(handler)), asked: Mutex::default() });
        let shared = inside.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inside = shared.clone();
                // Who is cut off does not read on.
                std::thread::spawn(move || serve(stream, &inside).ok());
            }
        });
        Server { address, inside }
    }

    /// From now on it does something else.
    pub(super) fn now(&self, handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) {
        self.inside.asked.lock().unwrap().clear();
        *self.inside.handler.lock().unwrap() = Box::new(handler);
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Requests since the handler was set.
    pub(super) fn asked(&self) -> Vec<Request> {
        self.inside.asked.lock().unwrap().clone()
    }

    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.asked().into_iter().map(|r| r.path).collect();
        paths.sort();
        paths
    }
}

fn read_request(stream: &mut impl Read) -> std::io::Result<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let headers = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
    Ok(Request { path, headers })
}

fn answer(stream: &mut impl Write, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status);
    reply.headers.iter().for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
    if !reply.endless && reply.status != 304 {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len())];
    match reply.drip {
        None => stream.write_all(body)?,
        Some(every) => {
            for byte in body {
                stream.write_all(std::slice::from_ref(byte))?;
                stream.flush()?;
                std::thread::sleep(every);
            }
        }
    }
    stream.flush()
}

fn serve(mut stream: TcpStream, inside: &Inside) -> std::io::Result<()> {
    let request = read_request(&mut stream)?;
    let before = {
        let mut asked = inside.asked.lock().unwrap();
        let before = asked.iter().filter(|r| r.path == request.path).count();
        asked.push(request.clone());
        before
    };
    let reply = (inside.handler.lock().unwrap())(&request, before);
    answer(&mut stream, &reply)
}

/// A server over TLS with the certificate of tests/data/tls, for `localhost`, which gives every request the same.
pub(super) fn tls(reply: Reply) -> u16 {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, socket);
            // A client that does not trust us hangs up.
            read_request(&mut stream).and_then(|_| answer(&mut stream, &reply)).ok();
        }
    });
    port
}
