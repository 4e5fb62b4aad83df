//! What a rule would have done in the last day, from what the history remembers. Which is not everything that rules may
//! ask about, and then that is said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::sync::SemaphorePermit;

use crate::broker::clock;
use crate::broker::error::BrokerError;
use crate::broker::handle::Broker;
use crate::machine::Group;
use crate::model::alert::{AlertMetric, AlertRule};
use crate::model::{ALERT_PREVIEWS_MAX, Millis, Timestamp};
use crate::observe::history::{Curves, Measure, Subject, SubjectKind, Window};
use crate::observe::rules::{Condition, DELIVERIES_MIN, Interval, preview};

use super::Notifier;

/// How far back a preview looks: 24 hours.
const BACK_MS: Millis = 86_400_000;

/// What a rule would have done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RulePreview {
    /// From when on values are known: at most 24 hours ago. None when none is.
    pub from: Option<Timestamp>,
    /// Up to when.
    pub until: Timestamp,
    /// How often it would have begun to fire; none when the history does not hold what the rule asks about.
    pub times: Option<usize>,
    /// For how long of that the node was down, or what it had remembered was lost, or its clock jumped ahead: this time
    /// is left out, and is not `no_data`.
    pub down_ms: Millis,
    /// How many objects were looked at.
    pub objects: usize,
    /// How many objects the rule is about. More than were looked at when history does not remember all of them.
    pub concerned: usize,
    /// All of which it would have fired, the most often first; no more than `HISTORY_GROUPS_MAX`.
    pub fired: Vec<PreviewedObject>,
    /// In what this differs from what the rule would do now, in sentences for people.
    pub caveats: Vec<&'static str>,
}

/// An object of which a rule would have fired.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviewedObject {
    /// The group; none of the node.
    pub group: Option<String>,
    /// When it would have fired, the oldest first.
    pub intervals: Vec<Interval>,
}

/// How the values of a metric are made of what is remembered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Recipe {
    /// A value as it is.
    Plain(Measure),
    /// One rate's share of another, over the window of the rule.
    Share(Measure, Measure),
    /// The mean of a rate over the window of the rule.
    Mean(Measure),
    /// One minus a value's share of this many bytes.
    Used(Measure, u64),
}

const TOGETHER: &str =
    "History keeps the topics of a group together: a group that reads several is looked at as one.";
const STEPS: &str = "History is looked at in steps of ten seconds for six hours, and of a minute before; what came and \
                     went in between is not seen.";
const FSYNCS: &str = "History keeps the slowest fsyncs of each step, and not of the window of the rule.";
const DISK: &str = "The size of the disk is today's.";
const FIFTY: &str =
    "History remembers the groups with the most to tell, 50 at most; others were not looked at.";
const NOT_HELD: &str = "History does not hold what this rule asks about.";

