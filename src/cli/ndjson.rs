//! Messages as NDJSON, in batches that the broker takes: at most 1,000 messages and 1 MiB a request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::error::CliError;
use crate::model::BATCH_MESSAGES_MAX;

/// Bytes after which a batch is sent. Well under the broker's 16 MiB: it is also one entry of its log.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// Fills one request body after the other. A message larger than [`BATCH_BYTES`] travels alone.
#[derive(Debug)]
pub(crate) struct Batcher {
    /// The fields that every message shares.
    fields: Map<String, Value>,
    body: Vec<u8>,
    messages: usize,
}

/// One full request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    pub(crate) messages: usize,
}

impl Batch {
    /// The batch of the messages at `places` alone, in their order.
    pub(crate) fn only(&self, places: &[usize]) -> Batch {
        let lines: Vec<&[u8]> = self.body.split_inclusive(|byte| *byte == b'\n').collect();
        let chosen: Vec<&[u8]> = places.iter().filter_map(|place| lines.get(*place).copied()).collect();
        Batch { messages: chosen.len(), body: Bytes::from(chosen.concat()) }
    }
}

impl Batcher {
    /// An empty batcher; `fields` go into every message.
    pub(crate) fn new(fields: Map<String, Value>) -> Batcher {
        Batcher { fields, body: Vec::new(), messages: 0 }
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Adds one message. Returns the batch before it when the two do not fit together.
    pub(crate) fn add(&mut self, message: &[u8]) -> Result<Option<Batch>, CliError> {
        let line = self.line(message)?;
        let too_much = self.messages >= BATCH_MESSAGES_MAX || self.body.len() + line.len() > BATCH_BYTES;
        let full = if too_much { self.take() } else { None };
        self.body.extend_from_slice(&line);
        self.messages += 1;
        Ok(full)
    }

    /// What waits to be sent, if anything.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        let messages = std::mem::take(&mut self.messages);
        Some(Batch { body: Bytes::from(std::mem::take(&mut self.body)), messages })
    }

    fn line(&mut self, message: &[u8]) -> Result<Vec<u8>, CliError> {
        if let Ok(text) = std::str::from_utf8(message) {
            self.fields.remove("encoding");
            self.fields.insert("body".to_owned(), Value::from(text));
        } else {
            self.fields.insert("encoding".to_owned(), Value::from("base64"));
            self.fields.insert("body".to_owned(), Value::from(STANDARD.encode(message)));
        }
        let mut line = serde_json::to_vec(&self.fields)
            .map_err(|error| CliError::Failed(format!("writing a message as JSON: {error}")))?;
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(messages: &[Vec<u8>]) -> Vec<Batch> {
        let mut batcher = Batcher::new(Map::new());
        let mut batches: Vec<Batch> = messages.iter().filter_map(|m| batcher.add(m).unwrap()).collect();
        batches.extend(batcher.take());
        assert!(batcher.is_empty());
        batches
    }

    #[test]
    fn a_batch_closes_at_a_thousand_messages() {
        let sizes: Vec<usize> =
            batches(&vec![b"x".to_vec(); 2_001]).iter().map(|batch| batch.messages).collect();
        assert_eq!(sizes, [1_000, 1_000, 1]);
    }

    #[test]
    fn a_batch_closes_before_a_mebibyte_and_a_larger_message_travels_alone() {
        let small = vec![b'a'; 300 << 10];
        let large = vec![b'b'; 2 << 20];
        let batches = batches(&[small.clone(), small.clone(), small.clone(), small.clone(), large, small]);
        assert_eq!(batches.iter().map(|batch| batch.messages).collect::<Vec<_>>(), [3, 1, 1, 1]);
        for batch in &batches {
            assert!(batch.body.len() <= BATCH_BYTES || batch.messages == 1);
        }
    }

    #[test]
    fn some_messages_of_a_batch_can_go_again() {
        let batch = &batches(&[b"a\nb".to_vec(), b"c".to_vec(), b"d".to_vec()])[0];
        let again = batch.only(&[0, 2]);
        assert_eq!(again, Batch { messages: 2, body: "{\"body\":\"a\\nb\"}\n{\"body\":\"d\"}\n".into() });
    }

    #[test]
    fn text_stays_text_and_other_bytes_become_base64() {
        let mut fields = Map::new();
        fields.insert("tag".to_owned(), Value::from("t"));
        let mut batcher = Batcher::new(fields);
        for message in [b"a \"b\"".as_slice(), b"\xff", b""] {
            batcher.add(message).unwrap();
        }
        let body = batcher.take().unwrap().body;
        let lines: Vec<Value> =
            body.split_inclusive(|b| *b == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!(lines[0], serde_json::json!({"tag": "t", "body": "a \"b\""}));
        assert_eq!(lines[1], serde_json::json!({"tag": "t", "body": "/w==", "encoding": "base64"}));
        assert_eq!(lines[2], serde_json::json!({"tag": "t", "body": ""}));
    }
}
