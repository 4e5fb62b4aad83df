//! A WebSocket client of `/v1/ws`: JSON objects in and out.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::http::Trouble;

/// Longest time without any frame (the broker pings every 20 s).
const SILENCE_LIMIT: Duration = Duration::from_secs(90);

/// One open WebSocket.
#[derive(Debug)]
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects and reads the welcome.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn open(address: SocketAddr) -> Result<Socket, Trouble> {
        let url = format!("ws://{address}/v1/ws");
        let (stream, _) = tokio_tungstenite::connect_async(url).await.map_err(|_| Trouble::NotSent)?;
        let mut socket = Socket(stream);
        let welcome = socket.next().await?;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        Ok(socket)
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn send(&mut self, frame: &Value) -> Result<(), Trouble> {
        self.0.send(Message::text(frame.to_string())).await.map_err(|_| Trouble::Lost)
    }

    /// The next frame.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn next(&mut self) -> Result<Value, Trouble> {
        loop {
            let message =
                tokio::time::timeout(SILENCE_LIMIT, self.0.next()).await.map_err(|_| Trouble::Hung)?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err(Trouble::Lost),
            }
        }
    }

    /// Closes in order (1000): its leases are given back.
    pub async fn close(mut self) {
        let _ = self.0.close(None).await;
        while let Ok(Some(Ok(_))) = tokio::time::timeout(Duration::from_secs(5), self.0.next()).await {}
    }
}
