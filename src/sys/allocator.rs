//! The C library's allocator, told to hold on to little. Left alone it keeps a heap per thread, and
//! after a burst of work everything that the burst needed.
#![expect(unsafe_code, reason = "mallopt and malloc_trim have no safe wrapper")]

/// Heaps that threads share. More would save waiting for locks that are rarely contended here, and
/// cost memory each.
const ARENAS: i32 = 2;
/// Blocks from this size on are mapped on their own and unmapped when freed, in bytes. Naming it
/// stops the allocator from raising it with every large block that it sees.
const MAP_FROM_BYTES: i32 = 128 * 1024;
/// Free memory at a heap's end from this size on goes back to the kernel, in bytes.
const TRIM_FROM_BYTES: i32 = 256 * 1024;

/// Sets bounds on what is kept for later. To be called before there is a second thread.
pub fn bound() {
    for (parameter, value) in [
        (libc::M_ARENA_MAX, ARENAS),
        (libc::M_MMAP_THRESHOLD, MAP_FROM_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIM_FROM_BYTES),
    ] {
        // SAFETY: mallopt(3) takes two integers by value and may be called at any time. An unknown
        // parameter is refused, which costs memory and nothing else.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Returns what is free inside the heaps to the kernel. Takes some milliseconds with large heaps.
pub fn give_back() {
    // SAFETY: malloc_trim(3) takes an integer by value and is safe to call from any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    fn what_is_freed_between_what_is_kept_goes_back() {
        let mut blocks: Vec<_> = (0..16 * 1024).map(|_| Some(vec![1_u8; 4000].into_boxed_slice())).collect();
        let full = resident_bytes();
        for (index, block) in blocks.iter_mut().enumerate() {
            if index % 8 != 0 {
                *block = None;
            }
        }
        give_back();
        // Nearly 56 MB were freed; every eighth block stays and other tests run beside this one.
        assert!(resident_bytes() + (20 << 20) < full, "{} of {full}", resident_bytes());
        drop(blocks);
    }
}
