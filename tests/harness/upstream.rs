//! A model server that does what the test scripts, down to the bytes and the breaks.
//!
//! Tests that share a gateway share its upstream too: a test registers its script and puts
//! `script=N` into the query, which the gateway forwards as it came.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::redaction::RUN;
use crate::script::{Script, Step};

/// A running upstream; dropping it ends it and every connection.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// A script that is registered with an upstream, and the requests that came for it.
#[derive(Clone)]
pub struct Route {
    id: u64,
    shared: Arc<Shared>,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// As much of the body as was read.
    pub body: Vec<u8>,
    /// When the head was complete.
    pub at: Instant,
    /// When the first byte of the body was there.
    pub first_body_byte_at: Option<Instant>,
    /// When the body was complete.
    pub body_complete_at: Option<Instant>,
    /// When the first byte of the answer was written.
    pub answered_at: Option<Instant>,
    /// When the client was seen to have left before the answer was complete.
    pub left_at: Option<Instant>,
    /// Whether the script was played to its end.
    pub finished: bool,
}

impl Seen {
    /// A header's value, by its lower-case name; several are joined by commas.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let found: Vec<_> = self
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect();
        (!found.is_empty()).then(|| found.join(", "))
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// How the upstream as a whole fares, whatever its scripts say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// Each script is played.
    #[default]
    Fair,
    /// Requests are taken, and nothing is written to anybody.
    Stalled,
    /// Every connection breaks (RST), and every new one with its first request.
    Broken,
}

#[derive(Default)]
struct Shared {
    weather: watch::Sender<Weather>,

    scripts: Mutex<HashMap<u64, Vec<Script>>>,
    /// What is played at a path where no script is named.
    places: Mutex<HashMap<String, Script>>,
    requests: Mutex<Vec<(u64, Arc<Mutex<Seen>>)>>,
}

