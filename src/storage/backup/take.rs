//! Taking a backup while the log goes on.
//!
//! 1. Segments are held, so that none is removed. What was removed before lies below the purge mark of now.
//! 2. The newest whole image is opened: it is not older than that mark, and stays readable when it is replaced.
//! 3. The segments are noted, the open one up to the end of its last durable flush. Everything acknowledged before is
//!    in them. From here on nothing that is copied changes: segments only grow.
//! 4. Vote and marks are written anew for exactly these segments.
//!
//! So what is copied is what a `kill -9` would have left at step 3, and it is read back by the same recovery. Records
//! and footers are checked before they are copied: damage ends the backup and is named, never handed on.

use std::sync::Arc;

use bytes::Bytes;

use super::super::{
    error::StorageError,
    hold::Hold,
    images::{Image, Images},
    node,
    record::RecordId,
    scrub,
    segment::{Footer, HEADER_BYTES, Segment, SegmentInfo},
    shared::Shared,
    space::Space,
    span::Span,
    vfs::read_up_to,
    vote::{Marks, vote_file},
    wire::{narrow, wide},
};
use super::archive::{END_BYTES, Writer, member_bytes, sum_line};
use super::{BACKUP_FORMAT, BackupError, MANIFEST, Manifest, NODE, VOTE};
use crate::model::Timestamp;

/// How often an image may vanish between being found and being opened: a newer one takes its place.
const TRIES: u32 = 5;

/// A backup that is begun: what belongs to it is settled, and held until it is written or dropped.
#[derive(Debug)]
pub struct Backup {
    shared: Arc<Shared>,
    hold: Hold,
    members: Vec<Member>,
    manifest: Manifest,
    /// In seconds.
    time: u64,
    /// Truncations of the log before it was begun.
    truncations: u64,
}

#[derive(Debug)]
struct Member {
    path: String,
    bytes: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    Image(Image),
    /// A segment; of an open one, what stands before its first record in the copy.
    Segment(Arc<Segment>, Option<Bytes>),
}

impl Backup {
    /// Settles what belongs to the backup. Blocking: reads the newest image whole.
    ///
    /// Errors: `Refused` while another one is held, `Damaged` when no image is whole, the fault of a log that stopped.
    pub(in crate::storage) fn begin(
        shared: &Arc<Shared>,
        images: &Images,
        taken_at: Timestamp,
    ) -> Result<Backup, StorageError> {
        if let Some(refusal) = shared.poison.refusal() {
            return Err(refusal);
        }
        let hold = Hold::all(shared)?;
        let (purged, truncations) = shared.core(|core| (core.purged, core.truncations));
        let image = newest(images)?;
        let segments: Vec<(Arc<Segment>, SegmentInfo)> = shared.segments(|segments| {
            segments.iter().map(|segment| (Arc::clone(segment), segment.info())).collect()
        });
        let last_index = segments.iter().rev().find_map(|(_, info)| info.last_index);
        let image_index = image.as_ref().map(|image| image.meta.index);
        if image_index > last_index.max(purged.map(|purged| purged.index)) {
            let what = "the newest image is ahead of what is durable; try again".to_owned();
            return Err(StorageError::Refused(what));
        }
        let (identity, node_file) = node::whole_file(shared.dir.vfs().as_ref(), shared.dir.path())?;
        let mut members = vec![
            Member::in_memory(NODE, node_file),
            Member::in_memory(VOTE, vote_file(marks(shared, purged, &segments))),
        ];
        if let Some(image) = image {
            let path = format!("images/{:020}.image", image.meta.index);
            members.push(Member { path, bytes: image.raw_len()?, source: Source::Image(image) });
        }
        members.extend(segments.into_iter().map(|(segment, info)| Member::of(segment, &info)));
        let manifest = Manifest {
            backup_format: BACKUP_FORMAT,
            program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            format_version: identity.format_version,
            node_id: identity.node_id,
            cluster_id: identity.cluster_id,
            taken_at: taken_at.to_string(),
            last_index,
            image_index,
            files: wide(members.len()),
            bytes: members.iter().map(|member| member.bytes).sum(),
        };
        let (shared, time) = (Arc::clone(shared), taken_at.0 / 1_000);
        Ok(Backup { shared, hold, members, manifest, time, truncations })
    }

    /// Bytes of the archive.
    pub fn archive_bytes(&self) -> u64 {
        let manifest = (MANIFEST, wide(self.manifest_file().len()));
        let files = self.members.iter().map(|member| (member.path.as_str(), member.bytes));
        let (mut archive, mut sums) = (END_BYTES, 0);
        for (path, bytes) in files.chain([manifest]) {
            archive += member_bytes(bytes);
            sums += wide(sum_line(path, &[0; 32]).len());
        }
        archive + member_bytes(sums)
    }

