//! Curves: drawn by the server as lines in the page, with the same numbers as a table below, so that they are there at
//! the first look, without script, and for people who do not see lines. `static/app.js` draws them anew with uPlot.

use std::fmt::Write as _;

use super::visit::Visit;
use super::words::Objects;
use crate::broker::{Broker, BrokerError};
use crate::model::Timestamp;
use crate::observe::history::{Curves, Measure, Subject, Window};

/// The parameter of a page that says how far back its curves go.
const WINDOW: &str = "window";

/// The drawing, in its own units.
const WIDTH: f32 = 600.0;
const HEIGHT: f32 = 120.0;
/// Points of a drawn line at most: more than two a unit nobody sees, and a week of minutes would be half a megabyte.
const POINTS: usize = 600;
/// Rows of the table: means of this many stretches.
const ROWS: usize = 20;

/// The curves of a page.
#[derive(Clone, Debug)]
pub(super) struct Charts {
    /// How far back they can go.
    pub(super) spans: Vec<Span>,
    /// One for each measure.
    pub(super) charts: Vec<Chart>,
}

/// A length of time that curves can show.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// What it is called.
    pub(super) name: &'static str,
    /// This page with curves so long.
    pub(super) path: String,
    /// Whether they are that long now.
    pub(super) current: bool,
}

/// A curve, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// What it is called.
    pub(super) title: &'static str,
    /// The name of its series in `/v1/history`.
    pub(super) series: &'static str,
    /// What `/v1/history` is asked, for the script, which adds the names of the series.
    pub(super) source: String,
    /// The path of the line, broken where nothing is known; empty when nothing is known at all.
    pub(super) line: String,
    /// The last value.
    pub(super) last: String,
    /// The largest value, which is the height of the drawing.
    pub(super) most: String,
    /// Time and value, the newest first.
    pub(super) rows: Vec<(Timestamp, String)>,
}

impl Charts {
    /// The curves of a subject, one for each of `wanted`, as far back as the address asks: ten minutes if it does not.
    ///
    /// # Errors
    /// As [`Broker::history`].
    pub(super) fn gather(
        broker: &Broker,
        visit: &Visit,
        subject: &Subject,
        wanted: &[(Measure, &'static str)],
    ) -> Result<Charts, BrokerError> {
        let asked = visit.fields.one(WINDOW).and_then(|window| window.parse().ok());
        let window = asked.unwrap_or(Window::TenMinutes);
        let measures: Vec<Measure> = wanted.iter().map(|(measure, _)| *measure).collect();
        let past = broker.history(subject, &measures, window)?;
        let about = match subject {
            Subject::Node => String::new(),
            Subject::Topic(name) => format!("&topic={name}"),
            Subject::Group(name) => format!("&group={name}"),
        };
        let source = format!("/v1/history?window={}{about}&series=", window.as_str());
        Ok(Charts {
            spans: Window::ALL.iter().map(|one| Span::of(*one, *one == window, visit)).collect(),
            charts: wanted.iter().map(|wanted| Chart::of(&past.curves, *wanted, &source)).collect(),
        })
    }
}

impl Charts {
    /// Ids of what renews itself on a page: its `own` parts, and what stands beside and below the curves. The curves
    /// themselves are drawn by the script.
    pub(super) fn parts_beside(&self, own: &[&str]) -> Vec<String> {
        let curves = self.charts.iter().map(|chart| chart.series);
        let beside = curves.flat_map(|series| [format!("now-{series}"), format!("rows-{series}")]);
        own.iter().map(|part| (*part).to_owned()).chain(beside).collect()
    }
}

impl Span {
    fn of(window: Window, current: bool, visit: &Visit) -> Span {
        let words = Objects::of(visit.lang);
        let (name, asked) = match window {
            Window::TenMinutes => (words.ten_minutes, None),
            Window::SixHours => (words.six_hours, Some(window.as_str())),
            Window::SevenDays => (words.seven_days, Some(window.as_str())),
        };
        Span { name, path: visit.asking(WINDOW, asked), current }
    }
}

/// The newest known value of a measure, if it is at most a few steps old.
pub(super) fn newest(curves: &Curves, measure: Measure) -> Option<f32> {
    curves.values(measure).iter().rev().take(5).copied().flatten().next()
}

impl Chart {
    fn of(curves: &Curves, (measure, title): (Measure, &'static str), source: &str) -> Chart {
        let values = curves.values(measure);
        let most = values.iter().copied().flatten().fold(0.0, f32::max);
        let series = measure.as_str();
        Chart {
            title,
            series,
            source: source.to_owned(),
            line: line(&thinned(values), most),
            last: shown(newest(curves, measure), series),
            most: shown(values.iter().any(Option::is_some).then_some(most), series),
            rows: rows(curves, measure),
        }
    }
}

/// At most [`POINTS`] of them: of neighbours the largest, so that no peak is lost.
fn thinned(values: &[Option<f32>]) -> Vec<Option<f32>> {
    let stretch = values.len().div_ceil(POINTS).max(1);
    let largest = |some: &[Option<f32>]| some.iter().copied().flatten().reduce(f32::max);
    values.chunks(stretch).map(largest).collect()
}

/// The path of a line: a new piece after every gap.
fn line(values: &[Option<f32>], most: f32) -> String {
    let mut path = String::new();
    let mut is_open = false;
    let step = WIDTH / float(values.len().saturating_sub(1).max(1));
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_open = false;
            continue;
        };
        let (x, y) = (step * float(place), HEIGHT - HEIGHT * if most > 0.0 { value / most } else { 0.0 });
        let letter = if is_open { 'L' } else { 'M' };
        // A single point between two gaps is a dot.
        let dot = if is_open { "" } else { "h0" };
        let _ = write!(path, "{letter}{x:.1} {y:.1}{dot}");
        is_open = true;
    }
    path
}

fn rows(curves: &Curves, measure: Measure) -> Vec<(Timestamp, String)> {
    let points: Vec<(Timestamp, Option<f32>)> = curves.points(measure).collect();
    let stretch = points.len().div_ceil(ROWS).max(1);
    let row = |some: &[(Timestamp, Option<f32>)]| {
        let known: Vec<f32> = some.iter().filter_map(|(_, value)| *value).collect();
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f32>() / float(known.len()));
        (some.last().map_or(Timestamp(0), |(at, _)| *at), shown(mean, measure.as_str()))
    };
    points.rchunks(stretch).map(row).collect()
}

