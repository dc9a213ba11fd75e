//! Autoscalers: how many replicas a workload gets, by what its pods use. `autoscaling/v2` is stored, and
//! `autoscaling/v1`, which knows of nothing but the use of processors, is another shape of the same
//! objects: what it has no field for, [`convert`] writes into annotations, as upstream does.

pub mod convert;
mod metrics;
pub mod v1;
pub mod v2;
mod validation;
