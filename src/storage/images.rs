//! Images: checksummed copies of the state at an index. The newest and one spare are kept.
//!
//! A file is written under a temporary name, synced, renamed, and the directory is synced: so it is there whole or not
//! at all. Every chunk has its own checksum, and a trailer counts and sums them all.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};

use super::{
    error::StorageError,
    node::DataDir,
    record::RecordId,
    vfs::{OpenMode, Vfs, VfsFile, is_no_space, read_up_to, write_all},
    wire::{narrow, put_at, u32_at, u64_at, wide},
};

const MAGIC: u64 = u64::from_le_bytes(*b"WHIMIMAG");
const VERSION: u32 = 1;
const HEADER_FIXED: usize = 48;
const TRAILER_BYTES: usize = 24;
const EXTRA_BYTES_MAX: usize = 1 << 20;
/// Largest chunk, in bytes.
pub const IMAGE_CHUNK_BYTES_MAX: usize = 64 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// What an image is an image of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMeta {
    /// The last entry whose effect is in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// That entry's proposer.
    pub leader: u64,
    /// Opaque to the store, at most 1 MiB.
    pub extra: Bytes,
}

impl ImageMeta {
    /// The entry this image was taken at.
    pub fn id(&self) -> RecordId {
        RecordId { index: self.index, term: self.term, leader: self.leader }
    }
}

/// The images of a data directory.
#[derive(Debug, Clone)]
pub struct Images {
    dir: DataDir,
}

/// The newest whole image, and what was wrong with newer ones.
#[derive(Debug)]
pub struct NewestImage {
    /// The image to start from.
    pub image: Image,
    /// Newer images that are damaged: the spare had to be taken. Worth an alert.
    pub damaged: Vec<StorageError>,
}