fn float(count: usize) -> f32 {
    count as f32
}

/// As a whole number, for showing; what is below 0 is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what does not fit is cut off")]
pub(super) fn whole(value: f64) -> u64 {
    value as u64
}

/// A value in the unit that the name of its series ends with.
pub(super) fn shown(value: Option<f32>, series: &str) -> String {
    let Some(value) = value else { return "–".to_owned() };
    if series.ends_with("_seconds") {
        return match value {
            0.0 => "0 s".to_owned(),
            small if small < 0.001 => format!("{:.0} µs", value * 1e6),
            short if short < 1.0 => format!("{:.1} ms", value * 1e3),
            _ => super::format::duration(Some(whole(f64::from(value) * 1e3))),
        };
    }
    let rounded = if value < 10.0 && value.fract() > 0.0 {
        format!("{value:.1}")
    } else {
        super::format::count(Some(whole(f64::from(value).round())))
    };
    match series {
        bytes if bytes.ends_with("bytes") => super::format::bytes(Some(whole(f64::from(value)))),
        rate if rate.ends_with("bytes_per_s") => {
            format!("{}/s", super::format::bytes(Some(whole(f64::from(value)))))
        }
        rate if rate.ends_with("_per_s") => format!("{rounded}/s"),
        _ => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_over_gaps_and_an_unknown_value_is_no_zero() {
        let path = line(&[Some(0.0), Some(2.0), None, Some(1.0)], 2.0);
        assert_eq!(path, "M0.0 120.0h0L200.0 0.0M600.0 60.0h0");
        assert_eq!((line(&[None, None], 0.0), shown(None, "lag_messages")), (String::new(), "–".to_owned()));
        assert_eq!(line(&[Some(0.0)], 0.0), "M0.0 120.0h0");
    }

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_peaks_and_gaps() {
        let mut week = vec![Some(1.0); 10_080];
        week[5_000] = Some(9.0);
        week[7_000..8_000].fill(None);
        let thin = thinned(&week);
        assert!(thin.len() <= POINTS && thin.contains(&Some(9.0)) && thin.contains(&None));
        assert_eq!(thinned(&week[..POINTS]), week[..POINTS], "a short one is left as it is");
    }

    #[test]
    fn values_have_the_unit_of_their_series() {
        let texts = [
            shown(Some(1_234.4), "acked_messages_per_s"),
            shown(Some(0.25), "acked_messages_per_s"),
            shown(Some(0.0005), "fsync_p99_seconds"),
            shown(Some(0.0105), "produce_p99_seconds"),
            shown(Some(61.0), "lag_seconds"),
            shown(Some(2_048.0), "log_bytes"),
            shown(Some(1_536.0), "produced_bytes_per_s"),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(
            texts,
            ["1\u{202f}234/s", "0.2/s", "500 µs", "10.5 ms", "1 min 1 s", "2.0 KiB", "1.5 KiB/s"]
        );
    }
}
