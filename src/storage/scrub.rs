//! Reading sealed data again before somebody needs it: disks forget quietly.

use std::sync::Arc;

use super::{
    error::StorageError,
    judge::Extent,
    record::Record,
    segment::Segment,
    shared::Shared,
    walk::{self, Window, damaged},
    wire::wide,
};

/// Checks every record and the chain of one segment, by its id.
pub(super) fn scrub(shared: &Shared, id: u64, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), StorageError> {
    let Some(segment) = shared.find_segment(id) else {
        return Err(StorageError::Refused(format!("there is no segment {id}")));
    };
    let result = each_record(shared, &segment, &mut |_, bytes| pace(bytes));
    segment.unload();
    result.map(drop)
}

/// Shows every record of a segment to `visit`, in order, with its bytes on the disk, as far as it is durable now; every
/// checksum and the chain are checked. `visit` answers `false` to stop early, and so does this.
pub(super) fn each_record(
    shared: &Shared,
    segment: &Arc<Segment>,
    visit: &mut dyn FnMut(&Record, u64) -> bool,
) -> Result<bool, StorageError> {
    let (file, _) = segment.file(shared.dir.vfs().as_ref())?;
    let end = segment.end();
    let mut window = Window::new(file.as_ref(), &segment.path, 1 << 20, end);
    let mut extent = Extent::empty(&segment.header);
    while extent.end < end {
        let at = extent.end;
        let head = walk::head_at(&mut window, segment.header.ground(), at)?
            .and_then(|head| extent.follows(&segment.header, &head).map(|()| head))
            .map_err(|flaw| damaged(&segment.path, at, &flaw))?;
        let record = walk::record_at(&mut window, segment.header.ground(), &head)?
            .map_err(|flaw| damaged(&segment.path, at, &flaw))?;
        extent.take(&head);
        if !visit(&record, wide(head.length)) {
            return Ok(false);
        }
    }
    Ok(true)
}
