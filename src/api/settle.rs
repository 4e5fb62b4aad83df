//! Settling leases: ack, nack, extend, dead-letter, many at once or by receipt.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::extract::{Answer, Call, json, read_json};
use super::json_out::Json;
use super::options::Api;
use super::problem::{Code, Problem};
use crate::machine::{SettleOp, SettleStatus, SettledAs};
use crate::model::{
    GroupName, LEASE_MS_MAX, LEASE_MS_MIN, Millis, REASON_BYTES_MAX, RETRY_MS_MAX, Receipt, SETTLE_MAX,
    objects,
};

/// The body of `…/settle`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SettleForm {
    #[serde(deserialize_with = "objects")]
    acks: Vec<AckForm>,
    #[serde(deserialize_with = "objects")]
    nacks: Vec<NackForm>,
    #[serde(deserialize_with = "objects")]
    extends: Vec<ExtendForm>,
    #[serde(deserialize_with = "objects")]
    dead_letters: Vec<DeadLetterForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckForm {
    receipt: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NackForm {
    receipt: String,
    #[serde(default)]
    delay_ms: Option<Millis>,
    #[serde(default)]
    reason: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtendForm {
    receipt: String,
    #[serde(default)]
    lease_ms: Option<Millis>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetterForm {
    receipt: String,
    #[serde(default)]
    reason: Option<Box<str>>,
}

/// One wish: the receipt as written, and what to do.
pub(super) struct Wish {
    pub(super) receipt: String,
    pub(super) op: SettleOp,
    /// What the answer calls it.
    name: &'static str,
}

/// `POST /v1/groups/{group}/settle`
pub(super) async fn settle(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let wishes = wishes_of(read_json(&api, body).await?)?;
    settle_all(&api, group, wishes).await
}

/// What is wished, in the order of the answer.
///
/// # Errors
/// Names the entry and its field.
pub(super) fn wishes_of(form: SettleForm) -> Result<Vec<Wish>, Problem> {
    let mut wishes = Vec::new();
    for AckForm { receipt } in form.acks {
        wishes.push(Wish { receipt, op: SettleOp::Ack, name: "ack" });
    }
    for (at, NackForm { receipt, delay_ms, reason }) in form.nacks.into_iter().enumerate() {
        let op = nack(delay_ms, reason).map_err(|problem| problem.within(&format!("/nacks/{at}")))?;
        wishes.push(Wish { receipt, op, name: "nack" });
    }
    for (at, ExtendForm { receipt, lease_ms }) in form.extends.into_iter().enumerate() {
        let op = extend(lease_ms).map_err(|problem| problem.within(&format!("/extends/{at}")))?;
        wishes.push(Wish { receipt, op, name: "extend" });
    }
    for (at, DeadLetterForm { receipt, reason }) in form.dead_letters.into_iter().enumerate() {
        let op = dead_letter(reason).map_err(|problem| problem.within(&format!("/dead_letters/{at}")))?;
        wishes.push(Wish { receipt, op, name: "dead_letter" });
    }
    Ok(wishes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acks {
    receipts: Vec<String>,
}

/// `POST /v1/groups/{group}/ack`
pub(super) async fn ack(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let form: Acks = read_json(&api, body).await?;
    settle_same(&api, group, form.receipts, ("ack", &SettleOp::Ack)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nacks {
    receipts: Vec<String>,
    #[serde(default)]
    delay_ms: Option<Millis>,
    #[serde(default)]
    reason: Option<Box<str>>,
}

/// `POST /v1/groups/{group}/nack`
pub(super) async fn nack_all(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let form: Nacks = read_json(&api, body).await?;
    let op = nack(form.delay_ms, form.reason)?;
    settle_same(&api, group, form.receipts, ("nack", &op)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extends {
    receipts: Vec<String>,
    #[serde(default)]
    lease_ms: Option<Millis>,
}

/// `POST /v1/groups/{group}/extend`
pub(super) async fn extend_all(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let form: Extends = read_json(&api, body).await?;
    let op = extend(form.lease_ms)?;
    settle_same(&api, group, form.receipts, ("extend", &op)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetters {
    receipts: Vec<String>,
    #[serde(default)]
    reason: Option<Box<str>>,
}

/// `POST /v1/groups/{group}/dead-letter`
pub(super) async fn dead_letter_all(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let form: DeadLetters = read_json(&api, body).await?;
    let op = dead_letter(form.reason)?;
    settle_same(&api, group, form.receipts, ("dead_letter", &op)).await
}

/// `DELETE /v1/receipts/{receipt}`: acks one lease, whatever its group.
pub(super) async fn ack_receipt(State(api): State<Api>, call: Call) -> Answer {
    let receipt = call.text("receipt").parse::<Receipt>();
    call.query.finish()?;
    let unknown = || Problem::new(Code::ReceiptNotFound, "this is not a receipt of a lease");
    let receipt = receipt.map_err(|_| unknown())?;
    match api.broker.ack_receipt(receipt).await? {
        SettleStatus::Ok(_) | SettleStatus::Already => Ok(StatusCode::NO_CONTENT.into_response()),
        SettleStatus::Expired => {
            Err(Problem::new(Code::LeaseExpired, "the lease of this receipt is over; nothing changed"))
        }
        SettleStatus::Invalid => Err(unknown()),
    }
}

/// Checks a nack.
///
/// # Errors
/// Names `/delay_ms` or `/reason`.
pub(crate) fn nack(delay_ms: Option<Millis>, reason: Option<Box<str>>) -> Result<SettleOp, Problem> {
    if delay_ms.is_some_and(|delay_ms| delay_ms > RETRY_MS_MAX) {
        return Err(Problem::pointer("/delay_ms", format!("must be 0 to {RETRY_MS_MAX}")));
    }
    Ok(SettleOp::Nack { delay_ms, reason: checked_reason(reason)? })
}

/// Checks an extend.
///
/// # Errors
/// Names `/lease_ms`.
pub(crate) fn extend(lease_ms: Option<Millis>) -> Result<SettleOp, Problem> {
    if lease_ms.is_some_and(|lease_ms| !(LEASE_MS_MIN..=LEASE_MS_MAX).contains(&lease_ms)) {
        return Err(Problem::pointer("/lease_ms", format!("must be {LEASE_MS_MIN} to {LEASE_MS_MAX}")));
    }
    Ok(SettleOp::Extend { lease_ms })
}

/// Checks a dead-letter.
///
/// # Errors
/// Names `/reason`.
pub(crate) fn dead_letter(reason: Option<Box<str>>) -> Result<SettleOp, Problem> {
    Ok(SettleOp::DeadLetter { reason: checked_reason(reason)? })
}

fn checked_reason(reason: Option<Box<str>>) -> Result<Option<Box<str>>, Problem> {
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(Problem::pointer("/reason", format!("must have at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(reason)
}

async fn settle_same(
    api: &Api,
    group: GroupName,
    receipts: Vec<String>,
    (name, op): (&'static str, &SettleOp),
) -> Answer {
    let wishes = receipts.into_iter().map(|receipt| Wish { receipt, op: op.clone(), name }).collect();
    settle_all(api, group, wishes).await
}

async fn settle_all(api: &Api, group: GroupName, wishes: Vec<Wish>) -> Answer {
    if wishes.len() > SETTLE_MAX {
        return Err(Problem::too_large("receipts in one request", SETTLE_MAX));
    }
    let ops = wishes.iter().map(|wish| (wish.receipt.parse().ok(), wish.op.clone())).collect();
    let statuses = api.broker.settle(group, ops).await?;
    let mut out = Json::with_capacity(192 * wishes.len() + 32);
    out.open();
    out.key("results");
    out.open_list();
    for (wish, status) in wishes.iter().zip(statuses) {
        write_settled(&mut out, &wish.receipt, wish.name, status);
    }
    out.close_list();
    out.close();
    Ok(json(StatusCode::OK, out))
}

/// Writes `{receipt, op, status, state?, ready_at?, lease_expires_at?}`.
pub(crate) fn write_settled(out: &mut Json, receipt: &str, op: &str, status: SettleStatus) {
    out.open();
    out.text_field("receipt", receipt);
    out.text_field("op", op);
    out.key("status");
    match status {
        SettleStatus::Ok(state) => {
            out.plain("ok");
            write_state(out, state);
        }
        SettleStatus::Already => out.plain("already"),
        SettleStatus::Expired => out.plain("expired"),
        SettleStatus::Invalid => out.plain("invalid"),
    }
    out.close();
}

fn write_state(out: &mut Json, state: SettledAs) {
    out.key("state");
    match state {
        SettledAs::Acked => out.plain("acked"),
        SettledAs::Dead => out.plain("dead"),
        SettledAs::Ready => out.plain("ready"),
        SettledAs::Retrying { ready_at } => {
            out.plain("retrying");
            out.key("ready_at");
            out.plain(ready_at);
        }
        SettledAs::Leased { until } => {
            out.plain("leased");
            out.key("lease_expires_at");
            out.plain(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn limits_are_named() {
        assert!(nack(Some(RETRY_MS_MAX), Some("r".repeat(REASON_BYTES_MAX).into())).is_ok());
        assert!(nack(Some(RETRY_MS_MAX + 1), None).unwrap_err().detail.starts_with("/delay_ms: "));
        assert!(nack(None, Some("r".repeat(REASON_BYTES_MAX + 1).into())).is_err());
        assert!(extend(Some(999)).unwrap_err().detail.starts_with("/lease_ms: "));
        assert!(extend(None).is_ok());
        assert!(dead_letter(Some("r".repeat(REASON_BYTES_MAX + 1).into())).is_err());
    }

    #[test]
    fn results_say_where_the_message_is_now() {
        let mut out = Json::default();
        out.open_list();
        write_settled(
            &mut out,
            "r\"1",
            "nack",
            SettleStatus::Ok(SettledAs::Retrying { ready_at: Timestamp(0) }),
        );
        write_settled(&mut out, "r2", "ack", SettleStatus::Expired);
        out.close_list();
        let bytes = out.finish();
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            concat!(
                r#"[{"receipt":"r\"1","op":"nack","status":"ok","state":"retrying","#,
                r#""ready_at":"1970-01-01T00:00:00.000Z"},"#,
                r#"{"receipt":"r2","op":"ack","status":"expired"}]"#
            )
        );
    }
}
