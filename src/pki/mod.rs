//! Certificate authority, certificates, tokens.