impl Upstream {
    /// Starts to listen on a port of its own.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Starts on a listener that is there already.
    #[must_use]
    pub fn on(listener: TcpListener) -> Self {
        let shared = Arc::<Shared>::default();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, without `/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers a script.
    #[must_use]
    pub fn route(&self, script: Script) -> Route {
        self.route_each(vec![script])
    }

    /// Registers scripts for the first request, the second and so on; the last one stays.
    #[must_use]
    pub fn route_each(&self, scripts: Vec<Script>) -> Route {
        let mut known = self.shared.scripts.lock().unwrap();
        let id = known.len() as u64 + 1;
        known.insert(id, scripts);
        Route { id, shared: Arc::clone(&self.shared) }
    }

    /// Plays a script at a path, whenever no other is named.
    pub fn place(&self, path: &str, script: Script) {
        self.shared.places.lock().unwrap().insert(path.to_owned(), script);
    }

    /// Changes how it fares as a whole, at once.
    pub fn weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Every request that came for no script: the default answer is a short chat completion.
    #[must_use]
    pub fn unscripted(&self) -> Vec<Seen> {
        self.shared.seen(0)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Route {
    /// `path` with the query member that leads to this script.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}script={}", self.id)
    }

    /// `/v1/chat/completions` for this script.
    #[must_use]
    pub fn chat(&self) -> String {
        self.path("/v1/chat/completions")
    }

    /// The requests so far, in the order of their arrival.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen(self.id)
    }

    /// The one request that came.
    ///
    /// # Panics
    /// When there was none, or more than one.
    #[must_use]
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "one request was to reach the upstream: {seen:#?}");
        seen.remove(0)
    }

    /// The only request as soon as `condition` holds for it.
    pub async fn when(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let patience = Duration::from_secs(30);
        crate::wait_for(what, patience, || self.seen().into_iter().find(&condition)).await
    }

    /// The request as soon as the upstream has seen its client leave.
    pub async fn when_left(&self) -> Seen {
        self.when("leaving", |seen| seen.left_at.is_some()).await
    }
}

impl Shared {
    fn seen(&self, id: u64) -> Vec<Seen> {
        let requests = self.requests.lock().unwrap();
        let of_this = requests.iter().filter(|(script, _)| *script == id);
        of_this.map(|(_, seen)| seen.lock().unwrap().clone()).collect()
    }

    fn note(&self, id: u64, seen: Seen) -> (Arc<Mutex<Seen>>, Script) {
        let path = seen.target.split('?').next().unwrap_or_default();
        let placed = self.places.lock().unwrap().get(path).cloned();
        let seen = Arc::new(Mutex::new(seen));
        let mut requests = self.requests.lock().unwrap();
        let position = requests.iter().filter(|(script, _)| *script == id).count();
        requests.push((id, Arc::clone(&seen)));
        let scripts = self.scripts.lock().unwrap();
        let script = scripts.get(&id).and_then(|all| all.get(position).or(all.last()));
        let script = script.cloned().or(placed);
        (seen, script.unwrap_or_else(|| Script::chat("hello", 3)))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        stream.set_nodelay(true).ok();
        connections.spawn(converse(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection, request after request, until either side ends it.
async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let (reader, mut writer) = stream.into_split();
    let mut input = Input { reader, buffer: Vec::new() };
    let mut weather = shared.weather.subscribe();
    while let Some((seen, framing)) = input.head().await {
        RUN.keep_url(&seen.target);
        for (name, value) in &seen.headers {
            RUN.note_header(name, value);
        }
        let (seen, script) = shared.note(script_id(&seen.target), seen);
        if !script.early && input.body(framing, &seen).await.is_none() {
            seen.lock().unwrap().left_at = Some(Instant::now());
            return;
        }
        note_form(&seen.lock().unwrap());
        let kept = tokio::select! {
            kept = play(&script, &mut writer, &seen, weather.clone()) => kept,
            _broken = weather.wait_for(|weather| *weather == Weather::Broken) => {
                writer.as_ref().set_zero_linger().ok();
                return;
            }
            () = input.closed() => {
                seen.lock().unwrap().left_at = Some(Instant::now());
                return;
            }
        };
        if !kept || script.early {
            return;
        }
    }
}

/// A form is what OAuth sends its secrets in.
fn note_form(seen: &Seen) {
    let kind = seen.header("content-type").unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        RUN.note_body(&seen.body);
    }
}

fn script_id(target: &str) -> u64 {
    let Some((_, query)) = target.split_once('?') else { return 0 };
    let id = query.split('&').find_map(|member| member.strip_prefix("script="));
    id.and_then(|id| id.parse().ok()).unwrap_or(0)
}

/// Says whether the connection may serve another request.
async fn play(
    script: &Script,
    writer: &mut OwnedWriteHalf,
    seen: &Mutex<Seen>,
    mut weather: watch::Receiver<Weather>,
) -> bool {
    for step in &script.steps {
        // Whoever changes it outlives every connection.
        weather.wait_for(|weather| *weather != Weather::Stalled).await.ok();
        let written = match step {
            Step::Wait(time) => {
                tokio::time::sleep(*time).await;
                continue;
            }
            Step::Gate(gate) => {
                gate.acquire().await.expect("a gate is never closed").forget();
                continue;
            }
            Step::Write(bytes) => {
                seen.lock().unwrap().answered_at.get_or_insert_with(Instant::now);
                writer.write_all(bytes).await
            }
            Step::Fill(length) => fill(writer, *length).await,
            Step::Hang => std::future::pending().await,
            Step::Close => return false,
            Step::Reset => {
                writer.as_ref().set_zero_linger().ok();
                return false;
            }
        };
        if written.is_err() {
            seen.lock().unwrap().left_at = Some(Instant::now());
            return false;
        }
    }
    seen.lock().unwrap().finished = true;
    true
}

async fn fill(writer: &mut OwnedWriteHalf, length: usize) -> std::io::Result<()> {
    let piece = vec![b'x'; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let next = left.min(piece.len());
        writer.write_all(&piece[..next]).await?;
        left -= next;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

/// The bytes that the client sent and nobody has looked at yet.
struct Input {
    reader: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Input {
    /// Reads more; `None` once the client has left.
    async fn more(&mut self) -> Option<()> {
        let length = self.reader.read_buf(&mut self.buffer).await.ok()?;
        (length > 0).then_some(())
    }

    /// Returns once the client has left.
    async fn closed(&mut self) {
        while self.more().await.is_some() {}
    }

    async fn head(&mut self) -> Option<(Seen, Framing)> {
        loop {
            if let Some(parsed) = parse_head(&self.buffer) {
                let (length, seen, framing) = parsed;
                self.buffer.drain(..length);
                return Some((seen, framing));
            }
            self.more().await?;
        }
    }

    /// Reads the body into `seen`; `None` when the client left before its end.
    async fn body(&mut self, framing: Framing, seen: &Mutex<Seen>) -> Option<()> {
        match framing {
            Framing::Length(length) => self.take(length, seen).await?,
            Framing::Chunked => loop {
                let length = self.chunk_length().await?;
                self.take(length, seen).await?;
                self.line().await?;
                if length == 0 {
                    break;
                }
            },
        }
        seen.lock().unwrap().body_complete_at = Some(Instant::now());
        Some(())
    }

    async fn take(&mut self, length: usize, seen: &Mutex<Seen>) -> Option<()> {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() {
                self.more().await?;
            }
            let next = left.min(self.buffer.len());
            let mut seen = seen.lock().unwrap();
            seen.first_body_byte_at.get_or_insert_with(Instant::now);
            seen.body.extend_from_slice(&self.buffer[..next]);
            self.buffer.drain(..next);
            left -= next;
        }
        Some(())
    }

    async fn chunk_length(&mut self) -> Option<usize> {
        let line = self.line().await?;
        usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            self.more().await?;
        }
    }
}

fn parse_head(bytes: &[u8]) -> Option<(usize, Seen, Framing)> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes).expect("the gateway speaks HTTP") {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return None,
    };
    let headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_ascii_lowercase(), value)
        })
        .collect();
    let seen = Seen {
        method: request.method?.to_owned(),
        target: request.path?.to_owned(),
        headers,
        body: Vec::new(),
        at: Instant::now(),
        first_body_byte_at: None,
        body_complete_at: None,
        answered_at: None,
        left_at: None,
        finished: false,
    };
    let framing = if seen.header("transfer-encoding").is_some() {
        Framing::Chunked
    } else {
        let length = seen.header("content-length").and_then(|length| length.parse().ok());
        Framing::Length(length.unwrap_or(0))
    };
    Some((length, seen, framing))
}
