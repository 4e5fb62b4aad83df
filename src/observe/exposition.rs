//! The answer to one scrape, in Prometheus' text format.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{TEXT_FORMAT, TextEncoder};

use crate::model::Distribution;

use super::series::{Kind, Series};

/// The media type of the text.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// The text could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be written: {0}")]
pub struct NotWritten(#[from] prometheus::Error);

/// Samples, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    families: BTreeMap<&'static str, MetricFamily>,
    samples: usize,
}

impl Exposition {
    /// Adds the value of a counter or gauge under these label values, one for each label of the series.
    pub fn add(&mut self, series: &'static Series, labels: &[&str], value: f64) {
        let mut metric = labelled(series, labels);
        if series.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(series, metric);
    }

    /// The same for a whole number.
    pub fn count(&mut self, series: &'static Series, labels: &[&str], value: u64) {
        self.add(series, labels, as_float(value));
    }

    /// Adds a histogram. `units` of what it counted are one of the unit in the name of the series.
    pub fn distribution(&mut self, series: &'static Series, found: &Distribution, units: f64) {
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(found.bounds.len());
        for (bound, count) in found.bounds.iter().zip(&found.counts) {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(cumulative);
            bucket.set_upper_bound(as_float(*bound) / units);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_sample_count(found.counts.iter().sum());
        histogram.set_sample_sum(as_float(found.sum) / units);
        histogram.set_bucket(buckets);
        let mut metric = labelled(series, &[]);
        metric.set_histogram(histogram);
        self.push(series, metric);
    }

    /// How many samples there are; a histogram counts as one.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The text.
    ///
    /// # Errors
    /// When the encoder refuses, which no series of ours leads to.
    pub fn text(self) -> Result<String, NotWritten> {
        let families: Vec<MetricFamily> = self.families.into_values().collect();
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }

    fn push(&mut self, series: &'static Series, metric: Metric) {
        let family = self.families.entry(series.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(series.name.to_owned());
            family.set_help(series.help.to_owned());
            family.set_field_type(match series.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            family
        });
        family.mut_metric().push(metric);
        self.samples += 1;
    }
}

fn labelled(series: &Series, values: &[&str]) -> Metric {
    debug_assert_eq!(series.labels.len(), values.len(), "{}", series.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(series.labels.iter().zip(values).map(pair).collect())
}

/// Prometheus knows floats only; whole numbers are exact up to 2^53.
fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::super::series;
    use super::*;

    #[test]
    fn families_stand_together_with_help_and_type() {
        let mut out = Exposition::default();
        out.count(&series::PRODUCED_MESSAGES, &["a"], 3);
        out.count(&series::RAFT_TERM, &[], 2);
        out.add(&series::GROUP_LAG_SECONDS, &["a", "b\"\\"], 0.25);
        out.count(&series::PRODUCED_MESSAGES, &["b"], u64::from(u32::MAX) * 1_000);
        assert_eq!(out.samples(), 4);
        let text = out.text().unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE whimbrel_group_lag_seconds gauge",
                "whimbrel_group_lag_seconds{topic=\"a\",group=\"b\\\"\\\\\"} 0.25",
                "# TYPE whimbrel_produced_messages_total counter",
                "whimbrel_produced_messages_total{topic=\"a\"} 3",
                "whimbrel_produced_messages_total{topic=\"b\"} 4294967295000",
                "# TYPE whimbrel_raft_term gauge",
                "whimbrel_raft_term 2",
            ]
        );
        assert_eq!(text.matches("# HELP").count(), 3);
    }

    #[test]
    fn buckets_are_cumulative_and_in_base_units() {
        let mut out = Exposition::default();
        let found = Distribution { bounds: &[100, 2_500], counts: vec![1, 0, 2], sum: 9_000_100 };
        out.distribution(&series::FSYNC_SECONDS, &found, 1e6);
        let text = out.text().unwrap();
        let name = series::FSYNC_SECONDS.name;
        for line in [
            "_bucket{le=\"0.0001\"} 1",
            "_bucket{le=\"0.0025\"} 1",
            "_bucket{le=\"+Inf\"} 3",
            "_sum 9.0001",
            "_count 3",
        ] {
            assert!(text.contains(&format!("\n{name}{line}\n")), "{text}");
        }
    }
}
