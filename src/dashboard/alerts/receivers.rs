//! `/alerts/receivers`: who is told, along which routes.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::{Part, parts};
use crate::broker::{Broker, ReceiverTest};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::{FieldError, Fields};
use crate::dashboard::form::{Form, confirmed};
use crate::dashboard::format::{self, filters};
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::named::Named;
use crate::dashboard::settings::{self, SettingsForm, Submitted};
use crate::dashboard::visit::{FormError, Visit};
use crate::dashboard::words::{Alerts, Objects};
use crate::machine::{Alerting, Expected, Placed};
use crate::model::AlertName;
use crate::model::alert::{Origin, Receiver, ReceiverKind, Routing};

/// The field that holds the name of the receiver that a form changes.
const CHANGES: &str = "changes";

const KINDS: [ReceiverKind; 7] = [
    ReceiverKind::Webhook,
    ReceiverKind::Alertmanager,
    ReceiverKind::Slack,
    ReceiverKind::Pagerduty,
    ReceiverKind::Dingtalk,
    ReceiverKind::Feishu,
    ReceiverKind::Wecom,
];

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/alerts/receivers", get(list).post(put))
        .route("/alerts/receivers/{receiver}/test", post(test))
        .route("/alerts/receivers/{receiver}/delete", post(delete))
        .route("/alerts/routing", post(save_routing))
}

#[derive(Template)]
#[template(path = "receivers.html")]
struct ReceiversPage {
    frame: Frame,
    words: &'static Alerts,
    /// Those of the form for routes.
    setting_words: &'static Objects,
    parts: Vec<Part>,
    rows: Vec<Row>,
    kinds: [&'static str; 7],
    /// How a test went: whether well, and the words.
    tested: Option<(bool, String)>,
    /// What was filled in.
    asked_name: String,
    kind: String,
    url: String,
    send_resolved: bool,
    /// Whether a secret was typed that is not shown again, and has to be typed once more.
    needs_secret: bool,
    /// The one that the form changes, whose address and secret stay when they are left empty.
    changes: Option<AlertName>,
    routing: SettingsForm,
    /// Whether the routes stand in the configuration file, and are changed there.
    routing_in_file: bool,
}

/// A receiver, ready to be shown.
struct Row {
    name: AlertName,
    kind: &'static str,
    url: String,
    is_from_file: bool,
    /// How its last delivery stands.
    last: Option<&'static str>,
    delete_at: String,
}

/// What is shown besides what stands.
#[derive(Default)]
struct Shown {
    tested: Option<(bool, String)>,
    routing: Option<SettingsForm>,
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    shown(&desk, visit, Shown::default()).await
}

async fn shown(desk: &Desk, visit: Visit, also: Shown) -> Response {
    let gather = move |broker: &Broker, frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let alerting = broker.alerting();
        let row = |(name, placed): (&AlertName, &Placed<Receiver>)| {
            let mut told = alerting.notifications().rev();
            let last = told.find(|(_, it)| it.receiver == name.as_str()).map(|(_, it)| it.delivery.state());
            Row {
                name: name.clone(),
                kind: placed.value.kind.as_str(),
                url: placed.value.shown_url(),
                is_from_file: placed.is_from_file(),
                last,
                delete_at: format!("/alerts/receivers/{name}/delete"),
            }
        };
        let routing = alerting.routing().map_or_else(
            || SettingsForm::new(&Routing::default()),
            |placed| SettingsForm::of(&*placed.value, placed.version()),
        );
        let kept = |name| visit.fields.kept(name).to_owned();
        // The form begins as the receiver that the address names; one that was refused shows what was filled in.
        let is_refused = visit.trouble.is_some();
        let names = if is_refused { CHANGES } else { "name" };
        let named = visit.fields.parsed::<AlertName>(names).ok().flatten();
        let changed = named.and_then(|name| Some((alerting.receiver(&name)?.clone(), name)));
        let begins = changed.as_ref().map(|(placed, _)| &placed.value).filter(|_| !is_refused);
        Ok(ReceiversPage {
            frame,
            words,
            setting_words: Objects::of(visit.lang),
            parts: parts(words, "/alerts/receivers"),
            rows: alerting.receivers().map(row).collect(),
            kinds: KINDS.map(ReceiverKind::as_str),
            tested: also.tested,
            asked_name: kept("name"),
            kind: begins.map_or_else(|| kept("kind"), |begins| begins.kind.as_str().to_owned()),
            url: kept("url"),
            send_resolved: match begins {
                Some(begins) => begins.send_resolved,
                None => !is_refused || visit.fields.one("send_resolved").is_some(),
            },
            needs_secret: is_refused && visit.fields.one("secret").is_some(),
            changes: changed.as_ref().map(|(_, name)| name.clone()),
            routing: also.routing.unwrap_or(routing),
            routing_in_file: alerting.routing().is_some_and(Placed::is_from_file),
        })
    };
    visit.show(desk, Section::Alerts, gather).await
}

