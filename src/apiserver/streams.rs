//! Watches and other requests that last as long as their clients like: so many of the server, and
//! so many of one user, lest one who opens them without end leaves none to others.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::http::identity::{MASTERS, User};

/// At once, of all.
const LIMIT: usize = 20_000;
/// At once, of one user. A node or a controller has some dozens.
const USER_LIMIT: usize = 5_000;

/// Those that are open.
#[derive(Default)]
pub struct Streams {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_user: HashMap<Arc<str>, usize>,
}

/// One of them, as long as this lives.
pub struct Stream {
    streams: Arc<Streams>,
    user: Arc<str>,
}

impl Streams {
    /// Opens one for `user`, if there may be another one. The server's own components always may.
    pub fn open(self: &Arc<Self>, user: &User) -> Option<Stream> {
        let mut open = self.open.lock();
        let of_user = open.by_user.get(&*user.name).copied().unwrap_or_default();
        if (open.total >= LIMIT || of_user >= USER_LIMIT) && !user.is_in(MASTERS) {
            return None;
        }
        open.total += 1;
        let known = open.by_user.get_key_value(&*user.name).map(|(name, _)| name.clone());
        let name: Arc<str> = known.unwrap_or_else(|| user.name.as_str().into());
        *open.by_user.entry(name.clone()).or_default() += 1;
        Some(Stream { streams: self.clone(), user: name })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock();
        open.total -= 1;
        if let Some(count) = open.by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_others() {
        let streams = Arc::new(Streams::default());
        let (greedy, modest) = (User::component("greedy"), User::component("modest"));
        let mut open: Vec<Stream> = (0..USER_LIMIT).flat_map(|_| streams.open(&greedy)).collect();
        assert_eq!(open.len(), USER_LIMIT);
        assert!(streams.open(&greedy).is_none() && streams.open(&modest).is_some());
        open.pop();
        assert!(streams.open(&greedy).is_some());
        drop(open);
        assert!(streams.open.lock().by_user.is_empty() && streams.open.lock().total == 0);
    }
}
