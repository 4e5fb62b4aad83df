//! Space for records before they are written: reserved in steps, made durable, measured.

use super::{
    engine::{Active, fault, sync},
    error::StorageError,
    segment::HEADER_BYTES,
    shared::Shared,
    vfs::is_no_space,
};

/// Reserves space up to `end` and half a step more, in steps. Only what is needed now can fail.
pub(super) fn reserve(active: &mut Active, end: u64, shared: &Shared) -> Result<(), StorageError> {
    let step = shared.options.allocate_bytes.clamp(HEADER_BYTES, 8 << 20);
    let path = &active.segment.path;
    let wanted = end.max((end + step / 2).min(shared.options.segment_bytes));
    if active.allocated >= wanted {
        return Ok(());
    }
    while active.allocated < wanted {
        match active.file.allocate(active.allocated, step) {
            Ok(()) => active.allocated += step,
            Err(error) if is_no_space(&error) => {
                shared.gauge.full();
                return match active.allocated >= end {
                    true => Ok(()),
                    false => Err(StorageError::Full { path: path.clone(), needed: end - active.allocated }),
                };
            }
            Err(error) => return Err(fault("reserve space for", path, error)),
        }
    }
    measure(shared)
}

/// Reserves space up to `end` and no further.
pub(super) fn reserve_exactly(active: &mut Active, end: u64) -> Result<(), StorageError> {
    let path = &active.segment.path;
    let needed = end.saturating_sub(active.allocated);
    if needed == 0 {
        return Ok(());
    }
    active.file.allocate(active.allocated, needed).map_err(|error| match is_no_space(&error) {
        true => StorageError::Full { path: path.clone(), needed },
        false => fault("reserve space for", path, error),
    })?;
    active.allocated = end;
    Ok(())
}

/// Makes the space up to `end` durable before anything is written there. Space reserved ahead is durable since the
/// flush before; only one that is larger than that waits here. The first flush in new space says in the file how long
/// it is.
pub(super) fn secure(active: &mut Active, end: u64) -> Result<(), StorageError> {
    let (file, path) = (active.file.as_ref(), &active.segment.path);
    if active.secured < end {
        sync(file, path)?;
        active.secured = active.allocated;
    }
    if active.span.length < active.secured {
        let span = active.span.next(active.secured);
        span.write(file, path, &active.segment.header)?;
        active.span = span;
    }
    Ok(())
}

/// Tells everybody how much room is left, after some was taken.
pub(super) fn measure(shared: &Shared) -> Result<(), StorageError> {
    let root = shared.dir.path();
    let free =
        shared.dir.vfs().free_bytes(root).map_err(|error| fault("measure the free space of", root, error))?;
    shared.gauge.measured(free);
    Ok(())
}
