//! The trail of a sealed segment: a small filter that says of a number that no entry of the segment touches it, so that
//! who looks for the entries about one thing need not read the others. The byte table is in docs/STORAGE.md.
//!
//! What an entry touches is said from above ([`Touches`]); here it is numbers. A trail is a pure function of a segment
//! that never changes any more, so it may be missing, damaged or removed at any time: then the segment is read. It is
//! believed only when it names the very segment and the rules by which the numbers are made, and each page of it has
//! its own checksum.
//!
//! It is a Bloom filter (B. Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970) in pages of
//! 4 KiB, so that a question reads one page. It is made with as many pages as the segment could need and then folded:
//! as long as at most half of the bits would be set, the upper half of the pages is laid over the lower one. So nothing
//! has to be counted beforehand, and with eight bits a number about one question in 256, at most, is answered "perhaps"
//! without need.

use std::{path::PathBuf, sync::Arc};

use crc32c::{crc32c, crc32c_append};

use super::{
    error::StorageError,
    node::replace_file,
    record::Record,
    scrub::each_record,
    segment::{Segment, Stamp, id_of},
    shared::Shared,
    vfs::{OpenMode, VfsFile, read_up_to},
    wire::{narrow, put_at, u32_at, u64_at, wide},
};

const MAGIC: u64 = u64::from_le_bytes(*b"WHIMTRAL");
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const PAGE_BYTES: usize = 4_096;
const PAGE_ON_DISK: usize = PAGE_BYTES + 4;
const PAGE_BITS: u64 = PAGE_BYTES as u64 * 8;
/// Bits of a number: half of them set in a full page give 1 in 2^8.
const PROBES: u64 = 8;
/// 16 MiB, for a segment of 128 MiB: one bit for each byte. No entry touches more numbers than that can take.
const PAGES_MAX: usize = 4_096;

/// Says what entries touch.
pub trait Touches {
    /// The version of the rules by which the numbers are made. A trail made under others is not believed.
    fn rules(&self) -> u32;

    /// Tells `touch` every number that an entry touches; they must be evenly spread over 64 bits.
    ///
    /// # Errors
    /// Words on why the entry cannot be read; then its segment gets no trail.
    fn of_entry(&self, record: &Record, touch: &mut dyn FnMut(u64)) -> Result<(), String>;
}

/// Where a number's bits are: the page of so many, and the bits in it.
fn bits(key: u64, pages: usize) -> (usize, impl Iterator<Item = usize>) {
    let page = narrow(key >> 52) & (pages - 1);
    // Double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006); an odd step meets every bit.
    let (start, step) = (key % PAGE_BITS, ((key / PAGE_BITS) % PAGE_BITS) | 1);
    (page, (0..PROBES).map(move |probe| narrow((start + probe * step) % PAGE_BITS)))
}

/// A filter in the making.
#[derive(Debug)]
struct Filter {
    /// A power of two of pages, 512 words each.
    words: Vec<u64>,
}

const PAGE_WORDS: usize = PAGE_BYTES / 8;

impl Filter {
    fn for_segment(bytes: u64) -> Filter {
        let pages = narrow(bytes / PAGE_BITS).next_power_of_two().min(PAGES_MAX);
        Filter { words: vec![0; pages * PAGE_WORDS] }
    }

    fn pages(&self) -> usize {
        self.words.len() / PAGE_WORDS
    }

