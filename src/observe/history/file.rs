//! The history as bytes, for the cache file beside the index. The byte table is in docs/STORAGE.md.
//!
//! Nobody needs it: what cannot be read in full is not used, and the curves begin anew.

use crc32c::crc32c;

use crate::model::wire::{DecodeError, Reader, put_count, put_fixed, put_number};
use crate::model::{GroupId, HISTORY_GROUPS_MAX, HISTORY_TOPICS_MAX, TopicId};

use super::measure::{Incarnation, SubjectKind};
use super::ring::{Ring, Track};
use super::{History, Measure};

const MAGIC: &[u8; 8] = b"WHIMHIST";
/// The layout. The columns have a sum of their own, so new measures need no new version.
const VERSION: u64 = 2;
const HEADER_BYTES: usize = 40;

/// Why a file is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It was written by another version, which remembered other things.
    #[error("another version wrote it")]
    Foreign,
    /// It is not whole, or was changed.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

impl From<DecodeError> for Unusable {
    fn from(error: DecodeError) -> Unusable {
        Unusable::Damaged(error.what)
    }
}

impl History {
    /// Everything as bytes, without samples that wait to be believed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_count(&mut body, self.tracks.len());
        for (of, track) in &self.tracks {
            let (kind, number) = kind_and_number(*of);
            body.push(kind);
            put_number(&mut body, number);
            track.rings.iter().for_each(|ring| put_ring(&mut body, ring));
        }
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.extend_from_slice(MAGIC);
        put_fixed(&mut out, VERSION);
        put_fixed(&mut out, columns());
        put_fixed(&mut out, u64::try_from(body.len()).unwrap_or(u64::MAX));
        put_fixed(&mut out, crc32c(&body).into());
        out.extend_from_slice(&body);
        out
    }

    /// What [`History::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are of another version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<History, Unusable> {
        let mut header = Reader::new(bytes);
        if header.bytes(MAGIC.len())? != MAGIC || header.fixed()? != VERSION || header.fixed()? != columns() {
            return Err(Unusable::Foreign);
        }
        let (length, sum) = (header.fixed()?, header.fixed()?);
        let body = header.rest();
        if u64::try_from(body.len()) != Ok(length) || u64::from(crc32c(body)) != sum {
            return Err(Unusable::Damaged("the checksum does not match"));
        }
        let mut body = Reader::new(body);
        let mut history = History::default();
        for _ in 0..body.count(2)? {
            let of = incarnation(body.byte()?, body.number()?)?;
            let mut track = Track::new(of.kind());
            for ring in &mut track.rings {
                read_ring(&mut body, ring)?;
            }
            track.go_on();
            history.tracks.insert(of, track);
        }
        body.finish()?;
        let too_many = |kind, most| history.remembered(kind).count() > most;
        if too_many(SubjectKind::Topic, HISTORY_TOPICS_MAX)
            || too_many(SubjectKind::Group, HISTORY_GROUPS_MAX)
        {
            return Err(Unusable::Damaged("more objects than are remembered"));
        }
        Ok(history)
    }
}

/// A sum over the names of all columns: a file whose columns mean something else is not read.
fn columns() -> u64 {
    let kinds = [SubjectKind::Node, SubjectKind::Topic, SubjectKind::Group];
    let names = kinds.map(|kind| Measure::of(kind).map(Measure::as_str).collect::<Vec<_>>().join(" "));
    u64::from(crc32c(names.join("\n").as_bytes()))
}

fn kind_and_number(of: Incarnation) -> (u8, u32) {
    match of {
        Incarnation::Node => (0, 0),
        Incarnation::Topic(TopicId(number)) => (1, number),
        Incarnation::Group(GroupId(number)) => (2, number),
    }
}

fn incarnation(kind: u8, number: u64) -> Result<Incarnation, Unusable> {
    let number = u32::try_from(number).map_err(|_| Unusable::Damaged("a number that no object has"))?;
    match (kind, number) {
        (0, 0) => Ok(Incarnation::Node),
        (1, number) => Ok(Incarnation::Topic(TopicId(number))),
        (2, number) => Ok(Incarnation::Group(GroupId(number))),
        _ => Err(Unusable::Damaged("an object of an unknown kind")),
    }
}

