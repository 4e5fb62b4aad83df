//! `/alerts/rules` and `/alerts/rules/{rule}`: a rule as fields, and all of it as JSON; before it is saved, what would
//! change and how often it would have fired.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::rule_form::{self, CHOICES, Choices, RuleFields};
use super::{Part, parts};
use crate::broker::{Broker, RulePreview};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::Fields;
use crate::dashboard::form::{Form, confirmed};
use crate::dashboard::format::{self, filters};
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::named::Named;
use crate::dashboard::settings::{self, Difference, SettingsForm, Submitted};
use crate::dashboard::visit::{FormError, Visit};
use crate::dashboard::words::{Alerts, Lang, Objects, word};
use crate::machine::{Expected, Placed, built_in_rules};
use crate::model::AlertName;
use crate::model::alert::{AlertMetric, AlertRule, Comparison, Origin, Quantity};
use crate::observe::rules::{from_quantity, shown};

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/alerts/rules", get(list))
        .route("/alerts/rule", get(open))
        .route("/alerts/rules/{rule}", get(show))
        .route("/alerts/rules/{rule}/settings", post(save))
        .route("/alerts/rules/{rule}/delete", post(delete))
}

#[derive(Template)]
#[template(path = "alert_rules.html")]
struct RulesPage {
    frame: Frame,
    words: &'static Alerts,
    parts: Vec<Part>,
    rows: Vec<Row>,
}

/// A rule of the list.
struct Row {
    name: AlertName,
    condition: String,
    for_ms: Option<u64>,
    severity: &'static str,
    origin: Origin,
    enabled: bool,
}

#[derive(Template)]
#[template(path = "alert_rule.html")]
struct RulePage {
    frame: Frame,
    words: &'static Alerts,
    /// Those of the form.
    setting_words: &'static Objects,
    parts: Vec<Part>,
    name: AlertName,
    /// Where it comes from; none: there is no such rule yet.
    origin: Option<Origin>,
    choices: Choices,
    /// The form with fields, and what it would change.
    asked: RuleFields,
    diff: Option<Vec<Difference>>,
    /// The form with JSON, and whether it is the one that was sent.
    form: SettingsForm,
    is_json: bool,
    preview: Option<RulePreview>,
    would_have: String,
    save_to: String,
    delete_at: String,
    /// What deleting does: a rule that comes with the broker is back afterwards.
    delete_about: &'static str,
}

/// What a rule asks, in a few words: `lag_seconds > 10 min`.
fn condition(rule: &AlertRule, lang: Lang) -> String {
    let sign = match rule.op {
        Comparison::Above => ">",
        Comparison::AtLeast => "≥",
        Comparison::Below => "<",
        Comparison::AtMost => "≤",
    };
    let metric = word(lang, rule.metric.as_str());
    format!("{metric} {sign} {}", shown(rule.metric, from_quantity(rule.threshold)))
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |broker: &Broker, frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let row = |(name, placed): (&AlertName, Placed<AlertRule>)| Row {
            name: name.clone(),
            condition: condition(&placed.value, visit.lang),
            for_ms: Some(placed.value.for_ms),
            severity: placed.value.severity.as_str(),
            origin: placed.origin,
            enabled: placed.value.enabled,
        };
        let rows = broker.alerting().rules().map(row).collect();
        Ok(RulesPage { frame, words, parts: parts(words, "/alerts/rules"), rows })
    };
    visit.show(&desk, Section::Alerts, gather).await
}

/// From the name in a form to the page of that rule, also of one that is not there yet.
async fn open(State(desk): State<Desk>, visit: Visit) -> Response {
    match visit.fields.parsed::<AlertName>("name") {
        Ok(Some(name)) => Redirect::to(&format!("/alerts/rules/{name}")).into_response(),
        Ok(None) => Redirect::to("/alerts/rules").into_response(),
        Err(error) => visit.unread(&desk, error),
    }
}

async fn show(State(desk): State<Desk>, Named(name): Named<AlertName>, visit: Visit) -> Response {
    shown_with(&desk, visit, name, None).await
}

/// What a new rule begins as.
fn draft() -> AlertRule {
    let summary = ("summary".to_owned(), "group {{ group }} is {{ value }} behind on {{ topic }}".to_owned());
    AlertRule {
        for_ms: 60_000,
        annotations: [summary].into(),
        ..AlertRule::new(AlertMetric::LagSeconds, Quantity::whole(300))
    }
}

/// A form as it was sent.
struct Asked {
    fields: RuleFields,
    form: SettingsForm,
    is_json: bool,
    /// What is to be tried against the history.
    rule: Option<AlertRule>,
}

