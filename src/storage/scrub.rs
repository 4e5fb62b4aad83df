//! Reading sealed data again before somebody needs it: disks forget quietly.

use std::sync::Arc;

use super::{
    error::StorageError,
    judge::Extent,
    segment::Segment,
    shared::Shared,
    walk::{self, Window, damaged},
    wire::wide,
};

/// Checks every record and the chain of one segment, by its id.
pub(super) fn scrub(shared: &Shared, id: u64, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), StorageError> {
    let found =
        shared.segments(|segments| segments.iter().find(|segment| segment.header.id == id).map(Arc::clone));
    let Some(segment) = found else {
        return Err(StorageError::Refused(format!("there is no segment {id}")));
    };
    let result = check(shared, &segment, pace);
    segment.unload();
    result
}

/// Checks every record and the chain of one segment, as far as it is durable now.
pub(super) fn check(
    shared: &Shared,
    segment: &Arc<Segment>,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<(), StorageError> {
    let (file, _) = segment.file(shared.dir.vfs().as_ref())?;
    let end = segment.end();
    let mut window = Window::new(file.as_ref(), &segment.path, 1 << 20, end);
    let mut extent = Extent::empty(&segment.header);
    while extent.end < end {
        let at = extent.end;
        let head = walk::head_at(&mut window, segment.header.ground(), at)?
            .and_then(|head| extent.follows(&segment.header, &head).map(|()| head))
            .map_err(|flaw| damaged(&segment.path, at, &flaw))?;
        walk::record_at(&mut window, segment.header.ground(), &head)?
            .map_err(|flaw| damaged(&segment.path, at, &flaw))?;
        extent.take(&head);
        if !pace(wide(head.length)) {
            break;
        }
    }
    Ok(())
}
