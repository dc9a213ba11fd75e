//! What evaluations may cost, in upstream's units (a unit is about 100 ns there).

/// What one expression may cost each time.
pub const CALL_LIMIT: u64 = 1_000_000;
/// What all expressions of a policy's binding or of a custom resource may cost for one object.
pub const OBJECT_BUDGET: u64 = 10_000_000;
/// What all match conditions of a webhook or policy may cost for one object.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;

/// What is left for the expressions that share it.
#[derive(Debug, Clone)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// A budget of `limit` units.
    pub fn new(limit: u64) -> Self {
        Self { left: limit }
    }

    /// What is left of it.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Takes what was spent. False if that is more than there was; nothing is left then.
    pub(super) fn take(&mut self, spent: u64) -> bool {
        let enough = spent <= self.left;
        self.left = self.left.saturating_sub(spent);
        enough
    }
}
