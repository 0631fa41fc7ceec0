//! Maps a file into memory. The only unsafe code of the project.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

#[expect(unsafe_code, reason = "a mapping is unsafe by nature; see SAFETY")]
pub(crate) fn map(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: a mapping is undefined behaviour if the file changes below it. Compiled packs and catalogs are named after their content,
    // written under a temporary name, renamed into place and never modified (their `write_file`), in a folder that only the daemon's user
    // writes to. A file that is removed stays mapped; one that somebody truncates by hand kills the process with SIGBUS.
    unsafe { Mmap::map(&file) }
}
