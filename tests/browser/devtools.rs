//! Commands to the browser and what it tells, over one WebSocket.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Longest time for one command.
const COMMAND: Duration = Duration::from_secs(60);

type Hear = Box<dyn FnMut(&str, &Value) + Send>;

/// The connection; cheap to clone.
#[derive(Clone)]
pub struct DevTools {
    next: Arc<AtomicU64>,
    out: mpsc::UnboundedSender<Message>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    sessions: HashMap<String, Hear>,
}

impl DevTools {
    /// Connects to the browser.
    pub async fn connect(address: &str) -> DevTools {
        // Screenshots are large.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let connected = tokio_tungstenite::connect_async_with_config(address, Some(config), false).await;
        let (mut sink, mut stream) = connected.expect("Chromium answers").0.split();
        let (out, mut outgoing) = mpsc::unbounded_channel();
        let heard = Arc::new(Mutex::new(Heard::default()));
        tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        });
        let hearing = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Text(text) = message {
                    hearing.lock().expect("no panic").hear(serde_json::from_str(&text).expect("JSON"));
                }
            }
            // Whoever waits learns that nothing comes any more.
            hearing.lock().expect("no panic").waiting.clear();
        });
        DevTools { next: Arc::new(AtomicU64::new(1)), out, heard }
    }

    /// Has `hear` told every event of a session: its method and parameters.
    pub fn listen(&self, session: &str, hear: impl FnMut(&str, &Value) + Send + 'static) {
        self.heard.lock().expect("no panic").sessions.insert(session.to_owned(), Box::new(hear));
    }

    /// Sends a command that must succeed; its result.
    pub async fn call(&self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        match self.try_call(session, method, parameters).await {
            Ok(result) => result,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// Sends a command; its result, or the browser's words for why not.
    pub async fn try_call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        self.heard.lock().expect("no panic").waiting.insert(id, answered);
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let _ = self.out.send(Message::text(command.to_string()));
        let answer =
            tokio::time::timeout(COMMAND, answer).await.map_err(|_| "no answer in time".to_owned())?;
        let answer = answer.map_err(|_| "Chromium has ended".to_owned())?;
        match answer.get("error") {
            Some(error) => Err(error["message"].as_str().unwrap_or("an error without words").to_owned()),
            None => Ok(answer["result"].clone()),
        }
    }
}

impl Heard {
    fn hear(&mut self, message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(waiting) = self.waiting.remove(&id) {
                let _ = waiting.send(message);
            }
            return;
        }
        let session = message["sessionId"].as_str().and_then(|session| self.sessions.get_mut(session));
        if let (Some(hear), Some(method)) = (session, message["method"].as_str()) {
            hear(method, &message["params"]);
        }
    }
}
