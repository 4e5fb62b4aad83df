use std::io::{Read, Write};
use std::net::TcpListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

/// A root of these tests alone, and what it signed for `localhost` and 127.0.0.1. Good from 2020 to 2120.
const ROOT: &[u8] = include_bytes!("certificates/root.der");
const LOCALHOST: &[u8] = include_bytes!("certificates/localhost.der");
const LOCALHOST_KEY: &[u8] = include_bytes!("certificates/localhost.key.der");

fn allowing(networks: &[&str]) -> Transport {
    let networks: Vec<_> = networks.iter().map(|text| text.parse().unwrap()).collect();
    Transport::new(networks.into())
}

fn outgoing(url: String) -> Outgoing {
    Outgoing { url, headers: vec![("webhook-id", "n-1".to_owned())], body: b"{}".to_vec() }
}

/// A receiver that answers once, and hands back what it read.
fn receiver(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = Vec::new();
        let mut buffer = [0; 1_024];
        while !read.ends_with(b"{}") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the request ends with its body");
            read.extend_from_slice(&buffer[..count]);
        }
        // Whoever asked may have read enough before this is all written.
        let _ = stream.write_all(answer.as_bytes());
        String::from_utf8(read).unwrap()
    });
    (port, thread)
}

#[tokio::test]
async fn a_post_carries_what_it_is_told_and_brings_back_the_answer() {
    let answer = "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\nslow\ndo\u{7}";
    let (port, thread) = receiver(answer);
    let url = format!("http://127.0.0.1:{port}/hook?key=1");
    let found = allowing(&["127.0.0.1"]).post(outgoing(url), Timestamp(0)).await.unwrap();
    let expected = Answer { status: 429, retry_after_ms: Some(7_000), excerpt: "slow do".to_owned() };
    assert_eq!(found, expected);
    let request = thread.join().unwrap().to_ascii_lowercase();
    for line in [
        "post /hook?key=1 http/1.1\r\n",
        &format!("\r\nhost: 127.0.0.1:{port}\r\n"),
        "\r\ncontent-type: application/json\r\n",
        "\r\nwebhook-id: n-1\r\n",
        "\r\ncontent-length: 2\r\n",
    ] {
        assert!(request.contains(line), "{line:?} is not in {request}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (port, thread) =
        receiver("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(allowing(&["127.0.0.1"]).post(outgoing(url), Timestamp(0)).await.unwrap().status, 302);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_status_counts_although_its_body_never_ends() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let stalling = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntaken").await.unwrap();
        // Open until the other side has had enough.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let found = allowing(&["127.0.0.1"]).post(outgoing(url), Timestamp(0)).await.unwrap();
    assert_eq!((found.status, found.excerpt.as_str()), (200, "taken"));
    stalling.await.unwrap();
}

#[tokio::test]
async fn a_long_answer_is_not_read_to_its_end() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n{}", "ä".repeat(40_000));
    let (port, thread) = receiver(Box::leak(long.into_boxed_str()));
    let url = format!("http://127.0.0.1:{port}/");
    let found = allowing(&["127.0.0.0/8"]).post(outgoing(url), Timestamp(0)).await.unwrap();
    assert_eq!((found.status, found.excerpt), (200, "ä".repeat(NOTIFICATION_EXCERPT_BYTES_MAX / 2)));
    thread.join().unwrap();
}

/// Each is a way to write this host, some of them only understood by the system's resolver.
#[tokio::test]
async fn nothing_is_sent_to_this_host_however_it_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let guard = allowing(&["10.0.0.0/8"]);
    for host in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1"]
    {
        let url = format!("http://{host}:{port}/");
        match guard.post(outgoing(url), Timestamp(0)).await {
            Err(SendError::Guarded(refused)) => {
                assert!(refused.to_string().contains("--webhook-allow"), "{host}");
            }
            // A resolver that does not know the spelling is as good.
            Err(SendError::Name(..)) if host.starts_with(['2', '0']) || host == "127.1" => {}
            other => panic!("{host}: {other:?}"),
        }
    }
    let nobody = listener.accept().map(|_| ()).unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
}

