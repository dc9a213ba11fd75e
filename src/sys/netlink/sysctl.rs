//! Kernel parameters below /proc/sys/net, of the calling thread's network namespace.

use std::{fs, io, path::PathBuf};

use super::Error;

/// Writes `value` unless it is there already. A parameter that does not exist (IPv6 switched off)
/// is skipped and reported as `false`.
pub fn set(path: &str, value: &str) -> Result<bool, Error> {
    let file = PathBuf::from("/proc/sys").join(path);
    let error = |source| Error::Sysctl { name: path.replace('/', "."), source };
    match fs::read_to_string(&file) {
        Ok(current) if current.trim() == value => return Ok(true),
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(error(source)),
    }
    fs::write(&file, value).map_err(error)?;
    Ok(true)
}