    fn add(&mut self, key: u64) {
        let (page, bits) = bits(key, self.pages());
        for bit in bits {
            if let Some(word) = self.words.get_mut(page * PAGE_WORDS + bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Halves it as long as at most half of the bits would be set.
    fn fold(&mut self) {
        while self.pages() > 1 {
            let (lower, upper) = self.words.split_at(self.words.len() / 2);
            let set: u64 =
                lower.iter().zip(upper).map(|(low, high)| u64::from((low | high).count_ones())).sum();
            if set > wide(lower.len()) * 32 {
                return;
            }
            self.words = lower.iter().zip(upper).map(|(low, high)| low | high).collect();
        }
    }

    /// Each page with its checksum, which knows the segment and the page's number.
    fn encode(&self, salt: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.pages() * PAGE_ON_DISK);
        for (number, page) in self.words.chunks_exact(PAGE_WORDS).enumerate() {
            let start = out.len();
            page.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
            let sum = page_crc(salt, number, out.get(start..).unwrap_or_default());
            out.extend_from_slice(&sum.to_le_bytes());
        }
        out
    }
}

fn page_crc(salt: u32, number: usize, page: &[u8]) -> u32 {
    crc32c_append(crc32c_append(salt, &wide(number).to_le_bytes()), page)
}

/// The first bytes of a trail: what it is the trail of.
fn header(stamp: &Stamp, rules: u32, pages: usize) -> [u8; HEADER_BYTES] {
    let mut bytes = [0u8; HEADER_BYTES];
    put_at(&mut bytes, 0, &MAGIC.to_le_bytes());
    put_at(&mut bytes, 8, &VERSION.to_le_bytes());
    put_at(&mut bytes, 12, &stamp.salt.to_le_bytes());
    put_at(&mut bytes, 16, &stamp.id.to_le_bytes());
    put_at(&mut bytes, 24, &stamp.base.to_le_bytes());
    put_at(&mut bytes, 32, &stamp.count.to_le_bytes());
    put_at(&mut bytes, 40, &stamp.crc.to_le_bytes());
    put_at(&mut bytes, 44, &rules.to_le_bytes());
    put_at(&mut bytes, 48, &wide(pages).to_le_bytes());
    let sum = crc32c(bytes.get(..60).unwrap_or_default());
    put_at(&mut bytes, 60, &sum.to_le_bytes());
    bytes
}

/// The trail of one sealed segment, opened.
#[derive(Debug)]
pub struct Trail {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    salt: u32,
    pages: usize,
}

impl Trail {
    /// `false`: no entry of the segment touches this number. `true`: perhaps one does.
    ///
    /// # Errors
    /// `Damaged`, or a failed read; then the segment has to be read.
    pub fn may_touch(&self, key: u64) -> Result<bool, StorageError> {
        let (number, mut bits) = bits(key, self.pages);
        let at = wide(HEADER_BYTES + number * PAGE_ON_DISK);
        let read = read_up_to(self.file.as_ref(), at, PAGE_ON_DISK)
            .map_err(|error| StorageError::io("read", &self.path, error))?;
        let page = read.get(..PAGE_BYTES).unwrap_or_default();
        if u32_at(&read, PAGE_BYTES) != Some(page_crc(self.salt, number, page)) {
            return Err(StorageError::damaged(&self.path, at, "the checksum of a page does not match"));
        }
        Ok(bits.all(|bit| page.get(bit / 8).is_some_and(|byte| (byte >> (bit % 8)) & 1 == 1)))
    }
}

impl Shared {
    fn trails_path(&self) -> PathBuf {
        self.dir.path().join("trails")
    }

    /// Opens the trail of a segment; none when it has none, or one that is not of this very segment under these rules.
    pub(super) fn trail(&self, id: u64, rules: u32) -> Result<Option<Trail>, StorageError> {
        let Some(stamp) = self.find_segment(id).and_then(|segment| segment.stamp()) else { return Ok(None) };
        let path = self.trails_path().join(file_name(id));
        let file = match self.dir.vfs().open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", path, error)),
        };
        let read = read_up_to(file.as_ref(), 0, HEADER_BYTES)
            .map_err(|error| StorageError::io("read", &path, error))?;
        let pages = narrow(u64_at(&read, 48).unwrap_or(0));
        let believed = pages.is_power_of_two() && pages <= PAGES_MAX && read == header(&stamp, rules, pages);
        Ok(believed.then_some(Trail { file, path, salt: stamp.salt, pages }))
    }

    /// Makes the trail of a sealed segment. `false`: it was stopped, or the segment is gone or not sealed.
    pub(super) fn lay_trail(
        &self,
        id: u64,
        touches: &dyn Touches,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StorageError> {
        let Some(segment) = self.find_segment(id) else { return Ok(false) };
        let Some(stamp) = segment.stamp() else { return Ok(false) };
        let filter = self.gather(&segment, touches, pace);
        segment.unload();
        let Some(mut filter) = filter? else { return Ok(false) };
        filter.fold();
        let mut bytes = header(&stamp, touches.rules(), filter.pages()).to_vec();
        bytes.extend_from_slice(&filter.encode(stamp.salt));
        let folder = self.trails_path();
        let vfs = self.dir.vfs().as_ref();
        vfs.create_dir(&folder).map_err(|error| StorageError::io("make the directory", &folder, error))?;
        replace_file(vfs, &folder, &file_name(id), &bytes)?;
        Ok(true)
    }

    fn gather(
        &self,
        segment: &Arc<Segment>,
        touches: &dyn Touches,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Filter>, StorageError> {
        let mut filter = Filter::for_segment(segment.end());
        let mut unreadable = None;
        let whole = each_record(self, segment, &mut |record, bytes| {
            let told = touches.of_entry(record, &mut |key| filter.add(key));
            unreadable = told.err();
            unreadable.is_none() && pace(bytes)
        })?;
        match unreadable {
            Some(what) => Err(StorageError::Refused(format!("{}: {what}", segment.path.display()))),
            None => Ok(whole.then_some(filter)),
        }
    }

    /// Removes the trails of segments that are gone. One that a crash left half-written goes with its segment, or when
    /// its trail is laid again; it may as well be one that is being laid.
    pub(super) fn sweep_trails(&self) -> Result<(), StorageError> {
        let (folder, vfs) = (self.trails_path(), self.dir.vfs());
        let names = match vfs.list(&folder) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StorageError::io("list", folder, error)),
        };
        let is_kept = |name: &String| id_in(name).is_some_and(|id| self.find_segment(id).is_some());
        for name in names.iter().filter(|name| !is_kept(name)) {
            let path = folder.join(name);
            vfs.remove(&path).map_err(|error| StorageError::io("remove", path, error))?;
        }
        Ok(())
    }

    /// Removes the trail of one segment, so that it is made again.
    pub(super) fn remove_trail(&self, id: u64) -> Result<(), StorageError> {
        let path = self.trails_path().join(file_name(id));
        match self.dir.vfs().remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StorageError::io("remove", path, error))
            }
            _ => Ok(()),
        }
    }
}