/// The receiver that the form asks for: an address that is left empty stays, and so does the secret as long as kind and
/// address do.
fn read(fields: &Fields, alerting: &Alerting) -> Result<(AlertName, Receiver), FormError> {
    let name = fields.needed::<AlertName>("name")?;
    let kind = KINDS.into_iter().find(|kind| Some(kind.as_str()) == fields.one("kind"));
    let mut receiver = Receiver {
        kind: kind.ok_or_else(|| FieldError::missing("kind"))?,
        url: fields.kept("url").trim().to_owned(),
        secret: fields.one("secret").map(str::to_owned),
        send_resolved: fields.one("send_resolved").is_some(),
    };
    if let Some(before) = alerting.receiver(&name).filter(|_| receiver.url.is_empty()) {
        receiver.url.clone_from(&before.value.url);
    }
    // Only judged with the secret that it keeps: which one that is, is decided when it is stored.
    alerting.with_kept_secret(&name, &receiver).check()?;
    Ok((name, receiver))
}

async fn put(State(desk): State<Desk>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let done = match read(&fields, &desk.broker.alerting()) {
        Ok((name, receiver)) => {
            // Whoever makes a new one does not write over another that has the name.
            let expected = if fields.one(CHANGES) == Some(name.as_str()) {
                Expected::Existing
            } else {
                Expected::Missing
            };
            let put = desk.broker.put_receiver(name, receiver, Origin::Api, expected).await;
            put.map_err(FormError::from)
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => visit.lead_on("/alerts/receivers"),
        Err(error) => shown(&desk, visit.again("/alerts/receivers", fields, &error), Shown::default()).await,
    }
}

async fn test(State(desk): State<Desk>, Named(name): Named<AlertName>, form: Form) -> Response {
    let visit = form.visit;
    let words = Alerts::of(visit.lang);
    let tested = match desk.broker.test_receiver(&name).await {
        Ok(ReceiverTest { is_delivered: true, status, .. }) => {
            (true, format::with(words.tested_well, &[&status.unwrap_or_default()]))
        }
        Ok(ReceiverTest { status, excerpt, .. }) => {
            let why = match status {
                Some(status) => format!("{status} {excerpt}"),
                None => excerpt,
            };
            (false, format::with(words.tested_badly, &[&crate::dashboard::visible::visible(&why)]))
        }
        Err(error) => return visit.failed(&desk, &error),
    };
    let also = Shown { tested: Some(tested), ..Shown::default() };
    shown(&desk, visit.at("/alerts/receivers"), also).await
}

async fn delete(State(desk): State<Desk>, Named(name): Named<AlertName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let done = match confirmed(&fields, &visit, name.as_str()) {
        Ok(()) => {
            desk.broker.delete_receiver(name, Origin::Api, Expected::Anything).await.map_err(FormError::from)
        }
        Err(error) => Err(error),
    };
    let error = match done {
        Ok(()) => return visit.lead_on("/alerts/receivers"),
        Err(error) => error,
    };
    shown(&desk, visit.again("/alerts/receivers", Fields::default(), &error), Shown::default()).await
}

async fn save_routing(State(desk): State<Desk>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let (path, broker) = ("/alerts/receivers", &desk.broker);
    let read = settings::read(&fields, Routing::check);
    let present = || {
        let alerting = broker.alerting();
        let placed = alerting.routing()?;
        Some((Routing::clone(&placed.value), placed.version()))
    };
    let put = |routing, expected| broker.put_routing(routing, Origin::Api, expected);
    let (visit, form) = match settings::submit(&fields, read, present, put).await {
        Submitted::Saved => return visit.lead_on(path),
        Submitted::Shown(_, form) => (visit.at(path).with_found("diff"), form),
        Submitted::Refused(error, form, _) => (visit.again(path, Fields::default(), &error), form),
    };
    shown(&desk, visit, Shown { routing: Some(form), ..Shown::default() }).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::{Draft, Machine};
    use crate::model::Timestamp;

    #[test]
    fn what_is_left_empty_stays_and_another_address_needs_a_secret_of_its_own() {
        let before = Receiver {
            kind: ReceiverKind::Pagerduty,
            url: "https://events.example.com/v2/enqueue".to_owned(),
            secret: Some("key".to_owned()),
            send_resolved: true,
        };
        let mut draft = Draft::new(&Machine::default(), Timestamp(1_000), Box::new(|| 7));
        let ops = "ops".parse().unwrap();
        draft.put_receiver(&ops, &Arc::new(before.clone()), Origin::Api, &Expected::Anything).unwrap();
        let alerting = draft.machine().alerting();
        let read = |text: &str| read(&Fields::parse(text).unwrap(), alerting).map(|(_, receiver)| receiver);
        let same = read("name=ops&kind=pagerduty").unwrap();
        // The secret itself is left to whoever stores it.
        assert_eq!((same.url, same.secret, same.send_resolved), (before.url, None, false));
        assert!(
            read("name=ops&kind=pagerduty&url=https://other.example.com/x").is_err(),
            "it needs a key of its own"
        );
        assert!(read("name=new&kind=webhook").is_err(), "a new one has no address to stay");
    }
}