impl Images {
    /// The images of an opened directory. Left-overs of unfinished writes are removed.
    pub fn open(dir: &DataDir) -> Result<Images, StorageError> {
        let images = Images { dir: dir.clone() };
        for name in images.names()? {
            if name.ends_with(".tmp") {
                let path = images.folder().join(name);
                images.vfs().remove(&path).map_err(|error| StorageError::io("remove", path, error))?;
            }
        }
        Ok(images)
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    fn vfs(&self) -> &dyn Vfs {
        self.dir.vfs().as_ref()
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        let folder = self.folder();
        self.vfs().list(&folder).map_err(|error| StorageError::io("list", folder, error))
    }

    /// Image files, newest first.
    fn stored(&self) -> Result<Vec<PathBuf>, StorageError> {
        let folder = self.folder();
        let names = self.names()?.into_iter().rev();
        Ok(names.filter(|name| name.ends_with(".image")).map(|name| folder.join(name)).collect())
    }

    /// Writes an image; durable when this returns. Then everything but it and the newest whole one before it
    /// is removed.
    ///
    /// No other image is touched before the new one is durable. A damaged one is never kept in place of a whole one, so
    /// the one before is read whole each time; an image is due only after twice its bytes of log, which bounds
    /// the cost.
    pub fn write(&self, meta: &ImageMeta, chunks: impl Iterator<Item = Bytes>) -> Result<u64, StorageError> {
        let folder = self.folder();
        let path = folder.join(format!("{:020}.image", meta.index));
        let temporary = folder.join(format!("{:020}.image.tmp", meta.index));
        let io = |action: &'static str| {
            let path = temporary.clone();
            move |error: std::io::Error| match is_no_space(&error) {
                true => StorageError::Full { path, needed: 0 },
                false => StorageError::io(action, path, error),
            }
        };
        let file = self.vfs().open(&temporary, OpenMode::Replace).map_err(io("create"))?;
        let bytes = ImageWriter::new(file.as_ref(), meta)?.all(chunks).map_err(|error| match error {
            StorageError::Io { source, .. } => {
                io("write")(std::io::Error::new(source.kind(), source.to_string()))
            }
            other => other,
        });
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                // A half image helps nobody and may hold the space that is missing.
                if let Err(left) = self.vfs().remove(&temporary) {
                    tracing::warn!("cannot remove {}: {left}", temporary.display());
                }
                return Err(error);
            }
        };
        super::engine::sync(file.as_ref(), &temporary)?;
        self.vfs().rename(&temporary, &path).map_err(io("rename"))?;
        super::engine::sync_folder(self.vfs(), &folder)?;
        self.tidy(&path)?;
        super::engine::sync_folder(self.vfs(), &folder)?;
        Ok(bytes)
    }

    /// Removes all images but `newest` and the newest other one that is whole.
    fn tidy(&self, newest: &Path) -> Result<(), StorageError> {
        let mut spared = false;
        for old in self.stored()?.into_iter().filter(|path| path != newest) {
            let whole = if spared { Ok(()) } else { self.whole(&old).map(drop) };
            match whole {
                Ok(()) if !spared => {
                    spared = true;
                    continue;
                }
                // Unreadable for now says nothing about its bytes.
                Err(error) if !matches!(error, StorageError::Damaged { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "removing a damaged image; a new one took its place"),
                Ok(()) => {}
            }
            self.vfs().remove(&old).map_err(|error| StorageError::io("remove", &old, error))?;
        }
        Ok(())
    }

    /// Opens an image and checks every checksum in it.
    fn whole(&self, path: &Path) -> Result<Image, StorageError> {
        let image = Image::open(self.vfs(), path)?;
        image.verify()?;
        Ok(image)
    }

    /// The newest image that is whole; the spare when the newest is damaged. `None`: there never was one.
    ///
    /// Every checksum is checked before this returns. `Damaged` when there are images and none is whole.
    pub fn newest(&self) -> Result<Option<NewestImage>, StorageError> {
        let mut damaged = Vec::new();
        for path in self.stored()? {
            match self.whole(&path) {
                Ok(image) => return Ok(Some(NewestImage { image, damaged })),
                Err(error @ StorageError::Damaged { .. }) => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        match damaged.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// The spare: the image before the newest, if there is one, every checksum checked. Purging must not pass it.
    pub fn spare(&self) -> Result<Option<ImageMeta>, StorageError> {
        let Some(path) = self.stored()?.into_iter().nth(1) else { return Ok(None) };
        Ok(Some(self.whole(&path)?.meta))
    }
}

/// Fills a buffer and writes it out in large pieces.
struct ImageWriter<'a> {
    file: &'a dyn VfsFile,
    buffer: Vec<u8>,
    written: u64,
    chunks: u64,
    bytes: u64,
    crc: u32,
}

impl<'a> ImageWriter<'a> {
    fn new(file: &'a dyn VfsFile, meta: &ImageMeta) -> Result<ImageWriter<'a>, StorageError> {
        let buffer = encode_header(meta)?;
        let crc = u32_at(&buffer, 44).unwrap_or_default();
        Ok(ImageWriter { file, buffer, written: 0, chunks: 0, bytes: 0, crc })
    }

    fn all(mut self, chunks: impl Iterator<Item = Bytes>) -> Result<u64, StorageError> {
        for chunk in chunks.filter(|chunk| !chunk.is_empty()) {
            let crc = crc32c(&chunk);
            self.buffer.extend_from_slice(&length_of(&chunk)?.to_le_bytes());
            self.buffer.extend_from_slice(&crc.to_le_bytes());
            self.buffer.extend_from_slice(&chunk);
            self.chunks += 1;
            self.bytes += wide(chunk.len());
            self.crc = crc32c_append(self.crc, &crc.to_le_bytes());
            if self.buffer.len() >= BUFFER_BYTES {
                self.write_out()?;
            }
        }
        // A chunk of length zero ends the image; its place is taken by the trailer.
        let mut trailer = vec![0u8; TRAILER_BYTES];
        put_at(&mut trailer, 4, &self.crc.to_le_bytes());
        put_at(&mut trailer, 8, &self.chunks.to_le_bytes());
        put_at(&mut trailer, 16, &self.bytes.to_le_bytes());
        let crc = crc32c(&trailer);
        self.buffer.extend_from_slice(&trailer);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        self.write_out()?;
        Ok(self.written)
    }

    fn write_out(&mut self) -> Result<(), StorageError> {
        write_all(self.file, &self.buffer, self.written)
            .map_err(|error| StorageError::io("write", PathBuf::new(), error))?;
        self.written += wide(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}

fn length_of(bytes: &Bytes) -> Result<u32, StorageError> {
    u32::try_from(bytes.len())
        .ok()
        .filter(|length| narrow(u64::from(*length)) <= IMAGE_CHUNK_BYTES_MAX)
        .ok_or_else(|| StorageError::Refused(format!("a chunk of {} bytes is too large", bytes.len())))
}

/// One open image.
#[derive(Debug, Clone)]
pub struct Image {
    /// What it is an image of.
    pub meta: ImageMeta,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    header_crc: u32,
    chunks_at: u64,
}

impl Image {
    fn open(vfs: &dyn Vfs, path: &Path) -> Result<Image, StorageError> {
        let file = vfs.open(path, OpenMode::Read).map_err(|error| StorageError::io("open", path, error))?;
        let header = read_up_to(file.as_ref(), 0, HEADER_FIXED + EXTRA_BYTES_MAX)
            .map_err(|error| StorageError::io("read", path, error))?;
        let Some((meta, header_crc)) = decode_header(&header) else {
            return Err(StorageError::damaged(path, 0, "the checksum of the image's header does not match"));
        };
        let chunks_at = wide(HEADER_FIXED + meta.extra.len());
        Ok(Image { meta, path: path.to_owned(), file, header_crc, chunks_at })
    }

    /// The chunks, each checked as it is read; the last step checks the trailer.
    pub fn chunks(&self) -> ImageChunks {
        ImageChunks {
            image: self.clone(),
            at: self.chunks_at,
            crc: self.header_crc,
            chunks: 0,
            bytes: 0,
            ended: false,
        }
    }

    fn verify(&self) -> Result<(), StorageError> {
        self.chunks().try_for_each(|chunk| chunk.map(|_| ()))
    }

    /// Length of the raw file in bytes.
    pub fn raw_len(&self) -> Result<u64, StorageError> {
        self.file.len().map_err(|error| StorageError::io("read", &self.path, error))
    }

    /// Raw bytes of the file, to send to a peer; fewer than asked only at the end.
    pub fn raw(&self, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        read_up_to(self.file.as_ref(), offset, length)
            .map(Bytes::from)
            .map_err(|error| StorageError::io("read", &self.path, error))
    }
}

/// The start of an image file: what it says of itself, and a checksum over that.
pub(super) fn encode_header(meta: &ImageMeta) -> Result<Vec<u8>, StorageError> {
    if meta.extra.len() > EXTRA_BYTES_MAX {
        return Err(StorageError::Refused(format!("more than {EXTRA_BYTES_MAX} bytes of extra in an image")));
    }
    let mut buffer = vec![0u8; HEADER_FIXED];
    put_at(&mut buffer, 0, &MAGIC.to_le_bytes());
    put_at(&mut buffer, 8, &VERSION.to_le_bytes());
    put_at(&mut buffer, 12, &length_of(&meta.extra)?.to_le_bytes());
    put_at(&mut buffer, 16, &meta.index.to_le_bytes());
    put_at(&mut buffer, 24, &meta.term.to_le_bytes());
    put_at(&mut buffer, 32, &meta.leader.to_le_bytes());
    put_at(&mut buffer, 40, &crc32c(&meta.extra).to_le_bytes());
    let crc = crc32c(buffer.get(..44).unwrap_or_default());
    put_at(&mut buffer, 44, &crc.to_le_bytes());
    buffer.extend_from_slice(&meta.extra);
    Ok(buffer)
}

pub(super) fn decode_header(bytes: &[u8]) -> Option<(ImageMeta, u32)> {
    let crc = u32_at(bytes, 44)?;
    let known = u64_at(bytes, 0)? == MAGIC && u32_at(bytes, 8)? == VERSION;
    if crc != crc32c(bytes.get(..44)?) || !known {
        return None;
    }
    let extra = bytes.get(HEADER_FIXED..HEADER_FIXED + narrow(u64::from(u32_at(bytes, 12)?)))?;
    if crc32c(extra) != u32_at(bytes, 40)? {
        return None;
    }
    let meta = ImageMeta {
        index: u64_at(bytes, 16)?,
        term: u64_at(bytes, 24)?,
        leader: u64_at(bytes, 32)?,
        extra: Bytes::copy_from_slice(extra),
    };
    Some((meta, crc))
}

/// Reads an image chunk by chunk.
#[derive(Debug)]
pub struct ImageChunks {
    image: Image,
    at: u64,
    crc: u32,
    chunks: u64,
    bytes: u64,
    ended: bool,
}

impl ImageChunks {
    fn damaged(&self, what: &str) -> StorageError {
        StorageError::damaged(&self.image.path, self.at, what)
    }

    fn step(&mut self) -> Result<Option<Bytes>, StorageError> {
        let head = self.image.raw(self.at, TRAILER_BYTES + 4)?;
        let (Some(length), Some(crc)) = (u32_at(&head, 0), u32_at(&head, 4)) else {
            return Err(self.damaged("the image is cut off"));
        };
        if length == 0 {
            let end = self.at + wide(TRAILER_BYTES + 4);
            let whole = u32_at(&head, TRAILER_BYTES)
                == Some(crc32c(head.get(..TRAILER_BYTES).unwrap_or_default()))
                && crc == self.crc
                && u64_at(&head, 8) == Some(self.chunks)
                && u64_at(&head, 16) == Some(self.bytes)
                && self.image.raw_len()? == end;
            return if whole { Ok(None) } else { Err(self.damaged("the image's trailer does not match")) };
        }
        let length = narrow(u64::from(length));
        if length > IMAGE_CHUNK_BYTES_MAX || self.at + wide(length) > self.image.raw_len()? {
            return Err(self.damaged("a chunk's length is damaged"));
        }
        let chunk = self.image.raw(self.at + 8, length)?;
        if chunk.len() != length || crc32c(&chunk) != crc {
            return Err(self.damaged("the checksum of a chunk does not match"));
        }
        self.crc = crc32c_append(self.crc, &crc.to_le_bytes());
        self.chunks += 1;
        self.bytes += wide(length);
        self.at += wide(8 + length);
        Ok(Some(chunk))
    }
}

impl Iterator for ImageChunks {
    type Item = Result<Bytes, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}
