//! A secret of the directory that outlives the process, so that what a browser holds of it is still good after a
//! restart. It guards no message and may be lost at any time: then there is another one, and what was made with the old
//! one is refused.

use super::error::StorageError;
use super::node::{DataDir, present, replace_file};
use super::vfs::read_up_to;

const FILE: &str = "forms.secret";

/// Random bytes that only this directory knows.
pub type Secret = [u8; 32];

impl DataDir {
    /// The secret of this directory, made at the first call. What is no secret of ours is replaced.
    ///
    /// Errors: `Io` when it can neither be read nor made.
    pub fn secret(&self) -> Result<Secret, StorageError> {
        let path = self.path().join(FILE);
        if let Some(file) = present(self.vfs().as_ref(), &path)? {
            let bytes = read_up_to(file.as_ref(), 0, size_of::<Secret>() + 1)
                .map_err(|error| StorageError::io("read", &path, error))?;
            if let Ok(secret) = bytes.try_into() {
                return Ok(secret);
            }
        }
        let secret: Secret = rand::random();
        replace_file(self.vfs().as_ref(), self.path(), FILE, &secret)?;
        Ok(secret)
    }
}
