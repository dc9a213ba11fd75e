//! Controllers, one folder or file each: a pure plan and its apply.