    /// The last entry of the log that is in it; none when there was none yet.
    pub fn last_index(&self) -> Option<u64> {
        self.manifest.last_index
    }

    /// When it was begun, as RFC 3339.
    pub fn taken_at(&self) -> &str {
        &self.manifest.taken_at
    }

    /// Writes the archive. `give` gets it piece by piece, of at most 1 MiB, and answers false to stop. Blocking.
    ///
    /// # Errors
    /// See [`BackupError`]; the archive is then not complete and is refused by every restore.
    pub fn write(self, give: &mut dyn FnMut(Bytes) -> bool) -> Result<(), BackupError> {
        let mut writer = Writer::new(give, self.time);
        for member in &self.members {
            match &member.source {
                Source::Memory(content) => writer.whole(&member.path, content)?,
                Source::Image(image) => {
                    writer.member(&member.path, member.bytes, &mut |at, most| image.raw(at, most))?;
                }
                Source::Segment(segment, start) => {
                    self.segment(&mut writer, member, (segment, start.as_ref()))?;
                }
            }
        }
        let truncations = self.shared.core(|core| core.truncations);
        if truncations != self.truncations {
            return Err(BackupError::Cut);
        }
        writer.whole(MANIFEST, &self.manifest_file())?;
        writer.finish()
    }

    fn segment(
        &self,
        writer: &mut Writer<'_>,
        member: &Member,
        (segment, start): (&Arc<Segment>, Option<&Bytes>),
    ) -> Result<(), BackupError> {
        if self.hold.is_wanted() && self.shared.gauge.state() > Space::Open {
            return Err(BackupError::GivesWay);
        }
        scrub::each_record(&self.shared, segment, &mut |_, _| true)?;
        let (file, _) = segment.file(self.shared.dir.vfs().as_ref())?;
        if start.is_none() {
            let footer = Footer::read(file.as_ref(), &segment.path, segment.header.salt, member.bytes)?;
            if footer.is_none() {
                let what = "the footer does not match its checksum";
                return Err(StorageError::damaged(&segment.path, segment.end(), what).into());
            }
        }
        let mut read = |at: u64, most: usize| match start {
            Some(start) if at < wide(start.len()) => Ok(start.slice(narrow(at)..)),
            _ => read_up_to(file.as_ref(), at, most)
                .map(Bytes::from)
                .map_err(|error| StorageError::io("read", &segment.path, error)),
        };
        let written = writer.member(&member.path, member.bytes, &mut read);
        segment.unload();
        self.hold.done_with(segment.header.id);
        written
    }

    fn manifest_file(&self) -> Bytes {
        // Numbers and texts always can be written as JSON.
        let mut text = serde_json::to_vec_pretty(&self.manifest).unwrap_or_default();
        text.push(b'\n');
        Bytes::from(text)
    }
}

impl Member {
    fn in_memory(path: &str, content: Vec<u8>) -> Member {
        let bytes = wide(content.len());
        Member { path: path.to_owned(), bytes, source: Source::Memory(Bytes::from(content)) }
    }

    /// The copy of a segment. An open one is copied up to where its durable records end, and says itself that it is no
    /// longer than that.
    fn of(segment: Arc<Segment>, info: &SegmentInfo) -> Member {
        let path = format!("log/{}", super::super::segment::file_name(info.id));
        let start = (!info.sealed).then(|| {
            let span = Span::default().next(info.bytes.max(HEADER_BYTES));
            Bytes::from(segment.header.start(span))
        });
        Member { path, bytes: info.bytes, source: Source::Segment(segment, start) }
    }
}

/// The newest whole image.
fn newest(images: &Images) -> Result<Option<Image>, StorageError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match images.newest() {
            Ok(found) => return Ok(found.map(|found| found.image)),
            Err(StorageError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// What the vote file of the copy says. Everything copied was durable, which the floor says.
fn marks(shared: &Shared, purged: Option<RecordId>, segments: &[(Arc<Segment>, SegmentInfo)]) -> Marks {
    let newest = segments.last().map(|(_, info)| info);
    let id = newest.map_or(0, |info| info.id);
    let end = newest.map_or(0, |info| info.bytes);
    // A footer is no record, and behind a sealed end nothing is judged.
    let floor = if newest.is_some_and(|info| info.sealed) { (0, 0) } else { (id, end) };
    Marks { sequence: 1, vote: shared.core(|core| core.vote), purged, newest: id, next: id + 1, floor }
}
