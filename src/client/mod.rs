//! The one way to reach the API: a kube client over an in-process or a TLS transport, and on it
//! what every component needs: shared informers, work queues, an event recorder, leases.