impl Broker {
    /// How often `rule` would have fired in the last 24 hours, by the history of this node. Copies and walks curves,
    /// so not for async threads.
    ///
    /// # Errors
    /// `Overloaded`, when too many previews are made already.
    pub fn preview_rule(&self, rule: &AlertRule) -> Result<RulePreview, BrokerError> {
        let _place = self.core.alerting.preview_place()?;
        let until = clock::wall_time();
        let Some((kind, recipe, caveat)) = self.recipe(rule.metric) else {
            return Ok(RulePreview { until, caveats: vec![NOT_HELD], ..RulePreview::default() });
        };
        let mut found = RulePreview { until, times: Some(0), caveats: vec![STEPS], ..RulePreview::default() };
        found.caveats.extend(caveat);
        let machine = self.core.machine.snapshot();
        found.concerned = match kind {
            SubjectKind::Group => machine.groups().filter(|(_, group)| takes(rule, group)).count(),
            SubjectKind::Node | SubjectKind::Topic => 1,
        };
        let looked = (Timestamp(until.0.saturating_sub(BACK_MS)), until);
        let coarse = self.history_of_all(kind, &recipe.measures(), Window::SevenDays);
        let fine = self.history_of_all(kind, &recipe.measures(), Window::SixHours);
        // By subject: one may go between the two.
        let mut fine: BTreeMap<Subject, Curves> = fine.into_iter().collect();
        // Read last: what is known of an object is then not newer than that the node ran.
        let ran = self.ran(looked);
        found.down_ms = ran.down_ms;
        let mut remembered = 0;
        for (subject, coarse) in coarse {
            let Some(fine) = fine.remove(&subject) else { continue };
            let is_passed_over = |name| machine.group(name).is_none_or(|(_, group)| !takes(rule, group));
            if matches!(&subject, Subject::Group(name) if is_passed_over(name)) {
                continue;
            }
            remembered += 1;
            let mut points = recipe.points(&coarse, &fine, looked);
            points.retain(|point| ran.holds(point));
            found.take_in(&subject, values(recipe, &points, rule.window_ms), rule);
        }
        // Of the node nothing is known before its first sample, and that is all.
        if kind == SubjectKind::Group && remembered < found.concerned {
            found.caveats.push(FIFTY);
        }
        found.fired.sort_by_key(|object| std::cmp::Reverse(object.intervals.len()));
        Ok(found)
    }

    /// When this node ran between these moments.
    fn ran(&self, looked: (Timestamp, Timestamp)) -> Ran {
        let read = |window| {
            let node = self.history_of_all(SubjectKind::Node, &[WHENEVER_IT_RUNS], window).into_iter().next();
            node.map_or_else(|| Curves::empty(&[WHENEVER_IT_RUNS], window, looked.0), |(_, curves)| curves)
        };
        Ran::of(&read(Window::SevenDays), &read(Window::SixHours), looked)
    }

    /// Of what and how a metric is made; none when history does not hold it.
    fn recipe(&self, metric: AlertMetric) -> Option<(SubjectKind, Recipe, Option<&'static str>)> {
        let group = |recipe, caveat| Some((SubjectKind::Group, recipe, caveat));
        let node = |recipe, caveat| Some((SubjectKind::Node, recipe, Some(caveat)));
        match metric {
            AlertMetric::LagMessages => group(Recipe::Plain(Measure::LagMessages), Some(TOGETHER)),
            AlertMetric::LagSeconds => group(Recipe::Plain(Measure::LagSeconds), Some(TOGETHER)),
            AlertMetric::DeadLetters => group(Recipe::Plain(Measure::DeadLetters), None),
            AlertMetric::RetryRatio => {
                group(Recipe::Share(Measure::RetriedMessages, Measure::DeliveredMessages), Some(TOGETHER))
            }
            AlertMetric::FailureRatio => {
                group(Recipe::Share(Measure::FailedDeliveries, Measure::DeliveredMessages), Some(TOGETHER))
            }
            AlertMetric::FailuresPerSecond => group(Recipe::Mean(Measure::FailedDeliveries), Some(TOGETHER)),
            AlertMetric::DeadLettersPerSecond => {
                group(Recipe::Mean(Measure::DeadLetteredMessages), Some(TOGETHER))
            }
            AlertMetric::FsyncP99Seconds => node(Recipe::Plain(Measure::FsyncP99), FSYNCS),
            AlertMetric::DiskUsedRatio => {
                let total = self.core.replication.log().total_space().filter(|total| *total > 0)?;
                node(Recipe::Used(Measure::DiskFreeBytes, total), DISK)
            }
            AlertMetric::InFlightSeconds
            | AlertMetric::BacklogWithoutConsumers
            | AlertMetric::HeadBlockedSeconds
            | AlertMetric::ScheduleLatenessSeconds
            | AlertMetric::ReceiverFailingSeconds => None,
        }
    }
}

impl Notifier {
    fn preview_place(&self) -> Result<SemaphorePermit<'_>, BrokerError> {
        self.previews.try_acquire().map_err(|_| {
            let text = format!(
                "{ALERT_PREVIEWS_MAX} previews of rules are made already, the most at once; try again in some seconds"
            );
            BrokerError::Overloaded(text)
        })
    }
}

