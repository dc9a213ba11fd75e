//! The scheduler: filters, scores, binds.