impl Asked {
    /// A form that could be read, and the rule that it asks for.
    fn of(fields: &Fields, form: SettingsForm, rule: AlertRule) -> Asked {
        let is_json = !rule_form::is_sent(fields);
        Asked { fields: RuleFields::of(&rule), form, is_json, rule: Some(rule) }
    }

    /// A form that could not be read, as it was filled in; the other one shows what stands.
    fn unread(fields: &Fields, present: &AlertRule) -> Asked {
        if rule_form::is_sent(fields) {
            let version = fields.kept("version").to_owned();
            let form = SettingsForm { version, ..SettingsForm::new(present) };
            return Asked { fields: RuleFields::sent(fields), form, is_json: false, rule: None };
        }
        let form = SettingsForm::sent(fields);
        Asked { fields: RuleFields::of(present), form, is_json: true, rule: None }
    }
}

/// The page of a rule, with a form as it was sent if there is one.
async fn shown_with(desk: &Desk, visit: Visit, name: AlertName, sent: Option<Asked>) -> Response {
    let gather = move |broker: &Broker, mut frame: Frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let placed = broker.alerting().rule(&name);
        let origin = placed.as_ref().map(|placed| placed.origin);
        let stands = || match &placed {
            Some(placed) => {
                (RuleFields::of(&placed.value), SettingsForm::of(&*placed.value, placed.version()))
            }
            None => (RuleFields::of(&draft()), SettingsForm::new(&draft())),
        };
        let Asked { fields: asked, mut form, is_json, rule } = sent.unwrap_or_else(|| {
            let (fields, form) = stands();
            Asked { fields, form, is_json: false, rule: None }
        });
        let (preview, trouble) = match rule.map(|rule| broker.preview_rule(&rule)).transpose() {
            Ok(preview) => (preview, None),
            // The form stays as it was filled in, and can be saved.
            Err(error) => (None, Some(visit.told(&error.to_string()))),
        };
        frame.trouble = frame.trouble.or(trouble);
        let times = preview.as_ref().and_then(|preview| preview.times);
        Ok(RulePage {
            frame,
            words,
            setting_words: Objects::of(visit.lang),
            parts: parts(words, "/alerts/rules"),
            origin,
            choices: CHOICES,
            diff: if is_json { None } else { form.diff.take() },
            asked,
            form,
            is_json,
            would_have: match times {
                Some(times) => format::with(words.would_have, &[&times]),
                None => words.would_unknown.to_owned(),
            },
            preview,
            save_to: format!("/alerts/rules/{name}/settings"),
            delete_at: format!("/alerts/rules/{name}/delete"),
            delete_about: if built_in_rules().iter().any(|(known, _)| *known == name) {
                words.delete_changed
            } else {
                words.delete_rule
            },
            name,
        })
    };
    visit.show(desk, Section::Alerts, gather).await
}

/// The rule that a form asks for, by its fields or as JSON, and how it is written as JSON.
fn read(fields: &Fields, present: &AlertRule) -> Result<(AlertRule, String), FormError> {
    if !rule_form::is_sent(fields) {
        return settings::read(fields, AlertRule::check);
    }
    let rule = rule_form::read(fields, present)?;
    rule.check()?;
    let text = settings::written(&rule);
    Ok((rule, text))
}

async fn save(State(desk): State<Desk>, Named(name): Named<AlertName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let (path, broker) = (format!("/alerts/rules/{name}"), &desk.broker);
    let present = || {
        let placed = broker.alerting().rule(&name)?;
        Some((AlertRule::clone(&placed.value), placed.version()))
    };
    let base = present().map_or_else(draft, |(rule, _)| rule);
    let put = |rule, expected| broker.put_alert_rule(name.clone(), rule, Origin::Api, expected);
    let (visit, asked) = match settings::submit(&fields, read(&fields, &base), present, put).await {
        Submitted::Saved => return visit.lead_on(&path),
        Submitted::Shown(rule, form) => (visit.at(path).with_found("diff"), Asked::of(&fields, form, rule)),
        Submitted::Refused(error, form, rule) => {
            let asked = match rule {
                Some(rule) => Asked::of(&fields, form, rule),
                None => Asked::unread(&fields, &base),
            };
            (visit.again(path, Fields::default(), &error), asked)
        }
    };
    shown_with(&desk, visit, name, Some(asked)).await
}

async fn delete(State(desk): State<Desk>, Named(name): Named<AlertName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let done = match confirmed(&fields, &visit, name.as_str()) {
        Ok(()) => desk
            .broker
            .delete_alert_rule(name.clone(), Origin::Api, Expected::Anything)
            .await
            .map_err(FormError::from),
        Err(error) => Err(error),
    };
    let error = match done {
        Ok(()) => return visit.lead_on("/alerts/rules"),
        Err(error) => error,
    };
    shown_with(&desk, visit.again(format!("/alerts/rules/{name}"), Fields::default(), &error), name, None)
        .await
}