impl RulePreview {
    fn take_in(&mut self, subject: &Subject, values: Vec<(Timestamp, Option<f64>)>, rule: &AlertRule) {
        let Some((first, _)) = values.first() else { return };
        self.from = Some(self.from.map_or(*first, |from| from.min(*first)));
        self.objects += 1;
        let intervals = preview(values, Condition::from(rule));
        if !intervals.is_empty() {
            self.times = self.times.map(|times| times + intervals.len());
            self.fired.push(PreviewedObject { group: subject.name().map(str::to_owned), intervals });
        }
    }
}

/// Whether a rule looks at a group in one of its topics.
fn takes(rule: &AlertRule, group: &Group) -> bool {
    let mut topics = group.settings.subscriptions.iter().map(|one| one.topic.as_str());
    topics.any(|topic| rule.selector.takes(Some(topic), Some(group.name.as_str())))
}

/// Something that is known of the node in every sample, and so whenever it runs.
const WHENEVER_IT_RUNS: Measure = Measure::Waiters;

/// When the node ran, as far as it remembers: a node that is down knows nothing, and evaluates nothing.
#[derive(Debug)]
struct Ran {
    /// The steps in which it did, by their length and end.
    steps: BTreeSet<(Millis, Timestamp)>,
    /// How long it did not, from the first moment that it remembers to the last, or its clock jumped over.
    down_ms: Millis,
}

impl Ran {
    fn of(coarse: &Curves, fine: &Curves, looked: (Timestamp, Timestamp)) -> Ran {
        let known = |curves: &Curves| -> Vec<(Millis, Timestamp)> {
            let known = curves.points(WHENEVER_IT_RUNS).filter(|(_, value)| value.is_some());
            known.map(|(end, _)| (curves.step_ms, end)).collect()
        };
        let mut points = Recipe::Plain(WHENEVER_IT_RUNS).points(coarse, fine, looked);
        let is_gap = |(_, _, [value, _]): &Point| value.is_none();
        // What comes at the end is not noted yet.
        while points.pop_if(|point| is_gap(point)).is_some() {}
        let down_ms = points.iter().filter(|point| is_gap(point)).map(|(_, step_ms, _)| step_ms).sum();
        Ran { steps: known(coarse).into_iter().chain(known(fine)).collect(), down_ms }
    }

    fn holds(&self, (end, step_ms, _): &Point) -> bool {
        self.steps.contains(&(*step_ms, *end))
    }
}

/// A moment, how long the step is that ends with it, and what is remembered of it, in the order of the measures.
type Point = (Timestamp, Millis, [Option<f64>; 2]);

impl Recipe {
    fn measures(self) -> Vec<Measure> {
        match self {
            Recipe::Plain(one) | Recipe::Mean(one) | Recipe::Used(one, _) => vec![one],
            Recipe::Share(one, other) => vec![one, other],
        }
    }

    /// What is remembered between these moments: in minutes, and finely where it is. It begins with the first moment of
    /// which anything is known, and ends before the step that is not over.
    fn points(self, coarse: &Curves, fine: &Curves, (since, until): (Timestamp, Timestamp)) -> Vec<Point> {
        let of = |curves: &Curves| -> Vec<Point> {
            let columns: Vec<Vec<(Timestamp, Option<f32>)>> =
                self.measures().iter().map(|measure| curves.points(*measure).collect()).collect();
            let column = |place: usize, at: usize| {
                let (_, value) = columns.get(place)?.get(at)?;
                value.map(f64::from)
            };
            let moments = columns.first().into_iter().flatten().enumerate();
            moments.map(|(at, (end, _))| (*end, curves.step_ms, [column(0, at), column(1, at)])).collect()
        };
        let fine = of(fine);
        let from =
            fine.first().map_or(Timestamp(u64::MAX), |(end, step, _)| Timestamp(end.0 - step.min(&end.0)));
        let before = of(coarse).into_iter().filter(|(end, ..)| *end > since && *end <= from);
        let points = before.chain(fine).take_while(|(end, ..)| *end <= until);
        points.skip_while(|(_, _, [one, other])| one.is_none() && other.is_none()).collect()
    }
}