#[tokio::test]
async fn what_cannot_be_posted_to_is_said_without_the_address() {
    let guard = allowing(&[]);
    for url in
        ["", "hooks.example.com", "ftp://a.example/", "https://", "http://user:geheim@1.1.1.1/", "/path"]
    {
        let error = guard.post(outgoing(url.to_owned()), Timestamp(0)).await.unwrap_err();
        assert!(matches!(error, SendError::Address), "{url}: {error}");
        assert!(!error.to_string().contains("geheim"));
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = allowing(&["127.0.0.1"]).post(outgoing(format!("http://{closed}/")), Timestamp(0)).await;
    assert!(matches!(error, Err(SendError::Connect(to, _)) if to == closed), "{error:?}");
}

#[test]
fn retry_after_is_seconds_or_a_time() {
    let read = |text: &'static str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        retry_after(&headers, Timestamp(784_111_777_000 - 5_000))
    };
    assert_eq!(read("120"), Some(120_000));
    assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(5_000));
    assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0), "long ago");
    assert_eq!((read("soon"), read("-1")), (None, None));
    assert_eq!(read("99999999999999999999"), None);
    assert_eq!(retry_after(&HeaderMap::new(), Timestamp(0)), None);
}

/// A receiver that speaks TLS and answers once; the request that came, if one did.
async fn secure_receiver() -> (u16, tokio::task::JoinHandle<std::io::Result<String>>) {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(LOCALHOST_KEY).unwrap();
    let config =
        builder.with_no_client_auth().with_single_cert(vec![CertificateDer::from(LOCALHOST)], key).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        let mut read = Vec::new();
        while !read.ends_with(b"{}") {
            if stream.read_buf(&mut read).await? == 0 {
                break;
            }
        }
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok").await?;
        Ok(String::from_utf8_lossy(&read).into_owned())
    });
    (port, task)
}

#[tokio::test]
async fn a_secure_receiver_is_told_when_its_certificate_is_trusted() {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ROOT)).unwrap();
    let trusting = Transport { tls: OnceLock::from(trusting(roots).unwrap()), ..allowing(&["127.0.0.0/8"]) };
    for host in ["localhost", "127.0.0.1"] {
        let (port, task) = secure_receiver().await;
        let found = trusting.post(outgoing(format!("https://{host}:{port}/in")), Timestamp(0)).await.unwrap();
        assert_eq!((found.status, found.excerpt.as_str()), (202, "ok"));
        assert!(task.await.unwrap().unwrap().starts_with("POST /in HTTP/1.1\r\n"));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_hears_nothing() {
    let (port, task) = secure_receiver().await;
    let error =
        allowing(&["127.0.0.1"]).post(outgoing(format!("https://127.0.0.1:{port}/")), Timestamp(0)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, SendError::Tls(..)) && error.to_string().contains("certificate"), "{error}");
    assert!(task.await.unwrap().is_err(), "the request was not sent");
}

#[test]
fn whatever_address_a_receiver_may_have_can_be_posted_to() {
    use crate::model::alert::{Receiver, ReceiverKind};
    let refused = |url: &str| {
        let (kind, url) = (ReceiverKind::Webhook, url.to_owned());
        Receiver { kind, url, secret: None, send_resolved: true }.check().is_err()
    };
    let held = |url: String| {
        let (is_taken, is_sent) = (!refused(&url), Target::read(&url).is_ok());
        assert!(!is_taken || is_sent, "{url}");
        (usize::from(is_taken), is_sent)
    };
    let mut taken = 0;
    // Every short text of letters that mean something in an address.
    let letters = ["a", "7", ".", ":", "@", "[", "]", "::1", "/", "?", "#", "%", "99999"];
    for number in 0..letters.len().pow(4) {
        let mut rest = number;
        let text: String = (0..4)
            .map(|_| {
                let letter = letters[rest % letters.len()];
                rest /= letters.len();
                letter
            })
            .collect();
        taken += held(format!("http://{text}")).0;
    }
    // Every visible letter, in the host, and in what stands behind it: there no more is refused than is not sent.
    for letter in 0x21..0x7f_u8 {
        for place in ["a*b/", "a/*", "a?*", "a/?b=*", "a#*", "a/#*", "a/?#*"] {
            let url = format!("https://{}", place.replace('*', &char::from(letter).to_string()));
            let (is_taken, is_sent) = held(url.clone());
            assert!(place == "a*b/" || usize::from(is_sent) == is_taken, "{url}");
            taken += is_taken;
        }
    }
    assert!(taken > 1_000, "{taken}");
    for lost in ["http://ann:pw@a/", "http://a:65536/", "http://a:99999"] {
        assert!(matches!(Target::read(lost), Err(SendError::Address)), "{lost}: as a log may hold it");
    }
    let port = |url| Target::read(url).map(|target| target.port).unwrap();
    assert_eq!(["http://a", "https://a:/", "http://[::1]:81/x"].map(port), [80, 443, 81]);
    assert_eq!(Target::read("https://a?key=1").unwrap().path, "/?key=1");
}
