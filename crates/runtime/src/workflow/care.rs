//! A map run that was under way when the process ended. What its EXPRESS children had in flight is
//! not recorded, so any of those that may have been at work may have killed the process: the first
//! ones without an end, as many as run at once. They are watched until each has its end; with each
//! crash in a row fewer run at once, so fewer can have done it, and in the end it is the first one,
//! which may call no more.

/// By how much the window shrinks with each crash.
const SHRINKS: usize = 10;

/// Crashes in a row with which the same children were at work.
#[derive(Debug)]
pub(super) struct Care {
    crashes: u32,
    limit: u32,
    window: usize,
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
    /// Without crashes there are `window` children at work at once.
    pub(super) fn after(crashes: u32, limit: u32, window: usize) -> Care {
        let window_after = |crashes: u32| match crashes {
            0 => window,
            _ if crashes >= limit => 1,
            _ => (window / SHRINKS.saturating_pow(crashes - 1)).max(1),
        };
        let suspects = window_after(crashes.saturating_sub(1));
        Care {
            crashes,
            limit,
            window: window_after(crashes),
            to_start: suspects,
            to_end: suspects,
            chosen: false,
        }
    }

    /// How many children may be at work at once.
    pub(super) fn window(&self) -> usize {
        self.window
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

    #[track_caller]
    fn check(crashes: u32, limit: u32, window: usize, suspects: usize) {
        let care = Care::after(crashes, limit, 1_000);
        assert_eq!((care.window(), care.to_start, care.to_end), (window, suspects, suspects));
    }

    #[test]
    fn crashes_narrow_down_who_does_it() {
        check(1, 5, 1_000, 1_000);
        check(2, 5, 100, 1_000);
        check(3, 5, 10, 100);
        check(4, 5, 1, 10);
        check(5, 5, 1, 1);
        check(6, 5, 1, 1);
        check(1, 2, 1_000, 1_000);
        check(2, 2, 1, 1_000);
        check(3, 2, 1, 1);
        check(1, 0, 1, 1_000);
    }

    #[test]
    fn the_first_one_may_not_call_in_the_end() {
        let starts = |crashes, limit| {
            let mut care = Care::after(crashes, limit, 1);
            [care.start(), care.start()]
        };
        assert_eq!(starts(5, 5), [Watch::Watched, Watch::No]);
        assert_eq!(starts(6, 5), [Watch::MayNotCall(6), Watch::No]);
        // Without a life of one at a time nobody is chosen.
        assert_eq!(starts(1, 0), [Watch::Watched, Watch::No]);
        assert_eq!(starts(2, 0), [Watch::MayNotCall(2), Watch::No]);
        let mut care = Care::after(1, 5, 2);
        assert_eq!((care.ended(), care.ended()), (false, true));
    }
}
