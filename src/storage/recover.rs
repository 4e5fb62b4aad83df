//! From a directory of unknown state to a log that can be appended to, or a refusal that names the damage.
//!
//! Everything is read and checked before anything is changed. Then the torn tail is cut, and the newest flush, the vote
//! and the marks are written again in place: after a kill or a failed fsync they may live in the page cache alone, and
//! nothing is reported that a power cut could still take away. Writing equal bytes over themselves cannot lose them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    engine::{Active, Engine, NewSegment, create, fault, sync, sync_folder},
    error::StorageError,
    judge::{Case, Extent, TornTail},
    log::{LaterId, LogOptions},
    node::DataDir,
    record::RecordId,
    segment::{Footer, HEADER_BYTES, Header, Segment, Tip, id_of},
    shared::Start,
    span::Span,
    vfs::{OpenMode, Vfs, VfsFile, read_up_to, write_all},
    vote::{Marks, MarksFile, Vote},
    walk::{self, Window, damaged},
    wire::narrow,
};

/// What a recovered log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The first entry that is still in a segment.
    pub first: Option<u64>,
    /// The last entry; after a purge beyond the log, that entry.
    pub last: Option<RecordId>,
    /// The agreement needs nothing up to here.
    pub purged: Option<RecordId>,
    /// The vote.
    pub vote: Option<Vote>,
    /// The highest index some durable record knew to be agreed; the truth may be higher.
    pub committed: Option<u64>,
    /// What was cut off, if a flush was torn.
    pub torn: Option<TornTail>,
    /// Repairs worth a line in the server's log.
    pub notes: Vec<String>,
}

impl Recovered {
    /// Refuses an image that is ahead of the log: then the log has lost entries.
    pub fn check_image(&self, index: u64) -> Result<(), StorageError> {
        if self.last.is_some_and(|last| last.index >= index) {
            return Ok(());
        }
        let last = self.last.map_or("empty".to_owned(), |last| format!("at entry {}", last.index));
        let what = format!("an image was taken at entry {index}, but the log is {last}");
        Err(StorageError::LostLog { what })
    }
}

struct Found {
    id: u64,
    path: PathBuf,
    length: u64,
    header: Header,
    /// What the file says of its own length.
    span: Option<Span>,
}

impl Found {
    /// Opened when it is needed: a large log has more segments than a process may have open files.
    fn file(&self, vfs: &dyn Vfs) -> Result<Arc<dyn VfsFile>, StorageError> {
        vfs.open(&self.path, OpenMode::Write).map_err(|error| fault("open", &self.path, error))
    }
}

/// Recovers the log of a directory.
pub(super) fn recover(
    dir: &DataDir,
    options: &LogOptions,
) -> Result<(Engine, Start, Recovered), StorageError> {
    let vfs = dir.vfs().as_ref();
    let folder = dir.log_path();
    let names = vfs.list(&folder).map_err(|error| fault("list", &folder, error))?;
    let ids: Vec<u64> = names.iter().filter_map(|name| id_of(name)).collect();
    let mut marks = MarksFile::open(vfs, dir.path().join("vote"), ids.is_empty())?;
    let mut notes = Vec::new();
    if marks.marks().sequence > 0 {
        notes.extend(marks.found.note().map(str::to_owned));
    }
    let (found, unfinished) = find(vfs, &folder, &ids, &marks.marks())?;
    let mut segments = check_sealed(vfs, &found, &marks.marks())?;
    let newest = found.last().map(|newest| judge_newest(vfs, newest, &marks.marks())).transpose()?;
    if let Some((_, extent, _)) = &newest {
        check_vote(&marks.marks(), extent.tip.id)?;
    }

    // From here on the disk is changed.
    for path in &unfinished {
        vfs.remove(path).map_err(|error| fault("remove", path, error))?;
        notes.push(format!("removed {}, a segment whose creation was cut short", path.display()));
    }
    marks.settle()?;
    sync_folder(vfs, dir.path())?;
    let (active, tip, torn, mut committed) = match (found.last(), newest) {
        (Some(newest), Some((file, extent, torn))) => {
            let floor = (newest.id, extent.end);
            if !extent.closed && marks.marks().floor != floor {
                // The footer that vouched for this end is about to go.
                marks.change(|marks| marks.floor = floor)?;
            }
            let active = repair(newest, &file, &extent)?;
            (active, extent.tip, torn, extent.committed)
        }
        _ => {
            let base = marks.marks().purged.map_or(0, |purged| purged.index + 1);
            let before = Tip { id: None, crc: super::record::CHAIN_START, flush: 0 };
            let new = NewSegment { base, before, previous: 0 };
            (create(vfs, &folder, &mut marks, &new, options)?, before, None, 0)
        }
    };
    sync_folder(vfs, &folder)?;
    let newest_id = active.segment.header.id;
    if marks.marks().newest != newest_id || marks.marks().next <= newest_id {
        marks.change(|marks| {
            marks.newest = newest_id;
            marks.next = marks.next.max(newest_id + 1);
        })?;
    }
    segments.1.push(Arc::clone(&active.segment));
    committed = committed.max(segments.0);
    let (start, recovered) = report(&marks.marks(), segments.1, tip, (committed, torn, notes));
    Ok((Engine::new(marks, Some(active), tip, committed), start, recovered))
}

