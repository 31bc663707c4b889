//! The clients: connections that are kept, each request's time to the first byte and to the last.
//!
//! All of it runs on one thread, so that it never takes more than one core from whoever is measured.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::talk::{Kind, is_whole, question};

/// Nobody here waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often each of a cohort asks before the next one's turn comes.
const TURNS: usize = 10;

/// How long connections are there before the first request of those who ask by the clock: the kernel
/// halts a process for tens of milliseconds where it opens its 256th file.
const SETTLING: Duration = Duration::from_millis(500);

/// How many mistakes are told in words; the rest are counted.
const TOLD: usize = 5;

/// Where a contender is asked, and how.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub path: &'static str,
    /// What this contender wants to be told besides.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Who asks: users that take turns over all connections.
#[derive(Debug)]
pub struct Users {
    names: Vec<(HeaderValue, HeaderValue)>,
    /// How many of them take turns at a time.
    cohort: usize,
    next: AtomicUsize,
}

impl Users {
    /// So many users, each with a name and a key of their own.
    ///
    /// # Errors
    /// When a name can't be in a header.
    pub fn new(prefix: &str, count: usize) -> Result<Arc<Self>> {
        Self::in_cohorts(prefix, count, count)
    }

    /// The same, but only some of them take turns at a time: ten turns each, then come the next.
    ///
    /// # Errors
    /// When a name can't be in a header.
    pub fn in_cohorts(prefix: &str, count: usize, cohort: usize) -> Result<Arc<Self>> {
        let user = |number: usize| {
            let name = HeaderValue::from_str(&format!("{prefix}-{number}"))?;
            let key = HeaderValue::from_str(&format!("Bearer sk-{prefix}-{number:08}"))?;
            Ok((name, key))
        };
        let names = (0..count).map(user).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Self { names, cohort: cohort.max(1), next: AtomicUsize::new(0) }))
    }

    fn next(&self) -> Option<&(HeaderValue, HeaderValue)> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.names.get(whose(turn, self.cohort, self.names.len()))
    }
}