fn put_ring(out: &mut Vec<u8>, ring: &Ring) {
    put_number(out, ring.newest);
    put_count(out, ring.rows());
    ring.values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

fn read_ring(body: &mut Reader<'_>, ring: &mut Ring) -> Result<(), Unusable> {
    ring.newest = body.number()?;
    let rows = body.count(ring.width * 4)?;
    if rows > ring.most {
        return Err(Unusable::Damaged("a ring with more steps than it may have"));
    }
    // Steps are counted from 1970: there were at least as many.
    if u64::try_from(rows).map_or(true, |rows| ring.newest.checked_add(1).is_none_or(|count| count < rows)) {
        return Err(Unusable::Damaged("a ring that began before time"));
    }
    let bytes = body.bytes(rows * ring.width * 4)?;
    ring.values.reserve_exact(rows * ring.width);
    let value = |bytes: &[u8]| bytes.try_into().map(f32::from_le_bytes);
    ring.values.extend(bytes.chunks_exact(4).flat_map(value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Sample, Window};
    use super::*;
    use crate::model::Timestamp;

    const GROUP: Incarnation = Incarnation::Group(GroupId(300));

    fn at(second: u64) -> Timestamp {
        Timestamp(1_790_000_000_000 + second * 1_000)
    }

    fn filled() -> History {
        let mut history = History::default();
        history.choose(SubjectKind::Group, &[(GROUP, 1)]);
        for second in (0..130).filter(|second| *second != 77) {
            let node = vec![(Measure::LagMessages, 3.5), (Measure::Waiters, 1.0)];
            let told = vec![(Incarnation::Node, node), (GROUP, vec![(Measure::LagSeconds, 0.25)])];
            history.take(Sample { at: at(second), told });
        }
        history
    }

    #[test]
    fn what_was_written_is_read_gaps_included() {
        let before = filled();
        let bytes = before.encode();
        let after = History::decode(&bytes).unwrap();
        for (of, measure) in [(Incarnation::Node, Measure::LagMessages), (GROUP, Measure::LagSeconds)] {
            for window in Window::ALL {
                let read = |history: &History| history.curves(of, &[measure], window, at(135)).unwrap();
                assert_eq!(read(&before), read(&after), "{of:?} {window:?}");
            }
            let seconds = after.curves(of, &[measure], Window::TenMinutes, at(129)).unwrap();
            assert_eq!((seconds.values(measure)[77], seconds.values(measure).len()), (None, 130));
        }
        assert_eq!(after.encode(), bytes);
    }

    #[test]
    fn a_restart_within_a_step_weighs_each_second_once() {
        // Two samples of a minute that began without one, then a restart, and the rest of it.
        let sample = |second: u64| {
            let rate = if second < 32 { 6_000.0 } else { 0.0 };
            let node = vec![(Measure::ProducedMessages, rate), (Measure::LagSeconds, rate)];
            Sample { at: at(second + 40), told: vec![(Incarnation::Node, node)] }
        };
        let mut stayed = History::default();
        (30..32).for_each(|second| stayed.take(sample(second)));
        let mut restarted = History::decode(&stayed.encode()).unwrap();
        for history in [&mut stayed, &mut restarted] {
            (34..60).for_each(|second| history.take(sample(second)));
        }
        let rates = |history: &History, window| {
            let measures = [Measure::ProducedMessages, Measure::LagSeconds];
            let found = history.curves(Incarnation::Node, &measures, window, at(99)).unwrap();
            measures.map(|measure| found.values(measure).to_vec())
        };
        for window in Window::ALL {
            assert_eq!(rates(&restarted, window), rates(&stayed, window), "{window:?}");
        }
        let [minute, worst] = rates(&restarted, Window::SevenDays);
        let mean = minute.last().copied().flatten().unwrap();
        assert!((mean - 12_000.0 / 28.0).abs() < 0.01, "{mean}");
        assert_eq!(worst.last(), Some(&Some(6_000.0)));
    }

    #[test]
    fn no_harm_to_the_file_gets_past_the_checks() {
        let bytes = filled().encode();
        for at in (0..bytes.len()).step_by(97).chain(0..HEADER_BYTES) {
            let mut harmed = bytes.clone();
            harmed[at] ^= 0x10;
            assert!(History::decode(&harmed).is_err(), "byte {at}");
        }
        for length in [0, 7, HEADER_BYTES, bytes.len() - 1] {
            assert!(History::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_right_checksum_over_nonsense_is_not_enough() {
        let good = filled().encode();
        let body = &good[HEADER_BYTES..];
        let signed = |body: &[u8]| {
            let mut out = good[..24].to_vec();
            put_fixed(&mut out, body.len() as u64);
            put_fixed(&mut out, crc32c(body).into());
            out.extend_from_slice(body);
            out
        };
        assert!(History::decode(&signed(body)).is_ok());
        assert!(History::decode(&signed(&[body, &[0]].concat())).is_err(), "something behind the end");
        for at in 0..body.len().min(40) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut harmed = body.to_vec();
                harmed[at] = value;
                if let Ok(history) = History::decode(&signed(&harmed)) {
                    // Then it can be used: reading at any time answers.
                    for now in [Timestamp(0), at_the_end()] {
                        for window in Window::ALL {
                            let _ = history.curves(Incarnation::Node, Measure::ALL, window, now);
                        }
                    }
                }
            }
        }
    }

    fn at_the_end() -> Timestamp {
        Timestamp::MAX
    }
}
