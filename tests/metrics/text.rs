//! A strict reader of Prometheus' text format: what a scraper forgives is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// Names and values, in the order written.
pub(crate) type Labels = Vec<(String, String)>;

/// A family of samples.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Sample name, labels in the order written, value.
    pub(crate) samples: Vec<(String, Labels, f64)>,
}

/// Everything one scrape answered.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) families: BTreeMap<String, Family>,
}

impl Scrape {
    /// Reads the text.
    pub(crate) fn read(text: &str) -> Result<Scrape, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut scrape = Scrape::default();
        let mut current: Option<String> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or(format!("no help: {line}"))?;
                let family = Family { help: help.to_owned(), ..Family::default() };
                if scrape.families.insert(name.to_owned(), family).is_some() {
                    return Err(format!("{name} comes twice"));
                }
                current = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or(format!("no type: {line}"))?;
                if current.as_deref() != Some(name) {
                    return Err(format!("a type without help: {line}"));
                }
                scrape.families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            } else {
                let name = current.as_ref().ok_or(format!("a sample of no family: {line}"))?;
                let family = scrape.families.get_mut(name).ok_or("no family")?;
                let sample = read_sample(line)?;
                let suffix = sample.0.strip_prefix(name.as_str()).ok_or(format!("not of {name}: {line}"))?;
                let known: &[&str] =
                    if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                if !known.contains(&suffix) {
                    return Err(format!("not of {name}: {line}"));
                }
                family.samples.push(sample);
            }
        }
        for (name, family) in &scrape.families {
            family.check(name)?;
        }
        Ok(scrape)
    }

    /// The value of the sample with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let family = self.family_of(name)?;
        let found = family.samples.iter().find(|(sample, found, _)| {
            sample == name
                && found.len() == labels.len()
                && labels.iter().all(|(key, value)| found.contains(&((*key).into(), (*value).into())))
        });
        found.map(|(_, _, value)| *value)
    }

    fn family_of(&self, sample: &str) -> Option<&Family> {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.strip_suffix(suffix));
        self.families.get(sample).or_else(|| self.families.get(base?))
    }
}

impl Family {
    fn check(&self, name: &str) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (sample, labels, value) in &self.samples {
            if !seen.insert((sample, labels)) {
                return Err(format!("{sample} {labels:?} comes twice"));
            }
            let is_gauge = self.kind == "gauge";
            if value.is_nan() || (!is_gauge && *value < 0.0) {
                return Err(format!("{sample} {labels:?} is {value}"));
            }
        }
        if self.samples.is_empty() || self.help.is_empty() {
            return Err(format!("{name} has no samples or no help"));
        }
        match self.kind.as_str() {
            "counter" if !name.ends_with("_total") => Err(format!("{name} is a counter by another name")),
            "gauge" if name.ends_with("_total") => Err(format!("{name} is no counter")),
            "counter" | "gauge" => Ok(()),
            "histogram" => self.check_buckets(name),
            other => Err(format!("{name}: unknown type {other}")),
        }
    }

    /// Our histograms have no labels of their own.
    fn check_buckets(&self, name: &str) -> Result<(), String> {
        let (mut bound, mut below) = (f64::NEG_INFINITY, 0.0);
        for (sample, labels, value) in self.samples.iter().filter(|(sample, ..)| sample.ends_with("_bucket"))
        {
            let [(label, text)] = labels.as_slice() else { return Err(format!("{sample}: {labels:?}")) };
            let next = if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap_or(f64::NAN) };
            if label != "le" || next.is_nan() || next <= bound || *value < below {
                return Err(format!("{sample} {labels:?} {value} does not follow {bound} {below}"));
            }
            (bound, below) = (next, *value);
        }
        let count = self.samples.iter().find(|(sample, ..)| sample.ends_with("_count"));
        let has_sum = self.samples.iter().any(|(sample, ..)| sample.ends_with("_sum"));
        if bound != f64::INFINITY || count.is_none_or(|(.., count)| *count != below) || !has_sum {
            return Err(format!("{name} does not end in all there were"));
        }
        Ok(())
    }
}

type Sample = (String, Labels, f64);

fn read_sample(line: &str) -> Result<Sample, String> {
    let wrong = || format!("not a sample: {line}");
    let (head, value) = line.rsplit_once(' ').ok_or_else(wrong)?;
    let value = value.parse().map_err(|_| wrong())?;
    let Some((name, rest)) = head.split_once('{') else { return Ok((named(head)?, Vec::new(), value)) };
    let mut rest = rest.strip_suffix('}').ok_or_else(wrong)?;
    let mut labels: Labels = Vec::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").ok_or_else(wrong)?;
        let (text, after) = read_value(after).ok_or_else(wrong)?;
        if labels.iter().any(|(known, _)| known == label) {
            return Err(format!("{label} comes twice: {line}"));
        }
        labels.push((named(label)?, text));
        rest = match after.strip_prefix(',') {
            Some(more) if !more.is_empty() => more,
            None if after.is_empty() => after,
            _ => return Err(wrong()),
        };
    }
    Ok((named(name)?, labels, value))
}

/// A label value up to its closing quote, and what follows.
fn read_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    None
}

fn named(name: &str) -> Result<String, String> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if starts_well && is_name { Ok(name.to_owned()) } else { Err(format!("not a name: {name:?}")) }
}

#[test]
fn the_reader_is_strict() {
    let good = "# HELP a_total x\n# TYPE a_total counter\na_total{l=\"v\\\"\\\\\"} 1\na_total{l=\"w\"} 2\n";
    let read = Scrape::read(good).unwrap();
    assert_eq!(read.value("a_total", &[("l", "v\"\\")]), Some(1.0));
    for (bad, becomes) in [
        ("2\n", "2"),
        ("\"w\"} 2", "\"w\"} x"),
        ("\"w\"} 2", "\"w\"} -2"),
        ("\"w\"", "\"v\\\"\\\\\""),
        ("counter", "gauge"),
        ("{l=\"w\"", "{l=\"w\",l=\"x\""),
        ("{l=\"w\"", "{l=\"w\","),
        ("# HELP a_total x\n", ""),
        ("a_total{l=\"w\"", "b_total{l=\"w\""),
    ] {
        assert!(good.contains(bad), "{bad}");
        let text = good.replacen(bad, becomes, 1);
        assert!(Scrape::read(&text).is_err(), "{text}");
    }
    let histogram = "# HELP h x\n# TYPE h histogram\n\
        h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    assert!(Scrape::read(histogram).is_ok());
    for (good, bad) in [("h_count 2", "h_count 3"), ("} 1", "} 3"), ("+Inf", "0.5"), ("h_sum 3\n", "")] {
        assert!(Scrape::read(&histogram.replacen(good, bad, 1)).is_err(), "{bad}");
    }
}