/// Whose turn it is, of so many.
fn whose(turn: usize, cohort: usize, all: usize) -> usize {
    let cohorts_before = turn / (cohort * TURNS);
    (cohorts_before * cohort + turn % cohort) % all.max(1)
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Heard {
    /// Microseconds from the request to the last byte of its answer; sorted at the end.
    pub whole: Vec<u32>,
    /// Microseconds to the first byte of the body; sorted at the end.
    pub first_byte: Vec<u32>,
    /// Requests that met a limit: 429.
    pub refused: u64,
    pub mistakes: u64,
    /// The first mistakes in words.
    pub told: Vec<String>,
    /// From the first request to the last answer.
    pub seconds: f64,
}

impl Heard {
    fn add(&mut self, outcome: Result<Answer>, since: Instant) {
        match outcome {
            Ok(answer) if answer.is_refusal => self.refused += 1,
            Ok(answer) => {
                self.whole.push(microseconds(answer.whole_at - since));
                self.first_byte.push(microseconds(answer.first_byte_at - since));
            }
            Err(problem) => {
                self.mistakes += 1;
                if self.told.len() < TOLD {
                    self.told.push(format!("{problem:#}"));
                }
            }
        }
    }

    fn join(&mut self, other: Self) {
        self.whole.extend(other.whole);
        self.first_byte.extend(other.first_byte);
        self.refused += other.refused;
        self.mistakes += other.mistakes;
        self.told.extend(other.told);
        self.told.truncate(TOLD);
    }

    fn finish(mut self, began: Instant) -> Self {
        self.whole.sort_unstable();
        self.first_byte.sort_unstable();
        self.seconds = began.elapsed().as_secs_f64();
        self
    }
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

struct Answer {
    is_refusal: bool,
    first_byte_at: Instant,
    whole_at: Instant,
}

/// One client, who keeps a connection for as long as the other side does.
struct Client {
    target: Arc<Target>,
    users: Arc<Users>,
    kind: Kind,
    connection: Option<SendRequest<Full<Bytes>>>,
    buffer: BytesMut,
}

impl Client {
    fn new(target: &Arc<Target>, users: &Arc<Users>, kind: Kind) -> Self {
        let (target, users) = (Arc::clone(target), Arc::clone(users));
        Self { target, users, kind, connection: None, buffer: BytesMut::new() }
    }

    async fn ask(&mut self) -> Result<Answer> {
        let answered = timeout(PATIENCE, self.ask_patiently()).await;
        let answered = answered.unwrap_or_else(|_late| bail!("no answer within {PATIENCE:?}"));
        if answered.is_err() {
            self.connection = None;
        }
        answered
    }

    async fn ask_patiently(&mut self) -> Result<Answer> {
        let request = self.request()?;
        let mut response = self.connected().await?.send_request(request).await?;
        let status = response.status();
        self.buffer.clear();
        let mut first_byte_at = None;
        while let Some(frame) = response.body_mut().frame().await {
            if let Ok(data) = frame.context("the answer broke off")?.into_data() {
                first_byte_at.get_or_insert_with(Instant::now);
                self.buffer.extend_from_slice(&data);
            }
        }
        let whole_at = Instant::now();
        let is_refusal = status == StatusCode::TOO_MANY_REQUESTS;
        let is_good = status == StatusCode::OK && is_whole(self.kind, &self.buffer);
        if !is_good && !is_refusal {
            bail!("{status}: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(Answer { is_refusal, first_byte_at: first_byte_at.unwrap_or(whole_at), whole_at })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>> {
        let (name, key) = self.users.next().context("nobody asks")?;
        let mut request = Request::new(Full::new(question(self.kind)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.parse()?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&self.target.address.to_string())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, key.clone());
        headers.insert("x-user-id", name.clone());
        for (name, value) in &self.target.headers {
            headers.insert(name, value.clone());
        }
        Ok(request)
    }

    /// The connection, made anew where the other side has closed it between two requests.
    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        let kept = match self.connection.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let sender = match kept {
            Some(sender) => sender,
            None => connect(self.target.address).await?,
        };
        Ok(self.connection.insert(sender))
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.context("can't connect")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// When a load is over.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time; what was asked until then is still answered.
    Time(Duration),
    /// After this many requests, over all connections.
    Requests(usize),
}

/// Each connection asks again as soon as it has its answer.
pub async fn in_turn(
    target: &Arc<Target>,
    users: &Arc<Users>,
    (kind, connections): (Kind, usize),
    until: Until,
) -> Heard {
    let began = Instant::now();
    let asked = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let mut client = Client::new(target, users, kind);
        let asked = Arc::clone(&asked);
        clients.spawn(async move {
            let mut heard = Heard::default();
            while match until {
                Until::Time(time) => began.elapsed() < time,
                Until::Requests(count) => asked.fetch_add(1, Ordering::Relaxed) < count,
            } {
                let since = Instant::now();
                let outcome = client.ask().await;
                let is_good = outcome.is_ok();
                heard.add(outcome, since);
                if !is_good && heard.mistakes > TOLD as u64 {
                    break;
                }
            }
            heard
        });
    }
    joined(clients).await.finish(began)
}

/// When so many requests a second are due, of people who know nothing of each other: a Poisson process,
/// given how many come. At even distances, those of two loads would meet in the same places each time.
pub fn arrivals(a_second: f64, time: Duration, seed: u64) -> Vec<Duration> {
    let mut random = fastrand::Rng::with_seed(seed);
    let count = (a_second * time.as_secs_f64()) as usize;
    let mut due: Vec<Duration> = (0..count).map(|_| time.mul_f64(random.f64())).collect();
    due.sort_unstable();
    due
}

/// Requests at these times whatever becomes of them. What an answer took counts from when its request
/// was due, so that a request that had to wait for its turn has waited.
pub async fn by_the_clock(
    target: &Arc<Target>,
    users: &Arc<Users>,
    (kind, connections): (Kind, usize),
    arrivals: &[Duration],
) -> Heard {
    let mut connected = Vec::new();
    for _ in 0..connections {
        let mut client = Client::new(target, users, kind);
        // Should it fail, the first request says so.
        let _ = client.connected().await;
        connected.push(client);
    }
    sleep(SETTLING).await;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (number, mut client) in connected.into_iter().enumerate() {
        let turns = arrivals.iter().skip(number).step_by(connections);
        let mut due: VecDeque<Instant> = turns.map(|arrival| began + *arrival).collect();
        clients.spawn(async move {
            let mut heard = Heard::default();
            while let Some(since) = due.pop_front() {
                sleep_until(since.into()).await;
                heard.add(client.ask().await, since);
            }
            heard
        });
    }
    joined(clients).await.finish(began)
}

async fn joined(mut clients: JoinSet<Heard>) -> Heard {
    let mut all = Heard::default();
    while let Some(outcome) = clients.join_next().await {
        match outcome {
            Ok(heard) => all.join(heard),
            Err(problem) => {
                all.mistakes += 1;
                all.told.push(problem.to_string());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::{Target, Until, Users, arrivals, by_the_clock, in_turn, whose};
    use crate::talk::{ANSWER, Kind};

    /// Gives one answer a connection, the `nth` of which is `answer`, and closes it.
    async fn target(answer: String) -> Arc<Target> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 8192];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Arc::new(Target { address, path: "/", headers: Vec::new() })
    }

    fn answer(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    fn whole() -> String {
        answer("200 OK", std::str::from_utf8(&ANSWER).unwrap())
    }

    #[test]
    fn a_cohort_takes_its_turns_and_then_the_next_does() {
        let order = |cohort, all| (0..120).map(move |turn| whose(turn, cohort, all));
        assert!(order(4, 4).eq((0..120).map(|turn| turn % 4)));
        let first: Vec<usize> = order(2, 6).take(20).collect();
        assert_eq!(first, [0, 1].repeat(10));
        let third: Vec<usize> = order(2, 6).skip(40).take(22).collect();
        assert_eq!(third, [[4, 5].repeat(10), vec![0, 1]].concat());
        for user in 0..6 {
            assert_eq!(order(2, 6).filter(|whose| *whose == user).count(), 20);
        }
    }

    #[tokio::test]
    async fn as_many_are_asked_as_was_said() {
        let users = Users::new("u", 3).unwrap();
        let until = Until::Requests(20);
        let heard = in_turn(&target(whole()).await, &users, (Kind::Json, 4), until).await;
        assert_eq!((heard.whole.len(), heard.mistakes, heard.refused), (20, 0, 0), "{heard:?}");
        assert!(heard.whole.is_sorted());
    }

    #[tokio::test]
    async fn what_isn_t_a_whole_answer_is_a_mistake_and_429_a_refusal() {
        let users = Users::new("u", 1).unwrap();
        for (answer, mistakes, refused) in [
            (answer("200 OK", "{}"), 1, 0),
            (answer("500 Oh", std::str::from_utf8(&ANSWER).unwrap()), 1, 0),
            (answer("429 Later", "{}"), 0, 1),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(), 1, 0),
        ] {
            let target = target(answer.clone()).await;
            let heard = in_turn(&target, &users, (Kind::Json, 1), Until::Requests(1)).await;
            assert_eq!((heard.mistakes, heard.refused), (mistakes, refused), "{answer}");
            assert_eq!(heard.told.len() as u64, mistakes);
        }
    }

    #[tokio::test]
    async fn the_clock_says_how_many() {
        let users = Users::new("u", 1).unwrap();
        let arrivals = arrivals(100.0, Duration::from_millis(300), 7);
        let last = arrivals.last().unwrap().as_secs_f64();
        let target = target(whole()).await;
        let heard = by_the_clock(&target, &users, (Kind::Json, 3), &arrivals).await;
        assert_eq!((heard.whole.len(), heard.mistakes), (30, 0), "{heard:?}");
        assert!(heard.seconds >= last, "{} of {last}", heard.seconds);
    }

    #[test]
    fn arrivals_know_nothing_of_each_other() {
        let second = Duration::from_secs(1);
        let due = arrivals(10_000.0, second, 7);
        assert_eq!((due.len(), due == arrivals(10_000.0, second, 7)), (10_000, true));
        assert!(due.is_sorted() && due.last() < Some(&second));
        // Of exponential distances e^-1 are longer than their mean; of even ones none are.
        let long =
            due.windows(2).filter(|pair| pair[1].abs_diff(pair[0]) > second / 10_000).count();
        assert!((3_400..3_960).contains(&long), "{long}");
    }
}