/// What the rule would have been held against, moment by moment.
fn values(recipe: Recipe, points: &[Point], window_ms: Millis) -> Vec<(Timestamp, Option<f64>)> {
    match recipe {
        Recipe::Plain(_) => points.iter().map(|(at, _, [one, _])| (*at, *one)).collect(),
        Recipe::Used(_, total) => points
            .iter()
            .map(|(at, _, [free, _])| (*at, free.map(|free| 1.0 - free / total as f64)))
            .collect(),
        Recipe::Mean(_) => over_window(points, window_ms, |grown| {
            let [Some((count, seconds)), _] = grown else { return None };
            Some(count / seconds)
        }),
        Recipe::Share(..) => over_window(points, window_ms, |grown| {
            let [Some((part, _)), Some((whole, _))] = grown else { return None };
            // Half a message of leeway: counts come back out of rounded rates.
            (whole + 0.5 >= DELIVERIES_MIN as f64).then(|| part / whole)
        }),
    }
}

/// By how much each rate made its counter grow over a window, and over how many seconds that is known; none when it is
/// not known at all.
type Grown = [Option<(f64, f64)>; 2];

fn over_window(
    points: &[Point],
    window_ms: Millis,
    value: impl Fn(Grown) -> Option<f64>,
) -> Vec<(Timestamp, Option<f64>)> {
    let mut within: VecDeque<&Point> = VecDeque::new();
    let mut found = Vec::with_capacity(points.len());
    for point in points {
        within.push_back(point);
        while within.front().is_some_and(|(at, ..)| at.0.saturating_add(window_ms) <= point.0.0) {
            within.pop_front();
        }
        let sum = |pick: fn(&Point) -> Option<f64>| {
            let known = within.iter().filter_map(|point| Some((pick(point)?, point.1 as f64 / 1e3)));
            let (grown, seconds) =
                known.fold((0.0, 0.0), |(grown, all), (rate, step)| (grown + rate * step, all + step));
            (seconds > 0.0).then_some((grown, seconds))
        };
        found.push((point.0, value([sum(|(_, _, [one, _])| *one), sum(|(_, _, [_, other])| *other)])));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::alerting::AlertingOptions;
    use crate::observe::notify::AllowedNetworks;

    #[test]
    fn no_more_previews_are_made_at_once_than_there_are_places() {
        let (every, allowed) = (Duration::from_secs(5), AllowedNetworks::default());
        let notifier = Notifier::new(AlertingOptions { every, allowed, external_url: String::new() });
        let mut places: Vec<_> = (0..ALERT_PREVIEWS_MAX).map(|_| notifier.preview_place().unwrap()).collect();
        let refused = notifier.preview_place().unwrap_err();
        assert!(matches!(&refused, BrokerError::Overloaded(text) if text.contains("try again")), "{refused}");
        places.pop();
        assert!(notifier.preview_place().is_ok(), "whoever is done makes room");
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_790_000_000_000 + seconds * 1_000)
    }

    fn points(step_s: u64, rates: &[(Option<f64>, Option<f64>)]) -> Vec<Point> {
        let step = |(number, (one, other)): (u64, &(Option<f64>, Option<f64>))| {
            (at(number * step_s), step_s * 1_000, [*one, *other])
        };
        (1..).zip(rates).map(step).collect()
    }

    #[test]
    fn a_rate_is_its_mean_over_the_window_and_a_gap_counts_for_nothing() {
        let rates = [Some(4.0), Some(0.0), None, Some(1.0), None, None];
        let rates = rates.map(|rate| (rate, None));
        let found = values(Recipe::Mean(Measure::FailedDeliveries), &points(10, &rates), 20_000);
        let found: Vec<Option<f64>> = found.into_iter().map(|(_, value)| value).collect();
        assert_eq!(found, [Some(4.0), Some(2.0), Some(0.0), Some(1.0), Some(1.0), None]);
    }

    #[test]
    fn a_share_of_few_deliveries_says_nothing() {
        // Half a delivery fails a second; one and then two of them are made.
        let rates = [(Some(0.5), Some(0.9)), (Some(0.5), Some(0.1)), (Some(0.5), Some(2.0)), (None, None)];
        let recipe = Recipe::Share(Measure::FailedDeliveries, Measure::DeliveredMessages);
        let found = values(recipe, &points(10, &rates), 10_000);
        let found: Vec<Option<f64>> = found.into_iter().map(|(_, value)| value).collect();
        assert_eq!(found, [None, None, Some(0.25), None]);
    }

    #[test]
    fn the_last_hours_are_looked_at_finely_and_the_beginning_is_where_something_is_known() {
        let column = |values: Vec<Option<f32>>| vec![(Measure::LagMessages, values)];
        let coarse = vec![None, None, Some(1.0), Some(2.0), Some(3.0), Some(4.0)];
        let coarse = Curves { from: at(0), step_ms: 60_000, columns: column(coarse) };
        let fine = Curves { from: at(240), step_ms: 10_000, columns: column(vec![Some(5.0); 12]) };
        let recipe = Recipe::Plain(Measure::LagMessages);
        let found = values(recipe, &recipe.points(&coarse, &fine, (at(0), at(400))), 0);
        assert_eq!(found[..3], [(at(180), Some(1.0)), (at(240), Some(2.0)), (at(250), Some(5.0))]);
        assert_eq!(found.len(), 14, "none twice");
        let found = recipe.points(&coarse, &fine, (at(0), at(359)));
        assert_eq!(found.last().map(|(end, ..)| *end), Some(at(350)), "a step that is not over");
        let found = recipe.points(&coarse, &fine, (at(200), at(400)));
        assert_eq!(found.first().map(|(end, ..)| *end), Some(at(240)), "nothing older than it looks back");
    }

    #[test]
    fn what_is_not_known_of_the_node_is_time_in_which_it_was_down() {
        let column = |measure, known: &[bool]| {
            vec![(measure, known.iter().map(|known| known.then_some(0.0)).collect())]
        };
        let node = |from, step_ms, known: &[bool]| Curves {
            from,
            step_ms,
            columns: column(WHENEVER_IT_RUNS, known),
        };
        // Not begun, then up, down for two minutes and for twenty seconds, and not noted yet.
        let coarse = node(at(0), 60_000, &[false, true, false, false, true, true]);
        let fine = node(at(300), 10_000, &[true, false, false, true, true, false]);
        let ran = Ran::of(&coarse, &fine, (at(0), at(400)));
        assert_eq!(ran.down_ms, 140_000);
        assert_eq!(
            Ran::of(&coarse, &fine, (at(180), at(400))).down_ms,
            20_000,
            "of the time that is looked at"
        );

        // Nothing was known of the group while the node ran, and while it did not.
        let group = |from, step_ms, known: &[bool]| Curves {
            from,
            step_ms,
            columns: column(Measure::LagMessages, known),
        };
        let coarse = group(at(0), 60_000, &[false, true, false, false, false, true]);
        let fine = group(at(300), 10_000, &[true, false, false, false, true, false]);
        let recipe = Recipe::Plain(Measure::LagMessages);
        let mut points = recipe.points(&coarse, &fine, (at(0), at(400)));
        points.retain(|point| ran.holds(point));
        let found: Vec<(Timestamp, bool)> =
            values(recipe, &points, 0).iter().map(|(end, value)| (*end, value.is_some())).collect();
        let expected = [(120, true), (300, false), (310, true), (340, false), (350, true)];
        assert_eq!(found, expected.map(|(end, is_known)| (at(end), is_known)));
    }
}
