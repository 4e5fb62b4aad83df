//! One request for a page: what it asks for, in which language and colours it is answered, and what answers it.

use std::convert::Infallible;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::csrf::{self, FormToken};
use super::desk::Desk;
use super::fields::{FieldError, Fields, address};
use super::frame::{Frame, Section};
use super::oops::{self, Oops};
use super::page;
use super::words::{self, Common, Lang, Theme};
use crate::broker::{Broker, BrokerError};
use crate::model::SettingsError;

/// The parameters that are about how a page is shown, not about what it shows.
const LANG: &str = "lang";
const THEME: &str = "theme";
/// Says that a form was done.
const DONE: &str = "done";
/// The same with how many it was done to.
pub(super) const MOVED: &str = "moved";
pub(super) const PURGED: &str = "purged";
/// How long a browser remembers a language or colours.
const YEAR_S: u32 = 31_536_000;

/// A request for a page.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// The path of the page, `/topics/orders`.
    pub(super) path: String,
    /// What stands in the address behind the path, or in the form that is shown again.
    pub(super) fields: Fields,
    /// The language of the answer.
    pub(super) lang: Lang,
    /// The colours of the answer.
    pub(super) theme: Theme,
    /// For the forms of the page.
    pub(super) token: FormToken,
    /// What went wrong with the form that this page is shown again for.
    pub(super) trouble: Option<String>,
    /// The part of the page that shows what somebody asked to see first, by its id.
    pub(super) found: Option<&'static str>,
    /// Whether only the parts that renew themselves are wanted (htmx says so).
    pub(super) renews: bool,
    status: StatusCode,
    /// Whether the address says the language or the colours, for the browser to remember.
    told: [bool; 2],
}

impl FromRequestParts<Desk> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Visit, Infallible> {
        Ok(Visit::of(parts, desk))
    }
}

impl Visit {
    /// What a request asks for. An address that cannot be read asks for nothing in particular.
    pub(super) fn of(parts: &Parts, desk: &Desk) -> Visit {
        let fields = parts.uri.query().and_then(Fields::parse).unwrap_or_default();
        let headers = &parts.headers;
        let told_lang = fields.one(LANG).and_then(Lang::named);
        let told_theme = fields.one(THEME).and_then(Theme::named);
        let preferred = || Lang::accepted(text(headers, ACCEPT_LANGUAGE.as_str()));
        Visit {
            path: parts.uri.path().to_owned(),
            lang: told_lang
                .or_else(|| cookie(headers, LANG_COOKIE).and_then(Lang::named))
                .unwrap_or_else(preferred),
            theme: told_theme
                .or_else(|| cookie(headers, THEME_COOKIE).and_then(Theme::named))
                .unwrap_or_default(),
            token: desk.csrf.token(headers),
            trouble: None,
            found: None,
            renews: headers.contains_key("hx-request"),
            status: StatusCode::OK,
            told: [told_lang.is_some(), told_theme.is_some()],
            fields,
        }
    }

