//! A map run that was under way when the process ended. What its EXPRESS children had in flight is
//! not recorded, so one of those that may have been at work may have killed the process: they are
//! watched until each has its end, then one at a time, and at last the first of them, which is the
//! one that does it, may call no more.

/// Crashes in a row with which the same children were at work.
#[derive(Debug)]
pub(super) struct Care {
    crashes: u32,
    limit: u32,
    /// Children that may have been at work, to be started.
    to_start: usize,
    /// Those of them without an end.
    to_end: usize,
    /// The one that may not call has been chosen.
    chosen: bool,
}

/// How a child is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    No,
    Watched,
    /// It fails instead of calling; with the crashes it was at work at.
    MayNotCall(u32),
}

impl Care {
    /// `window` children were at work at most.
    pub(super) fn after(crashes: u32, limit: u32, window: usize) -> Care {
        Care { crashes, limit, to_start: window, to_end: window, chosen: false }
    }

    /// Whether only one child may be at work at a time.
    pub(super) fn one_by_one(&self) -> bool {
        self.crashes.saturating_mul(2) > self.limit
    }

    /// What is to be thought of the child that is started now.
    pub(super) fn start(&mut self) -> Watch {
        if self.to_start == 0 {
            return Watch::No;
        }
        self.to_start -= 1;
        // One at a time has to have been tried before.
        if !self.chosen && self.crashes > self.limit.max(1) {
            self.chosen = true;
            return Watch::MayNotCall(self.crashes);
        }
        Watch::Watched
    }

    /// A child that is watched has its end; true when that was the last one.
    pub(super) fn ended(&mut self) -> bool {
        self.to_end = self.to_end.saturating_sub(1);
        self.to_end == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_narrow_down_who_does_it() {
        let seen = |crashes: u32| {
            let mut care = Care::after(crashes, 5, 2);
            (care.one_by_one(), [care.start(), care.start(), care.start()])
        };
        let watched = [Watch::Watched, Watch::Watched, Watch::No];
        assert_eq!(seen(1), (false, watched));
        assert_eq!(seen(2), (false, watched));
        assert_eq!(seen(3), (true, watched));
        assert_eq!(seen(5), (true, watched));
        assert_eq!(seen(6), (true, [Watch::MayNotCall(6), Watch::Watched, Watch::No]));
        // Without a life of one at a time nobody is chosen.
        assert_eq!(Care::after(1, 0, 2).start(), Watch::Watched);
        let mut care = Care::after(1, 5, 2);
        assert_eq!((care.ended(), care.ended()), (false, true));
    }
}