fn file_name(id: u64) -> String {
    format!("{id:012}.trail")
}

/// The segment that a file belongs to: a trail, or one that is not whole yet.
fn id_in(name: &str) -> Option<u64> {
    let trail = name.strip_suffix(".tmp").unwrap_or(name);
    id_of(&format!("{}.log", trail.strip_suffix(".trail")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// splitmix64: keys as evenly spread as hashes.
    fn keys(seed: u64) -> impl Iterator<Item = u64> {
        (1u64..).map(move |number| {
            let mut key = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            key = (key ^ (key >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            key = (key ^ (key >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            key ^ (key >> 31)
        })
    }

    fn holds(filter: &Filter, key: u64) -> bool {
        let (page, mut bits) = bits(key, filter.pages());
        bits.all(|bit| (filter.words[page * PAGE_WORDS + bit / 64] >> (bit % 64)) & 1 == 1)
    }

    /// Prints the table of docs/STORAGE.md: `cargo test --lib trail::tests::what -- --nocapture`.
    #[test]
    fn what_was_put_in_is_found_and_of_the_rest_at_most_one_in_200() {
        const ASKED: usize = 400_000;
        println!("numbers, KiB, bits a number, found without need");
        for count in [1, 1_000, 20_000, 110_000, 250_000, 1_000_000] {
            let mut filter = Filter::for_segment(128 << 20);
            keys(1).take(count).for_each(|key| filter.add(key));
            filter.fold();
            assert!(keys(1).take(count).all(|key| holds(&filter, key)), "{count} numbers");
            let wrong = keys(2).take(ASKED).filter(|key| holds(&filter, *key)).count();
            let bytes = filter.encode(7).len();
            let kib = bytes / 1_024;
            let each = bytes as f64 * 8.0 / count as f64;
            println!("{count}, {kib}, {each:.1}, {:.3} %", wrong as f64 * 100.0 / ASKED as f64);
            assert!(wrong * 200 <= ASKED, "{wrong} of {ASKED} with {count} numbers");
            assert!(count < 20_000 || each <= 24.0, "{each:.1} bits a number with {count} numbers");
        }
    }

    #[test]
    fn a_filter_is_never_larger_than_the_segment_may_need() {
        assert_eq!(Filter::for_segment(0).pages(), 1);
        assert_eq!(Filter::for_segment(64 << 10).pages(), 2);
        assert_eq!(Filter::for_segment(128 << 20).pages(), PAGES_MAX);
        assert_eq!(Filter::for_segment(1 << 40).pages(), PAGES_MAX);
    }
}