fn report(
    marks: &Marks,
    segments: Vec<Arc<Segment>>,
    tip: Tip,
    (committed, torn, notes): (u64, Option<TornTail>, Vec<String>),
) -> (Start, Recovered) {
    let first = segments
        .iter()
        .map(|segment| segment.info())
        .find(|info| info.last_index.is_some())
        .map(|info| info.first_index);
    let recovered = Recovered {
        first,
        last: tip.id.max_by_index(marks.purged),
        purged: marks.purged,
        vote: marks.vote,
        committed: (committed > 0).then_some(committed),
        torn,
        notes,
    };
    (Start { segments, last: tip.id, purged: marks.purged, vote: marks.vote }, recovered)
}

/// Opens all segments and reads their headers; a file without one whose creation was never finished is set aside.
fn find(
    vfs: &dyn Vfs,
    folder: &Path,
    ids: &[u64],
    marks: &Marks,
) -> Result<(Vec<Found>, Vec<PathBuf>), StorageError> {
    if marks.newest > 0 && !ids.contains(&marks.newest) {
        let missing = folder.join(super::segment::file_name(marks.newest));
        return Err(StorageError::LostLog { what: format!("{} is missing", missing.display()) });
    }
    let (mut found, mut unfinished) = (Vec::new(), Vec::new());
    for id in ids {
        let path = folder.join(super::segment::file_name(*id));
        let file = vfs.open(&path, OpenMode::Write).map_err(|error| fault("open", &path, error))?;
        let length = file.len().map_err(|error| fault("read", &path, error))?;
        let bytes = read_up_to(file.as_ref(), 0, narrow(HEADER_BYTES))
            .map_err(|error| fault("read", &path, error))?;
        match Header::decode(&bytes) {
            Some(header) if header.id == *id => {
                let span = Span::read(&bytes, &header);
                found.push(Found { id: *id, path, length, header, span });
            }
            Some(header) => {
                let what = format!("the header belongs to segment {}", header.id);
                return Err(StorageError::damaged(path, 0, what));
            }
            None if *id > marks.newest => unfinished.push(path),
            None => return Err(StorageError::damaged(path, 0, "the checksum of the header does not match")),
        }
    }
    Ok((found, unfinished))
}

/// Checks the footers and the chain of all segments but the newest, and the newest one's header.
fn check_sealed(
    vfs: &dyn Vfs,
    found: &[Found],
    marks: &Marks,
) -> Result<(u64, Vec<Arc<Segment>>), StorageError> {
    let mut segments = Vec::new();
    let mut committed = 0;
    let mut previous: Option<(u64, Tip)> = None;
    for (number, segment) in found.iter().enumerate() {
        check_link(segment, previous, marks)?;
        if number + 1 == found.len() {
            break;
        }
        let header = &segment.header;
        let footer = Footer::read(segment.file(vfs)?.as_ref(), &segment.path, header.salt, segment.length)?
            .filter(|(footer, _)| footer.id == segment.id && footer.first == header.base);
        let Some((footer, records_end)) = footer else {
            let what = "the footer does not match its checksum, although later segments exist";
            return Err(StorageError::damaged(&segment.path, segment.length, what));
        };
        committed = committed.max(footer.committed);
        previous = Some((segment.id, footer.tip));
        segments.push(Arc::new(Segment::sealed(*header, segment.path.clone(), &footer, records_end)));
    }
    Ok((committed, segments))
}

