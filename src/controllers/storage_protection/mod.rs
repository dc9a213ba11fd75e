//! Protection of storage in use: the finalizers that admission gives claims, volumes and classes of their
//! attributes go when the object is being deleted and nothing uses it any more (Kubernetes documentation, "Storage Object in
//! Use Protection").

pub mod claims;
pub mod classes;
pub mod volumes;