    /// Words that many pages use.
    pub(super) fn common(&self) -> &'static Common {
        Common::of(self.lang)
    }

    /// The visit of another page, which a form leads to without a detour: one that only asked.
    pub(super) fn at(self, path: impl Into<String>) -> Visit {
        Visit { path: path.into(), fields: Fields::default(), ..self }
    }

    /// The same page, which says at its top that `part` shows what somebody asked to see first.
    pub(super) fn with_found(self, part: &'static str) -> Visit {
        Visit { found: Some(part), ..self }
    }

    /// The same page again, after a form that could not be done: with what was filled in, and what is wrong.
    pub(super) fn again(self, path: impl Into<String>, fields: Fields, error: &FormError) -> Visit {
        let (status, trouble) = (error.status, Some(self.told(&error.text)));
        Visit { path: path.into(), fields, status, trouble, ..self }
    }

    /// Answers with the page that `gather` makes. It runs where reading the index and the log may block.
    pub(super) async fn show<P, F>(self, desk: &Desk, section: Section, gather: F) -> Response
    where
        P: Template + Send + 'static,
        F: FnOnce(&Broker, Frame, &Visit) -> Result<P, BrokerError> + Send + 'static,
    {
        let visit = self.clone();
        let look = move |broker: &Broker| {
            let frame = Frame::gather(broker, section, &visit);
            Ok(page::render(&gather(broker, frame, &visit)?))
        };
        match desk.broker.look(look).await {
            Ok(page) => self.answer(page::respond(page)),
            Err(error) => self.failed(desk, &error),
        }
    }

    /// What stands around a page of this part.
    pub(super) fn frame(&self, desk: &Desk, section: Section) -> Frame {
        Frame::gather(&desk.broker, section, self)
    }

    /// Answers with a page that is at hand.
    pub(super) fn page(&self, template: &impl Template) -> Response {
        self.answer(page::respond(page::render(template)))
    }

    /// What the broker says, in the language of the answer.
    pub(super) fn told(&self, sentence: &str) -> String {
        words::told(self.lang, sentence).into_owned()
    }

    /// Answers with a page that says what of the address cannot be read.
    pub(super) fn unread(&self, desk: &Desk, error: FieldError) -> Response {
        self.oops(desk, StatusCode::BAD_REQUEST, &FormError::from(error).text)
    }

    /// Answers with a page that says why there is nothing to see.
    pub(super) fn oops(&self, desk: &Desk, status: StatusCode, text: &str) -> Response {
        let frame = self.frame(desk, Section::Elsewhere);
        let mut page = page::respond(page::render(&Oops { frame, text: &self.told(text) }));
        if page.status().is_success() {
            *page.status_mut() = status;
        }
        self.answer(page)
    }

    /// The same for what the broker says instead of doing it.
    pub(super) fn failed(&self, desk: &Desk, error: &BrokerError) -> Response {
        self.oops(desk, oops::status_of(error), &error.to_string())
    }

    /// Leads on to `path`, which says that the form was done.
    pub(super) fn lead_on(&self, path: &str) -> Response {
        self.lead_on_with(path, [])
    }

    /// The same with what the address asks for besides.
    pub(super) fn lead_on_with<'a>(
        &self,
        path: &str,
        pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Response {
        let to = address(path, pairs.into_iter().chain([(DONE, Some("1"))]));
        match HeaderValue::try_from(to) {
            Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
            Err(_) => StatusCode::NO_CONTENT.into_response(),
        }
    }

    /// Whether a form was just done that led here.
    pub(super) fn is_done(&self) -> bool {
        self.fields.one(DONE).is_some()
    }

    /// This page with other parameters about how it is shown.
    pub(super) fn shown_as(&self, lang: Option<Lang>, theme: Option<Theme>) -> String {
        let kept = self.asked().filter(|(name, _)| ![LANG, THEME].contains(name));
        let lang = lang.map(|lang| (LANG, Some(lang.name())));
        let theme = theme.map(|theme| (THEME, Some(theme.name())));
        address(&self.path, kept.map(|(name, value)| (name, Some(value))).chain(lang).chain(theme))
    }

    /// This page with another value of one parameter; none leaves it out.
    pub(super) fn asking(&self, parameter: &str, value: Option<&str>) -> String {
        let others = [LANG, THEME, parameter];
        let kept = self.asked().filter(|(name, _)| !others.contains(name));
        let kept = kept.map(|(name, value)| (name, Some(value)));
        address(&self.path, kept.chain([(parameter, value)]))
    }

    /// What an address says, without what it told once. What was filled into a form that could not be done is for the
    /// form alone: it may be a secret.
    fn asked(&self) -> impl Iterator<Item = (&str, &str)> {
        let once = [DONE, MOVED, PURGED, csrf::FIELD];
        self.fields.pairs().filter(move |(name, _)| self.trouble.is_none() && !once.contains(name))
    }

    /// Sets what the browser shall remember.
    fn answer(&self, mut page: Response) -> Response {
        if page.status().is_success() {
            *page.status_mut() = self.status;
        }
        let told =
            [(self.told[0], LANG_COOKIE, self.lang.name()), (self.told[1], THEME_COOKIE, self.theme.name())];
        for (_, name, value) in told.into_iter().filter(|(told, ..)| *told) {
            let cookie = format!("{name}={value}; Path=/; Max-Age={YEAR_S}; SameSite=Lax");
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                page.headers_mut().append(SET_COOKIE, cookie);
            }
        }
        if let Some(cookie) = self.token.cookie.clone() {
            page.headers_mut().append(SET_COOKIE, cookie);
        }
        page
    }
}

/// Why a form was not done, for the person who sent it.
#[derive(Clone, Debug)]
pub(super) struct FormError {
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// What is wrong, and the way out.
    pub(super) text: String,
}

impl FormError {
    /// Something in the form is wrong.
    pub(super) fn new(text: impl Into<String>) -> FormError {
        FormError { status: StatusCode::UNPROCESSABLE_ENTITY, text: text.into() }
    }
}

impl From<BrokerError> for FormError {
    fn from(error: BrokerError) -> FormError {
        FormError { status: oops::status_of(&error), text: error.to_string() }
    }
}

impl From<SettingsError> for FormError {
    fn from(error: SettingsError) -> FormError {
        FormError::new(error.to_string())
    }
}

impl From<FieldError> for FormError {
    fn from(error: FieldError) -> FormError {
        FormError::new(format!("{}: {}", error.field, error.text))
    }
}

/// Where the browser remembers the language.
const LANG_COOKIE: &str = "whimbrel_lang";
/// Where it remembers the colours.
const THEME_COOKIE: &str = "whimbrel_theme";

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}
