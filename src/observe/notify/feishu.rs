//! A Feishu (Lark) robot (<https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>): a card; signed in the
//! body when the robot has a secret.

use serde_json::{Value, json as value};

use crate::model::Timestamp;

use super::dingtalk::STYLE;
use super::signature::hmac_base64;
use super::text::{cut, fit, paragraphs, title};
use super::{Notice, Verdict, json, robot_code};

/// Feishu's limit of a request is 20 KB with everything around it.
const TEXT_BYTES_MAX: usize = 16_000;
const TITLE_MAX: usize = 200;

/// Too many messages in a minute or second.
const BUSY: [i64; 2] = [9_499, 11_232];

/// The HMAC of nothing, with `timestamp\nsecret` as its key: that is how Feishu has it.
fn sign(secret: &str, seconds: u64) -> String {
    hmac_base64(format!("{seconds}\n{secret}").as_bytes(), &[])
}

pub(super) fn body(notice: &Notice<'_>, secret: Option<&str>, now: Timestamp) -> Vec<u8> {
    let content = fit(&paragraphs(notice, &STYLE), "\n\n", TEXT_BYTES_MAX);
    let mut message = value!({
        "msg_type": "interactive",
        "card": {
            "header": {
                "title": {"tag": "plain_text", "content": cut(&title(notice), TITLE_MAX)},
                "template": if notice.is_firing() { "red" } else { "green" },
            },
            "elements": [{"tag": "markdown", "content": content}],
        },
    });
    if let (Some(secret), Value::Object(message)) = (secret, &mut message) {
        let seconds = now.0 / 1_000;
        message.insert("timestamp".to_owned(), seconds.to_string().into());
        message.insert("sign".to_owned(), sign(secret, seconds).into());
    }
    json(&message)
}

pub(super) fn judge(body: &str) -> Verdict {
    robot_code(body, "code", &BUSY)
}