/// Checks that a segment continues the one before it, or that only purged entries lie between them.
fn check_link(segment: &Found, previous: Option<(u64, Tip)>, marks: &Marks) -> Result<(), StorageError> {
    let header = &segment.header;
    let chained = match previous {
        Some((id, tip)) if id == header.previous => {
            if tip != header.before {
                let what = format!("the header does not continue segment {id}");
                return Err(StorageError::damaged(&segment.path, 0, what));
            }
            header.base == tip.id.map_or(0, |id| id.index + 1)
        }
        _ => header.previous == 0 && header.base == 0,
    };
    let purged = marks.purged.map_or(0, |purged| purged.index + 1);
    if chained || header.base <= purged {
        return Ok(());
    }
    let what = format!(
        "{} starts at entry {}, but the entries before it are missing and only {purged} are purged",
        segment.path.display(),
        header.base
    );
    Err(StorageError::LostLog { what })
}

/// The newest segment, opened, and what of it is kept.
type Newest = (Arc<dyn VfsFile>, Extent, Option<TornTail>);

fn judge_newest(vfs: &dyn Vfs, newest: &Found, marks: &Marks) -> Result<Newest, StorageError> {
    let file = newest.file(vfs)?;
    let floor = if marks.floor.0 == newest.id { marks.floor.1 } else { 0 };
    let case = Case {
        file: file.as_ref(),
        path: &newest.path,
        header: &newest.header,
        length: newest.length,
        span: newest.span,
        named: newest.id <= marks.newest,
        floor,
    };
    let (extent, torn) = case.judge()?;
    Ok((file, extent, torn))
}

fn check_vote(marks: &Marks, last: Option<RecordId>) -> Result<(), StorageError> {
    let voted = marks.vote.map_or(0, |vote| vote.term);
    match last {
        Some(last) if last.term > voted => Err(StorageError::LostLog {
            what: format!("entry {} has term {}, but the vote is of term {voted}", last.index, last.term),
        }),
        _ => Ok(()),
    }
}

/// Cuts what is not kept and writes header and newest flush over themselves.
fn repair(newest: &Found, opened: &Arc<dyn VfsFile>, extent: &Extent) -> Result<Active, StorageError> {
    let (file, path) = (opened.as_ref(), &newest.path);
    let span = Span::shorten(file, path, &newest.header, extent.end)?;
    for (from, to) in [(0, HEADER_BYTES), (extent.flush_start, extent.end)] {
        let bytes = read_up_to(file, from, narrow(to - from)).map_err(|error| fault("read", path, error))?;
        write_all(file, &bytes, from).map_err(|error| fault("write", path, error))?;
    }
    sync(file, path)?;
    let segment = Arc::new(Segment::open(newest.header, path.clone(), Arc::clone(opened)));
    let last = extent.tip.id.map_or(0, |id| id.index);
    segment.grow(&extent.marks, extent.count, last, extent.end);
    Ok(Active {
        segment,
        file: Arc::clone(opened),
        end: extent.end,
        allocated: extent.end,
        secured: extent.end,
        span,
        count: extent.count,
        marked: extent.marks.last().map(|mark| mark.offset),
        marks: extent.marks.len(),
    })
}

/// What is left of a segment when `index` and everything after it go.
pub(super) fn cut_at(segment: &Segment, file: &dyn VfsFile, index: u64) -> Result<Extent, StorageError> {
    let mut extent = Extent::empty(&segment.header);
    let end = segment.end();
    let mut window = Window::new(file, &segment.path, 64 << 10, end);
    while extent.end < end && segment.header.base + extent.count < index {
        let at = extent.end;
        let head = walk::head_at(&mut window, segment.header.ground(), at)?
            .and_then(|head| extent.follows(&segment.header, &head).map(|()| head))
            .map_err(|flaw| damaged(&segment.path, at, &flaw))?;
        extent.take(&head);
    }
    Ok(extent)
}
