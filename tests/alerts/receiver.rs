//! A receiver of notifications: a plain HTTP server that keeps what it was sent, and checks signatures as the standard
//! says, without the broker's own code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};

/// The secret that the tests give to the broker, and its bytes.
pub const SECRET: &str = "whsec_d2hpbWJyZWwtd2hpbWJyZWwtd2hpbWJyZWw=";
const KEY: &[u8] = b"whimbrel-whimbrel-whimbrel";

/// Longest time anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request that came.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    headers: Vec<(String, String)>,
    pub raw: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no {name} in {:?}", self.headers), |(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.raw).expect("a body in JSON")
    }

    /// Checks the signature, and that it was made just now.
    pub fn check_signature(&self) {
        let (id, seconds) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).unwrap();
        for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", &self.raw] {
            mac.update(part);
        }
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(self.header("webhook-signature"), expected);
        let signed_at: u64 = seconds.parse().expect("seconds");
        let now = std::process::Command::new("date").arg("+%s").output().expect("date runs").stdout;
        let now: u64 = String::from_utf8(now).unwrap().trim().parse().unwrap();
        assert!(now.abs_diff(signed_at) < 300, "signed at {signed_at}, now it is {now}");
    }
}

/// A running receiver. It stops when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    status: Arc<AtomicU16>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::listen("127.0.0.1:0".parse().unwrap())
    }

    /// Listens at an address that a receiver before it had.
    pub fn listen(address: SocketAddr) -> Receiver {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().unwrap();
        let (got, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(200)));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (got, status, stop) = (Arc::clone(&got), Arc::clone(&status), Arc::clone(&stop));
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    if let Some(request) = stream.ok().and_then(|stream| take(&stream, &status)) {
                        got.lock().unwrap().push(request);
                    }
                }
            }
        });
        Receiver { address, got, status, stop, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Release);
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until `count` requests have come.
    pub fn wait_for(&self, count: usize) -> Vec<Got> {
        let until = Instant::now() + PATIENCE;
        loop {
            let got = self.got();
            if got.len() >= count {
                return got;
            }
            assert!(Instant::now() < until, "{} of {count} requests came: {got:?}", got.len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads one request and answers it; none when it broke off.
fn take(stream: &TcpStream, status: &AtomicU16) -> Option<Got> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut raw = vec![0; length];
    reader.read_exact(&mut raw).ok()?;
    let status = status.load(Ordering::Acquire);
    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nheard");
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).ok()?;
    Some(Got { path, headers, raw })
}
