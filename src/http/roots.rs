//! Whom the machine trusts: the certificate authorities that are installed on it. One that has none,
//! as small boxes often do, trusts Mozilla's, which are compiled in.

use rustls::RootCertStore;

/// The machine's authorities. Blocking: reads files.
pub fn of_machine() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}
